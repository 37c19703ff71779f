"""Labelled pictures: what the files do not say about a model's input is decided by trying it on them."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from picam_infer.convert import input_spec, ir
from picam_infer.convert.answer import Answer
from picam_infer.convert.input_spec import InputSpec
from picam_infer.convert.tensor import Array
from picam_infer.core import NoInput, PicamError, Pixels
from picam_infer.imaging import picture_files, pictures
from picam_infer.imaging.pictures import as_frame, read_picture
from picam_infer.inference import preprocess
from picam_infer.inference.evaluation import class_of
from picam_infer.models.bundle import Card, Chain, Edges, Fit, Input, Photo
from picam_infer.platform.paths import real

MAX_PICTURES = 200
MAX_FILES = 20_000
MAX_DEPTH = 3
FEW = 12
"""How many pictures the self-check looks at."""
BUDGET_S = 60.0
"""About how long trying may take."""


@dataclass(frozen=True)
class Tried:
    """The result of one way of feeding the network."""

    way: str
    right: int
    of: int
    chosen: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON object."""
        return {"way": self.way, "right": self.right, "of": self.of, "chosen": self.chosen}


@dataclass(frozen=True)
class Pictures:
    """Pictures found beside a model or where `--try` says."""

    known: tuple[tuple[Path, int], ...] = ()
    """With the number of their class."""
    others: tuple[Path, ...] = ()
    where: str = ""

    @property
    def classes(self) -> int:
        """How many classes there are pictures of."""
        return len({number for _, number in self.known})


# -- finding them ----------------------------------------------------------------


def find_pictures(asked: Path | None, places: Sequence[Path], names: Sequence[str]) -> Pictures:
    """Return the pictures in `--try`'s folder, else beside the model. Raises `NoInput` where it has none of use."""
    if asked is None:
        for place in places:
            found = _sorted_out(_beside(place), place, names)
            if found.known or found.others:
                return found
        return Pictures()
    if not asked.is_dir():
        raise NoInput(f"there is no folder {asked}", "--try needs a folder with one folder of pictures for each class")
    found = _sorted_out(picture_files.find(asked).pictures, asked, names)
    if not found.known:
        folders = sorted(path.name for path in asked.iterdir() if path.is_dir())[:5]
        seen = f"its folders are {', '.join(folders)}" if folders else "it has no folders"
        raise NoInput(
            f"{asked} has no pictures of this model's classes: {seen}, the classes {', '.join(names[:5])}",
            "name one folder after each class",
        )
    return found


def _sorted_out(files: Iterable[Path], folder: Path, names: Sequence[str]) -> Pictures:
    known: list[tuple[Path, int]] = []
    others: list[Path] = []
    for path in files:
        number = _number(path, folder, names)
        if number is None:
            others.append(path)
        else:
            known.append((path, number))
    return Pictures(tuple(_evenly(known)), tuple(others[:FEW]), real(folder).name)


def _beside(folder: Path) -> Iterator[Path]:
    """Yield pictures in a model's folder and a few levels below it, since it may be a home folder."""
    pending, seen = [(folder, 0)], 0
    while pending:
        place, level = pending.pop(0)
        with contextlib.suppress(OSError):
            for path in sorted(place.iterdir()):
                seen += 1
                if seen > MAX_FILES:
                    return
                if path.name.startswith(".") or path.is_symlink():
                    continue
                if path.is_dir() and level < MAX_DEPTH:
                    pending.append((path, level + 1))
                elif path.is_file() and pictures.readable(path):
                    yield path


def _number(path: Path, root: Path, names: Sequence[str]) -> int | None:
    """Return the number of the class after which a picture's folder, or else its file, is named; None for no class."""
    if path.parent != root:
        label = class_of(path, root, names)
        if label in names:
            return names.index(label)
        folder = path.parent.name
        if folder.isdecimal() and f"class {int(folder)}" in names:
            return names.index(f"class {int(folder)}")
    return _called_after(path.stem, [_plain(name) for name in names])


def _called_after(stem: str, plain: Sequence[str]) -> int | None:
    """Return the class after which a file is named: `cat.12`, or `red-left` for the only class with both words."""
    stem = re.sub(r"[\d\s]+$", "", _plain(stem)) or _plain(stem)
    if stem in plain:
        return plain.index(stem)
    words = set(stem.split())
    inside = [at for at, name in enumerate(plain) if words < set(name.split())]
    return inside[0] if len(inside) == 1 and len(words) > 1 else None


def _evenly(known: list[tuple[Path, int]]) -> list[tuple[Path, int]]:
    """Return at most `MAX_PICTURES`, as many of each class as can be."""
    counts: Counter[int] = Counter()
    ranked = []
    for pair in known:
        counts[pair[1]] += 1
        ranked.append((counts[pair[1]], pair))
    return [pair for _, pair in sorted(ranked, key=lambda one: (one[0], str(one[1][0])))[:MAX_PICTURES]]


def _plain(name: str) -> str:
    return " ".join(re.sub(r"[_\-.]+", " ", name).casefold().split())


# -- trying ----------------------------------------------------------------------


def settle(
    model: Any, network: Input, spec: InputSpec, shown: Pictures, meaning: Answer, asked: bool
) -> tuple[InputSpec, list[Tried]]:
    """Return the spec with what was open decided by the pictures, and each way's result; unchanged if they cannot.

    Without having been `asked`, pictures of two classes are the least, and outlines stay outlines.
    """
    enough = shown.known if asked else shown.known if shown.classes > 1 else ()
    open_ = spec.open if asked else spec.open - {"chain"}
    if not enough or meaning.task == "regression" or len(meaning.labels) < 2 or not (open_ or asked):
        return spec, []
    spec = InputSpec(spec.chain, spec.notes, spec.hints, open_)
    ways, fits = input_spec.variants(spec, input_spec.View(network, True))
    trial = _Trial(model, network, enough, ways, fits)
    tried = [(way, trial.right(way)) for way in ways]
    best = max(tried, key=lambda pair: pair[1])[0]  # of equals, the first one, our default
    if isinstance(best, Photo):
        more: list[Chain] = [_with_fit(best, fit) for fit in fits if fit != best.fit]
        tried += [(way, trial.right(way)) for way in more]
    best, right = max(tried, key=lambda pair: pair[1])
    told = [Tried(describe(way), count, trial.count, way == best) for way, count in tried]
    count = f"{right} of {trial.count} pictures in {shown.where}"
    if best == spec.chain:
        if len(tried) > 1:
            spec.hints.append(f"{count} get their class, and no other way that was tried does better")
        return spec, told
    return InputSpec(best, [f"{describe(best)} was chosen of {len(tried)} ways: {count} get their class"]), told


def _with_fit(chain: Photo, fit: Fit) -> Photo:
    return msgspec.structs.replace(chain, fit=fit)


def describe(chain: Chain) -> str:
    """Return a chain in a few words: `0…1, rgb, squash`."""
    if isinstance(chain, Edges):
        return "outlines"
    low, high = chain.normalisation.range()
    each = " by channel" if len(low) > 1 else ""
    return f"{low.min():.4g}…{high.max():.4g}{each}, {chain.colour}, {chain.fit}"


@dataclass
class _Trial:
    """Runs the network on the same pictures in different ways."""

    model: Any
    network: Input
    known: Sequence[tuple[Path, int]]
    ways: Sequence[Chain]
    fits: Sequence[Fit]
    _seen: dict[Any, list[tuple[Pixels, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._run = ir.compiled(self.model)
        self._shape = tuple(int(side) for side in self.model.input(0).shape)
        began_s = time.monotonic()
        self._run([ir.sample(self._shape)])
        took_s = max(time.monotonic() - began_s, 1e-4)
        runs = len(self.ways) + len(self.fits)
        limit = max(8, int(BUDGET_S / (took_s * runs)))
        self._read(self.known[:limit])
        self.count = len(next(iter(self._seen.values()), []))
        if not self.count:
            raise PicamError("none of the pictures to try can be read", "give others with --try FOLDER")

    def _read(self, known: Sequence[tuple[Path, int]]) -> None:
        """Keep every picture as it looks to the network in each fit; read once, as pictures are large."""
        kinds: dict[Any, Chain] = {}
        for way in self.ways:
            kinds[self._key(way)] = way
            if isinstance(way, Photo):
                kinds |= {self._key(other): other for other in (_with_fit(way, fit) for fit in self.fits)}
        prepared = {key: preprocess.build(way, self.network) for key, way in kinds.items()}
        for path, number in known:
            try:
                frame = as_frame(read_picture(path))
            except PicamError:
                continue
            for key, prepare in prepared.items():
                self._seen.setdefault(key, []).append((np.array(prepare(frame)), number))

    @staticmethod
    def _key(way: Chain) -> Any:
        return ("photo", way.colour, way.fit) if isinstance(way, Photo) else "edges"

    def right(self, way: Chain) -> int:
        """Return how many pictures get their own class."""
        right = 0
        for input_image, number in self._seen[self._key(way)]:
            feed = preprocess.tensor(input_image, way, self.network).reshape(self._shape)
            right += int(np.asarray(self._run([feed])[0]).ravel().argmax()) == number
        return right


# -- what the self-check looks at --------------------------------------------------


def feeds(card: Card, shown: Pictures) -> list[Array]:
    """Return inputs to compare weights on: the model's own pictures where there are some, and made ones.

    Each is (1, H, W, C) or (1, C, H, W) by the card's layout, scaled as the card says.
    """
    input_images = []
    prepare = preprocess.build(card.preprocess, card.input)
    for path in [*(path for path, _ in shown.known), *shown.others][:FEW]:
        with contextlib.suppress(PicamError):
            input_images.append(np.array(prepare(as_frame(read_picture(path)))))
    size = card.input
    input_images += made(size.height, size.width, size.channels)
    return [preprocess.tensor(input_image, card.preprocess, size) for input_image in input_images]


def made(height: int, width: int, channels: int) -> list[Pixels]:
    """Return pictures (H, W, C) with what photographs have: flat colours, slopes, edges, detail of every size."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    found = []
    for number in range(8):
        picture = np.zeros((height, width, channels))
        for octave in range(1, 6):
            waves = rng.normal(size=(4, 2)) * 2**octave
            phases, strengths = rng.uniform(0, 6.3, (4, channels)), rng.normal(size=(4, channels)) / 1.6**octave
            for wave, phase, strength in zip(waves, phases, strengths, strict=True):
                picture += np.sin((wave[0] * x + wave[1] * y)[:, :, None] * 6.3 + phase) * strength
        if number % 2:  # shapes with edges on a background
            picture = np.where(picture > 0.3, 1.0, picture * 0.3) + rng.normal(size=channels) * 0.3
        low, high = picture.min(), picture.max()
        found.append(((picture - low) / max(high - low, 1e-9) * rng.uniform(120, 255)).astype(np.uint8))
    flat = [np.full((height, width, channels), level, np.uint8) for level in (0, 255)]
    return [*found, *flat]
