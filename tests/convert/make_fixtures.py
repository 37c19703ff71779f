"""Write `layers_keras2.npz` or `layers_keras3.npz`: each model of keras_cases with Keras's answers.

Run with the interpreter of an environment that has Keras: python tests/convert/make_fixtures.py keras | tf_keras
"""
# mypy: ignore-errors

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import keras_cases
import keras_more_cases

DULL = ("initializer", "regularizer", "constraint")


def lean(value: Any) -> Any:
    """Drop what says nothing about the answers."""
    if isinstance(value, list):
        return [lean(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: lean(item) for key, item in value.items() if not key.endswith(DULL)}


def main(module: str) -> None:
    keras = importlib.import_module(module)
    rng = np.random.default_rng(7)
    index: dict[str, Any] = {}
    given: list[np.ndarray] = []
    answers: list[np.ndarray] = []
    for name, make in (keras_cases.models(keras) | keras_more_cases.models(keras)).items():
        try:
            model = make()
            keras_cases.randomise(model, rng)
            x = rng.normal(size=(1, *model.input_shape[1:])).astype(np.float16)
            y = model(x.astype(np.float32), training=False)
            y = np.asarray(y[0] if isinstance(y, list | tuple) else y, np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            print("left out", name, str(error)[:80])
            continue
        topology = lean(json.loads(model.to_json()))
        topology.setdefault("keras_version", keras.__version__)
        pairs = zip(model.weights, model.get_weights(), strict=True)
        weights = [[getattr(variable, "path", variable.name), list(w.shape)] for variable, w in pairs]
        index[name] = {"topology": topology, "weights": weights, "x": x.shape, "y": y.shape}
        given += [np.asarray(values, np.float16).ravel() for values in [*model.get_weights(), x]]
        answers.append(y.ravel())
    path = Path(__file__).parent / f"layers_keras{keras.__version__[0]}.npz"
    packed = np.frombuffer(json.dumps(index).encode(), np.uint8)
    np.savez_compressed(path, index=packed, given=np.concatenate(given), answers=np.concatenate(answers))
    print(path, path.stat().st_size >> 10, "KB")


if __name__ == "__main__":
    main(sys.argv[1])
