"""A model folder: its card, labels and files; the only contract between the workshop and the service."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta

from picam_infer.core import NoInput, PicamError
from picam_infer.imaging.region import Roi
from picam_infer.models.normalisation import Factor, Normalisation
from picam_infer.platform import atomic_file, atomic_folder
from picam_infer.platform.file_stamp import FileStamp, file_stamp
from picam_infer.platform.paths import state_folder

BUILT_IN = Path(__file__).parent
INSTALLED = Path("/var/lib/picam-infer/models")

_YOUNG_S = 60
"""What is younger may be being written."""
Stamp = tuple[tuple[str, FileStamp | None], ...]
Colour = Literal["rgb", "bgr", "grey"]
Fit = Literal["crop", "squash", "pad"]
Task = Literal["classification", "multi-label", "regression"]
Gradient = Annotated[float, Meta(ge=0, le=1000)]


class BundleError(PicamError):
    """A model folder is there but cannot be used."""


class Edges(msgspec.Struct, frozen=True, tag="edges", tag_field="chain", forbid_unknown_fields=True):
    """Square → Canny → dilate → resize, for line drawings such as digits."""

    roi: Roi = 0.4
    """The square the network sees: a share of the upright picture's height (in the middle), or a `Region`."""
    canny: tuple[Gradient, Gradient] = (90.0, 30.0)
    """Canny's two hysteresis thresholds (8-bit gradient units), in either order."""
    scale: float = 1 / 255
    offset: float = 0.0
    """The network sees pixel × scale + offset."""

    @property
    def normalisation(self) -> Normalisation:
        """What makes the network's numbers of its pixels."""
        return Normalisation.of(self.scale, self.offset)


class Photo(msgspec.Struct, frozen=True, tag="photo", tag_field="chain", forbid_unknown_fields=True):
    """A part of the picture → resize → colour order → scale, for photographs."""

    roi: Roi = 1.0
    """Where the part is, and its height as a share of the frame's; its proportions are `fit`'s business."""
    colour: Colour = "rgb"
    scale: Factor = 1 / 127.5
    """The network sees pixel × scale + offset; three numbers: one for each channel, in the order of `colour`."""
    offset: Factor = -1.0
    fit: Fit = "crop"
    """How the frame comes into the input's proportions: the rest is cut off, it is squashed, or black is added."""

    @property
    def normalisation(self) -> Normalisation:
        """What makes the network's numbers of its pixels."""
        return Normalisation.of(self.scale, self.offset)


Chain = Edges | Photo


class Origin(msgspec.Struct, frozen=True):
    """Where a model came from."""

    file: str
    sha256: str = ""
    format: str = ""
    """What the file is, in words: `Keras 2 HDF5`, `TensorFlow.js layers`…"""


class Input(msgspec.Struct, frozen=True):
    """The network's input tensor."""

    shape: tuple[int, int, int, int]
    layout: Literal["NHWC", "NCHW"] = "NHWC"

    @property
    def height(self) -> int:
        """Pixels."""
        return self.shape[self.layout.index("H")]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.shape[self.layout.index("W")]

    @property
    def channels(self) -> int:
        """1 (grey) or 3."""
        return self.shape[self.layout.index("C")]


class TaughtClass(msgspec.Struct, frozen=True):
    """A class that was taught from pictures."""

    label: str
    pictures: int
    accuracy: float | None = None
    """The share of its pictures that are named rightly when each is left out in turn; None: it has only one."""


class Taught(msgspec.Struct, frozen=True):
    """How a network's last layers were taught (`picam-infer teach`)."""

    backbone: str
    """The model that makes the features."""
    sha256: str
    """Of that model's network."""
    features: str
    """The layer of it that they come from."""
    classes: tuple[TaughtClass, ...] = ()
    accuracy: float | None = None
    """The share of all pictures that are named rightly when each is left out in turn."""


class Card(msgspec.Struct, frozen=True):
    """`model.yaml`: all that must be known to feed the network and read its answer."""

    name: str
    input: Input
    preprocess: Chain
    origin: Origin = Origin(file="unknown")
    output: str = ""
    """The output layer's name."""
    probabilities: bool = True
    """False: the outputs are logits (see `softmax`) or values."""
    reject: str | None = None
    """The label that means «none of the others»: shown as unknown."""
    notes: tuple[str, ...] = ()
    """What was assumed when the model was converted."""
    task: Task = "classification"
    """What the outputs are: classes of which one applies, classes of which several may, or values."""
    units: tuple[str, ...] = ()
    """The values' units, one for each output."""
    taught: Taught | None = None
    """What its last layers were taught with; None: it came whole from a file."""

    @property
    def normalisation(self) -> Normalisation:
        """What makes the network's numbers of its pixels."""
        return self.preprocess.normalisation

    @property
    def softmax(self) -> bool:
        """Whether the engine has to make probabilities of logits."""
        return self.task == "classification" and not self.probabilities


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model folder that was read and found whole."""

    folder: Path
    card: Card
    labels: tuple[str, ...]

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    @property
    def classes(self) -> list[str]:
        """The labels of what it can name; «none of them», where it has an output for that, is left out."""
        return [label for label in self.labels if label != self.card.reject]

    @property
    def network(self) -> Path:
        """The OpenVINO IR's `.xml`; its `.bin` lies beside it."""
        return self.folder / "model.xml"

    @property
    def graph(self) -> Path | None:
        """The Movidius graph, if the bundle has one."""
        path = self.folder / "graph"
        return path if path.is_file() else None


def home() -> Path:
    """Return where models that this process makes belong: among the installed ones if it may write there."""
    return INSTALLED if os.access(INSTALLED, os.W_OK | os.X_OK) else _own()


def _own() -> Path:
    """Return the folder of the user's own models."""
    return state_folder() / "models"


def _places() -> Sequence[Path]:
    try:
        return INSTALLED, _own(), BUILT_IN
    except RuntimeError:  # a user without a home
        return INSTALLED, BUILT_IN


def names(search: Sequence[Path] | None = None) -> list[str]:
    """Return the names of the bundles that `load` finds by name."""
    found = {card.parent.name for folder in search or _places() for card in folder.glob("*/model.yaml")}
    return sorted(name for name in found if not name.startswith("."))  # those are on their way in or out


def load(model: str | Path, search: Sequence[Path] | None = None) -> Bundle:
    """Read the bundle of that name, or of a folder (with a slash). Raises `NoInput` (none there) or `BundleError`."""
    folder = _find(str(model), search or _places())
    card = _read_card(folder / "model.yaml")
    for part in ("model.xml", "model.bin", "labels.txt"):
        if not (folder / part).is_file():
            raise BundleError(f"model {folder} has no {part}", "copy the whole folder, or convert the model again")
    try:
        labels = tuple((folder / "labels.txt").read_text("utf-8-sig").splitlines())
    except (OSError, UnicodeError) as error:
        raise BundleError(f"{folder / 'labels.txt'} cannot be read ({error})", "save it as UTF-8 text") from error
    if not labels:
        raise BundleError(f"{folder / 'labels.txt'} is empty", "it needs one class a line")
    return Bundle(folder, card, labels)


def stamp(model: str | Path, search: Sequence[Path] | None = None) -> Stamp:
    """Return what tells one state of a bundle's files from another: name and stamp of each; empty: none there."""
    try:
        folder = _find(str(model), search or _places())
        return tuple((path.name, file_stamp(path)) for path in sorted(folder.iterdir()))
    except (PicamError, OSError):
        return ()


def _find(model: str, search: Sequence[Path]) -> Path:
    # A name is never looked up in the working folder: a service has another one, and may not even be let into it.
    if "/" in model or model in (".", ".."):
        return _model_folder(model)
    for folder in search:
        if (folder / model / "model.yaml").is_file():
            return folder / model
    known = ", ".join(names(search)) or "none"
    raise NoInput(f"no model called {model!r}", f"models here: {known}; a folder is written with a slash: ./{model}")


def _model_folder(given: str) -> Path:
    try:
        path = Path(given).expanduser()
        if (path / "model.yaml").is_file():
            return path
        kind = "folder" if path.is_dir() else "file" if path.is_file() else ""
    except OSError as error:
        raise NoInput(f"{given} cannot be read ({error.strerror})", "check the folders above it") from error
    except RuntimeError as error:  # ~NAME without such a user
        raise NoInput(f"{given}: no such user", "write the path in full") from error
    if kind == "folder":
        raise NoInput(f"{path} is not a model folder (it has no model.yaml)", "make one with: picam-infer convert FILE")
    if kind == "file":
        raise NoInput(f"{path} is a file, not a model folder", f"convert it first: picam-infer convert {path}")
    raise NoInput(f"there is no model folder {path}", "picam-infer convert makes one")


def _read_card(path: Path) -> Card:
    try:
        return msgspec.convert(yaml.safe_load(path.read_bytes()), Card, strict=True)
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror})", "check its owner and permissions") from error
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"{path} is not a model card: {reason}", "convert the model again") from error


def dump_card(card: Card) -> bytes:
    """Return `model.yaml` for a card: the same bytes for the same card."""
    plain: dict[str, Any] = msgspec.to_builtins(card, builtin_types=(float,))
    # Keys that came later are written only where they say something: the cards of older conversions stay as they are.
    for section, key, usual in (
        (plain, "task", "classification"),
        (plain, "units", ()),
        (plain, "taught", None),
        (plain["preprocess"], "fit", "crop"),
    ):
        if key in section and section[key] == usual:
            del section[key]
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100).encode()


def save(folder: Path, card: Card, labels: Sequence[str], files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle so that it appears at once and whole; one that was there is replaced, keeping its `graph`.

    `files` maps `model.xml`, `model.bin` (and `graph`) to their bytes.
    """
    with _replacing(folder) as fresh:
        if "graph" not in files:
            _keep_graph(folder, fresh, card)
        atomic_file.write(fresh / "model.yaml", dump_card(card))
        atomic_file.write(fresh / "labels.txt", "".join(f"{label}\n" for label in labels).encode())
        for name, content in files.items():
            atomic_file.write(fresh / name, content)
    return Bundle(folder, card, tuple(labels))


def adopt(fresh: Path, folder: Path, keep_old: Path | None = None) -> Bundle:
    """Put a bundle that was made beside it in another's place, in one step, keeping its `graph` if that fits still.

    The old one goes to `keep_old`.
    Both folders have the same parent. After a power cut at any moment there is a whole bundle in `folder`, the new or
    the old one. Raises `PicamError`.
    """
    _refuse_other(folder)
    try:
        _keep_graph(folder, fresh, _read_card(fresh / "model.yaml"))
        atomic_folder.put(fresh, folder)
        if keep_old is not None and fresh.exists():
            atomic_folder.put(fresh, keep_old)
    except OSError as error:
        raise PicamError(f"cannot write {folder} ({error.strerror})", "is the disk full or read-only?") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return load(folder)


def sweep(home: Path) -> None:
    """Remove what bundles that were being written left in a folder when the power was cut."""
    with contextlib.suppress(OSError):
        for left in home.iterdir():
            if not (left.name.startswith(".") and left.is_dir() and abs(time.time() - left.stat().st_mtime) > _YOUNG_S):
                continue
            if (left / "model.yaml").is_file():
                shutil.rmtree(left, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):  # somebody else's
                    left.rmdir()


def _keep_graph(folder: Path, fresh: Path, card: Card) -> None:
    """Copy the stick's graph of a bundle into the one that takes its place, if it has none. Raises `OSError`."""
    graph = folder / "graph"
    if graph.is_file() and not (fresh / "graph").exists() and _same_network(folder, card):
        shutil.copy2(graph, fresh / "graph")


def _same_network(folder: Path, card: Card) -> bool:
    """Tell whether a bundle's graph, which of a taught one ends with the features, is that of a card's bundle, too."""
    with contextlib.suppress(PicamError):
        old = _read_card(folder / "model.yaml")
        if old.taught is not None and card.taught is not None:
            return (old.taught.sha256, old.taught.features) == (card.taught.sha256, card.taught.features)
        return old.taught is card.taught is None and old.origin.sha256 == card.origin.sha256
    return False


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` in one step when the block ends well."""
    _refuse_other(folder)
    writing = False
    try:
        with atomic_folder.replacing(folder) as fresh:
            writing = True
            yield fresh
    except OSError as error:
        remedy = "is the disk full or read-only?" if writing else "choose another folder with -o"
        raise PicamError(f"cannot write {folder} ({error.strerror})", remedy) from error


def _refuse_other(folder: Path) -> None:
    """Raise `PicamError` when a folder is there and somebody else's."""
    if folder.exists() and not (folder / "model.yaml").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise PicamError(f"{folder} exists and is not a model folder", "choose another with -o")
