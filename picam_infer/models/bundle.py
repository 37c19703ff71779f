"""A model folder (bundle): its card, labels and files. It contains all that the service knows about a model."""

from __future__ import annotations

import contextlib
import os
import shlex
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
from picam_infer.platform import atomic_file, atomic_folder, disk, utf8
from picam_infer.platform.file_stamp import FileStamp, file_stamp
from picam_infer.platform.paths import real, state_folder
from picam_infer.platform.yaml_errors import UNFIT

BUILT_IN = Path(__file__).parent
INSTALLED = Path("/var/lib/picam-infer/models")

_YOUNG_S = 60
"""Anything younger may still be in the process of being written."""
_MOST_BYTES = {"model.yaml": 1_000_000, "model.xml": 200_000_000, "labels.txt": 10_000_000}
"""No such file that was meant is larger; reading one would take all time and memory."""
Stamp = tuple[tuple[str, FileStamp | None], ...]
Colour = Literal["rgb", "bgr", "grey"]
Fit = Literal["crop", "squash", "pad"]
Task = Literal["classification", "multi-label", "regression"]
Gradient = Annotated[float, Meta(ge=0, le=1000)]


class BundleError(PicamError):
    """A model folder exists but cannot be used."""


class Edges(msgspec.Struct, frozen=True, tag="edges", tag_field="chain", forbid_unknown_fields=True):
    """Square → Canny → dilate → resize, for line drawings such as digits."""

    roi: Roi = 0.4
    """The square the network sees: a share of the upright picture's height (in the middle), or a `Region`."""
    canny: tuple[Gradient, Gradient] = (90.0, 30.0)
    """Canny's two hysteresis thresholds (8-bit gradient units), in either order."""
    scale: float = 1 / 255
    offset: float = 0.0
    """The network sees pixel × scale + offset."""

    def __post_init__(self) -> None:
        _require_usable(self.normalisation)

    @property
    def normalisation(self) -> Normalisation:
        """What turns pixels into the network's numbers."""
        return Normalisation.of(self.scale, self.offset)


class Photo(msgspec.Struct, frozen=True, tag="photo", tag_field="chain", forbid_unknown_fields=True):
    """A part of the picture → resize → colour order → scale, for photographs."""

    roi: Roi = 1.0
    """Where the part is, and its height as a share of the frame's; its proportions follow from `fit`."""
    colour: Colour = "rgb"
    scale: Factor = 1 / 127.5
    """The network sees pixel × scale + offset; three numbers: one for each channel, in the order of `colour`."""
    offset: Factor = -1.0
    fit: Fit = "crop"
    """How the frame gets the input's proportions: by cropping, by squashing, or with black bars."""

    def __post_init__(self) -> None:
        _require_usable(self.normalisation)

    @property
    def normalisation(self) -> Normalisation:
        """What turns pixels into the network's numbers."""
        return Normalisation.of(self.scale, self.offset)


Chain = Edges | Photo


def _require_usable(normalisation: Normalisation) -> None:
    if not normalisation.usable:
        low, high = normalisation.limits()
        raise ValueError(f"with its scale and offset, pixels become {low:g}…{high:g}")


class Origin(msgspec.Struct, frozen=True):
    """Where a model came from."""

    file: str
    sha256: str = ""
    format: str = ""
    """The kind of file, in words: `Keras 2 HDF5`, `TensorFlow.js layers`…"""


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
    """The share of its pictures that are named correctly when each is left out in turn; None: it has only one."""


class Taught(msgspec.Struct, frozen=True):
    """How a network's last layers were taught (`picam-infer teach`)."""

    backbone: str
    """The model whose layers compute the features."""
    sha256: str
    """The digest of that model's network."""
    features: str
    """The layer of that model that the features come from."""
    classes: tuple[TaughtClass, ...] = ()
    accuracy: float | None = None
    """The share of all pictures that are named correctly when each is left out in turn."""


class Card(msgspec.Struct, frozen=True):
    """`model.yaml`: everything needed to feed the network and read its answer."""

    name: str
    input: Input
    preprocess: Chain
    origin: Origin = Origin(file="unknown")
    output: str = ""
    """The output layer's name."""
    probabilities: bool = True
    """False: the outputs are logits (see `softmax`) or values."""
    reject: str | None = None
    """The label that means “none of the others”, shown as unknown."""
    notes: tuple[str, ...] = ()
    """What was assumed when the model was converted."""
    task: Task = "classification"
    """What the outputs are: classes of which one applies, classes of which several may, or values."""
    units: tuple[str, ...] = ()
    """The values' units, one for each output."""
    taught: Taught | None = None
    """How its last layers were taught; None: the whole network came from a file."""

    @property
    def normalisation(self) -> Normalisation:
        """What turns pixels into the network's numbers."""
        return self.preprocess.normalisation

    @property
    def softmax(self) -> bool:
        """Whether the engine has to turn logits into probabilities."""
        return self.task == "classification" and not self.probabilities


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model folder that was read and found complete."""

    folder: Path
    card: Card
    labels: tuple[str, ...]

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    @property
    def classes(self) -> list[str]:
        """The labels that it can give, without the one for “none of the others” if it has that."""
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
    """Return the folder for models that this process makes: the system's if it may write there, else the user's."""
    return INSTALLED if os.access(INSTALLED, os.W_OK | os.X_OK) else _own()


def _own() -> Path:
    """Return the folder of the user's own models."""
    return state_folder() / "models"


def places() -> Sequence[Path]:
    """Return the folders in which a model's name is looked up, in this order."""
    try:
        return INSTALLED, _own(), BUILT_IN
    except RuntimeError:  # a user without a home
        return INSTALLED, BUILT_IN


def names(search: Sequence[Path] | None = None) -> list[str]:
    """Return the names of the bundles that `load` finds by name."""
    found: set[str] = set()
    for folder in search or places():
        with contextlib.suppress(OSError):  # it may not be entered
            found |= {card.parent.name for card in folder.glob("*/model.yaml")}
    return sorted(name for name in found if not name.startswith("."))  # a bundle that is being written or deleted


def load(model: str | Path, search: Sequence[Path] | None = None) -> Bundle:
    """Read the bundle of a name, or in a folder (with a slash). Raises `NoInput` (there is none) or `BundleError`."""
    folder = folder_of(model, search)
    card = _read_card(folder / "model.yaml")
    for part in ("model.xml", "model.bin", "labels.txt"):
        if not (folder / part).is_file():
            raise BundleError(f"model {folder} has no {part}", "copy the whole folder, or convert the model again")
        _require_size(folder / part)
    try:
        labels = tuple((folder / "labels.txt").read_text("utf-8-sig").splitlines())
    except (OSError, UnicodeError) as error:
        raise BundleError(f"{folder / 'labels.txt'} cannot be read ({error})", "save it as UTF-8 text") from error
    if not labels:
        raise BundleError(f"{folder / 'labels.txt'} is empty", "it needs one class a line")
    return Bundle(folder, card, labels)


def folder_of(model: str | Path, search: Sequence[Path] | None = None) -> Path:
    """Return the folder of a name, or the one that is named with a slash, broken or not. Raises `NoInput`."""
    return _find(str(model), search or places())


def spelling(folder: Path) -> str:
    """Return what finds a bundle again from any folder: its name if that leads to it, else its folder."""
    with contextlib.suppress(PicamError, OSError):
        if real(folder_of(folder.name)) == real(folder):
            return folder.name
    return str(folder.absolute())


def stamp(model: str | Path, search: Sequence[Path] | None = None) -> Stamp:
    """Return name and stamp of each file of a bundle, equal only while none of them has changed; empty: no bundle."""
    try:
        folder = folder_of(model, search)
        return tuple((path.name, file_stamp(path)) for path in sorted(folder.iterdir()))
    except (PicamError, OSError):
        return ()


def _find(model: str, search: Sequence[Path]) -> Path:
    # A name is never looked up in the working folder: a service has another one, and may not even be let into it.
    if "/" in model or model in (".", ".."):
        return _model_folder(model)
    for folder in search:
        with contextlib.suppress(OSError):  # no permission, or the name is too long for a file
            if (folder / model / "model.yaml").is_file():
                return folder / model
    with contextlib.suppress(OSError):
        if Path(model).is_file():  # only said, never taken
            raise NoInput(
                f"{model} is a file, not a model's name", f"convert it first: picam-infer convert {shlex.quote(model)}"
            )
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
        raise NoInput(
            f"{path} is a file, not a model folder", f"convert it first: picam-infer convert {shlex.quote(str(path))}"
        )
    raise NoInput(f"there is no model folder {path}", "picam-infer convert makes one")


def _require_size(path: Path) -> None:
    """Raise `BundleError` for a file that is larger than it can be."""
    with contextlib.suppress(OSError):  # its reader tells why
        if path.name in _MOST_BYTES and path.stat().st_size > _MOST_BYTES[path.name]:
            raise BundleError(f"{path} is larger than such a file can be", "copy it again, or convert the model again")


def _read_card(path: Path) -> Card:
    _require_size(path)
    try:
        card = msgspec.convert(yaml.safe_load(path.read_bytes()), Card, strict=True)
        msgspec.json.encode(card)
        return card
    except UnicodeEncodeError as error:  # half a surrogate pair: YAML may spell it, but no file can hold it
        raise BundleError(f"{path} is not a model card: it has a bad character", "convert the model again") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror})", "check its owner and permissions") from error
    except (msgspec.ValidationError, *UNFIT) as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"{path} is not a model card: {reason}", "convert the model again") from error


def dump_card(card: Card) -> bytes:
    """Return `model.yaml` for a card: the same bytes for the same card."""
    plain: dict[str, Any] = msgspec.to_builtins(card, builtin_types=(float,))
    # Newer keys are written only where they differ from the default: cards of older conversions stay byte for byte.
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
    """Write a bundle so that it appears complete, in one step; an existing one is replaced, keeping its `graph`.

    `files` maps `model.xml`, `model.bin` (and `graph`) to their bytes.
    """
    with _replacing(folder) as fresh:
        if "graph" not in files:
            _keep_graph(folder, fresh, card)
        atomic_file.write(fresh / "model.yaml", dump_card(card))
        atomic_file.write(fresh / "labels.txt", utf8.encoded("".join(f"{label}\n" for label in labels)))
        for name, content in files.items():
            atomic_file.write(fresh / name, content)
    return Bundle(folder, card, tuple(labels))


def adopt(fresh: Path, folder: Path, keep_old: Path | None = None) -> Bundle:
    """Replace a bundle in one step by a `fresh` one beside it, keeping its `graph` if that still fits.

    The old one is moved to `keep_old`, if given. Both folders have the same parent. After a power cut at any moment
    `folder` holds a complete bundle, the new or the old one. Raises `PicamError`.
    """
    refuse_other(folder)
    try:
        _keep_graph(folder, fresh, _read_card(fresh / "model.yaml"))
        atomic_folder.put(fresh, folder)
        if keep_old is not None and fresh.exists():
            atomic_folder.put(fresh, keep_old)
    except OSError as error:
        raise unwritten(folder, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return load(folder)


def sweep(home: Path) -> None:
    """Remove what a power cut has left of bundles that were being written to a folder."""
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
    """Copy a bundle's graph for the stick into the one that replaces it, if that has none. Raises `OSError`."""
    graph = folder / "graph"
    if graph.is_file() and not (fresh / "graph").exists() and _same_network(folder, card):
        shutil.copy2(graph, fresh / "graph")


def _same_network(folder: Path, card: Card) -> bool:
    """Whether a bundle's graph also fits the bundle of a card. The graph of a taught one ends at the features."""
    with contextlib.suppress(PicamError):
        old = _read_card(folder / "model.yaml")
        if old.taught is not None and card.taught is not None:
            return (old.taught.sha256, old.taught.features) == (card.taught.sha256, card.taught.features)
        return old.taught is card.taught is None and old.origin.sha256 == card.origin.sha256
    return False


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` in one step when the block ends well."""
    refuse_other(folder)
    try:
        with atomic_folder.replacing(folder) as fresh:
            yield fresh
    except OSError as error:
        raise unwritten(folder, error) from error


def unwritten(folder: Path, error: OSError) -> PicamError:
    """Return the error for a bundle that cannot be written; only outside our own place was its folder chosen."""
    ours = any(folder.is_relative_to(place) for place in places())
    remedy = disk.remedy(error, folder.parent, fixed=ours, option="" if ours else "-o")
    return PicamError(f"cannot write {folder} ({error.strerror})", remedy)


def refuse_other(folder: Path) -> None:
    """Raise `PicamError` if a folder exists and is not a bundle."""
    if folder.exists() and not (folder / "model.yaml").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise PicamError(f"{folder} exists and is not a model folder", "choose another with -o")
