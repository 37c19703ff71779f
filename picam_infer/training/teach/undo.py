"""What `undo` takes back, step by step: a whole step or nothing of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from picam_infer.core import PicamError

UNDOS = 50
"""How many steps can be taken back."""


@dataclass(frozen=True)
class Change:
    """How one change is taken back, and made again. Both may raise `PicamError`, and have then done nothing."""

    back: Callable[[], None]
    again: Callable[[], None]


@dataclass
class _Step:
    """What one `undo` takes back."""

    what: str
    name: str
    """Changes of the same name, one after the other, are one step; empty: this one stays alone."""
    changes: list[Change] = field(default_factory=list)
    count: int = 0
    """How many things it consists of, where they are counted."""


class UndoStack:
    """The last `UNDOS` changes. Not for several threads at once."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._undone: _Step | None = None
        """The step that `redo` makes again."""

    @property
    def last(self) -> str | None:
        """What the next `undo` would take back; None: there is nothing."""
        return self._steps[-1].what if self._steps else None

    def remember(self, what: str, change: Change, step: str = "", many: Callable[[int], str] | None = None) -> None:
        """Note how to undo a change; consecutive changes of one `step` count as one, named by `many`."""
        self._undone = None
        last = self._steps[-1] if self._steps else None
        if last is None or not step or last.name != step:
            last = _Step(what, step)
            self._steps.append(last)
            del self._steps[:-UNDOS]
        last.changes.append(change)
        if many is not None:
            last.count += 1
            last.what = many(last.count) if last.count > 1 else what

    def undo(self) -> str | None:
        """Take the last step back, the newest change first, and return what it was; None: there is none.

        Raises `PicamError` if a change cannot be taken back: then all are as before, and the step stays the last one.
        """
        if not self._steps:
            return None
        step = self._steps[-1]
        done: list[Change] = []
        try:
            for change in reversed(step.changes):
                change.back()
                done.append(change)
        except PicamError:
            _make_again(reversed(done))
            raise
        self._undone = self._steps.pop()
        return step.what

    def redo(self) -> None:
        """Make what the last `undo` took back again, as far as that can be done; it is the last step again."""
        if self._undone is not None:
            _make_again(self._undone.changes)
            self._steps.append(self._undone)
            self._undone = None

    def clear(self) -> None:
        """Forget all steps: nothing can be taken back any more."""
        self._steps.clear()
        self._undone = None


def _make_again(changes: Iterable[Change]) -> None:
    for change in changes:
        with contextlib.suppress(PicamError):
            change.again()
