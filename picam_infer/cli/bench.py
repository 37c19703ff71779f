"""`picam-infer bench`: the same picture on each engine, on bare OpenVINO and, if installed, in Keras and others."""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from picam_infer.cli import argument_types, engine_options
from picam_infer.cli.compare import Original, compared
from picam_infer.config import EngineSettings
from picam_infer.core import Disconnected, Engine, Pixels, Scores, counted
from picam_infer.imaging import picture_files
from picam_infer.imaging.pictures import as_frame, read_picture
from picam_infer.inference import engines, preprocess
from picam_infer.inference.classifier import Classifier
from picam_infer.inference.engines import failover, sticks
from picam_infer.inference.engines.remote.server_time import ServerTime
from picam_infer.inference.engines.remote.traffic import Traffic
from picam_infer.inference.references import Reference
from picam_infer.models.bundle import Bundle, Chain
from picam_infer.platform.terminal import say, say_json

log = logging.getLogger(__name__)
ROUNDS, _WARM, _CALLS = 5, 3, 10
_REST_S = 0.05


@dataclass(frozen=True)
class Row:
    """One way of running the network, in milliseconds."""

    name: str
    first_ms: float
    later_ms: float
    """The median of the later calls."""
    best_ms: float
    """The fastest of them, which a busy machine distorts least."""
    note: str = ""
    """A remark, may be empty."""


@dataclass(frozen=True)
class Contender:
    """One way of running the network, ready to be called."""

    name: str
    step: Callable[[], object]
    close: Callable[[], None] = lambda: None
    answer: Sequence[Scores] = ()
    """What the last call returned, if that is kept: probabilities, shape (classes,)."""
    threads: int = 0
    """How many threads it chose to run on; 0: unknown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `bench`'s options."""
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="the model's original file (.h5, .keras, .tflite, .onnx, or a zip), to compare times and answers with",
    )
    parser.add_argument(
        "--image",
        type=Path,
        metavar="PICTURE",
        help="the picture to use, or a folder of pictures to compare answers on (default: a test pattern)",
    )
    parser.add_argument("--threads", type=argument_types.positive, default=0, metavar="N",
                        help="threads for each runtime (default: as many as picam-infer's engine uses)")  # fmt: skip
    engine_options.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def main(args: argparse.Namespace) -> int:
    """Measure and print a table. Raises `PicamError`."""
    engine = engine_options.settings(args, EngineSettings())
    model, chain, _ = engine_options.chosen(args)
    picture = _pictured(args.image)
    ours = _ours(model, chain, picture, EngineSettings(kind="openvino", threads=args.threads))
    threads = args.threads or ours.threads
    contenders = [ours, _prepared(model, chain, picture), _scaled(model), _raw(model, threads)]
    original = None
    try:
        original = Original(args.against, threads) if args.against else None
        if original:
            contenders.append(_against(original.reference, model))
        bare = len(contenders)
        contenders += _on_the_stick(model, chain, picture, engine.kind)
        server = _Server(model, engine) if engine.kind == "remote" else None
        if server:
            contenders.append(_whole_way(model, chain, picture, server.engine))
        rows = _race(contenders)
        for i in range(bare, len(rows)):
            note = failover.compare(contenders[i].answer[0], ours.answer[0])
            if server and i == len(rows) - 1:
                note = f"{note}; {server.note()}"
            rows[i] = replace(rows[i], note=note)
        given = [args.image] if args.image else []
        comparison = compared(model, original.reference, given, args.against.parent) if original else None
    finally:
        if original:
            original.close()
        for contender in contenders:
            contender.close()
    for row in rows if args.json else ():
        _say_json(row, rows[3].later_ms)
    if not args.json:
        _say_table(rows)
        _say_ratios(rows, bare, threads)
    if comparison:
        say_json(comparison.as_json()) if args.json else say(f"answers: {comparison.line()}")
    return 0


def _say_ratios(rows: Sequence[Row], bare: int, threads: int) -> None:
    """Print how the whole way compares with each bare network and what that needs besides (rows 3 to `bare`)."""
    for row in rows[3:bare]:
        ratio = rows[0].best_ms / (rows[1].best_ms + rows[2].best_ms + row.best_ms)
        say(f"picture to label takes {ratio:.2f} times as long as preprocessing, scaling and {row.name} together (best "
            f"calls, {counted(threads, 'thread') if threads else 'all threads'})")  # fmt: skip


def _say_json(row: Row, base_ms: float) -> None:
    content = {"name": row.name.strip(), "first_ms": row.first_ms, "later_ms": row.later_ms, "best_ms": row.best_ms,
               "ratio": row.later_ms / base_ms, **({"note": row.note} if row.note else {})}  # fmt: skip
    say_json(content)


def _say_table(rows: Sequence[Row]) -> None:
    """Print the times of each row, and its later calls as a multiple of the bare network's (row 3)."""
    width, base_ms = max(len(row.name) for row in rows), rows[3].later_ms
    say(f"{'milliseconds a call':<{width}} {'first':>9} {'later':>9} {'best':>9}   later, compared with {rows[3].name}")
    for row in rows:
        times = f"{row.first_ms:9.2f} {row.later_ms:9.2f} {row.best_ms:9.2f}"
        say(f"{row.name:<{width}} {times}   {row.later_ms / base_ms:.2f} times")
        if row.note:
            say(f"  {row.note}")


def _pictured(path: Path | None) -> Pixels:
    """Return the picture given, the first one in a folder, or a test pattern."""
    if path is None:
        return _pattern()
    return read_picture(picture_files.find(path).pictures[0] if picture_files.is_folder(path) else path)


def _pattern() -> Pixels:
    y, x = np.mgrid[0:720, 0:1280]
    return np.stack([x % 256, y % 256, (x + y) % 256], -1).astype(np.uint8)


def _race(contenders: Sequence[Contender]) -> list[Row]:
    """Call all of them in turn, a few calls each, repeatedly, so that other load affects them equally."""
    first_ms = [_called_ms(contender) for contender in contenders]
    later_ms: list[list[float]] = [[] for _ in contenders]
    for _ in range(ROUNDS):
        for contender, taken in zip(contenders, later_ms, strict=True):
            # The previous one's threads may still be spinning, and the caches are full of its weights.
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


def _ours(model: Bundle, chain: Chain, picture: Pixels, settings: EngineSettings) -> Contender:
    """The service's own path: preprocess, infer, decide."""
    return _whole_way(model, chain, picture, engines.open_engine(settings, model))


def _whole_way(model: Bundle, chain: Chain, picture: Pixels, engine: Engine) -> Contender:
    classifier, frame = Classifier.of(model, engine, chain=chain), as_frame(picture)

    answer: list[Scores] = []

    def step() -> None:
        said = classifier.answer(frame)
        answer[:] = [said.scores]
        classifier.decide(said, classifier.settings)

    return Contender(
        f"picam-infer: picture to label ({engine.name})", step, engine.close, answer, getattr(engine, "threads", 0)
    )


class _Server:
    """The model server, and its statistics from before the measurement."""

    def __init__(self, model: Bundle, settings: EngineSettings) -> None:
        from picam_infer.inference.engines.remote.engine import Remote

        self._traffic = Traffic()
        self.engine = Remote(model, settings, self._traffic)
        self._before = self._counted()

    def _counted(self) -> ServerTime | None:
        try:
            return ServerTime.of(self.engine.statistics())
        except Disconnected:  # an extension of the protocol that not every server has
            return None

    def note(self) -> str:
        """Return how a round trip divides into the server's time and the network's."""
        trips = self._traffic.round_trip
        mean_ms = trips.sum_s / max(1, sum(trips.counts)) * 1e3
        now = self._counted()
        if now is None or self._before is None:
            return f"{mean_ms:.2f} ms on average; this server keeps no statistics of its own time"
        return now.since(self._before).text(mean_ms)


def _on_the_stick(model: Bundle, chain: Chain, picture: Pixels, kind: str) -> list[Contender]:
    """The same on the stick, if it is asked for or present. Raises `PicamError` if it is asked for but missing."""
    if kind == "openvino" or (kind != "ncs" and (model.graph is None or not sticks.installed())):
        return []
    try:
        return [_ours(model, chain, picture, EngineSettings(kind="ncs"))]
    except Disconnected as loss:
        if kind == "ncs":
            raise
        log.warning("the stick is not measured: %s", loss)
        return []


def _prepared(model: Bundle, chain: Chain, picture: Pixels) -> Contender:
    prepare, frame = preprocess.build(chain, model.card.input), as_frame(picture)
    return Contender("  of which preprocessing", lambda: prepare(frame))


def _scaled(model: Bundle) -> Contender:
    """What the bare networks need in addition, and ours does itself: scaling to floats."""
    size, normalised = model.card.input, model.card.normalisation
    input_image = np.zeros((1, size.height, size.width, size.channels), np.uint8)
    return Contender("  scaling, which is part of ours", lambda: normalised(input_image))


def _input(model: Bundle, shape: tuple[int, ...]) -> Any:
    size = model.card.input
    pixels = np.linspace(0, 255, size.height * size.width * size.channels).astype(np.uint8)
    input_image = pixels.reshape(size.height, size.width, size.channels)
    return preprocess.tensor(input_image, model.card.preprocess, size).reshape(shape)


def _raw(model: Bundle, threads: int) -> Contender:
    import openvino as ov

    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    request = ov.Core().compile_model(model.network, "CPU", options).create_infer_request()
    feed = _input(model, tuple(request.model_inputs[0].shape))
    return Contender("OpenVINO, bare network", lambda: request.infer([feed], share_inputs=True))


def _against(original: Reference, model: Bundle) -> Contender:
    """Another file of the same network with its own library. Raises `PicamError`."""
    size = model.card.input
    feed = original.feed(
        preprocess.tensor(np.zeros((size.height, size.width, size.channels), np.uint8), model.card.preprocess, size)
    )
    ask = original.usual or original.run
    return Contender(original.name, lambda: ask(feed))
