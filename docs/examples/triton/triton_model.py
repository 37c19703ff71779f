"""Triton's Python back-end running an exported network: the wheel that brings Triton has no OpenVINO back-end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as triton


class TritonPythonModel:
    """`NAME/1/model.xml` beside this file, on one thread; `NAME/slow` holds seconds to wait before an answer."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compile the network."""
        import openvino as ov

        self._folder = Path(args["model_repository"])
        xml = self._folder / args["model_version"] / "model.xml"
        self._run = ov.Core().compile_model(xml, "CPU", {"INFERENCE_NUM_THREADS": 1})

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests, each with pixels (N, H, W, C) uint8, with (N, classes)."""
        slow = self._folder / "slow"
        if slow.exists():
            time.sleep(float(slow.read_text()))
        batches = [triton.get_input_tensor_by_name(request, "pixels").as_numpy() for request in requests]
        scores = self._run([np.concatenate(batches)])[0]
        ends = np.cumsum([len(batch) for batch in batches])[:-1]
        return [triton.InferenceResponse([triton.Tensor("scores", np.ascontiguousarray(part))])
                for part in np.split(scores, ends)]  # fmt: skip
