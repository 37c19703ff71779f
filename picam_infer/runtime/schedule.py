"""When to watch, by days and hours in local time, across midnight and daylight-saving changes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

import msgspec

from picam_infer.config import DAYS, Hours

_WEEK = 7
_DAY = timedelta(days=1)
_DAY_MIN = 24 * 60


class Period(msgspec.Struct, frozen=True):
    """Hours on some days of the week."""

    days: frozenset[int]
    """The days on which it begins; 0: Monday."""
    begins_min: int
    ends_min: int
    """Minutes after that day's midnight; beyond 1440: on the next day."""

    @classmethod
    def of(cls, entry: Hours) -> Period:
        """Return the period of one entry of the configuration."""
        clock = [int(number) for number in re.findall(r"\d+", entry.hours)]
        begins, ends = clock[0] * 60 + clock[1], clock[2] * 60 + clock[3]
        return cls(frozenset(_days(entry.days)), begins, ends if ends > begins else ends + _DAY_MIN)


class Schedule:
    """All periods of a configuration; without any, watching is always on."""

    def __init__(self, entries: Sequence[Hours] = ()) -> None:
        self._periods = [Period.of(entry) for entry in entries]

    def at(self, now: float) -> tuple[bool, float | None]:
        """Return whether a moment is within the hours, and when hours next begin; None: never.

        Moments are in Unix seconds.
        """
        if not self._periods:
            return True, None
        spans = self._spans(now)
        starts = [begins for begins, _ in spans if begins > now]
        return any(begins <= now < ends for begins, ends in spans), min(starts, default=None)

    def _spans(self, now: float) -> list[tuple[float, float]]:
        """Return the spans from the day before yesterday to a week ahead, in order; those that touch are joined."""
        today = date.fromtimestamp(now)
        days = [today + offset * _DAY for offset in range(-2, _WEEK + 2)]
        spans = sorted(_span(day, period) for day in days for period in self._periods if day.weekday() in period.days)
        joined: list[tuple[float, float]] = []
        for begins, ends in spans:
            if joined and begins <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], ends))
            else:
                joined.append((begins, ends))
        return joined


def _span(day: date, period: Period) -> tuple[float, float]:
    # An hour that the clock shows twice counts both times; a time that it skips is the one it jumps to.
    ends = _moment(day, period.ends_min)
    return _moment(day, period.begins_min).timestamp(), max(ends.timestamp(), ends.replace(fold=1).timestamp())


def _moment(day: date, minutes: int) -> datetime:
    # By the date, not by adding hours: days on which daylight saving begins or ends have 23 or 25.
    day += minutes // _DAY_MIN * _DAY
    return datetime(day.year, day.month, day.day, minutes // 60 % 24, minutes % 60)


def _days(text: str) -> Iterable[int]:
    for part in text.lower().split(","):
        first, _, last = part.partition("-")
        begins = DAYS.index(first.strip()[:3])
        ends = DAYS.index(last.strip()[:3]) if last else begins
        yield from ((begins + offset) % _WEEK for offset in range((ends - begins) % _WEEK + 1))


def in_words(moment: float, now: float) -> str:
    """Return a future moment as people say it: `17:30`, `Mon 08:00`, `2026-12-24 08:00`."""
    ahead = (date.fromtimestamp(moment) - date.fromtimestamp(now)).days
    form = "%H:%M" if ahead == 0 else "%a %H:%M" if 0 < ahead < _WEEK else "%Y-%m-%d %H:%M"
    return time.strftime(form, time.localtime(moment))
