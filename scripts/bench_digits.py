"""Judges a digit model on photographs and rendered frames, beside two well-known recipes, at three camera sizes."""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain as chained
from pathlib import Path

import approaches
import cv2
import frame_statistics
import numpy as np

from picam_infer.config import LIVE_HOLD, Decide
from picam_infer.convert.conversion import convert
from picam_infer.core import Frame, NoInput, PicamError
from picam_infer.imaging import pictures
from picam_infer.imaging.decode import grey_square
from picam_infer.inference.preprocess import edges
from picam_infer.inference.ruled_lines import without_ruled_lines
from picam_infer.models.bundle import Bundle, Edges, load
from picam_infer.platform import regular_file
from picam_infer.training.digits import LABELS, REJECT, Digits, read_mnist
from picam_infer.training.network import scaled
from picam_infer.training.rates import CLAIM, Predict, Rates, openvino_predict
from picam_infer.training.render import TRAIN, jpeg
from picam_infer.training.samples import digit_squares, evaluation_frames

SIZES = {"480p": (640, 480), "720p": (1280, 720), "1080p": (1920, 1080)}
GROUPS = ("fill_percent", "tool", "ground", "light")
NONE = REJECT
DIGITS = LABELS[:NONE]
COLUMNS_OF_INDEX = "it needs a first row with the columns file and label, and a row for each picture"
ROI = 0.4
WORK_PX = 144

Prepare = Callable[[np.ndarray], np.ndarray | None]
"""The grey centre square to the network's input 28 x 28, or None where the recipe itself sees no digit."""


@dataclass(frozen=True)
class Case:
    """One picture to be named, and what is known of it."""

    frame: Frame
    truth: int
    about: dict[str, str]


@dataclass(frozen=True)
class Recipe:
    """A way from the centre square to a name."""

    name: str
    prepare: Prepare
    predict: Predict

    def scores(self, squares: Sequence[np.ndarray]) -> np.ndarray:
        """n x 11 probabilities; a network without a reject class has 0 there."""
        rows = np.zeros((len(squares), NONE + 1), np.float32)
        rows[:, NONE] = 1
        inputs = [self.prepare(square) for square in squares]
        seen = [i for i, prepare in enumerate(inputs) if prepare is not None]
        if seen:
            found = self.predict(np.stack([inputs[i] for i in seen]))
            rows[seen] = np.pad(found, ((0, 0), (0, NONE + 1 - found.shape[1])))
        return rows


# -- pictures ------------------------------------------------------------


def photographs(folder: Path, size: tuple[int, int]) -> Iterator[Case]:
    """The folder's pictures as frames of a size: scaled to its height, their border repeated to its width."""
    index = folder / "index.csv"
    for number, (place, path, truth, about) in enumerate(listed(index)):
        try:
            coded = pictures.read_bytes(path)
            image = pictures.decode_picture(coded, str(path))
        except PicamError as error:
            raise NoInput(f"{place}: {error.message}", error.hint) from error
        as_it_is = coded.startswith(b"\xff\xd8") and image.shape[1::-1] == size
        data = np.frombuffer(coded, np.uint8) if as_it_is else jpeg(resized(image, size), 85)
        yield Case(Frame(data, "jpeg", *size, monotonic_s=0, captured=0, seq=number), truth, about)


def listed(index: Path) -> list[tuple[str, Path, int, dict[str, str]]]:
    """Each picture's row in an index (for people), its file, its class, and all said of it. Raises `NoInput`."""
    rows = csv.DictReader(io.StringIO(index_text(index), newline=""), strict=True)
    found = []
    try:
        lacking = [name for name in ("file", "label") if name not in (rows.fieldnames or [])]
        if lacking:
            raise NoInput(f"{index}, row 1: there is no column {lacking[0]}", COLUMNS_OF_INDEX)
        for row in rows:
            place = f"{index}, row {rows.line_num}"
            if None in row or row["file"] is None or row["label"] is None:
                raise NoInput(f"{place}: it has not as many columns as the first row", COLUMNS_OF_INDEX)
            if not row["file"].strip():
                raise NoInput(f"{place}: it names no file", COLUMNS_OF_INDEX)
            found.append((place, index.parent / row["file"], truth_of(row["label"].strip(), place), row))
    except csv.Error as error:
        raise NoInput(f"{index}, row {rows.reader.line_num}: {error}", "save it as CSV again") from error
    if not found:
        raise NoInput(f"{index} names no pictures", COLUMNS_OF_INDEX)
    return found


def truth_of(label: str, place: str) -> int:
    """The class that a label in an index means. Raises `NoInput`."""
    if label not in ("", *DIGITS):
        hint = "a label is 0 to 9, or empty for a picture without a digit"
        raise NoInput(f"{place}: {label!r} is not a digit", hint)
    return DIGITS.index(label) if label else NONE


def index_text(index: Path) -> str:
    """What an index holds. Raises `NoInput`."""
    try:
        regular_file.require(index)
        return index.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise NoInput(f"there is no {index}", COLUMNS_OF_INDEX) from error
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        raise NoInput(f"{index}, row {row}: it is not UTF-8 text", "save it as CSV in UTF-8") from error
    except OSError as error:
        raise regular_file.unreadable(index, error) from error


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture at another camera size: height to height."""
    width, height = size
    scale = height / image.shape[0]
    tall = cv2.resize(image, (round(image.shape[1] * scale), height), interpolation=cv2.INTER_CUBIC)
    left = max((width - tall.shape[1]) // 2, 0)
    right = max(width - tall.shape[1] - left, 0)
    wide = cv2.copyMakeBorder(tall, 0, 0, left, right, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(wide[:, (wide.shape[1] - width) // 2 :][:, :width])


def rendered(digits: Digits, size: tuple[int, int], count: int, seed: int) -> Iterator[Case]:
    """`count` frames of the evaluation's renderer, every other one without a digit."""
    for truth, frame in evaluation_frames(digits, size, count, seed):
        yield Case(frame, truth, {})


# -- recipes -------------------------------------------------------------


def tutorial(square: np.ndarray) -> np.ndarray:
    """The tutorial's chain: Canny, dilate, resize, at the camera's own size."""
    return np.asarray(cv2.resize(cv2.dilate(cv2.Canny(square, 90, 30), np.ones((3, 3), np.uint8)), (28, 28)))


def threshold_component(square: np.ndarray) -> np.ndarray | None:
    """Adaptive threshold, the largest component that keeps off the border, centred by its mass as MNIST's digits."""
    grey = cv2.GaussianBlur(cv2.resize(square, (192, 192), interpolation=cv2.INTER_AREA), (5, 5), 0)
    ink = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY_INV, 51, 12)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(ink)
    inside = [i for i in range(1, count) if boxes[i, :2].min() > 1 and (boxes[i, :2] + boxes[i, 2:4]).max() < 191]
    if not inside:
        return None
    best = max(inside, key=lambda i: int(boxes[i, cv2.CC_STAT_AREA]))
    x, y, w, h = (int(v) for v in boxes[best, :4])
    if boxes[best, cv2.CC_STAT_AREA] < 60:
        return None
    return centred((labels[y : y + h, x : x + w] == best).astype(np.uint8) * 255)


def centred(ink: np.ndarray) -> np.ndarray:
    """A digit as MNIST lays it out: its longer side 20 px, its centre of mass in the middle of 28 x 28."""
    scale = 20 / max(ink.shape)
    small = cv2.resize(ink, (max(round(ink.shape[1] * scale), 1), max(round(ink.shape[0] * scale), 1)), None, 0, 0,
                       cv2.INTER_AREA)  # fmt: skip
    moments = cv2.moments(small)
    mass = max(moments["m00"], 1.0)
    move = np.array([[1, 0, 13.5 - moments["m10"] / mass], [0, 1, 13.5 - moments["m01"] / mass]], np.float32)
    return np.asarray(cv2.warpAffine(small, move, (28, 28)))


def variant(canny: tuple[float, float], blur: int, lines: bool) -> Prepare:
    """The `edges` chain with another smoothing and with or without ruled lines, to weigh its steps."""

    def prepare(square: np.ndarray) -> np.ndarray:
        grey = cv2.resize(square, (WORK_PX, WORK_PX), interpolation=cv2.INTER_AREA)
        grey = cv2.GaussianBlur(without_ruled_lines(grey) if lines else grey, (blur, blur), 0)
        outline = cv2.dilate(cv2.Canny(grey, *canny), np.ones((3, 3), np.uint8))
        return np.asarray(cv2.resize(outline, (28, 28), interpolation=cv2.INTER_AREA))

    return prepare


def plain_network(args: argparse.Namespace) -> Predict | None:
    """A network trained on MNIST as it is, for the two recipes: of a file, or trained here where TensorFlow is."""
    if args.plain is None and (args.mnist is None or not has_tensorflow()):
        return None
    with tempfile.TemporaryDirectory() as folder:
        source = args.plain or trained_plainly(args.mnist, Path(folder))
        if not source.is_dir():
            source = Path(convert(source, Path(folder) / "plain").bundle)
        return openvino_predict(load(source).network)


def has_tensorflow() -> bool:
    """Whether a network can be trained here."""
    from importlib.util import find_spec

    return find_spec("tensorflow") is not None


def trained_plainly(mnist: Path, folder: Path) -> Path:
    """Keras's introductory convolutional network after three epochs on MNIST."""
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    images, labels = read_mnist(mnist, "train")
    network.compile("adam", "sparse_categorical_crossentropy")
    network.fit(scaled(images), labels, batch_size=128, epochs=3, verbose=0)
    network.save(folder / "plain.h5")
    return folder / "plain.h5"


# -- tables --------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """What a recipe made of cases."""

    cases: Sequence[Case]
    scores: np.ndarray

    @property
    def truth(self) -> np.ndarray:
        """n classes."""
        return np.array([case.truth for case in self.cases])

    def only(self, key: str, value: str) -> Judged:
        """The cases of one group, and those without a digit."""
        kept = [i for i, case in enumerate(self.cases) if case.truth != NONE and case.about.get(key) == value]
        return Judged([self.cases[i] for i in kept], self.scores[kept])

    def values(self, key: str) -> list[str]:
        """What the digits' cases have under a key."""
        return sorted({case.about[key] for case in self.cases if case.truth != NONE and case.about.get(key)})

    def claims(self) -> tuple[np.ndarray, np.ndarray]:
        """For each case whether a digit is named, and whether it is the right one."""
        best = self.scores.argmax(axis=1)
        named = (self.scores.max(axis=1) >= CLAIM) & (best != NONE)
        return named, named & (best == self.truth)

    def shares(self) -> tuple[float, ...]:
        """Right, wrong, unknown, top-1 of the digits and claims on the rest, in percent (NaN: no such cases)."""
        named, right = self.claims()
        digit = self.truth != NONE
        first = self.scores[:, :NONE].argmax(axis=1) == self.truth
        parts = (right[digit], (named & ~right)[digit], ~named[digit], first[digit], named[~digit])
        return tuple(100 * float(part.mean()) if part.size else float("nan") for part in parts)


COLUMNS = ("right", "wrong", "unknown", "top-1", "on nothing")


def heading(title: str, columns: Sequence[str] = COLUMNS) -> None:
    """Print a table's head."""
    print(f"\n{title:44}" + "".join(f"{name:>12}" for name in columns))


def line(name: str, values: Sequence[float]) -> None:
    """Print a table's row of percentages."""
    print(f"{name:44}" + "".join(f"{'–' if np.isnan(v) else f'{v:.1f} %':>12}" for v in values))


def by_group(judged: Judged) -> None:
    """Print right, wrong and unknown for each fill, tool, ground and light, and over writers."""
    heading("photographs at 480p, by group", (*COLUMNS[:3], "digits"))
    for key in GROUPS:
        for value in judged.values(key):
            part = judged.only(key, value)
            shares = "".join(f"{v:10.1f} %" for v in part.shares()[:3])
            print(f"{key.removesuffix('_percent') + ' ' + value:44}{shares}{len(part.cases):12d}")
    writers = [judged.only("writer", value).shares() for value in judged.values("writer")]
    if writers:
        line(f"mean over {len(writers)} writers", [float(v) for v in np.mean(writers, axis=0)[:3]])


def confusion(judged: Judged, title: str) -> None:
    """Print counts, rows the truth, columns the best class."""
    counts = Rates.of(judged.scores, judged.truth).confusion
    print(f"\nconfusion, {title} (rows: truth)\n" + "".join(f"{label:>6}" for label in ("", *LABELS)))
    for label, row in zip(LABELS, counts, strict=True):
        print(f"{label:>6}" + "".join(f"{n:6d}" for n in row))


def cost(cases: Sequence[Case], model: Bundle, canny: tuple[float, float], rounds: int) -> None:
    """Print the time of the whole chain from JPEG to scores beside the chain of version 0.1, taking turns."""
    import openvino as ov

    compiled = ov.Core().compile_model(model.network, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    chains: dict[str, Prepare] = {"0.1": variant(canny, 3, False), "now": lambda square: edges(square, canny)}
    spent: dict[str, list[float]] = {name: [] for name in chains}
    for case in chained.from_iterable([cases] * rounds):
        for name, prepare in chains.items():
            began_s = time.perf_counter()
            ready = prepare(grey_square(case.frame, ROI, WORK_PX))
            assert ready is not None
            compiled(scaled(ready[None]))
            spent[name].append(time.perf_counter() - began_s)
    first, now = (float(np.mean(np.sort(v)[: len(v) * 9 // 10])) for v in spent.values())
    print(f"\ncost of the whole chain, JPEG to scores: {now / first:.3f} of version 0.1's (trimmed mean, taking turns)")


def approached(digits: Digits, predict: Predict, canny: tuple[float, float], count: int) -> None:
    """Print what people saw during simulated approaches, with several settings of `decide`."""
    rng = np.random.default_rng(1)
    visits, scores = [], []
    for _ in range(count):
        visit = approaches.approach(digits, rng)
        inputs = [edges(grey_square(frame, ROI, WORK_PX), canny) for frame in visit.frames]
        scores.append(list(predict(np.stack(inputs))))
        visits.append(visit)
    heads = ("false a minute", "delay s", "p90 s", "never", "flicker")
    print(f"\n{f'{count} approaches, 15 answers a second':44}" + "".join(f"{head:>16}" for head in heads))
    for hold in range(1, LIVE_HOLD + 2):
        for smooth in (0.0, 0.5):
            seen = approaches.shown(visits, scores, Decide(hold=hold, smooth=smooth))
            cells = (seen.false_per_min, seen.delay_s, seen.delay_p90_s, seen.missed, seen.flicker)
            print(f"{f'hold {hold}, smooth {smooth}':44}" + "".join(f"{cell:16.2f}" for cell in cells))


# -- the program ---------------------------------------------------------


def judge(recipes: Sequence[Recipe], cases: Sequence[Case], title: str) -> list[Judged]:
    """Print a row for each recipe."""
    squares = [grey_square(case.frame, ROI, WORK_PX) for case in cases]
    results = []
    for recipe in recipes:
        results.append(Judged(cases, recipe.scores(squares)))
        line(f"{title}, {recipe.name}", results[-1].shares())
    return results


def wanted_recipes(args: argparse.Namespace, canny: tuple[float, float], predict: Predict) -> list[Recipe]:
    """Return ours, then the two well-known ones where they can be had, then ours with its steps varied."""
    recipes = [Recipe("picam-infer", lambda square: edges(square, canny), predict)]
    plain = plain_network(args)
    if plain is None:
        print("without the tutorial's and the threshold recipe: they need --plain FILE, or --mnist DIR and TensorFlow")
    else:
        recipes += [Recipe("tutorial's chain, plain MNIST", tutorial, plain),
                    Recipe("threshold, largest component", threshold_component, plain)]  # fmt: skip
    if args.steps:
        recipes += [Recipe(f"smoothing {blur} px, ruled lines {'out' if lines else 'kept'}",
                           variant(canny, blur, lines), predict)
                    for blur, lines in ((3, False), (9, False), (3, True), (9, True))]  # fmt: skip
    return recipes


def run(args: argparse.Namespace) -> None:
    """Print all tables."""
    if args.photos:
        listed(args.photos / "index.csv")  # before anything that takes long
    model = load(args.model)
    if not isinstance(model.card.preprocess, Edges):
        raise NoInput(f"{args.model} is not a model for the edges chain", "name a digit model")
    canny, predict = model.card.preprocess.canny, openvino_predict(model.network)
    recipes = wanted_recipes(args, canny, predict)
    heading("frames")
    ours: dict[str, Judged] = {}
    first: Sequence[Case] = ()
    for name in args.sizes if args.photos else ():
        cases = list(photographs(args.photos, SIZES[name]))
        first = first or cases
        ours.setdefault("photographs", judge(recipes, cases, f"photographs {name}")[0])
    if args.mnist:
        images, labels = read_mnist(args.mnist, "t10k")
        digits = Digits.of(images[: args.frames // 2], labels[: args.frames // 2])
        for name in args.sizes:
            cases = list(rendered(digits, SIZES[name], args.frames, args.seed))
            first = first or cases
            ours.setdefault("rendered frames", judge(recipes, cases, f"rendered {name}")[0])
    if "photographs" in ours:
        by_group(ours["photographs"])
    for title, judged in ours.items():
        confusion(judged, f"{title} at {args.sizes[0]}")
    if args.statistics and args.mnist and "photographs" in ours:
        photos = [grey_square(c.frame, ROI, WORK_PX) for c in ours["photographs"].cases if c.truth != NONE]
        many = len(photos)
        frame_statistics.table({
            "photographs": photos,
            "rendered, before": list(digit_squares(digits, frame_statistics.BEFORE, many, args.seed)),
            "rendered, training": list(digit_squares(digits, TRAIN, many, args.seed)),
        })  # fmt: skip
    if args.approaches and args.mnist:
        approached(digits, predict, canny, args.approaches)
    if first:
        cost(first[:: max(len(first) // 200, 1)], model, canny, 3)


def main() -> int:
    """Parse the command line and run."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(prog="scripts/bench-digits", description=__doc__)
    index = "index.csv (file, label, fill_percent, tool, ground, light, writer)"
    parser.add_argument("--photos", type=Path, metavar="DIR", help=f"photographs with their {index}")
    parser.add_argument("--mnist", type=Path, metavar="DIR", help="MNIST's idx files, for rendered frames")
    parser.add_argument(
        "--plain", type=Path, metavar="FILE", help="plain MNIST network for the other recipes (default: trained here)"
    )
    parser.add_argument("-m", "--model", default="digits", help="bundle to judge (%(default)s)")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="camera sizes (all)")
    parser.add_argument("--frames", type=int, default=2000, help="rendered frames a size (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the rendered frames (%(default)s)")
    parser.add_argument("--statistics", action="store_true", help="compare the renderer with the photographs")
    parser.add_argument("--approaches", type=int, default=0, metavar="N", help="also simulate N approaches")
    parser.add_argument("--steps", action="store_true", help="also weigh the chain's steps one by one")
    args = parser.parse_args()
    if args.photos is None and args.mnist is None:
        parser.error("nothing to judge on: give --photos, --mnist or both")
    try:
        run(args)
    except PicamError as error:
        print(f"bench-digits: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
