"""What a network's answer means, with its labels: one class, several classes at once, or values."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from picam_infer.convert import ending, ir, label_files, labels, metadata, outputs
from picam_infer.convert.container import Found
from picam_infer.convert.labels import Labels
from picam_infer.convert.metadata import Metadata
from picam_infer.convert.network import Network
from picam_infer.convert.tensor import Array
from picam_infer.core import PicamError
from picam_infer.models.bundle import Task

_BACKGROUND = 1001
"""The first class of ImageNet networks that have 1001 instead of 1000: none of them."""


@dataclass(frozen=True)
class Lists:
    """The lists of names that may belong to a model."""

    given: Path | None
    """That of `--labels`."""
    near: tuple[Path, ...]
    metadata: Metadata
    counts: frozenset[int]
    """How many classes they may name."""


@dataclass
class Answer:
    """What a network answers."""

    task: Task
    probabilities: bool
    labels: tuple[str, ...]
    units: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    named: bool = True
    """Whether the labels are from a list; else they are numbers."""


def find_lists(found: Found, given: Path | None) -> Lists:
    """Look for names of classes: where `--labels` says, near the model, and in its file. Raises `PicamError`."""
    own = metadata.read(found.path, found.format)
    if given is not None:
        return Lists(given, (), own, frozenset(labels.counts(given)))
    near = tuple(label_files.candidates(found.folder, found.root, found.outside))
    _refuse_sounds(found.folder / "metadata.json")
    numbers = {count for path in near for count in _counts(path)}
    return Lists(None, near, own, frozenset(numbers | ({len(own.labels)} if own.labels else set())))


def _counts(path: Path) -> set[int]:
    try:
        return labels.counts(path)
    except PicamError:
        return set()


def _refuse_sounds(path: Path) -> None:
    """Raise `PicamError` for Teachable Machine's sound models, whose spectrograms have the shape of a picture."""
    if not path.is_file():
        return
    with contextlib.suppress(OSError), path.open("rb") as file:
        if b'"wordLabels"' in file.read(1 << 20):
            raise PicamError(
                "this is a Teachable Machine sound model, not an image model", "train an image project instead"
            )


def read(network: Network, lists: Lists, asked: Task | None, notes: list[str]) -> Answer:
    """Return what the network's answer means, and complete the network accordingly. Raises `PicamError`."""
    output = network.model.output(0)
    count = math.prod(ending.shape_of(output)[1])
    named = _names(network, lists, count, notes)
    found = ending.read(output)
    two = count == 2 and found.kind == "sigmoid"  # perhaps p and 1 − p, of which only one applies
    if count > 1 and (two or not found.probability):
        found = ending.refined(found, outputs.answers(ir.compiled(network.model), _varied(network)))
    names = named.names if named is not None else ()
    meaning = outputs.read(output, found, names, labels.have_units(names), network.loss, asked, network.intermediate)
    if meaning.finish is not None:
        network.model = meaning.finish(network.model)
    if meaning.task == "regression":
        found_out = _values(meaning.probabilities, named, count, notes)
    else:
        found_out = _classes(network, meaning.task, meaning.probabilities, named, count, notes)
    found_out.notes = meaning.notes
    return found_out


def _varied(network: Network) -> list[list[Array]]:
    """Return a few inputs that differ much, whatever the network's range is."""
    shape = tuple(int(side) for side in network.model.input(0).shape)
    return [[ir.sample(shape, low, high)] for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))]


def _names(network: Network, lists: Lists, count: int, notes: list[str]) -> Labels | None:
    """Return the list that fits the output, or None. Raises `PicamError` for one that does not fit."""
    wanted = {count, 2} if count == 1 else {count, count - 1} if count == _BACKGROUND else {count}
    if lists.given is not None:
        return _checked(labels.read(lists.given, wanted), count, wanted)
    fitting = [path for path in lists.near if labels.fits(path, wanted)]
    own = labels.of_lines(lists.metadata.labels, lists.metadata.labels_from, wanted) if lists.metadata.labels else None
    if fitting:
        chosen = labels.read(fitting[0], wanted)
        others = [path.name for path in fitting[1:] if labels.read(path, wanted).names != chosen.names]
        if others:
            notes.append(
                f"class names are from {chosen.source}; {', '.join(others[:3])} would fit too: --labels chooses"
            )
        return _checked(chosen, count, wanted)
    if own is not None and len(own.names) in wanted:
        return _checked(own, count, wanted)
    sure = next((path for path in lists.near if label_files.is_sure(path)), None)
    if sure is not None and not network.intermediate:
        return _checked(labels.read(sure, wanted), count, wanted)
    return None


def _checked(named: Labels, count: int, wanted: Collection[int]) -> Labels:
    if len(named.names) not in wanted:
        labels.check(named, count)
    if count == _BACKGROUND == len(named.names) + 1:
        return Labels(("background", *named.names), (*named.notes, "the first class is for all else: background"))
    return named


def _values(probabilities: bool, named: Labels | None, count: int, notes: list[str]) -> Answer:
    if named is None:
        names = ("output",) if count == 1 else tuple(f"output {at}" for at in range(count))
        return Answer("regression", probabilities, names, ("",) * count)
    notes += named.notes
    texts, units = labels.as_values(named.names)
    if len(texts) != count:
        labels.check(named, count)
    return Answer("regression", probabilities, texts, units)


def _classes(
    network: Network, task: Task, probabilities: bool, named: Labels | None, count: int, notes: list[str]
) -> Answer:
    names = named or labels.numbered(count)
    if count == 1 and len(names.names) == 2:
        network.model = outputs.with_complement(network.model)
        notes.append("the network answers one probability, which was split into two, for the first and second label")
    elif count == 1:
        notes.append("the network answers one probability; --labels with two names makes it two classes")
    notes += named.notes if named is not None else ()
    return Answer(task, probabilities, names.names, named=named is not None)


def without_list(count: int, *, digits: bool) -> Labels:
    """Return what the classes are called where no list names them; `digits`: it is a model of digits."""
    return labels.digits(count) if digits else labels.numbered(count)
