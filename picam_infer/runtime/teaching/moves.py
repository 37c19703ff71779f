"""Pictures that were taught already, in another class: recording them again moves them, which has to be said."""

from __future__ import annotations

from collections import Counter
from typing import Any

from picam_infer.runtime.teaching.recorder import Hold


class Moves:
    """Counts what the last recording moved. The teaching thread uses it; any may read `as_json`."""

    def __init__(self) -> None:
        self._hold = ""
        self._label = ""
        self._from: Counter[str] = Counter()

    def note(self, held: Hold, was: str | None, label: str) -> None:
        """Note a picture that was recorded into a class; `was`: its class before, None: it is new."""
        if held.id != self._hold:
            self._hold, self._label, self._from = held.id, label, Counter()
        if was not in (None, label):
            self._label, self._from = label, self._from + Counter([str(was)])

    def as_json(self) -> dict[str, Any] | None:
        """Return from which classes how many pictures went into which; None: none did."""
        if not self._from:
            return None
        said = ", ".join(f"{count} moved from “{was}”" for was, count in self._from.items())
        what = "picture was" if self._from.total() == 1 else "pictures were"
        text = f"exactly the same {what} taught before: {said} to “{self._label}”"
        return {"label": self._label, "counts": dict(self._from), "text": text}
