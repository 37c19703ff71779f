"""KServe's Python server with exported networks, on the loopback: `kserve_models.py REPOSITORY --http_port …`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import openvino as ov
import uvicorn
from grpc import aio
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.model_repository import ModelRepository


class Network(Model):
    """`NAME/1/model.xml`, on one thread; `NAME/slow` holds seconds to wait before an answer."""

    def __init__(self, folder: Path) -> None:
        """Compile the network."""
        super().__init__(folder.name)
        self._folder = folder
        self._run = ov.Core().compile_model(folder / "1/model.xml", "CPU", {"INFERENCE_NUM_THREADS": 1})
        self.ready = True

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return what the network takes."""
        return [_tensor("pixels", self._run.inputs[0], "UINT8")]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return what the network gives."""
        return [_tensor("scores", self._run.outputs[0], "FP32")]

    async def predict(self, payload: InferRequest, headers: Any = None) -> InferResponse:
        """Answer a batch of pixels, (N, H, W, C) uint8, with (N, classes)."""
        slow = self._folder / "slow"
        if slow.exists():
            await asyncio.sleep(float(slow.read_text()))
        scores = self._run([payload.inputs[0].as_numpy()])[0]
        answer = InferOutput("scores", list(scores.shape), "FP32")
        answer.set_data_from_numpy(scores)
        return InferResponse(payload.id or "", self.name, [answer], use_binary_outputs=payload.use_binary_outputs,
                             requested_outputs=payload.request_outputs)  # fmt: skip


def _tensor(name: str, port: Any, datatype: str) -> dict[str, Any]:
    shape = [-1 if side.is_dynamic else side.get_length() for side in port.get_partial_shape()]
    return {"name": name, "datatype": datatype, "shape": shape}


class Repository(ModelRepository):
    """Models that can be loaded and unloaded over the protocol."""

    def load(self, name: str) -> bool:
        """Load a model, or load it again."""
        self.update(Network(Path(self.models_dir) / name))
        return True


def stay_on_the_loopback() -> None:
    """KServe listens on every address, with no option for another."""
    kind = type(aio.server())
    configure, add = uvicorn.Config.__init__, kind.add_insecure_port

    def configured(self: Any, *args: Any, **options: Any) -> None:
        configure(self, *args, **options | {"host": "127.0.0.1"})

    uvicorn.Config.__init__ = configured
    kind.add_insecure_port = lambda self, address: add(self, address.replace("[::]", "127.0.0.1"))


def main() -> None:
    """Serve what is in the repository that the command line names; KServe reads the ports there itself."""
    stay_on_the_loopback()
    folder = Path(sys.argv[1])
    models = Repository(str(folder))
    ModelServer(registered_models=models, enable_latency_logging=False).start(
        [Network(path.parent.parent) for path in sorted(folder.glob("*/1/model.xml"))]
    )


if __name__ == "__main__":
    main()
