"""A model's original file run by its own library (Keras, LiteRT, ONNX Runtime), and how its answers differ."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from picam_infer.core import NoInput, PicamError, Scores, Unavailable, counted

Tensor = npt.NDArray[Any]

CLOSE = 0.05
"""Answers that differ by more count as different: 16-bit weights usually change far less."""
NOISE = 4
_SUFFIXES = {
    ".h5": "keras",
    ".hdf5": "keras",
    ".keras": "keras",
    ".tflite": "litert",
    ".lite": "litert",
    ".onnx": "onnx",
}
_KERAS_BACKENDS = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch", "openvino": "openvino"}
"""Keras's back-ends and the packages that they need, the usual ones first."""
_KERAS_2 = "pip install tensorflow tf-keras"
"""What installs a library that loads files of Keras 2 and 1."""
_IF_KERAS_2 = f"files of Keras 2, such as Teachable Machine's, need: {_KERAS_2}"


@dataclass(frozen=True)
class Reference:
    """The original, ready to run."""

    name: str
    """For people: `Keras 3.15.1 (openvino)`."""
    shape: tuple[int, ...]
    """Of its input, with a batch of 1."""
    run: Callable[[Tensor], Scores]
    """From the network's own input, float32 of that shape, to its outputs (classes,)."""
    usual: Callable[[Tensor], object] | None = None
    """The function that people usually call for this, if it is a different one: its time is measured."""

    def feed(self, tensor: Tensor) -> Tensor:
        """Return our network's input as this one's, whose axes may be in another order. Raises `PicamError`."""
        if tensor.shape == self.shape:
            return tensor
        if tensor.ndim == len(self.shape) == 4:
            for axes in ((0, 2, 3, 1), (0, 3, 1, 2)):
                if tensor.transpose(axes).shape == self.shape:
                    return np.ascontiguousarray(tensor.transpose(axes))
        if tensor.size != int(np.prod(self.shape)):
            raise PicamError(
                f"{self.name} takes {_sides(self.shape)} as its input, the model {_sides(tensor.shape)}",
                "it is another network: give the file that this model was converted from",
            )
        return tensor.reshape(self.shape)


def _sides(shape: Sequence[int]) -> str:
    return "×".join(str(side) for side in shape[1:])


@dataclass(frozen=True)
class Comparison:
    """How far our answers are from the original's."""

    name: str
    pictures: int
    same: int
    """Pictures whose likeliest class is the same, or as likely."""
    on_pictures: float
    """The largest difference of an answer, on pictures."""
    on_noise: float
    worst: str = ""
    """The picture with the largest difference."""

    @property
    def agrees(self) -> bool:
        """Whether it appears to be the same network."""
        return self.same == self.pictures and max(self.on_pictures, self.on_noise) <= CLOSE

    def line(self) -> str:
        """Return the result for people."""
        there = f"on {counted(self.pictures, 'picture')} "
        classes = f"the same class on {self.same}, answers differ by at most {self.on_pictures:.1e}"
        worst = f" ({self.worst})" if self.worst and not self.agrees else ""
        verdict = "agrees" if self.agrees else "differs"
        return f"{self.name} {verdict}: {there}{classes}{worst}, on noise by {self.on_noise:.1e}"

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON object."""
        return {"against": self.name, "agrees": self.agrees, "pictures": self.pictures, "same_class": self.same,
                "difference": self.on_pictures, "noise_difference": self.on_noise, "worst": self.worst}  # fmt: skip


def compare(
    reference: Reference,
    ours: Callable[[Tensor], Scores],
    inputs: Iterable[tuple[str, Tensor]],
    low: float,
    high: float,
) -> Comparison:
    """Run both on the same `inputs`, pictures by name as our network's input, and on noise between `low` and `high`."""
    count, same, largest, worst, shape = 0, 0, 0.0, "", reference.shape
    for name, tensor in inputs:
        mine, other = _both(reference, ours, tensor)
        count, shape = count + 1, tensor.shape
        far = float(np.abs(mine - other).max())
        # Two equally likely classes may swap places.
        margin = other.max() - other[mine.argmax()]
        same += bool(margin == 0 or (far <= CLOSE / 5 and margin <= 2 * far))
        if far > largest:
            largest, worst = far, name
    rng = np.random.default_rng(0)
    noise = [rng.uniform(low, high, shape).astype(np.float32) for _ in range(NOISE)]
    on_noise = max(float(np.abs(np.subtract(*_both(reference, ours, one))).max()) for one in noise)
    return Comparison(reference.name, count, same, largest, on_noise, worst)


def _both(reference: Reference, ours: Callable[[Tensor], Scores], tensor: Tensor) -> tuple[Scores, Scores]:
    mine, other = ours(tensor), reference.run(reference.feed(tensor))
    if len(mine) == 2 and len(other) == 1:  # the bundle has turned one probability into two classes
        other = np.array([1 - other[0], other[0]], np.float32)
    if len(mine) != len(other):
        raise PicamError(
            f"{reference.name} has {len(other)} outputs, the model {len(mine)}",
            "it is another network, or another layer of it was chosen with --output-layer",
        )
    return mine, other


def open_reference(path: Path, threads: int = 0) -> Reference:
    """Return a model file with the library that it is for. Raises `NoInput`, `Unavailable` or `PicamError`.

    `threads`: 0 for the library's own choice; Keras takes all.
    """
    if not path.is_file():
        raise NoInput(f"there is no {path}", "give a model file: .h5, .keras, .tflite or .onnx")
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise PicamError(f"{path} cannot be compared", "give .h5, .keras, .tflite or .onnx")
    opened = {"keras": _keras, "litert": _litert, "onnx": _onnx}[kind]
    try:
        return opened(path, threads)
    except PicamError:
        raise
    except Exception as error:  # whatever the library raises about a file
        raise PicamError(
            f"{path.name} cannot be loaded by its own library ({type(error).__name__})",
            "is it the file that this model was converted from?",
        ) from error


def _need(*names: str) -> str:
    found = next((name for name in names if importlib.util.find_spec(name)), None)
    if found is None:
        raise Unavailable(
            f"this comparison needs {names[0]}, which is not installed", f"pip install {names[0].replace('_', '-')}"
        )
    return found


def _fixed(shape: Iterable[Any]) -> tuple[int, ...]:
    """Return a shape with a batch of 1; a side that is left open becomes 1."""
    return (1, *[int(side) if isinstance(side, int | np.integer) and side > 0 else 1 for side in list(shape)[1:]])


def _keras(path: Path, threads: int) -> Reference:
    """Teachable Machine's documented snippet: load_model, then predict. Files of Keras 2 need tf_keras."""
    name, keras, network = _loaded(path)
    if isinstance(network.input_shape, list):
        raise PicamError(f"{path.name} has {len(network.input_shape)} inputs", "only networks with one are compared")

    def run(tensor: Tensor) -> Scores:
        # On OpenVINO predict computes in 16 bits where the processor can; a call computes in 32.
        return np.asarray(keras.ops.convert_to_numpy(network(tensor, training=False)), np.float32).reshape(-1)

    def predict(tensor: Tensor) -> Scores:
        return np.asarray(network.predict(tensor, verbose=0), np.float32).reshape(-1)

    backend = f", {keras.backend.backend()}" if name == "keras" else ""
    title = f"Keras predict ({name} {keras.__version__}{backend})"
    return Reference(title, _fixed(network.input_shape), run if name == "keras" else predict, predict)


def _loaded(path: Path) -> tuple[str, Any, Any]:
    """Return the first Keras that can load the file: its name, module and the network."""
    old = 0 < (version := _keras_version(path)) < 3
    if old and importlib.util.find_spec("keras") is None and importlib.util.find_spec("tf_keras") is None:
        raise Unavailable(f"{path.name} is a file of Keras {version}, which is not installed", _KERAS_2)
    _need("keras", "tf_keras")
    tried, lacking = [], ""
    for name in ("tf_keras", "keras"):
        if importlib.util.find_spec(name) is None:
            continue
        _choose_backend()
        try:
            keras = importlib.import_module(name)
        except ImportError as error:
            lacking = error.name or "another package"
            continue
        try:
            return name, keras, keras.models.load_model(path, compile=False)
        except Exception:  # another Keras may still be able to
            tried.append(f"{name} {keras.__version__}")
    if not tried:
        raise Unavailable(f"Keras is installed, but it needs {lacking}", f"pip install {lacking}")
    if old and "tf_keras" not in " ".join(tried):
        raise Unavailable(f"{path.name} is a file of Keras {version}: {tried[0]} cannot load it", _KERAS_2)
    hint = "is it complete, and the file that this model was converted from?" if version else _IF_KERAS_2
    raise PicamError(f"{path.name} cannot be loaded by {' or '.join(tried)}", hint)


def _keras_version(path: Path) -> int:
    """Return which Keras has written a file, 1, 2 or 3; 0: the file does not say."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                written = json.loads(archive.read("metadata.json"))["keras_version"]
        else:
            import h5py

            with h5py.File(path, "r") as file:
                written = file.attrs["keras_version"]
        text = written.decode() if isinstance(written, bytes) else str(written)
        return int(text.partition(".")[0])
    except Exception:  # whatever the libraries raise about a file: it is opened in earnest next
        return 0


def _choose_backend() -> None:
    """Make Keras use a back-end that is installed: by default it would use TensorFlow, and fail without it."""
    if "KERAS_BACKEND" not in os.environ and "keras" not in sys.modules:
        found = [name for name, package in _KERAS_BACKENDS.items() if importlib.util.find_spec(package)]
        os.environ["KERAS_BACKEND"] = found[0] if found else "openvino"


def _litert(path: Path, threads: int) -> Reference:
    name = _need("ai_edge_litert", "tflite_runtime", "tensorflow")
    module = (
        importlib.import_module(f"{name}.interpreter") if name != "tensorflow" else importlib.import_module(name).lite
    )
    interpreter = module.Interpreter(model_path=str(path), num_threads=threads or None)
    interpreter.allocate_tensors()
    entry, leaving = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    whole = np.issubdtype(entry["dtype"], np.integer)

    def run(tensor: Tensor) -> Scores:
        interpreter.set_tensor(entry["index"], (np.rint(tensor) if whole else tensor).astype(entry["dtype"]))
        interpreter.invoke()
        answer = interpreter.get_tensor(leaving["index"]).astype(np.float32).reshape(-1)
        scale, zero = leaving["quantization"]
        return np.asarray((answer - zero) * scale if scale else answer, np.float32)

    return Reference(f"LiteRT ({name})", _fixed(entry["shape"]), run)


def _onnx(path: Path, threads: int) -> Reference:
    runtime = importlib.import_module(_need("onnxruntime"))
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    kind = {"tensor(uint8)": np.uint8, "tensor(float16)": np.float16}.get(entry.type, np.float32)
    first = session.get_outputs()[0].name

    def run(tensor: Tensor) -> Scores:
        return np.asarray(session.run([first], {entry.name: tensor.astype(kind)})[0], np.float32).reshape(-1)

    return Reference(f"ONNX Runtime {runtime.__version__}", _fixed(entry.shape), run)
