"""The whole service with a model server: what page, broker, journal, status line, metrics and overlay report."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import model_server
import pytest
from makers import until
from model_server import Behaviour
from mqtt_lab import Broker, Listener
from recorded_server import behaviour
from test_supervisor import Manager, served
from test_supervisor import manager as manager
from visitors import ask, ask_json, watching

pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
REMOTE, CPU = "remote:127.0.0.1/digits", "openvino:CPU"
WRITING = """
import sys
from picam_infer.outputs import annotate
def told(usual):
    def write(image, text, *where, **more):
        sys.stderr.write(f"WRITTEN {text.translate({0x2068: None, 0x2069: None})}\\n")
        sys.stderr.flush()
        return usual(image, text, *where, **more)
    return write
annotate.panel, annotate.write = told(annotate.panel), told(annotate.write)
from picam_infer import cli
sys.exit(cli.main(sys.argv[1:]))
"""
"""`picam-infer` that says what it writes on pictures."""


@pytest.fixture
def server() -> Behaviour:
    return behaviour("digits")


class Service:
    """A running service with its page, and all that it says."""

    def __init__(self, process: subprocess.Popen[str], log: Path, manager: Manager) -> None:
        self.process, self.log, self._manager = process, log, manager
        self.web: Any = served(process, log)

    @property
    def state(self) -> dict[str, Any]:
        return dict(ask_json(self.web, "/api/state")[1])

    def metric(self, name: str) -> float:
        """Return a metric's value; 0: it is not there."""
        lines = ask(self.web, "/metrics")[2].decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)

    def timeline(self) -> list[dict[str, Any]]:
        """Return what the page's timeline begins with."""
        with socket.create_connection(("127.0.0.1", self.web.port), 10) as sock:
            sock.sendall(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            for line in sock.makefile("r", encoding="utf-8"):
                if line.startswith("data: ") and "changes" in line:
                    return list(json.loads(line.removeprefix("data: "))["changes"])
        return []

    def hears(self, text: str) -> str:
        """Wait for a message to the service manager."""
        return self._manager.hears(text)

    def writes(self, text: str) -> None:
        """Wait until that is on a picture of the stream."""
        with watching(self.web) as parts:
            until(lambda: next(parts) and any(text in line for line in self._lines(True)))

    def _lines(self, written: bool) -> list[str]:
        return [line for line in self.log.read_text().splitlines(True) if line.startswith("WRITTEN") == written]

    def ends(self) -> str:
        """End it; return its log without what it wrote on pictures."""
        self.process.terminate()
        assert self.process.wait(20) == 0
        return "".join(self._lines(False))


Run = Callable[..., Service]


@pytest.fixture
def run(tmp_path: Path, manager: Manager) -> Iterator[Run]:
    running: list[subprocess.Popen[bytes]] = []

    def begin(url: str, *events: dict[str, Any], **engine: Any) -> Service:
        settings = {
            "source": "demo",
            "display": {"kind": "none"},
            "web": {"listen": "127.0.0.1:0"},
            "capture": {"width": 640, "height": 480},
            "events": list(events),
            "engine": {"kind": "remote", "url": url, "deadline_s": 20, "max_per_s": 20, **engine},
        }
        (tmp_path / "c.yaml").write_text(json.dumps(settings))
        log = tmp_path / "log"
        with log.open("w") as out:
            running.append(
                subprocess.Popen(
                    [sys.executable, "-c", WRITING, "run", "-c", str(tmp_path / "c.yaml")],
                    stdout=subprocess.DEVNULL,
                    stderr=out,
                    env={**os.environ, "HOME": str(tmp_path), **manager.environment},
                )
            )
        return Service(running[-1], log, manager)  # type: ignore[arg-type]

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_every_output_tells_of_the_switch(run: Run, server: Behaviour, broker: Broker, listener: Listener) -> None:
    mqtt = {"kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "name": "pi"}
    with model_server.plain(server, "http") as url:
        service = run(url, mqtt)
        assert f"results/s on {REMOTE}" in service.hears(f"on {REMOTE}")
        assert service.state["engine"] == REMOTE and service.state["result"]["engine"] == REMOTE
        assert "inference is on the server now" in service.state["notice"]
        until(lambda: listener.of("pi/state") and listener.of("pi/state")[-1]["engine"] == REMOTE)
        (sensor,) = listener.of("engine/config")
        assert sensor["state_topic"] == "picam-infer/pi/state" and "engine" in sensor["value_template"]
        service.writes(f"inference is on the server now ({REMOTE})")

        server.refuse = ("503 Service Unavailable", "queue full")
        status = service.hears(f"on {CPU}")
        lost = f"inference is on {CPU} now, {REMOTE} is lost: 127.0.0.1:{url.rpartition(':')[2]} is overloaded"
        assert f"({lost}" in status
        assert service.state["engine"] == CPU and service.state["notice"].startswith(lost)
        assert service.state["lost"] == []  # nothing is: the CPU answers
        until(lambda: listener.of("pi/state")[-1]["engine"] == CPU)
        assert listener.of("pi/state")[-1]["engine_state"] == "ok"
        assert lost in [change["reason"] for change in service.timeline() if change["kind"] == "engine"][-1]
        assert service.metric('picam_remote_failures_total{kind="overloaded"}') >= 1
        assert service.metric("picam_remote_fallbacks_total") == 1
        assert service.metric("picam_remote_round_trip_seconds_count") >= 1
        assert service.metric('picam_remote_bytes_total{direction="sent"}') >= 784
        service.writes("is overloaded")

        server.refuse = None
        service.hears(f"on {REMOTE}")
        until(lambda: listener.of("pi/state")[-1]["engine"] == REMOTE)
        said = service.ends()
    assert said.count("is lost: ") == 1 and "Traceback" not in said
    assert said.count("inference is on the server now") == 2


def test_a_server_without_a_fallback_is_lost_and_found(
    run: Run, server: Behaviour, tmp_path: Path, broker: Broker, listener: Listener
) -> None:
    told = tmp_path / "told.jsonl"
    jsonl = {"kind": "jsonl", "path": str(told), "about": ["lost", "found"]}
    mqtt = {"kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "name": "pi", "about": ["lost", "found"]}

    def events() -> list[dict[str, Any]]:
        return [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []

    with model_server.plain(server, "http") as url:
        service = run(url, jsonl, mqtt, fallback="none")
        service.hears(f"on {REMOTE}")
        server.loaded = False
        server.refuse = ("404 Not Found", "Request for unknown model: 'digits' is not found")
        status = service.hears("has no model digits that is ready")
        assert status.startswith("STATUS=engine lost: ") and "picam-infer export makes a repository" in status
        (loss,) = service.state["lost"]
        assert loss["part"] == "engine" and "has no model digits" in loss["reason"] and "load it there" in loss["hint"]
        until(lambda: listener.of("pi/state")[-1]["engine_state"] == "lost")
        assert service.metric('picam_lost{part="engine"}') == 1
        service.writes("engine lost")

        server.loaded, server.refuse = True, None
        service.hears(f"on {REMOTE}")
        until(lambda: listener.of("pi/state")[-1]["engine_state"] == "ok")
        until(lambda: len(events()) == 2)
        assert [(event["event"], event["part"]) for event in events()] == [("lost", "engine"), ("found", "engine")]
        assert [event["event"] for event in listener.of("pi/event")] == ["lost", "found"]
        assert service.metric('picam_lost{part="engine"}') == 0
        said = service.ends()
    assert said.count("engine lost: ") == 1 and said.count("engine is back") == 1 and "Traceback" not in said
