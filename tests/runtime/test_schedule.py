"""Hours and days on the wall clock, across midnight, weekends and daylight-saving changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from picam_infer import config
from picam_infer.core import ConfigError
from picam_infer.runtime.schedule import Schedule, in_words

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.fixture(autouse=True)
def _in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", BERLIN)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def schedule(text: str) -> Schedule:
    return Schedule(config.parse(f"schedule: {text}").schedule)


def at(text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(fold=fold).timestamp()


def on(made: Schedule, text: str, fold: int = 0) -> bool:
    return made.at(at(text, fold))[0]


def next_start(made: Schedule, text: str) -> str | None:
    start = made.at(at(text))[1]
    return None if start is None else datetime.fromtimestamp(start).isoformat(" ", "minutes")


def test_without_hours_it_is_always_on() -> None:
    assert schedule("[]").at(0.0) == (True, None)


def test_office_hours() -> None:
    office = schedule('[{days: mon-fri, hours: "08:00-17:30"}]')
    assert on(office, "2026-11-26 08:00") and on(office, "2026-11-26 17:29:59")
    assert not on(office, "2026-11-26 07:59:59") and not on(office, "2026-11-26 17:30")
    assert not on(office, "2026-11-28 12:00"), "a Saturday"
    assert next_start(office, "2026-11-27 18:00") == "2026-11-30 08:00", "over the weekend"
    assert next_start(office, "2026-11-26 09:00") == "2026-11-27 08:00"


def test_over_midnight_the_night_belongs_to_the_day_it_begins_on() -> None:
    night = schedule('[{days: fri, hours: "22:00-6:00"}]')
    assert on(night, "2026-11-27 23:00") and on(night, "2026-11-28 05:59")
    assert not on(night, "2026-11-27 05:00") and not on(night, "2026-11-28 06:00")


@pytest.mark.parametrize(
    ("days", "weekdays"),
    [
        ("sat-mon", {5, 6, 0}),
        ("'mon, wed-thu'", {0, 2, 3}),
        ("'sat, Sunday'", {5, 6}),
        ("mon", {0}),
        ("mon-sun", set(range(7))),
        ("Tuesday - Thursday", {1, 2, 3}),
    ],
)
def test_days(days: str, weekdays: set[int]) -> None:
    made = schedule(f"[{{days: {days}, hours: 10:00-11:00}}]")
    assert {day for day in range(7) if on(made, f"2026-11-{23 + day} 10:30")} == weekdays


def test_hours_that_touch_are_one_and_endless_ones_have_no_next_start() -> None:
    halves = schedule('[{hours: "00:00-12:00"}, {hours: "12:00-24:00"}]')
    assert halves.at(at("2026-11-26 15:00")) == (True, None)
    assert schedule('[{hours: "12:00-12:00"}]').at(at("2026-11-26 15:00")) == (True, None)
    assert schedule("[{days: mon}]").at(at("2026-11-23 23:59")) == (True, at("2026-11-30 00:00"))


def test_when_daylight_saving_begins_the_hours_begin_by_the_clock() -> None:
    """On 2026-03-29 the clock jumps from 2:00 to 3:00."""
    made = schedule('[{hours: "02:30-08:00"}]')
    assert not on(made, "2026-03-29 01:59:59")
    assert on(made, "2026-03-29 03:31") and not on(made, "2026-03-29 03:29")
    assert on(made, "2026-03-29 07:59") and not on(made, "2026-03-29 08:00")
    over = schedule('[{days: sat, hours: "20:00-02:30"}]')
    assert on(over, "2026-03-29 01:59") and not on(over, "2026-03-29 03:30")


def test_when_daylight_saving_ends_an_hour_that_comes_twice_is_watched_twice() -> None:
    """On 2026-10-25 the clock goes back from 3:00 to 2:00."""
    made = schedule('[{days: sun, hours: "01:00-02:30"}]')
    assert on(made, "2026-10-25 02:15", 0) and on(made, "2026-10-25 02:45", 0) and on(made, "2026-10-25 02:15", 1)
    assert not on(made, "2026-10-25 02:31", 1) and not on(made, "2026-10-25 00:59")
    day = schedule('[{hours: "08:00-20:00"}]')
    seen = [on(day, f"2026-10-25 {clock}") for clock in ("07:59", "08:00", "19:59", "20:00")]
    assert seen == [False, True, True, False]


@pytest.mark.parametrize(
    ("entry", "key", "hint"),
    [
        ('{hours: "8-17"}', "schedule[].hours", '"08:00-17:30"'),
        ('{hours: "08:00-25:00"}', "schedule[].hours", '"08:00-17:30"'),
        ("{hours: 08:00}", "schedule[].hours", '"08:00-17:30"'),
        ("{days: montag}", "schedule[].days", "mon-fri"),
        ("{days: [mon, tue]}", "schedule[].days", '"sat, sun"'),
        ("{day: mon}", "schedule[].day", "did you mean days?"),
    ],
)
def test_mistakes_are_named(entry: str, key: str, hint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        schedule(f"[{entry}]")
    assert key in raised.value.message and hint in str(raised.value)


def test_moments_in_words() -> None:
    now = at("2026-11-26 12:00")
    assert in_words(at("2026-11-26 17:30"), now) == "17:30"
    assert in_words(at("2026-11-30 08:00"), now) == "Mon 08:00"
    assert in_words(at("2026-12-24 08:00"), now) == "2026-12-24 08:00"
