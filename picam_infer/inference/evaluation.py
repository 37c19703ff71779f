"""How often a model is right on pictures whose class is known from their folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from picam_infer.core import counted, percent
from picam_infer.models.label_folders import UNKNOWN, folder_name
from picam_infer.platform.paths import real

_MOST_STRANGERS = 5


def class_of(picture: Path, root: Path, labels: Sequence[str]) -> str | None:
    """Return the class that a picture lies under: the innermost folder, up to `root` itself, with a class's name.

    Case, spaces, `_`, `-`, and a number in front (`0 red`) do not matter. A folder `unknown` is for none of them.
    """
    plain = {_plain(label): label for label in reversed(labels)} | {_plain(UNKNOWN): UNKNOWN}
    plain |= {_plain(folder_name(label)): label for label in labels}  # as collected pictures are downloaded
    own = picture.parent.relative_to(root).parts if picture.parent.is_relative_to(root) else ()
    for name in (*reversed(own), real(root).name if root.is_dir() else real(root).parent.name):
        for written in (_plain(name), _plain(re.sub(r"^\d+[\s_.:,-]+", "", name))):
            if written in plain:
                return plain[written]
    return None


def _plain(name: str) -> str:
    return re.sub(r"[\s_.-]+", " ", name).strip().casefold()


@dataclass
class Evaluation:
    """What was said about pictures of known classes."""

    labels: Sequence[str]
    reject: str | None = None
    """The model's own label for “none of these”."""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Pictures by class and by answer."""
    first: int = 0
    """Pictures whose likeliest class is right, whatever its score."""
    rejected: int = 0
    """Pictures of a class that the model itself called none of them, whatever the threshold."""
    nameless: int = 0
    """Pictures in folders that are not named after a class."""
    strangers: list[str] = field(default_factory=list)
    """These folders' names, each once."""

    def add(self, truth: str | None, label: str | None, likeliest: str, folder: str = "") -> None:
        """Count a picture: class (None: not known), what was said (None: unknown), likeliest class, folder."""
        if truth is None:
            self.nameless += 1
            if folder and folder not in self.strangers:
                self.strangers.append(folder)
            return
        truth = UNKNOWN if truth == self.reject else truth
        self.counts[truth, label or UNKNOWN] += 1
        self.first += likeliest == truth or (truth == UNKNOWN and label is None)
        self.rejected += label is None and likeliest == self.reject and truth != UNKNOWN

    @property
    def total(self) -> int:
        """Pictures of known classes."""
        return self.counts.total()

    @property
    def right(self) -> int:
        """Pictures that were classified correctly."""
        return sum(count for (truth, said), count in self.counts.items() if truth == said)

    def as_json(self) -> dict[str, Any]:
        """Return the report as an object."""
        rows, columns = self._axes()
        return {
            "pictures": self.total,
            "right": self.right,
            "accuracy": round(self.right / max(self.total, 1), 4),
            "likeliest_right": self.first,
            "without_class": self.nameless,
            "classes": [{"label": row, **self._class(row)} for row in rows],
            "said": columns,
            "confusion": {row: [self.counts[row, column] for column in columns] for row in rows},
        }

    def _axes(self) -> tuple[list[str], list[str]]:
        """Return the classes there are pictures of, and the answers there were, in the model's order."""
        order = list(dict.fromkeys([*(label for label in self.labels if label != self.reject), UNKNOWN]))
        rows = [label for label in order if any(truth == label for truth, _ in self.counts)]
        columns = [label for label in order if label in rows or any(said == label for _, said in self.counts)]
        return rows, columns

    def _class(self, label: str) -> dict[str, Any]:
        of = sum(count for (truth, _), count in self.counts.items() if truth == label)
        said = sum(count for (_, answer), count in self.counts.items() if answer == label)
        right = self.counts[label, label]
        return {
            "pictures": of,
            "right": right,
            "recall": round(right / max(of, 1), 4),
            "precision": round(right / said, 4) if said else None,
        }

    def lines(self) -> list[str]:
        """Return the report for a terminal: the accuracy, then a row for each class and a column for each answer."""
        rows, columns = self._axes()
        said = [
            f"accuracy {percent(self.right / max(self.total, 1), 1)}: {self.right} of {counted(self.total, 'picture')}"
        ]
        unknown = sum(count for (truth, answer), count in self.counts.items() if answer == UNKNOWN != truth)
        if unknown:
            said[0] += f"; {unknown} unknown"
            if self.rejected:  # its own class for that is the likeliest
                said[0] += f", {self.rejected if self.rejected < unknown else 'all'} of them by the model itself"
            if self.rejected < unknown:
                said[0] += f", without the threshold {percent(self.first / self.total, 1)}"
        if self.nameless:
            which = ", ".join(self.strangers[:_MOST_STRANGERS]) + (
                " …" if len(self.strangers) > _MOST_STRANGERS else ""
            )
            said.append(
                f"not counted, because their folders are not named after a class: {self.nameless}"
                + (f" ({which})" if which else "")
            )
        names = [_cut(name) for name in columns]
        widths = [max(len(name), 5) for name in names]
        margin = max([len(_cut(row)) for row in rows] + [len("is \\ said")])
        said.append(
            f"{'is / said':<{margin}}  "
            + "  ".join(f"{n:>{w}}" for n, w in zip(names, widths, strict=True))
            + "   right"
        )
        for row in rows:
            cells = (f"{self.counts[row, column] or '·':>{w}}" for column, w in zip(columns, widths, strict=True))
            said.append(f"{_cut(row):<{margin}}  " + "  ".join(cells) + f"   {percent(self._class(row)['recall'])}")
        return said


def _cut(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}…"
