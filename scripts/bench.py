"""Measures picam-infer against the tutorials' loops on the same frames, and its memory, start and frame age."""

from __future__ import annotations

import argparse
import json
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import bench_window
import cv2
import numpy as np
from bench_window import rss_mb

from picam_infer import sources
from picam_infer.bootstrap import bootstrap
from picam_infer.config import Capture, Command, Config, DisplaySettings, EngineSettings, Jsonl, Web
from picam_infer.core import Codec, Display, Frame, Overlay, Pixels, Prediction, Result, Scores, Source
from picam_infer.imaging import decode
from picam_infer.imaging.letterbox import Letterbox, Resizer
from picam_infer.inference import engines, preprocess
from picam_infer.inference.classifier import Classifier
from picam_infer.inference.postprocess import Postprocessor
from picam_infer.inference.stillness import Stillness
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle
from picam_infer.outputs import annotate
from picam_infer.outputs.display.screen import Screen
from picam_infer.outputs.events import Events
from picam_infer.outputs.web import server as web
from picam_infer.runtime.pipeline import Pipeline, PipelineSetup
from picam_infer.runtime.settings import RuntimeSettings
from picam_infer.runtime.state import State, Tuning
from picam_infer.runtime.viewer import Viewer
from picam_infer.training import glyphs, render

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("loops", "still", "processes", "steps", "screen", "start", "age", "growth")
_UNTIL_STILL = 160
"""Frames at 30 a second: a little more than the five seconds that `engine.still` waits."""
_NOISE = 3.0
"""Grey levels, standard deviation: a webcam in a lit room. It makes a 720p JPEG of 100 KB."""
Step = Callable[[Frame], None]


class Played:
    """The same JPEG frames over and over, as fast as they are taken: a file source without a file."""

    live = False
    description = "memory"

    def __init__(self, frames: list[Frame], count: int, fresh: Callable[[Frame], Frame] = lambda frame: frame) -> None:
        self._frames = (
            replace(fresh(frames[i % len(frames)]), seq=i, monotonic_s=time.monotonic()) for i in range(count)
        )

    def read(self) -> Frame | None:
        """Return the next frame."""
        return next(self._frames, None)

    def close(self) -> None:
        """Nothing is held."""


class Paper:
    """A display that shows nothing: what is measured ends where the monitor's driver begins."""

    name = "paper"
    desktop = False
    size = (1280, 720)

    def show(self, image: Pixels, over: Sequence[Overlay] = ()) -> None:
        """Take the picture."""

    def keys(self) -> list[str]:
        """No keyboard."""
        return []

    def close(self) -> None:
        """Nothing is held."""


def recorded(count: int = 90) -> list[Frame]:
    """Return 720p JPEG frames of the demo's scene."""
    source = sources.open_source("demo", Capture(fps=240))
    frames: list[Frame] = []
    while len(frames) < count:
        frame = source.read()
        assert frame is not None
        # Coded again as a webcam would: the demo's own JPEGs are put together from pieces.
        data = cv2.imencode(".jpg", decode.bgr(frame), [cv2.IMWRITE_JPEG_QUALITY, 85])[1].reshape(-1)
        frames.append(replace(frame, data=data, codec="jpeg"))
    source.close()
    return frames


def network(model: Bundle, one_thread: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Return the bundle's bare network for float input, as the tutorials call it or held to one thread."""
    import openvino as ov

    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1} if one_thread else {}
    compiled = ov.Core().compile_model(str(model.network), "CPU", options)
    return lambda tensor: compiled(tensor)[0]


def digits_loop(model: Bundle, one_thread: bool) -> Step:
    """Return the digit tutorial's loop: decode in colour, Canny on the whole frame, then crop."""
    infer = network(model, one_thread)
    kernel = np.ones((3, 3), np.uint8)

    def step(frame: Frame) -> None:
        image = cv2.imdecode(frame.data, cv2.IMREAD_COLOR)
        lines = cv2.Canny(image, 90, 30)
        side = int(image.shape[0] * 0.4)
        y, x = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        input_image = cv2.resize(cv2.dilate(lines[y : y + side, x : x + side], kernel), (28, 28))
        int(np.argmax(infer((input_image.astype(np.float32) / 255).reshape(1, 28, 28, 1))))

    return step


def photo_loop(model: Bundle, one_thread: bool) -> Step:
    """Return the Teachable Machine post's loop: decode in colour, squash the whole frame, to float."""
    infer = network(model, one_thread)
    size = (model.card.input.width, model.card.input.height)

    def step(frame: Frame) -> None:
        image = cv2.resize(cv2.imdecode(frame.data, cv2.IMREAD_COLOR), size)
        int(np.argmax(infer((image.astype(np.float32) / 127.0 - 1)[None])))

    return step


def as_a_webcam(frames: list[Frame]) -> list[Frame]:
    """Return frames as a webcam codes them: with a sensor's noise, half as many colours in a row (4:2:2)."""
    rng, coded = np.random.default_rng(3), []
    way = [cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422]
    for frame in frames:
        image = decode.bgr(frame).astype(np.float32) + rng.normal(0, _NOISE, (frame.height, frame.width, 1))
        coded.append(
            replace(frame, data=cv2.imencode(".jpg", np.clip(image, 0, 255).astype(np.uint8), way)[1].reshape(-1))
        )
    return coded


def pipeline(model: Bundle, source: Source, on_result: Callable[[Result], None] = lambda result: None) -> Pipeline:
    """Return our own loops over a source, wired as the service wires them."""
    state = State(Tuning(model.card.preprocess, Config().decide))
    settings = EngineSettings(kind="openvino")
    return Pipeline(state, PipelineSetup(
        lambda: source, lambda stopping: Classifier.of(model, engines.open_engine(settings, model)), on_result,
    ))  # fmt: skip


def ours(model: Bundle, frames: list[Frame], count: int) -> float:
    """Return CPU milliseconds a frame of the whole pipeline, headless."""
    # Compiling the network belongs to the start, not to a frame.
    warm = 50
    running = pipeline(model, Played(frames, count + warm))
    running.keep_inputs = False
    running.start()
    while running.state.stats.inferences.total < warm:
        time.sleep(0.001)
    began, began_s = running.state.stats.inferences.total, time.process_time()
    running.finished.wait()
    took_ms = (time.process_time() - began_s) * 1e3 / (count + warm - began)
    running.stop()
    return took_ms


def theirs(step: Step, frames: list[Frame], count: int) -> float:
    """Return CPU milliseconds a frame of a loop."""
    began_s = time.process_time()
    for i in range(count):
        step(frames[i % len(frames)])
    return (time.process_time() - began_s) * 1e3 / count


def against(
    name: str, model: Bundle, loop: Callable[[Bundle, bool], Step], bar: float, rounds: int, count: int
) -> None:
    """Print ours against a loop, in turn: as its author runs it, and held to one thread, which costs it less."""
    frames = recorded()
    written, held = loop(model, False), loop(model, True)
    theirs(written, frames, 20)
    ours(model, frames, 20)
    table = []
    for _ in range(rounds):
        cv2.setNumThreads(-1)
        other = theirs(written, frames, count)
        cv2.setNumThreads(1)  # as the service does
        table.append((ours(model, frames, count), other, theirs(held, frames, count)))
    mine, other, least = (statistics.median(column) for column in zip(*table, strict=True))
    ratio, hard = (statistics.median(row[0] / row[k] for row in table) for k in (1, 2))
    print(f"{name}: loop {other:.2f} ms, ours {mine:.2f} ms of CPU a frame: ratio {ratio:.3f} "
          f"(bar {bar:.3f}: {'met' if ratio <= bar else 'MISSED'}); the loop on one thread {least:.2f} ms: {hard:.3f} "
          f"({'met' if hard <= bar else 'missed'})")  # fmt: skip


def parts(rounds: int) -> None:
    """Print what single steps take: the `edges` chain by the side of its square, and drawing the demo's scene."""
    rng = np.random.default_rng(0)

    def fastest_ms(step: Callable[[], object]) -> float:
        return min(timeit.repeat(step, number=1, repeat=10 * rounds)) * 1e3

    for side in (144, 192, 216, 288, 432):
        crop = rng.integers(150, 250, (side, side), np.uint8)
        cv2.line(crop, (side // 3, side // 4), (side // 2, side - side // 4), 60, side // 20)
        print(f"edges, {side} px: {fastest_ms(lambda crop=crop: preprocess.edges(crop, (90.0, 30.0))):.2f} ms")
    paper, lines = render.paper_background(1280, 720, rng), glyphs.digit_strokes(5, rng)
    drawn_ms = fastest_ms(lambda: render.draw_scene(1280, 720, lines, (0.05, 0.0), 4.0, rng, background=paper))
    print(f"drawing the scene, 1280×720: {drawn_ms:.1f} ms")


def still(name: str, model: Bundle, rounds: int, count: int = 300) -> None:
    """Print what a frame of a still scene takes with `engine.still` against without, the clock going at 30 a second."""
    frames = as_a_webcam(recorded(1) * 15)  # the noise is another one in each
    engine = engines.open_engine(EngineSettings(kind="openvino"), model)

    def frame_ms(stillness: Stillness | None) -> float:
        classifier = Classifier.of(model, engine, stillness=stillness)
        for at in range(_UNTIL_STILL + count):
            if at == _UNTIL_STILL:
                began_s = time.process_time()
            now_s[0] = at / 30
            classifier.submit(frames[at % len(frames)], may_skip=True)
            if classifier.under_way:
                classifier.decide(classifier.collect(), Config().decide)
        return (time.process_time() - began_s) * 1e3 / count

    now_s = [0.0]
    turns = [(frame_ms(Stillness(5.0, 2.0, lambda: now_s[0])), frame_ms(None)) for _ in range(rounds)]
    ratios = [ours / every for ours, every in turns]
    print(f"{name}, a still scene: {statistics.median(turn[0] for turn in turns):.2f} ms a frame, every frame inferred "
          f"{statistics.median(turn[1] for turn in turns):.2f} ms: ratio median {statistics.median(ratios):.3f}, least "
          f"{min(ratios):.3f} (bar 0.6)", flush=True)  # fmt: skip


def screen_copies(rounds: int) -> None:
    """Print what showing a decoded picture takes, in copies of the screen's memory: so KMS and framebuffer draw."""
    for picture, screen in (((1280, 720), (1280, 720)), ((1920, 1080), (1920, 1080)), ((1280, 720), (1920, 1080))):
        shown, copied = zip(*_against_copying(picture, screen, 10 * rounds), strict=True)
        ratio = statistics.median(mine / copy for mine, copy in zip(shown, copied, strict=True))
        print(f"showing {picture[0]}×{picture[1]} on {screen[0]}×{screen[1]} once it is decoded: {min(shown) * 1e3:.2f}"
              f" ms; in copies of the screen median {ratio:.2f}, of the least {min(shown) / min(copied):.2f} (bar 2)"
              + (", of which most is enlarging it" if picture != screen else ""))  # fmt: skip


def _against_copying(picture: tuple[int, int], screen: tuple[int, int], turns: int) -> list[tuple[float, float]]:
    """Return turn by turn how many seconds showing a picture takes, and copying the screen's memory."""
    memory, other = (np.frombuffer(mmap.mmap(-1, screen[0] * screen[1] * 4), np.uint8) for _ in range(2))
    target = memory.reshape(screen[1], screen[0], 4)
    image = np.random.default_rng(0).integers(0, 255, (picture[1], picture[0], 3), np.uint8)
    resizer, letterbox = Resizer(), Letterbox()
    top = (Prediction("7", 0.99),)
    said = Result(0, 0.0, 0.0, "7", 0.99, top, "openvino:CPU", 1.0, 2.0, np.zeros((28, 28, 1), np.uint8))
    height, width = resizer.fit(image, *screen).shape[:2]
    layer = annotate.layer(height, width, said, annotate.Annotation((10, 10, 200, 200), "30 fps", ""))

    def show() -> None:
        fitted = resizer.fit(image, *screen)
        letterbox.draw(fitted, target, False, layer.overlays(fitted))

    np.copyto(memory, other)  # its pages are there from now on
    return [(timeit.timeit(show, number=1), timeit.timeit(lambda: np.copyto(memory, other), number=1))
            for _ in range(turns)]  # fmt: skip


def start_and_memory(rounds: int) -> None:
    """Print the time from start to the first result, and the memory of the running daemon."""
    command = [sys.executable, "-m", "picam_infer", "run", "--source", "demo", "--display", "none", "--json"]
    with tempfile.TemporaryDirectory() as empty:
        environment = {**os.environ, "XDG_CACHE_HOME": empty}
        took_s, memory_mb = [], []
        for _ in range(rounds + 1):
            began_s = time.monotonic()
            with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=ROOT, text=True) as process:
                assert process.stdout is not None
                json.loads(process.stdout.readline())
                took_s.append(time.monotonic() - began_s)
                for _ in range(90):
                    process.stdout.readline()
                memory_mb.append(rss_mb(process.pid))
                process.terminate()
    print(f"start to first result: cold {took_s[0]:.2f} s, warm {statistics.median(took_s[1:]):.2f} s (bar 2 s)")
    print(f"memory, headless: {max(memory_mb):.0f} MB resident (bar 160 MB)")


def growth(model: Bundle, count: int) -> None:
    """Print how much memory grows over many frames, after a warm-up."""
    # One pipeline throughout: a second one would count a second compiled network as growth.
    running = pipeline(model, Played(recorded(), count + 2000))
    running.start()
    while running.state.stats.inferences.total < 2000:
        time.sleep(0.05)
    before_mb = rss_mb()
    running.finished.wait()
    after_mb = rss_mb()
    running.stop()
    print(f"memory growth over {count} frames: {after_mb - before_mb:+.2f} MB (bar 3 MB)")


class Alternating:
    """An engine that sees the other class every time: each of its results is a label change."""

    name, depth, telemetry = "alternating", 1, None

    def __init__(self) -> None:
        self._turn = False

    def submit(self, input_image: Pixels) -> None:
        """Turn round."""
        self._turn = not self._turn

    def collect(self) -> Scores:
        """Return the scores of two classes."""
        return np.array([0.1, 0.9] if self._turn else [0.9, 0.1], np.float32)

    def close(self) -> None:
        """Nothing is held."""


def change_growth(model: Bundle, codec: Codec, count: int) -> None:
    """Print how much memory grows over many label changes, with a page that nobody watches and an outlet."""
    warm, frames = 400, recorded(30)
    if codec == "bgr":
        frames = [replace(frame, data=decode.bgr(frame), codec="bgr") for frame in frames]
    # Each picture is an array of its own, as a source delivers them.
    source = Played(frames, count + warm, lambda frame: replace(frame, data=frame.data.copy()))
    state = State(Tuning(model.card.preprocess, Config().decide))
    postprocessor = Postprocessor(("a", "b"), None)
    running = Pipeline(state, PipelineSetup(
        lambda: source, lambda stopping: Classifier.of(model, Alternating(), postprocessor=postprocessor),
    ))  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        outlets = (Jsonl(path=f"{folder}/events"), Command(argv=("/bin/true",), labels=("neither",)))
        page = Web(listen="127.0.0.1:0", token_file=f"{folder}/token")
        with Events(outlets, state), web.Web(page, state, lambda frame: None) as served:
            served.listening.wait()
            running.start()
            while state.stats.label_changes < warm:
                time.sleep(0.05)
            before_mb = rss_mb()
            running.finished.wait()
            after_mb = rss_mb()
            running.stop()
    grown_mb = after_mb - before_mb
    print(f"memory growth over {state.stats.label_changes - warm} label changes, {codec} frames: {grown_mb:+.2f} MB "
          f"(bar 3 MB: {'met' if grown_mb <= 3 else 'MISSED'})")  # fmt: skip


def age(model: Bundle, seconds: float) -> None:
    """Print how old frames are when the display has them."""
    running = pipeline(model, sources.open_source("demo", Capture()))
    screen = Screen(Config(display=DisplaySettings(kind="none")), patient=True)
    paper: Display = Paper()
    screen.use(paper)
    viewer = Viewer(screen, running.state, RuntimeSettings(running.state))
    running.start()
    spent_s: list[float] = []
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        began_s = time.thread_time()
        viewer.step()
        spent_s.append(time.thread_time() - began_s)
    running.stop()
    ages_ms = sorted(a * 1e3 for a in list(running.state.stats.shown_age_s)[30:])
    p99 = ages_ms[int(len(ages_ms) * 0.99) - 1]
    work_ms = statistics.quantiles(spent_s, n=20)[-1] * 1e3
    print(f"frame age at the display: median {statistics.median(ages_ms):.1f} ms, p99 {p99:.1f} ms over {len(ages_ms)} "
          f"frames; decode and draw take {work_ms:.1f} ms (bar: p99 ≤ 33.3 + processing)")  # fmt: skip


def photo_bundle(folder: Path | None) -> Iterator[Bundle]:
    """Yield the Teachable Machine bundle to measure with, if there is one."""
    if folder is not None:
        yield bundles.load(folder)
        return
    exports = sorted((ROOT.parent / "shared" / "models").glob("*/converted_keras.zip"))
    if not exports:
        print("photo: skipped, needs a Teachable Machine bundle: --photo DIR")
        return
    from picam_infer.convert.conversion import convert

    with tempfile.TemporaryDirectory() as scratch:
        convert(exports[0], Path(scratch) / "photo")
        yield bundles.load(Path(scratch) / "photo")


def watched(models: dict[str, Bundle], frames: list[Frame], others: list[Path], args: argparse.Namespace) -> None:
    """Print what whole processes take, headless and with a window."""
    if shutil.which("Xvfb") is None:
        print("whole processes: skipped, needs Xvfb (apt install xvfb)")
        return
    bench_window.rows(models, frames, others, args)


def compare(
    kind: str, model: Bundle, loop: Callable[[Bundle, bool], Step], bar: float, args: argparse.Namespace
) -> None:
    """Print the parts that concern one model."""
    if "loops" in args.parts:
        against(kind, model, loop, bar, args.rounds, args.frames)
    if "still" in args.parts:
        still(kind, model, args.rounds)
    if "processes" in args.parts:
        watched({kind: model}, as_a_webcam(recorded()), args.other if kind == "photo" else [], args)


def main() -> None:
    """Run what was asked for."""
    bootstrap()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photo", type=Path, metavar="DIR", help="a Teachable Machine bundle")
    parser.add_argument("--other", type=Path, action="append", default=[], metavar="FILE",
                        help="the photo network as .tflite or .onnx, for what other runtimes take")  # fmt: skip
    parser.add_argument("--only", choices=["headless", "window"], default="", help="of the whole processes")
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=PARTS, help="what to measure")
    parser.add_argument("--against", choices=bench_window.AGAINST, nargs="+", default=bench_window.AGAINST,
                        help="whom to compare the whole processes with")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=300, help="frames a round")
    parser.add_argument("--growth", type=int, default=20_000, help="frames for the memory growth")
    parser.add_argument("--changes", type=int, default=2_000, help="label changes for the memory growth")
    args = parser.parse_args()
    digits, wanted = bundles.load("digits"), args.parts
    compare("digits", digits, digits_loop, 1 / 8, args)
    if {"loops", "still", "processes"} & set(wanted):
        for model in photo_bundle(args.photo):
            compare("photo", model, photo_loop, 0.65, args)
    if "steps" in wanted:
        parts(args.rounds)
    if "screen" in wanted:
        screen_copies(args.rounds)
    if "start" in wanted:
        start_and_memory(args.rounds)
    if "age" in wanted:
        age(digits, 20)
    if "growth" in wanted:
        growth(digits, args.growth)
        for codec in ("jpeg", "bgr"):
            change_growth(digits, codec, args.changes)


if __name__ == "__main__":
    main()
