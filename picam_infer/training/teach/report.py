"""How well teaching worked: the accuracy on unknown pictures, confusions, and pictures that look odd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from picam_infer.core import counted, percent
from picam_infer.inference.evaluation import Evaluation
from picam_infer.training.teach.calibration import Calibration
from picam_infer.training.teach.lda import Array, Classes, LeftOut

_PAIRS, _ODD = 3, 8
"""How many of each are listed."""
_FAR = 1.5
"""From so many usual distances on, being far from its own class is what is odd about a picture."""


@dataclass(frozen=True)
class Confusion:
    """Two classes that are mixed up, and the two pictures that show why."""

    label: str
    taken_for: str
    count: int
    picture: str
    """Of the first class: the one that is taken for the other class most clearly."""
    nearest: str
    """Of the other class: the one most like it."""


@dataclass(frozen=True)
class Odd:
    """A picture that is far from its class: wrongly labelled, blurred, or unlike any other."""

    picture: str
    label: str
    nearest: str
    """The class that it is most like."""
    distance: float
    """From its own class, in usual distances."""

    @property
    def why(self) -> str:
        """What is odd about it."""
        other = self.nearest if self.nearest != self.label else ""
        if other and self.distance < _FAR:
            return f"is more like {other} than like its own class {self.label}"
        return f"is {self.distance:.1f} times as far from {self.label} as usual" + (
            f", most like {other}" * bool(other)
        )


@dataclass(frozen=True)
class Report:
    """How the taught pictures are named when each in turn is left out of the teaching."""

    labels: tuple[str, ...]
    counts: Mapping[str, int]
    evaluation: Evaluation
    """Of the likeliest class, before “unknown” is considered."""
    judged: int
    """Pictures that could be left out: all but the only one of a class."""
    rejected: int
    """Pictures of those that would have been unknown."""
    rejects: bool
    """Whether there are enough pictures to say “unknown”."""
    confusions: tuple[Confusion, ...]
    odd: tuple[Odd, ...]

    @property
    def accuracy(self) -> float | None:
        """The share that is right; None: nothing could be left out."""
        return self.evaluation.right / self.evaluation.total if self.evaluation.total else None

    def accuracy_of(self, label: str) -> float | None:
        """The share of a class's pictures that is right; None: nothing could be left out."""
        of = sum(count for (truth, _), count in self.evaluation.counts.items() if truth == label)
        return self.evaluation.counts[label, label] / of if of else None

    def as_json(self) -> dict[str, Any]:
        """Return the report as an object."""
        accuracy = self.accuracy
        return {
            "pictures": sum(self.counts.values()),
            "classes": [{"label": label, "pictures": self.counts[label],
                         "accuracy": _rounded(self.accuracy_of(label))} for label in self.labels],
            "accuracy": _rounded(accuracy),
            "left_out": self.judged,
            "rejects": self.rejects,
            "rejected": self.rejected,
            "confusion": self.evaluation.as_json()["confusion"],
            "mixed_up": [{"label": c.label, "taken_for": c.taken_for, "pictures": c.count, "picture": c.picture,
                          "nearest": c.nearest} for c in self.confusions],
            "suspicious": [{"picture": o.picture, "label": o.label, "most_like": o.nearest,
                            "distance": round(o.distance, 2)} for o in self.odd],
        }  # fmt: skip

    def lines(self) -> list[str]:
        """Return the report for a terminal."""
        listed = ", ".join(f"{label} {self.counts[label]}" for label in self.labels[:12])
        more = f" and {len(self.labels) - 12} more" if len(self.labels) > 12 else ""
        said = [
            f"{counted(sum(self.counts.values()), 'picture')} of "
            f"{counted(len(self.labels), 'class', 'classes')}: {listed}{more}"
        ]
        if not self.judged:
            said.append("no class has two pictures: there is no way to tell yet how well it works")
        elif len(self.labels) > 1:
            matrix = self.evaluation.lines()
            said.append(f"each picture named by a model that was taught without it: {matrix[0]}")
            said += [f"  {line}" for line in matrix[1:]] if len(self.labels) <= 20 else []
        said.append(self._about_unknown())
        for one in self.confusions:
            said.append(
                f"{one.label} is taken for {one.taken_for} ({counted(one.count, 'picture')}): "
                f"look at {one.picture} beside {one.nearest}"
            )
        for odd in self.odd:
            said.append(f"suspicious: {odd.picture} {odd.why}")
        return said

    def _about_unknown(self) -> str:
        if not self.rejects:
            return "nothing will be called unknown: that takes three pictures in classes of two or more"
        counted = "; above, they count as the class that they are most like" if self.rejected else ""
        return (
            f"called unknown, as anything unlike the pictures will be: {self.rejected} of {self.judged} "
            f"({percent(self.rejected / self.judged, 1)}){counted}"
        )


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def make(
    labels: Sequence[str],
    names: Sequence[str],
    vectors: Array,
    classes: Classes,
    left: LeftOut,
    calibration: Calibration,
) -> Report:
    """Return the report for pictures called `names`, with vectors (n, d) and classes (n,), left out in turn."""
    rows = np.flatnonzero(left.judged)
    said = left.distances.argmin(1)
    evaluation = Evaluation(labels)
    for row in rows:
        evaluation.add(labels[classes[row]], labels[said[row]], labels[said[row]])
    relative = left.relative[rows] / calibration.unit
    counts = Counter(labels[number] for number in classes)
    return Report(
        tuple(labels),
        {label: counts[label] for label in labels},
        evaluation,
        len(rows),
        int((relative > calibration.limit).sum()),
        bool(np.isfinite(calibration.limit)),
        tuple(_confusions(labels, names, vectors, classes, left)[:_PAIRS]),
        tuple(_odd(labels, names, classes, left, calibration)[:_ODD]),
    )


def _confusions(
    labels: Sequence[str], names: Sequence[str], vectors: Array, classes: Classes, left: LeftOut
) -> list[Confusion]:
    said = left.distances.argmin(1)
    wrong = [int(row) for row in np.flatnonzero(left.judged & (said != classes))]
    pairs = Counter((int(classes[row]), int(said[row])) for row in wrong)
    found = []
    for (own, other), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
        of = [row for row in wrong if (classes[row], said[row]) == (own, other)]
        clear = max(of, key=lambda row: left.distances[row, own] - left.distances[row, other])
        others = np.flatnonzero(classes == other)
        nearest = others[((vectors[others] - vectors[clear]) ** 2).sum(1).argmin()]
        found.append(Confusion(labels[own], labels[other], count, names[clear], names[nearest]))
    return found


def _odd(
    labels: Sequence[str], names: Sequence[str], classes: Classes, left: LeftOut, calibration: Calibration
) -> list[Odd]:
    """Return pictures farther from their class than nearly all, or clearly nearer to another one; farthest first."""
    rows = np.flatnonzero(left.judged)
    if len(rows) < 5:
        return []
    own = left.distances[rows, classes[rows]]
    middle = float(np.median(own))
    if middle <= 0:
        return []
    spread = 1.4826 * float(np.median(np.abs(own - middle)))
    far = own > middle + max(4 * spread, (_FAR - 1) * middle)
    said = left.distances[rows].argmin(1)
    sure = calibration.sharpness / 2 * (own - left.distances[rows].min(1)) > np.log(20)
    order = sorted(np.flatnonzero(far | sure), key=lambda at: (-own[at], at))
    return [Odd(names[rows[at]], labels[classes[rows[at]]], labels[said[at]], float(own[at] / middle)) for at in order]
