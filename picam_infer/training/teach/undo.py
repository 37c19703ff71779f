"""What `undo` takes back, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

UNDOS = 50
"""How many steps can be taken back."""


@dataclass
class _Step:
    """What one `undo` takes back."""

    what: str
    name: str
    """Changes of the same name, one after the other, are one step; empty: this one stays alone."""
    backs: list[Callable[[], None]] = field(default_factory=list)
    count: int = 0
    """How many things it consists of, where they are counted."""


class UndoStack:
    """The last `UNDOS` changes. Not for several threads at once."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []

    @property
    def last(self) -> str | None:
        """What the next `undo` would take back; None: there is nothing."""
        return self._steps[-1].what if self._steps else None

    def remember(
        self, what: str, back: Callable[[], None], step: str = "", many: Callable[[int], str] | None = None
    ) -> None:
        """Note how to take a change back; changes of one `step` in a row are one, which `many` names by its count."""
        last = self._steps[-1] if self._steps else None
        if last is None or not step or last.name != step:
            last = _Step(what, step)
            self._steps.append(last)
            del self._steps[:-UNDOS]
        last.backs.append(back)
        if many is not None:
            last.count += 1
            last.what = many(last.count) if last.count > 1 else what

    def undo(self) -> str | None:
        """Take the last step back, the newest change first, and return what it was; None: there is none."""
        if not self._steps:
            return None
        step = self._steps.pop()
        for back in reversed(step.backs):
            back()
        return step.what

    def clear(self) -> None:
        """Forget all steps: nothing can be taken back any more."""
        self._steps.clear()
