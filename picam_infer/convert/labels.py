"""The names of a model's classes: read, cleaned, counted, and distinguished from names of values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from picam_infer.convert import label_forms, lookalikes
from picam_infer.core import PicamError

LONGEST = 300
"""Characters of a name: ImageNet's, which are lists of synonyms, have up to 130."""
# Everything that `str.splitlines` or a terminal would not take for a character.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class Labels:
    """Names by output, and what was noticed about them."""

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    source: str = ""


def counts(path: Path) -> set[int]:
    """Return how many classes a file may name, by the ways of reading it. Raises `PicamError`."""
    return {len(reading.names) for reading in label_forms.readings(path)}


def read(path: Path, wanted: Collection[int] = ()) -> Labels:
    """Read a labels file in any of the forms that people have; of the ways of reading it the count decides.

    `wanted` are the counts that would fit the network. Raises `PicamError`.
    """
    lookalikes.refuse_pointer(path)
    notes: list[str] = []
    readings = label_forms.readings(path, notes, wanted)
    if not readings:
        raise PicamError(f"{path.name} holds no labels", "one class a line")
    fitting = [reading for reading in readings if len(reading.names) in wanted]
    chosen = (fitting or readings)[0]
    return _clean(list(chosen.names), [*notes, *([chosen.note] if chosen.note else [])], path.name)


def fits(path: Path, wanted: Collection[int]) -> bool:
    """Tell whether a file can be read as that many names."""
    try:
        return any(len(reading.names) in wanted for reading in label_forms.readings(path, [], wanted))
    except PicamError:
        return False


def of_lines(lines: Sequence[str], source: str, wanted: Collection[int] = ()) -> Labels:
    """Return the labels that a model file itself has, as lines."""
    readings = list(label_forms.of_lines(list(lines), source, wanted))
    fitting = [reading for reading in readings if len(reading.names) in wanted]
    return _clean(list((fitting or readings)[0].names), [], source)


def _clean(names: list[str], notes: list[str], source: str) -> Labels:
    if not names:
        raise PicamError(f"{source} holds no labels", "one class a line")
    for at, name in enumerate(names):
        if len(name) > LONGEST:
            raise PicamError(
                f"{source}: the name of class {at} has {len(name):,} characters",
                f"one class a line, of at most {LONGEST} characters each; --labels FILE chooses another list",
            )
    cleaned = [_CONTROL.sub(" ", name).replace("\ufeff", "").strip() for name in names]
    empty = [at for at, name in enumerate(cleaned) if not name]
    if empty:
        notes.append(f"{source} has no name for class {', '.join(map(str, empty[:8]))}")
    cleaned = [name or f"class {at}" for at, name in enumerate(cleaned)]
    twice = [name for name, count in Counter(cleaned).items() if count > 1]
    if twice:
        notes.append(f"{source} has the same name for several classes: {', '.join(twice[:4])}")
    return Labels(tuple(cleaned), tuple(notes), source)


def numbered(count: int) -> Labels:
    """Return names for classes without labels."""
    return _unnamed(tuple(f"class {at}" for at in range(count)))


def digits(count: int) -> Labels:
    """Return names for the 10 classes of a model of digits, or 11 with the one for anything else."""
    return _unnamed((*map(str, range(10)), *["none"] * (count - 10)))


def _unnamed(names: tuple[str, ...]) -> Labels:
    called = f"{names[0]} … {names[-1]}" if len(names) > 1 else names[0]
    note = f"no labels found: the classes are called {called}; to name them, give --labels FILE with one name a line"
    return Labels(names, (f"{note}, or put it beside the input as labels.txt",))


_UNIT = re.compile(r"(.*\S)\s*[\[(]\s*([^\])]{0,24}?)\s*[\])]|(.*\S)\s*:\s*([^\s:]{1,12})")


def have_units(names: Sequence[str]) -> bool:
    """Tell whether names read like those of values: `angle [°]`, `speed (m/s)`."""
    return bool(names) and all(re.fullmatch(r".*\S\s*\[[^\]]{0,24}\]", name) for name in names)


def as_values(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return names and units of values: `angle [°]`, `angle (°)`, `angle: °`; for one value the line is its unit."""
    pairs = []
    for name in names:
        match = _UNIT.fullmatch(name)
        if match:
            pairs.append((match[1] or match[3], match[2] or match[4] or ""))
        else:
            pairs.append(("output", name) if len(names) == 1 else (name, ""))
    return tuple(name for name, _ in pairs), tuple(unit for _, unit in pairs)


def check(labels: Labels, outputs: int) -> None:
    """Raise `PicamError` if there is not one name for each output."""
    if len(labels.names) != outputs:
        raise PicamError(
            f"{labels.source} has {len(labels.names)} labels, the network has {outputs} outputs",
            "give the labels that belong to this model with --labels",
        )
