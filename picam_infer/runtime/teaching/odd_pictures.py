"""Which taught pictures do not look like the others of their class: perhaps somebody held the wrong button."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from picam_infer.training.teach.lesson import Lesson


class OddPictures:
    """Owns what was found. The teaching thread looks; any may read `like`."""

    def __init__(self) -> None:
        self.like: dict[str, str] = {}
        """The class that each odd picture is most like, perhaps its own, by the picture's id."""
        self._revision = -1
        """The lesson's, when it was looked at last."""

    def clear(self) -> None:
        """Forget them."""
        self.like = {}

    def look(self, lesson: Lesson, revision: int) -> int:
        """Look once at each revision of a lesson; returns the revision, a later one if other pictures are odd now."""
        if revision != self._revision:
            before, self._revision = self.like, revision
            self.like = lesson.odd() if any(lesson.classes().values()) else {}
            self._revision += self.like != before
        return self._revision
