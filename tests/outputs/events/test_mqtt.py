"""Events for a real mosquitto, that is restarted in mid-run."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from event_samples import change, state, until
from mqtt_lab import Broker, Listener

from picam_infer import config
from picam_infer.outputs.events import Events
from picam_infer.runtime.state import State


def connected(run: State, broker: Broker, **settings: Any) -> Events:
    settings = {"host": "127.0.0.1", "port": broker.port, "name": "pi"} | settings
    return Events([config.Mqtt(**settings)], run)


def tell(run: State, label: str | None, score: float = 0.9, seq: int = 1) -> None:
    item = change(label, score, seq)
    assert item.result is not None
    run.results.put(item.result)
    run.announce(item)


def test_label_state_picture_and_availability(broker: Broker, listener: Listener) -> None:
    run = state()
    with connected(run, broker) as events:
        tell(run, "one")
        until(lambda: events.report()[0].sent == 1)
    until(lambda: ("picam-infer/pi/availability", b"offline", False) in listener.heard)
    assert ("picam-infer/pi/availability", b"online", False) in listener.heard
    assert listener.of("pi/event")[0]["label"] == "one"
    assert listener.of("pi/state")[-1] == {"label": "one", "score": 90.0, "engine": "openvino:CPU", "camera": "ok",
                                           "engine_state": "ok"}  # fmt: skip
    pictures = [body for topic, body, _ in listener.heard if topic == "picam-infer/pi/snapshot"]
    assert pictures[0][:2] == b"\xff\xd8"


def test_late_listeners_find_the_retained_state(broker: Broker) -> None:
    run = state()
    with connected(run, broker) as events:
        tell(run, "one")
        until(lambda: events.report()[0].sent == 1)
        late = Listener(broker.port)
        until(lambda: late.of("pi/state"))
        assert ("picam-infer/pi/availability", b"online", True) in late.heard
        assert late.of("pi/state")[0]["label"] == "one" and not late.of("pi/event")
        late.close()


def test_home_assistant_finds_its_entities(broker: Broker, listener: Listener) -> None:
    with connected(state(), broker) as events:
        until(lambda: events.report()[0].ok)
        until(lambda: len(listener.of("/config")) == 6)
    found = {topic: json.loads(body) for topic, body, _ in listener.heard if topic.endswith("/config")}
    assert set(found) == {f"homeassistant/{path}/config" for path in (
        "sensor/picam-infer-pi/label", "sensor/picam-infer-pi/score", "sensor/picam-infer-pi/engine",
        "binary_sensor/picam-infer-pi/camera", "image/picam-infer-pi/snapshot",
        "switch/picam-infer-pi/watching")}  # fmt: skip
    for topic, entity in found.items():
        kind, _, name = topic.removeprefix("homeassistant/").removesuffix("/config").split("/")
        assert entity["default_entity_id"] == f"{kind}.picam_infer_pi_{name}"
        assert entity["origin"]["name"] == "picam-infer"
        assert entity["availability_topic"] == "picam-infer/pi/availability"
        assert entity["unique_id"] and entity["device"]["identifiers"] == ["picam-infer-pi"]


def test_a_lost_camera_shows_in_the_state(broker: Broker, listener: Listener) -> None:
    run = state()
    with connected(run, broker):
        until(lambda: listener.of("pi/state"))
        run.health.mark_down("camera", "unplugged")
        until(lambda: listener.of("pi/state")[-1]["camera"] == "lost")
        run.health.mark_up("camera")
        until(lambda: listener.of("pi/state")[-1]["camera"] == "ok")


def watching(listener: Listener) -> list[bytes]:
    return [body for topic, body, _ in list(listener.heard) if topic == "picam-infer/pi/watching"]


def test_a_switch_pauses_and_resumes(broker: Broker, listener: Listener) -> None:
    run = state()
    with connected(run, broker) as events:
        until(lambda: events.report()[0].ok)
        until(lambda: watching(listener) == [b"ON"])
        listener.client.publish("picam-infer/pi/watching/set", b"OFF", 1)
        until(lambda: watching(listener)[-1] == b"OFF")
        assert run.pause.now is not None and run.pause.now.by == "mqtt"
        run.pause.set(False, "page")
        until(lambda: watching(listener)[-1] == b"ON")
        listener.client.publish("picam-infer/pi/watching/set", b"nonsense", 1)
        listener.client.publish("picam-infer/pi/watching/set", b"OFF", 1)
        until(lambda: run.pause.now)
        listener.client.publish("picam-infer/pi/watching/set", b"ON", 1)
        until(lambda: not run.pause.now)


def test_a_command_that_the_broker_keeps_is_not_obeyed_at_each_start(broker: Broker, listener: Listener) -> None:
    listener.client.publish("picam-infer/pi/watching/set", b"OFF", 1, retain=True).wait_for_publish(5)
    run = state()
    with connected(run, broker) as events:
        until(lambda: events.report()[0].ok)
        listener.client.publish("picam-infer/pi/availability", b"offline", 1)
        until(lambda: availability(listener)[-1] == b"online")  # what came before has been heard, then
        assert run.pause.now is None


def test_without_control_nobody_pauses_it(broker: Broker, listener: Listener) -> None:
    for control in (True, False):
        run = state()
        with connected(run, broker, control=control) as events:
            until(lambda events=events: events.report()[0].ok)
            if not control:
                listener.client.publish("picam-infer/pi/watching/set", b"OFF", 1)
                listener.client.publish("picam-infer/pi/availability", b"offline", 1)
                until(lambda: availability(listener)[-1] == b"online")
                assert run.pause.now is None
    late = Listener(broker.port)
    late.client.publish("end-of/retained", b"", 1)
    until(lambda: any(topic == "end-of/retained" for topic, _, _ in list(late.heard)))
    assert not [topic for topic, _, _ in late.heard if "watching" in topic]
    late.close()


def test_the_end_of_a_wanted_label_is_told(broker: Broker, listener: Listener) -> None:
    run = state()
    with connected(run, broker, labels=("one",)) as events:
        tell(run, "one")
        tell(run, "zero")
        tell(run, "zero")
        until(lambda: events.report()[0].sent == 2)
    assert [e["label"] for e in listener.of("pi/event")] == ["one", "zero"]
    assert listener.of("pi/state")[-1]["label"] == "unknown"


def test_a_restart_of_the_broker_loses_nothing(broker: Broker) -> None:
    run = state()
    first = Listener(broker.port)
    with connected(run, broker) as events:
        for number in range(3):
            tell(run, "one", seq=number)
        until(lambda: events.report()[0].sent == 3)
        seen = [e["result"]["seq"] for e in first.of("pi/event")]
        broker.stop()
        for number in range(3, 8):
            tell(run, "zero", seq=number)
        until(lambda: not events.report()[0].ok)
        assert events.report()[0].queued == 5 and events.report()[0].reason
        broker.start()
        second = Listener(broker.port)
        until(lambda: events.report()[0].sent == 8)
        until(lambda: len(second.of("pi/event")) >= 5)
    # QoS 1: at least once, and in order.
    later = [e["result"]["seq"] for e in second.of("pi/event")]
    assert list(dict.fromkeys(seen)) == [0, 1, 2] and list(dict.fromkeys(later)) == [3, 4, 5, 6, 7]
    first.close()
    second.close()


class Wire:
    """A way to the broker that can be cut, as a dead network does: nobody says goodbye."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self._ends: list[socket.socket] = []
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._door.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._ends += [near, far]
                self.connections += 1
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    def cut(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def close(self) -> None:
        self._door.close()
        self.cut()


@pytest.fixture
def wire(broker: Broker) -> Iterator[Wire]:
    made = Wire(broker.port)
    yield made
    made.close()


def test_a_connection_that_is_cut_loses_nothing(broker: Broker, wire: Wire, listener: Listener) -> None:
    run = state()
    with connected(run, broker, port=wire.port) as events:
        until(lambda: events.report()[0].ok)
        for number in range(6):
            wire.cut()
            tell(run, "one", seq=number)
        until(lambda: events.report()[0].sent == 6)
        until(lambda: len(dict.fromkeys(e["result"]["seq"] for e in listener.of("pi/event"))) == 6)
    assert list(dict.fromkeys(e["result"]["seq"] for e in listener.of("pi/event"))) == list(range(6))
    assert events.report()[0].failed == 0 and wire.connections > 1


def test_a_cut_shows_as_offline_and_ends_as_online(broker: Broker, wire: Wire, listener: Listener) -> None:
    with connected(state(), broker, port=wire.port):
        until(lambda: availability(listener)[-1:] == [b"online"])
        wire.cut()
        until(lambda: b"offline" in availability(listener))
        until(lambda: availability(listener)[-1] == b"online")


def availability(listener: Listener, name: str = "pi") -> list[bytes]:
    return [body for topic, body, _ in list(listener.heard) if topic == f"picam-infer/{name}/availability"]


def test_user_and_password_from_a_file(tmp_path: Path) -> None:
    if not shutil.which("mosquitto_passwd"):
        pytest.skip("needs mosquitto_passwd (Debian package mosquitto)")
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "pi", "right"], check=True, capture_output=True)
    users.chmod(0o644)
    password = tmp_path / "password"
    password.write_text("wrong\n")
    broker = Broker(tmp_path, f"allow_anonymous false\nuser root\npassword_file {users}\n")
    run = state()
    try:
        with connected(run, broker, user="pi", password_file=str(password)) as events:
            until(lambda: "refuses" in events.report()[0].reason)
            password.write_text("right\n")
            tell(run, "one")
            until(lambda: events.report()[0].sent == 1)
    finally:
        broker.stop()


def test_tls_and_a_broker_that_nobody_vouches_for(tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert,
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, capture_output=True)  # fmt: skip
    key.chmod(0o644)
    broker = Broker(tmp_path, f"allow_anonymous true\nuser root\ncertfile {cert}\nkeyfile {key}\n")
    try:
        with connected(state(), broker, tls=True) as events:
            until(lambda: "not trusted" in events.report()[0].reason)
        run = state()
        with connected(run, broker, tls=True, ca_file=str(cert)) as events:
            tell(run, "one")
            until(lambda: events.report()[0].sent == 1)
    finally:
        broker.stop()


def test_no_broker_says_so_and_ends_at_once() -> None:
    run = state()
    with Events([config.Mqtt(host="127.0.0.1", port=9)], run) as events:
        tell(run, "one")
        until(lambda: "refused" in events.report()[0].reason)
    assert events.report()[0].queued == 1
