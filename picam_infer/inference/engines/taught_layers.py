"""A taught bundle in two parts: the network up to its features, and the layers that were taught, which the CPU runs.

The second part is cut out of the bundle's own network, so that the answer is the same wherever the features came from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from picam_infer.core import Scores
from picam_infer.inference.engines.openvino import read_network
from picam_infer.models.bundle import Bundle, BundleError

FEATURES = "taught_features"
"""What the features are called in a taught bundle's network."""


class TaughtLayers:
    """The layers after the features. One thread at a time may use them."""

    def __init__(self, bundle: Bundle) -> None:
        """Compile for the CPU in float32. Raises `BundleError` or `Unavailable`."""
        model = read_network(bundle)
        import openvino as ov
        from openvino import opset13 as ops

        features = _features(model, bundle)
        self.count = int(np.prod(list(features.get_shape())))
        """How many features there are."""
        given = ops.parameter([1, self.count], np.float32, name="features")
        for reader in features.get_target_inputs():
            reader.replace_source_output(given.output(0))
        layers = ov.Model(model.get_results(), [given], "taught layers")
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1", "PERFORMANCE_HINT": "LATENCY"}
        self._request = ov.Core().compile_model(layers, "CPU", options).create_infer_request()

    def scores(self, features: npt.NDArray[np.float32]) -> Scores:
        """Return probabilities (classes,) for features (count,)."""
        self._request.infer([np.ascontiguousarray(features, np.float32)[None]])
        return np.array(self._request.get_output_tensor(0).data.reshape(-1), np.float32)


def up_to_features(bundle: Bundle) -> Any:
    """Return a taught bundle's network up to its features, for OpenVINO. Raises `BundleError` or `Unavailable`."""
    model = read_network(bundle)
    import openvino as ov

    return ov.Model([_features(model, bundle).get_node()], model.get_parameters(), "features")


def _features(model: Any, bundle: Bundle) -> Any:
    for node in model.get_ordered_ops():
        if node.get_friendly_name() == FEATURES:
            return node.output(0)
    raise BundleError(f"{bundle.network} does not say where its features are", "teach the model again")
