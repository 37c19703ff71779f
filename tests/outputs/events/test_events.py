"""Outlets: filters, queues that do not grow, retries, and loops that never wait."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from event_samples import answered, change, state, until

from picam_infer import config
from picam_infer.core import Prediction, outlet_part
from picam_infer.outputs.events import Events, homeassistant
from picam_infer.outputs.events.mqtt_topics import Topics
from picam_infer.outputs.events.outlet import PICTURES, DeliveryError, Event, Outlet
from picam_infer.outputs.web.metrics import Metrics
from picam_infer.runtime.state import Change
from picam_infer.runtime.status_text import status_text


class Place:
    """A way whose other side can be stuck or broken."""

    name, retries, pictures, note = "place", None, True, ""

    def __init__(self) -> None:
        self.got: list[Event] = []
        self.error: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.tries = 0
        self.idles = False
        self.idled = 0

    def deliver(self, event: Event, waiting: Callable[[float], bool]) -> None:
        self.tries += 1
        self.open.wait(10)
        if self.error:
            raise self.error
        self.got.append(event)

    def idle(self, waiting: Callable[[float], bool]) -> bool:
        self.idled += 1
        return self.idles

    def close(self) -> None:
        pass


class Alternating(Place):
    """One whose every other attempt fails, the first one to begin with."""

    def __init__(self, error: DeliveryError) -> None:
        super().__init__()
        self._error = error

    def deliver(self, event: Event, waiting: Callable[[float], bool]) -> None:
        self.error = None if self.tries % 2 else self._error
        super().deliver(event, waiting)


def labels(place: Place) -> list[str | None]:
    return [event.change.label for event in place.got]


def test_filters_by_label_score_and_kind() -> None:
    place = Place()
    outlet = Outlet(config.Jsonl(path="-", labels=("one", "unknown"), min_score=0.5), place)
    for sent in (
        change("one"),
        change("zero"),
        change("one", 0.4),
        change(None, 0.6),
        Change("lost", 0, part="camera"),
    ):
        outlet.offer(sent)
    outlet.end(1)
    outlet.join(5)
    assert labels(place) == ["one", None]


def test_tells_of_losses_when_asked() -> None:
    place, run = Place(), state()
    outlet = Outlet(config.Jsonl(path="-", about=("lost", "found")), place)
    run.listen(outlet.offer)
    run.health.mark_down("camera", "unplugged", "plug it in")
    run.health.mark_up("camera")
    outlet.end(1)
    outlet.join(5)
    assert [(e.as_json()["event"], e.as_json()["part"]) for e in place.got] == [("lost", "camera"), ("found", "camera")]


def test_a_stuck_receiver_costs_the_loops_nothing_and_its_queue_stays_short() -> None:
    place = Place()
    place.open.clear()
    outlet = Outlet(config.Jsonl(path="-", queue=20), place)
    item = change("one")
    for _ in range(2000):
        outlet.offer(item)
    report = outlet.report()
    assert report.queued == 20 and report.dropped == 1980
    place.open.set()
    until(lambda: outlet.report().queued == 0)
    outlet.end(2)
    outlet.join(5)
    pictures = [event.frame is not None for event in place.got]
    assert sum(pictures[-20:]) <= PICTURES and pictures[-1]


def test_tries_again_until_it_works_and_in_order() -> None:
    place = Place()
    place.error = DeliveryError("away")
    outlet = Outlet(config.Jsonl(path="-"), place)
    outlet.offer(change("one"))
    outlet.offer(change("zero"))
    until(lambda: place.tries >= 1 and outlet.reason == "away")
    assert not outlet.report().ok
    place.error = None
    until(lambda: outlet.sent == 2)
    assert labels(place) == ["one", "zero"] and outlet.report().ok is True
    outlet.end(0)
    outlet.join(5)


def test_it_works_again_only_after_a_delivery(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    place = Place()
    place.error = DeliveryError("not for me", final=True)
    outlet = Outlet(config.Jsonl(path="-"), place)
    assert outlet.report().ok is None
    outlet.offer(change("one"))
    until(lambda: outlet.failed == 1)
    place.idles = True  # the other side is there; that does not make it take events
    heard = place.idled
    until(lambda: place.idled > heard + 1)
    assert outlet.report().ok is False and outlet.report().reason == "not for me"
    outlet.offer(change("one"))
    until(lambda: outlet.failed == 2)
    place.error = None
    outlet.offer(change("one"))
    until(lambda: outlet.report().ok)
    outlet.end(0)
    outlet.join(5)
    assert [record.getMessage() for record in caplog.records] == [
        "events: place: not for me", "events: place works again"]  # fmt: skip


def test_a_receiver_that_cannot_be_reached_is_a_part_that_is_down() -> None:
    place, run = Place(), state()
    told: list[Change] = []
    run.listen(told.append)
    place.error = DeliveryError("no answer")
    outlet = Outlet(config.Jsonl(path="-"), place, run.health)
    outlet.offer(change("one"))
    until(lambda: run.health.problems)
    (problem,) = run.health.problems
    assert (problem.part, problem.what, problem.title) == ("events to place", "no answer", "events to place lost")
    assert run.watching and run.health.blocking is None, "nothing that can be seen is missing"
    (lost,) = run.as_json()["lost"]
    assert (lost["part"], lost["reason"], lost["blocking"]) == ("events to place", "no answer", False)
    assert "events to place lost: no answer" in status_text(run)
    page = Metrics(run).page("")[0].decode()
    assert 'picam_lost{part="events to place"} 1.0' in page and 'picam_lost{part="camera"} 0.0' in page
    place.error = None
    until(lambda: not run.health.problems)
    assert [(each.kind, each.part) for each in told] == [("lost", "events to place"), ("found", "events to place")]
    outlet.end(0)
    outlet.join(5)


def test_other_receivers_are_not_told_of_one_that_cannot_be_reached(tmp_path: Path) -> None:
    path, run = tmp_path / "events.jsonl", state()
    with Events([config.Jsonl(path=str(path), about=("label", "lost", "found"))], run):
        run.announce(Change("lost", 0, part=outlet_part("somewhere else"), reason="no answer"))
        run.announce(Change("lost", 0, part="camera", reason="unplugged"))
        until(lambda: path.exists() and path.read_text().count("\n") == 1)
    assert json.loads(path.read_text())["part"] == "camera"


def test_what_was_taken_without_an_event_shows_that_it_works() -> None:
    place = Place()
    place.idles = True
    outlet = Outlet(config.Jsonl(path="-"), place)
    until(lambda: outlet.report().ok)
    outlet.end(0)
    outlet.join(5)


def test_attempts_that_count_are_numbered_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picam_infer.outputs.events.outlet.LONGEST_WAIT_S", 0.001)
    place = Place()
    monkeypatch.setattr(Place, "retries", 2)
    place.error = DeliveryError("away", counts=False)
    outlet = Outlet(config.Jsonl(path="-"), place)
    outlet.offer(change("one"))
    until(lambda: place.tries > 6)
    assert outlet.failed == 0
    place.error = DeliveryError("not now")
    until(lambda: outlet.failed == 1)
    outlet.end(0)
    outlet.join(5)


def test_changing_reasons_of_one_receiver_do_not_fill_the_journal(caplog: pytest.LogCaptureFixture) -> None:
    place, run = Place(), state()
    outlet = Outlet(config.Jsonl(path="-"), place, run.health)
    for number in range(30):
        place.error = DeliveryError(f"reason {number}", final=True)
        outlet.offer(change("one"))
        until(lambda number=number: outlet.failed == number + 1)
    assert outlet.report().reason == run.health.problems[0].what == "reason 29", "both know the latest"
    outlet.end(0)
    outlet.join(5)
    assert 1 <= len(caplog.records) <= 10


def test_what_works_at_the_next_attempt_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    place, run = Alternating(DeliveryError("busy")), state()
    outlet = Outlet(config.Jsonl(path="-"), place, run.health)
    for _ in range(3):
        outlet.offer(change("one"))
    until(lambda: outlet.sent == 3)
    assert place.tries == 6 and not caplog.records and not run.health.losses
    outlet.end(0)
    outlet.join(5)


def test_a_receiver_that_refuses_every_other_event_does_not_fill_the_journal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    place, run = Alternating(DeliveryError("not this one", final=True, hint="send another")), state()
    outlet = Outlet(config.Jsonl(path="-"), place, run.health)
    for count in range(1, 31):
        outlet.offer(change("one"))
        until(lambda count=count: outlet.sent + outlet.failed == count)
    outlet.end(0)
    outlet.join(5)
    said = [record.getMessage() for record in caplog.records]
    assert said[:2] == ["events: place: not this one; send another", "events: place works again"]
    assert len(said) < 12 and said[-1] == (
        "events: place: fails again and again and works in between: not this one; send another"
    )
    assert run.health.losses["events to place"] == 15, "metrics count them all"


def test_a_long_pause_before_the_next_attempt_is_reported_when_it_begins(caplog: pytest.LogCaptureFixture) -> None:
    place = Place()
    place.error = DeliveryError("come back later", after_s=30)
    outlet = Outlet(config.Jsonl(path="-"), place)
    outlet.offer(change("one"))
    until(lambda: "come back later" in caplog.text)
    assert place.tries == 1
    outlet.end(0)
    outlet.join(5)


def test_gives_up_what_cannot_succeed() -> None:
    place = Place()
    place.error = DeliveryError("no such address", final=True)
    outlet = Outlet(config.Jsonl(path="-"), place)
    outlet.offer(change("one"))
    until(lambda: outlet.failed == 1)
    assert place.tries == 1 and outlet.report().queued == 0
    outlet.end(0)
    outlet.join(5)


def test_an_internal_error_costs_one_event_and_not_the_outlet(caplog: pytest.LogCaptureFixture) -> None:
    place = Place()
    place.error = ZeroDivisionError("ours")
    outlet = Outlet(config.Jsonl(path="-"), place)
    outlet.offer(change("one"))
    until(lambda: outlet.failed == 1)
    assert "an internal error" in outlet.report().reason and "ZeroDivisionError" in caplog.text
    place.error = None
    outlet.offer(change("zero"))
    until(lambda: outlet.sent == 1)
    assert labels(place) == ["zero"] and outlet.report().ok
    outlet.end(0)
    outlet.join(5)


def test_closing_does_not_wait_for_a_dead_place_but_says_why(caplog: pytest.LogCaptureFixture) -> None:
    place = Place()
    place.error = DeliveryError("away")
    outlet = Outlet(config.Jsonl(path="-"), place)
    outlet.offer(change("one"))
    until(lambda: place.tries)
    outlet.end(0.3)
    until(lambda: "events place" not in {thread.name for thread in threading.enumerate()})
    assert [record.getMessage() for record in caplog.records] == ["events: place: away"]


def test_outlets_of_the_same_name_are_told_apart() -> None:
    alike = [config.Command(argv=("true", word)) for word in "abc"]
    with Events(alike, state()) as made:
        assert [report.name for report in made.report()] == ["true", "true #2", "true #3"]


def test_state_shows_every_outlet(tmp_path: object) -> None:
    run = state()
    with Events([config.Jsonl(path=f"{tmp_path}/a.jsonl"), config.Command(argv=("true",))], run) as events:
        run.announce(change("one"))
        until(lambda: all(x["sent"] == 1 for x in run.as_json()["events"]))
        assert [x.kind for x in events.report()] == ["jsonl", "command"]
    assert "events" not in run.as_json()


@pytest.mark.parametrize("item", [config.Jsonl(path="-"), config.Command(argv=("x",))])
def test_no_kind_loads_anothers_library(item: config.Event) -> None:
    import subprocess
    import sys

    kind = type(item).__name__.lower()
    code = f"import sys; from picam_infer.outputs.events import {kind}; sys.exit('paho' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_with_several_classes_any_wanted_one_will_do_and_values_have_no_score() -> None:
    place = Place()
    outlet = Outlet(config.Jsonl(path="-", labels=("two", "angle"), min_score=0.5), place)
    one, two = Prediction("one", 0.9, named=True), Prediction("two", 0.8, named=True)
    outlet.offer(answered(one, two, label="one, two"))
    outlet.offer(answered(one, Prediction("two", 0.1, named=False), label="one"))
    outlet.offer(answered(Prediction("angle", -3.0, "°")))
    outlet.end(1)
    outlet.join(5)
    assert labels(place) == ["one, two", "angle"]


def test_results_in_words_and_as_json() -> None:
    several = answered(Prediction("one", 0.9, named=True), Prediction("two", 0.8, named=True), label="one, two").result
    value = answered(Prediction("angle", 2.0, "°")).result
    assert several is not None and value is not None
    assert several.in_words() == "sees one (90 %), two (80 %)" and several.as_json()["labels"] == ["one", "two"]
    assert value.in_words() == "reads angle: 2.00 °"
    assert (value.as_json()["value"], value.as_json()["unit"], value.as_json()["score"]) == (2.0, "°", 2.0)
    plain = change("one").result
    assert plain is not None and not {"labels", "value", "unit", "image"} & set(plain.as_json())


def test_home_assistant_gets_a_values_unit_and_no_percent() -> None:
    topics = Topics("broker:1883", "pi", "picam-infer", "homeassistant")
    for units, unit in ((None, "%"), (("°",), "°"), (("",), None)):
        (message,) = homeassistant.discovery(topics, ["sensor/score"], "m", units)
        assert json.loads(message.payload).get("unit_of_measurement") == unit


def test_a_model_whose_folders_name_is_not_utf8_is_an_entity_too() -> None:
    name = os.fsdecode(b"mod\xe8le")
    topics = Topics("broker:1883", "pi", "picam-infer", "homeassistant")
    told = [json.loads(message.payload) for message in homeassistant.discovery(topics, homeassistant.ENTITIES, name)]
    assert {one["device"]["model"] for one in told} == {name}
