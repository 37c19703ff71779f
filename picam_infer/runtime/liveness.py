"""Whether a source is alive: a slow one is, while it keeps its own pace; one that sends nothing usable is not."""

from __future__ import annotations

import math
import time
from collections import deque

from picam_infer.core import Disconnected, PacedSource, Source

STALE_S = 2.0
"""A live source that has sent no frame for this long counts as lost."""
_TIMES = 3
_JUST_NOW_S = 2.0
_OFTEN = 5
"""What breaks off this often within a given time is reported."""
_KEPT = 10


class SilenceLimit:
    """How long a source may be silent: three times the longest of its last gaps between pictures."""

    def __init__(self, least_s: float, unknown_s: float = 0.0) -> None:
        """`least_s`: the lower bound; `unknown_s`: the limit until two pictures have come."""
        self._least_s = least_s
        self._gaps_s: deque[float] = deque(maxlen=_KEPT)
        self._last_s: float | None = None
        self.limit_s = max(least_s, unknown_s)
        """Seconds of silence after which it counts as gone."""

    def arrived(self, now_s: float) -> None:
        """Note that a picture came."""
        if self._last_s is not None:
            self._gaps_s.append(now_s - self._last_s)
            self.limit_s = max(self._least_s, _TIMES * max(self._gaps_s))
        self._last_s = now_s


class Breaks:
    """How often something breaks off and resumes, and when to report that."""

    def __init__(self, within_s: float = 60.0) -> None:
        self.many = False
        """Whether the latest breaks came within that time."""
        self._within_s = within_s
        self._at_s: deque[float] = deque(maxlen=_OFTEN)
        self._told_s = -math.inf

    def often(self, now_s: float) -> bool:
        """Note a break; True if there were many within that time and none were reported in the last hour."""
        self._at_s.append(now_s)
        self.many = len(self._at_s) == _OFTEN and now_s - self._at_s[0] < self._within_s
        if not self.many or now_s - self._told_s < 3600:
            return False
        self._told_s = now_s
        return True


class Liveness:
    """What is known of the source that is open. One thread reports, another asks."""

    def __init__(self) -> None:
        self.fresh_s = 0.0
        """When the source was opened or gave its last picture, on CLOCK_MONOTONIC; 0: none is open."""
        self._gave = False
        self._source: Source | None = None
        self._silence = SilenceLimit(0.0)
        self._damage: tuple[str, int] = ("", 0)
        self._undecoded: tuple[str, float] = ("", 0.0)

    def opened(self, source: Source, least_s: float) -> None:
        """Note that a source was opened; `least_s`: the shortest silence that counts."""
        unknown_s = source.patience_s if isinstance(source, PacedSource) else least_s
        self._source, self._silence = source, SilenceLimit(least_s, unknown_s)
        self._damage, self._undecoded = ("", 0), ("", 0.0)
        self.fresh_s = time.monotonic()

    def arrived(self, now_s: float) -> None:
        """Note that a complete picture arrived."""
        self.fresh_s, self._gave = now_s, True
        self._silence.arrived(now_s)
        self._damage = ("", 0)

    def damaged(self, why: str) -> None:
        """Note a picture that had to be skipped. The first reason is kept: later ones differ only in their numbers."""
        self._damage = (self._damage[0] or why, self._damage[1] + 1)

    def undecodable(self, why: str) -> None:
        """Note a picture that arrived complete but could not be decoded."""
        if not self._undecoded[1]:
            self._undecoded = (why, time.monotonic())

    def decoded(self) -> bool:
        """Note a picture that could be decoded; True if the last one could not."""
        if not self._undecoded[1]:
            return False
        self._undecoded = ("", 0.0)
        return True

    @property
    def broke_off(self) -> bool:
        """Whether the open stream sent pictures until just now: it may resume as soon as it is opened again."""
        paced = self._gave and isinstance(self._source, PacedSource)
        return paced and time.monotonic() - self.fresh_s < _JUST_NOW_S

    def gone(self) -> bool:
        """Note that no source is open; True if the last one had sent a picture."""
        gave, self._gave = self._gave, False
        self._source, self.fresh_s = None, 0.0
        return gave

    @property
    def limit_s(self) -> float:
        """How long it may be silent now."""
        return self._silence.limit_s

    def complaint(self) -> Disconnected | None:
        """Return why a live source counts as lost although it is open; None: it does not."""
        source, now_s = self._source, time.monotonic()
        if source is None or not source.live or not self.fresh_s:
            return None
        why, since_s = self._undecoded
        if since_s and now_s - since_s > self.limit_s:
            return Disconnected(
                f"none of its pictures can be decoded{_because(why)}", _hint(source, "another format of the camera")
            )
        if now_s - self.fresh_s <= self.limit_s:
            return None
        why, count = self._damage
        if count:
            return Disconnected(
                f"all its pictures are damaged{_because(why)}", _hint(source, "another port or cable, a smaller size")
            )
        if isinstance(source, PacedSource):
            return source.silence
        return Disconnected(
            f"no picture for {self.limit_s:.0f} s",
            "the camera is plugged in but sends nothing: replug it, or try another port or cable",
        )


def _hint(source: Source, otherwise: str) -> str:
    return source.other_pictures if isinstance(source, PacedSource) else f"try {otherwise}"


def _because(why: str) -> str:
    return f" ({why})" if why else ""
