"""Messages that a broker will never take: left out or given up, and everything else goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_samples import change, state, until
from makers import jpeg_frame
from mqtt_lab import Broker, Listener
from scripted_broker import HangUp, Published, ScriptedBroker, scripted

from picam_infer import config
from picam_infer.outputs.events import Events
from picam_infer.runtime.reports import OutletReport
from picam_infer.runtime.state import State

TOO_LARGE, NOT_AUTHORISED, QUOTA, UNSPECIFIED, BAD_PAYLOAD, SHUTTING_DOWN = 0x95, 0x87, 0x97, 0x80, 0x99, 0x8B


@pytest.fixture(autouse=True)
def _every_line_and_short_pauses(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("picam_infer.outputs.events.outlet.LONGEST_WAIT_S", 0.05)


def outlet(port: int, run: State, **settings: Any) -> Events:
    return Events([config.Mqtt(**{"host": "127.0.0.1", "port": port, "name": "pi"} | settings)], run)


def tell(events: Events, run: State, count: int, at_least: int | None = None) -> OutletReport:
    """Announce changes; return the outlet's report once all are sent or given up."""
    picture = jpeg_frame(np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8))
    for number in range(count):
        run.announce(replace(change("one", seq=number), frame=picture))
    until(lambda: (r := events.report()[0]).sent + r.failed == (at_least or count))
    return events.report()[0]


def ids(broker: ScriptedBroker) -> list[bytes]:
    return [one.payload for one in broker.of("/event")]


def refuse(ending: str, code: int) -> Callable[[Published], int]:
    return lambda one: code if one.topic.endswith(ending) else 0


def hang_up(ending: str, code: int | None, least: int = 0) -> Callable[[Published], int]:
    def answer(one: Published) -> int:
        if one.topic.endswith(ending) and len(one.payload) >= least:
            raise HangUp(code)
        return 0

    return answer


def lines(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [text for record in caplog.records if words in (text := record.getMessage())]


def test_mosquittos_packet_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker(tmp_path, "allow_anonymous true\nmax_packet_size 4000\n")
    listener, run = Listener(broker.port), state()
    try:
        with outlet(broker.port, run) as events:
            report = tell(events, run, 3)
            until(lambda: len(listener.of("pi/event")) == 3)
        assert (report.sent, report.failed, report.ok) == (3, 0, True)
        assert "set snapshot: false" in report.note
        assert len(lines(caplog, "pictures are left out")) == 1
        assert not [topic for topic, body, _ in listener.heard if topic.endswith("/snapshot") and body]
    finally:
        listener.close()
        broker.stop()


@pytest.mark.parametrize("old", [False, True], ids=["MQTT 5", "MQTT 3.1.1"])
def test_a_limit_that_the_broker_shows_only_by_hanging_up(old: bool, caplog: pytest.LogCaptureFixture) -> None:
    with scripted() as broker:
        broker.only_v3 = old
        broker.answer = hang_up("/snapshot", None, least=100)
        run = state()
        with outlet(broker.port, run) as events:
            report = tell(events, run, 4)
    assert (report.sent, report.failed, report.ok) == (4, 0, True)
    assert len(ids(broker)) == len(set(ids(broker))) == 4, "each event once"
    assert len(lines(caplog, "pictures are left out")) == 1 and len(lines(caplog, "works again")) == 1


@pytest.mark.parametrize("code", [TOO_LARGE, NOT_AUTHORISED, UNSPECIFIED])
def test_a_picture_that_is_refused_with_a_reason(code: int) -> None:
    with scripted() as broker:
        broker.answer = hang_up("/snapshot", code)
        run = state()
        with outlet(broker.port, run) as events:
            report = tell(events, run, 3)
    assert (report.sent, report.failed) == (3, 0)
    assert len(ids(broker)) == 3 and "pictures are left out" in report.note


def test_the_limit_is_tried_anew_after_the_broker_was_away() -> None:
    with scripted() as broker:
        broker.answer = hang_up("/snapshot", TOO_LARGE)
        run = state()
        with outlet(broker.port, run) as events:
            assert "left out" in tell(events, run, 1).note

            def restarting(one: Published) -> int:
                raise HangUp(SHUTTING_DOWN)

            broker.answer = restarting
            run.announce(change("one"))
            until(lambda: events.report()[0].ok is False)
            broker.answer = lambda one: 0
            before = len(broker.of("/snapshot"))
            until(lambda: len(broker.of("/snapshot")) > before)
            assert not events.report()[0].note


@pytest.mark.parametrize("code", [NOT_AUTHORISED, BAD_PAYLOAD])
def test_events_that_are_never_taken_are_given_up_with_the_reason(code: int, caplog: pytest.LogCaptureFixture) -> None:
    with scripted() as broker:
        broker.answer = refuse("/event", code)
        run = state()
        with outlet(broker.port, run) as events:
            report = tell(events, run, 3)
            assert (report.sent, report.failed, report.queued, report.ok) == (0, 3, 0, False)
            assert len(ids(broker)) == 3, "each tried once"
            broker.answer = lambda one: 0
            assert tell(events, run, 1, at_least=4).ok is True
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and said[1].endswith("works again"), said


def test_events_that_make_the_broker_hang_up_are_given_up_too(caplog: pytest.LogCaptureFixture) -> None:
    with scripted() as broker:
        broker.answer = hang_up("/event", None)
        run = state()
        with outlet(broker.port, run, discovery="") as events:
            report = tell(events, run, 2)
    assert (report.sent, report.failed, report.ok) == (0, 2, False)
    assert "hung up" in report.reason
    assert "the broker hung up each time; look into the broker's log" in caplog.text


def test_a_quota_is_waited_for_but_not_for_ever() -> None:
    with scripted() as broker:
        full = [3]

        def answer(one: Published) -> int:
            if one.topic.endswith("/event") and full[0]:
                full[0] -= 1
                return QUOTA
            return 0

        broker.answer = answer
        run = state()
        with outlet(broker.port, run) as events:
            assert (tell(events, run, 1).sent, len(ids(broker))) == (1, 4)
            broker.answer = refuse("/event", QUOTA)
            report = tell(events, run, 1, at_least=2)
    assert report.failed == 1 and "quota" in report.reason


def test_a_quota_that_ends_the_connection_is_not_waited_for_forever() -> None:
    with scripted() as broker:
        broker.answer = hang_up("/event", QUOTA)
        run = state()
        with outlet(broker.port, run) as events:
            report = tell(events, run, 1)
            broker.answer = hang_up("/snapshot", QUOTA)
            assert tell(events, run, 2, at_least=3).sent == 2, "without their picture"
    assert report.failed == 1 and "quota" in report.reason


def test_a_hang_up_for_another_reason_does_not_give_up_a_message() -> None:
    with scripted() as broker:
        ends = [4]

        def answer(one: Published) -> int:
            if one.topic.endswith("/event") and ends[0]:
                ends[0] -= 1
                raise HangUp(SHUTTING_DOWN)
            return 0

        broker.answer = answer
        run = state()
        with outlet(broker.port, run) as events:
            report = tell(events, run, 1)
    assert (report.sent, report.failed) == (1, 0)


@pytest.mark.parametrize("answer", [refuse("/config", NOT_AUTHORISED), hang_up("/config", None)])
def test_discovery_that_is_refused_leaves_the_rest(answer: Callable[[Published], int]) -> None:
    with scripted() as broker:
        broker.answer = answer
        run = state()
        with outlet(broker.port, run) as events:
            report = tell(events, run, 1)
            until(lambda: broker.of("/availability"))
    assert report.sent == 1 and "discovery" in report.note and "access list" in report.note


def test_mosquittos_access_list(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite picam-infer/#\n")
    acl.chmod(0o644)
    broker = Broker(tmp_path, f"allow_anonymous true\nuser root\nacl_file {acl}\n")
    run = state()
    try:
        with outlet(broker.port, run) as events:
            report = tell(events, run, 1)
    finally:
        broker.stop()
    assert report.sent == 1 and "set discovery: ''" in report.note


def test_mosquittos_access_list_without_our_topics(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite other/#\n")
    acl.chmod(0o644)
    broker = Broker(tmp_path, f"allow_anonymous true\nuser root\nacl_file {acl}\n")
    run = state()
    try:
        with outlet(broker.port, run) as events:
            report = tell(events, run, 2)
            assert (report.sent, report.failed, report.ok) == (0, 2, False)
            assert "not authorized" in report.reason
    finally:
        broker.stop()


def test_a_broker_that_keeps_nothing_and_knows_no_acknowledgement() -> None:
    with scripted() as broker:
        broker.properties = bytes([0x25, 0, 0x24, 0])  # RetainAvailable 0, MaximumQoS 0
        run = state()
        with outlet(broker.port, run) as events:
            assert tell(events, run, 1).sent == 1
            until(lambda: broker.of("/event"))
    assert not any(one.retain or one.qos for one in broker.got)


def test_an_old_broker_is_spoken_to_in_its_own_version() -> None:
    with scripted() as broker:
        broker.only_v3 = True
        run = state()
        with outlet(broker.port, run) as events:
            assert tell(events, run, 1).sent == 1
            assert events.report()[0].ok is True
