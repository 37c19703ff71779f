"""Names at a real broker: two services of one name, a new name, and what is left behind."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from event_samples import change, state, until
from mqtt_lab import Broker, Listener
from test_mqtt import availability

from picam_infer import config
from picam_infer.config.instance import Instance
from picam_infer.outputs.events import Events
from picam_infer.runtime.state import State


@pytest.fixture
def nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for who is not there."""
    monkeypatch.setattr("picam_infer.outputs.events.mqtt.LISTEN_S", 0.0)


def service(broker: Broker, instance: Instance | None = None, run: State | None = None, **settings: Any) -> Events:
    wanted = config.Mqtt(**{"host": "127.0.0.1", "port": broker.port} | settings)
    return Events([wanted], run or state(), instance)


def kept(broker: Broker) -> dict[str, bytes]:
    """Return what the broker has retained."""
    late = Listener(broker.port)
    late.client.publish("end-of/retained", b"", 1)
    until(lambda: any(topic == "end-of/retained" for topic, _, _ in list(late.heard)))
    late.close()
    return {topic: body for topic, body, retain in late.heard if retain}


def names(broker: Broker) -> set[str]:
    return {topic.split("/")[1] for topic in kept(broker) if topic.startswith("picam-infer/")}


def connected(events: Events) -> Callable[[], Any]:
    return lambda: events.report()[0].ok


def said(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [message for record in list(caplog.records) if words in (message := record.getMessage())]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Instance(Path("/etc/picam-infer/config.yaml")), Instance(Path("/etc/picam-infer/bench.yaml"))),
        (Instance(Path("/a/cam.yaml")), Instance(Path("/b/cam.yaml"))),
        (Instance(None, machine="a Pi"), Instance(None, machine="its copy")),
    ],
)
def test_default_names_differ(broker: Broker, one: Instance, other: Instance) -> None:
    with service(broker, one) as first, service(broker, other) as second:
        until(connected(first)), until(connected(second))
        assert len(names(broker)) == 2
        assert not first.report()[0].note and not second.report()[0].note


def test_the_default_name_is_a_good_topic_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "mein größter.pi/#+")
    made = Instance(Path("/etc/picam-infer/küche 2.yaml"), machine="x")
    assert made.network_name == Instance(Path("/etc/picam-infer/küche 2.yaml"), machine="x").network_name
    assert made.network_name == f"mein-gr-ter-k-che-2-{made.ident[:6]}"


def test_two_of_one_name_are_noticed_by_both_and_the_survivor_says_online(
    broker: Broker, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    with service(broker, Instance(machine="a"), name="x") as first:
        until(connected(first))
        second = service(broker, Instance(machine="b"), name="x")
        for events in (first, second):
            until(lambda events=events: "a `name` of its own" in events.report()[0].note)
        assert socket.gethostname() in first.report()[0].note
        clashes = until(lambda: len(found := said(caplog, "of its own")) == 2 and found)
        second.close()
        until(lambda: b"offline" in availability(listener, "x"))
        until(lambda: availability(listener, "x")[-1] == b"online")
        until(lambda: not first.report()[0].note)
        assert kept(broker)["picam-infer/x/availability"] == b"online"
    until(lambda: availability(listener, "x")[-1] == b"offline")
    assert said(caplog, "of its own") == clashes, "once each"


def test_a_will_that_comes_late_is_corrected(broker: Broker, listener: Listener) -> None:
    with service(broker, name="x") as events:
        until(connected(events))
        listener.client.publish("picam-infer/x/availability", b"offline", 1, retain=True)
        until(lambda: availability(listener, "x")[-2:] == [b"offline", b"online"])


def test_what_was_cleared_or_asked_for_is_said_again(broker: Broker, listener: Listener) -> None:
    def said() -> int:
        return sum(topic.endswith("/config") for topic, _, _ in list(listener.heard))

    with service(broker, name="x") as events:
        until(connected(events))
        until(lambda: said() == 6)
        listener.client.publish("homeassistant/status", b"online", 1)  # Home Assistant has started
        until(lambda: said() == 12)
        listener.client.publish("picam-infer/x/availability", b"", 1, retain=True)
        until(lambda: said() == 18)


def test_a_new_name_leaves_nothing_behind(broker: Broker, nobody_answers: None) -> None:
    for settings in ({"name": "old"}, {"name": "new"}):
        run = state()
        with service(broker, run=run, **settings) as events:
            run.announce(change("one"))
            until(lambda events=events: events.report()[0].sent == 1)
    left = kept(broker)
    assert "picam-infer/new/snapshot" in left and not [topic for topic in left if "old" in topic]


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        ({"prefix": "one"}, {"prefix": "two"}, "one/"),
        ({"discovery": "ha"}, {"discovery": "homeassistant"}, "ha/"),
        ({"discovery": "ha"}, {"discovery": ""}, "ha/"),
        ({}, {"snapshot": False}, "snapshot"),
    ],
)
def test_what_is_no_longer_wanted_is_cleared(
    broker: Broker, nobody_answers: None, before: dict[str, Any], after: dict[str, Any], gone: str
) -> None:
    run = state()
    with service(broker, run=run, name="x", **before) as events:
        run.announce(change("one"))
        until(lambda: events.report()[0].sent == 1)
    assert [topic for topic in kept(broker) if gone in f"{topic}/"]
    with service(broker, name="x", **after) as events:
        until(connected(events))
    assert not [topic for topic in kept(broker) if gone in f"{topic}/"]


def test_the_old_picture_goes_although_nobody_remembers_it(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = state()
    with service(broker, run=run, name="x") as events:
        run.announce(change("one"))
        until(lambda: events.report()[0].sent == 1)
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path / 'fresh'}:{tmp_path / 'other'}")
    with service(broker, name="x", snapshot=False) as events:
        until(connected(events))
    assert not [topic for topic in kept(broker) if "snapshot" in topic]
    assert list((tmp_path / "fresh").glob("mqtt-*.json")), "systemd's folder is the one that is used"


def test_an_old_name_that_somebody_else_has_now_is_left_alone(broker: Broker) -> None:
    with service(broker, Instance(machine="a"), name="x") as first:
        until(connected(first))
    with service(broker, Instance(machine="b"), name="x") as second:
        until(connected(second))
        with service(broker, Instance(machine="a"), name="y") as first:
            until(connected(first))
            left = kept(broker)
    assert left["picam-infer/x/availability"] == b"online" and left["picam-infer/y/availability"] == b"online"
    assert [topic for topic in left if "picam-infer-x" in topic]


def test_two_outlets_of_one_service_do_not_clear_each_other(broker: Broker) -> None:
    two = [config.Mqtt(host="127.0.0.1", port=broker.port, name=name) for name in ("x", "y")]
    for _ in range(2):
        with Events(two, state()) as events:
            until(lambda events=events: all(report.ok for report in events.report()))
    assert names(broker) == {"x", "y"}


def test_a_damaged_memory_is_no_memory(broker: Broker, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "picam-infer"
    folder.mkdir(parents=True)
    (folder / f"mqtt-{Instance().ident}.json").write_text('{"half a')
    with service(broker, name="x") as events:
        until(connected(events))
    assert json.loads((folder / f"mqtt-{Instance().ident}.json").read_text())


def test_without_a_place_to_remember_it_still_works(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/proc/nope")
    with service(broker, name="x") as events:
        until(connected(events))


@pytest.mark.parametrize("discovery", ["homeassistant/", "/homeassistant", "homeassistant//"])
def test_slashes_around_a_prefix_are_not_meant(broker: Broker, discovery: str) -> None:
    with service(broker, name="x", discovery=discovery, prefix="picam-infer/") as events:
        until(connected(events))
    assert "homeassistant/sensor/picam-infer-x/label/config" in kept(broker)
    assert "picam-infer/x/state" in kept(broker)
