"""MLServer running an exported network."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OpenVino(MLModel):
    """`1/model.xml` in the model's folder, on one thread; the file `slow` holds seconds to wait before an answer."""

    async def load(self) -> bool:
        """Compile the network."""
        import openvino as ov

        self._folder = Path(self.settings.parameters.uri)
        self._run = ov.Core().compile_model(self._folder / "1/model.xml", "CPU", {"INFERENCE_NUM_THREADS": 1})
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a batch of pixels, (N, H, W, C) uint8, with (N, classes)."""
        slow = self._folder / "slow"
        if slow.exists():
            await asyncio.sleep(float(slow.read_text()))
        scores = self._run([NumpyCodec.decode_input(payload.inputs[0])])[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])
