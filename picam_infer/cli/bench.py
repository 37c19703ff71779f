"""`picam-infer bench`: the same picture through each engine, raw OpenVINO and, where installed, Keras and others."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from picam_infer.config import Decide, EngineSettings
from picam_infer.core import Frame, Lost, NoInput, PicamError, Pixels, Scores, Unavailable
from picam_infer.imaging.pictures import read_picture
from picam_infer.inference import engines, preprocess
from picam_infer.inference.engines import failover, sticks
from picam_infer.inference.postprocess import Decider
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle
from picam_infer.platform.terminal import say, say_json

log = logging.getLogger(__name__)
_ROUNDS, _WARM, _CALLS = 5, 3, 10
_REST_S = 0.05


@dataclass(frozen=True)
class Row:
    """One way of running the network, in milliseconds."""

    name: str
    first_ms: float
    later_ms: float
    """The median of the later calls."""
    best_ms: float
    """The fastest of them: what a busy machine spoils least."""
    note: str = ""
    """What else there is to say."""


@dataclass(frozen=True)
class Contender:
    """One way of running the network, ready to be called."""

    name: str
    step: Callable[[], object]
    close: Callable[[], None] = lambda: None
    answer: Sequence[Scores] = ()
    """What the last call said, if it is kept: probabilities, shape (classes,)."""
    threads: int = 0
    """How many it runs on, where it chose itself; 0: unknown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `bench`'s options."""
    parser.add_argument("-m", "--model", default="digits", metavar="M", help="a model's name or folder (digits)")
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="keras_model.h5, .tflite or .onnx to run beside it"
    )
    parser.add_argument("--image", type=Path, metavar="FILE", help="the picture (default: a test pattern)")
    parser.add_argument("--threads", type=_count, default=0, metavar="N",
                        help="threads of each runtime (default: as many as our engine takes)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return number


def main(args: argparse.Namespace) -> int:
    """Measure and print a table. Raises `PicamError`."""
    model = bundles.load(args.model)
    picture = read_picture(args.image) if args.image else _pattern()
    ours = _ours(model, picture, EngineSettings(kind="openvino", threads=args.threads))
    threads = args.threads or ours.threads
    contenders = [ours, _prepared(model, picture), _scaled(model), _raw(model, threads)]
    try:
        if args.against:
            contenders.append(_against(args.against, model, threads))
        bare = len(contenders)
        contenders += _on_the_stick(model, picture)
        rows = _race(contenders)
        for i in range(bare, len(rows)):
            note = failover.compare(contenders[i].answer[0], ours.answer[0])
            rows[i] = replace(rows[i], note=note)
    finally:
        for contender in contenders:
            contender.close()
    for row in rows:
        _say(row, rows[3].later_ms, args.json)
    if not args.json:
        for row in rows[3:bare]:
            ratio = rows[0].best_ms / (rows[1].best_ms + rows[2].best_ms + row.best_ms)
            say(f"picture to label: {ratio:.2f} of preprocessing, scaling and {row.name} (best of each, "
                f"{threads or 'all'} threads)")  # fmt: skip
    return 0


def _say(row: Row, base_ms: float, as_json: bool) -> None:
    ratio = row.later_ms / base_ms
    if as_json:
        content = {"name": row.name, "first_ms": row.first_ms, "later_ms": row.later_ms, "best_ms": row.best_ms,
                   "ratio": ratio, **({"note": row.note} if row.note else {})}  # fmt: skip
        say_json(content)
        return
    times = f"first {row.first_ms:8.2f} ms   later {row.later_ms:8.2f} ms   best {row.best_ms:8.2f} ms"
    say(f"{row.name:<44} {times}   {ratio:7.2f}×")
    if row.note:
        say(f"  {row.note}")


def _pattern() -> Pixels:
    y, x = np.mgrid[0:720, 0:1280]
    return np.stack([x % 256, y % 256, (x + y) % 256], -1).astype(np.uint8)


def _race(contenders: Sequence[Contender]) -> list[Row]:
    """Call all in turn, some calls each, again and again: what else the machine does falls on each of them alike."""
    first_ms = [_called_ms(contender) for contender in contenders]
    later_ms: list[list[float]] = [[] for _ in contenders]
    for _ in range(_ROUNDS):
        for contender, taken in zip(contenders, later_ms, strict=True):
            # Threads of the one before may go on spinning, and the caches are full of its weights.
            time.sleep(_REST_S)
            taken += [_called_ms(contender) for _ in range(_WARM + _CALLS)][_WARM:]
    return [
        Row(contender.name, first, statistics.median(taken), min(taken))
        for contender, first, taken in zip(contenders, first_ms, later_ms, strict=True)
    ]


def _called_ms(contender: Contender) -> float:
    began_s = time.perf_counter()
    contender.step()
    return (time.perf_counter() - began_s) * 1e3


def _frame(picture: Pixels) -> Frame:
    return Frame(picture, "bgr", picture.shape[1], picture.shape[0], time.monotonic(), time.time(), 0)


def _ours(model: Bundle, picture: Pixels, settings: EngineSettings) -> Contender:
    """The daemon's own path: preprocess, infer, decide."""
    prepare = preprocess.build(model.card.preprocess, model.card.input)
    engine = engines.open_engine(settings, model)
    decider, decide, frame = Decider(model.labels, model.card.reject), Decide(), _frame(picture)

    answer: list[Scores] = []

    def step() -> None:
        engine.submit(prepare(frame))
        answer[:] = [engine.collect()]
        decider(answer[0], decide)

    return Contender(f"picam-infer: picture to label ({engine.name})", step, engine.close, answer,
                      getattr(engine, "threads", 0))  # fmt: skip


def _on_the_stick(model: Bundle, picture: Pixels) -> list[Contender]:
    """The same on the stick; nothing where there is none, or no graph for it."""
    if model.graph is None or not sticks.installed():
        return []
    try:
        return [_ours(model, picture, EngineSettings(kind="ncs"))]
    except Lost as loss:
        log.warning("the stick is not measured: %s", loss)
        return []


def _prepared(model: Bundle, picture: Pixels) -> Contender:
    prepare, frame = preprocess.build(model.card.preprocess, model.card.input), _frame(picture)
    return Contender("  of which preprocessing", lambda: prepare(frame))


def _scaled(model: Bundle) -> Contender:
    """What the bare networks ask for besides, and ours does itself: floats."""
    chain, size = model.card.preprocess, model.card.input
    patch = np.zeros((1, size.height, size.width, size.channels), np.uint8)
    return Contender(
        "  scaling, which is part of ours",
        lambda: patch.astype(np.float32) * np.float32(chain.scale) + np.float32(chain.offset),
    )


def _input(model: Bundle, shape: tuple[int, ...]) -> Any:
    chain = model.card.preprocess
    pixels = np.linspace(0, 255, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return pixels * np.float32(chain.scale) + np.float32(chain.offset)


def _raw(model: Bundle, threads: int) -> Contender:
    import openvino as ov

    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    request = ov.Core().compile_model(model.network, "CPU", options).create_infer_request()
    feed = _input(model, tuple(request.model_inputs[0].shape))
    return Contender("OpenVINO, bare network", lambda: request.infer([feed], share_inputs=True))


def _against(path: Path, model: Bundle, threads: int) -> Contender:
    """Run another file of the same network with its own library. Raises `PicamError`."""
    if not path.is_file():
        raise NoInput(f"there is no {path}", "--against wants a model file")
    runners = {".h5": _keras, ".hdf5": _keras, ".keras": _keras, ".tflite": _litert, ".onnx": _onnx}
    runner = runners.get(path.suffix.lower())
    if runner is None:
        raise PicamError(f"{path} cannot be compared", "give .h5, .keras, .tflite or .onnx")
    return runner(path, model, threads)


def _need(*names: str) -> str:
    found = next((name for name in names if importlib.util.find_spec(name)), None)
    if found is None:
        raise Unavailable(f"this comparison needs {names[0]}, which is not installed", f"pip install {names[0]}")
    return found


def _keras(path: Path, model: Bundle, threads: int) -> Contender:
    """Teachable Machine's documented snippet: load_model, then predict. Files of Keras 2 need tf_keras."""
    name, keras, network = _loaded(path)
    feed = _input(model, (1, *network.input_shape[1:]))
    return Contender(f"Keras predict ({name} {keras.__version__})", lambda: network.predict(feed, verbose=0))


def _loaded(path: Path) -> tuple[str, Any, Any]:
    """Return the first Keras that can load the file: its name, module and the network."""
    _need("tf_keras", "keras")
    errors = []
    for name in ("tf_keras", "keras"):
        if importlib.util.find_spec(name) is None:
            continue
        keras = importlib.import_module(name)
        try:
            return name, keras, keras.models.load_model(path, compile=False)
        except (ValueError, TypeError, OSError, KeyError) as error:
            errors.append(f"{name}: {' '.join(str(error).split())[:80]}")
    raise PicamError(f"Keras cannot load {path} ({'; '.join(errors)})", "Teachable Machine's files need tf_keras")


def _litert(path: Path, model: Bundle, threads: int) -> Contender:
    name = _need("ai_edge_litert", "tflite_runtime", "tensorflow")
    module = (
        importlib.import_module(f"{name}.interpreter") if name != "tensorflow" else importlib.import_module(name).lite
    )
    interpreter = module.Interpreter(model_path=str(path), num_threads=threads or None)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    feed = _input(model, tuple(entry["shape"])).astype(entry["dtype"])

    def step() -> None:
        interpreter.set_tensor(entry["index"], feed)
        interpreter.invoke()

    return Contender(f"LiteRT ({name})", step)


def _onnx(path: Path, model: Bundle, threads: int) -> Contender:
    runtime = importlib.import_module(_need("onnxruntime"))
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    feed = _input(model, tuple(side if isinstance(side, int) else 1 for side in entry.shape))
    return Contender("ONNX Runtime", lambda: session.run(None, {entry.name: feed}))
