"""Follows the region that the network looks at: when it is moved, the taught pictures have to be learnt again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from picam_infer.models.bundle import Chain
from picam_infer.runtime.teaching.served_round import ServedRound

if TYPE_CHECKING:
    from picam_infer.training.teach.lesson import Lesson

SETTLED_S = 1.0
"""A region that has not been moved for this long is final."""


class RegionFollower:
    """Owns the region that is wanted. The teaching thread uses it."""

    def __init__(self) -> None:
        self._wanted: tuple[Chain, float] | None = None
        """A region that differs from the lesson's, and since when it is wanted."""

    def settled(self, lesson: Lesson, running: ServedRound) -> Chain | None:
        """Return the chain with the new region once nobody drags it any more; None: the lesson has the right one."""
        chain = running.state.tuning.preprocess
        if chain == lesson.chain or not running.runs_network(lesson.network):
            self._wanted = None
            return None
        now_s = time.monotonic()
        if self._wanted is None or self._wanted[0] != chain:
            self._wanted = chain, now_s
        elif now_s - self._wanted[1] > SETTLED_S:
            self._wanted = None
            return chain
        return None
