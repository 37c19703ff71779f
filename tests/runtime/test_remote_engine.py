"""The whole program with a model server: status screen, metrics, and a prompt end whatever the server does."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import model_server
import numpy as np
import pytest
from model_server import Behaviour

from picam_infer.config import Decide
from picam_infer.inference.engines.remote.traffic import Traffic
from picam_infer.models import bundle as bundles
from picam_infer.outputs.web.metrics import Metrics
from picam_infer.runtime.state import State, Tuning

pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
TESTS = Path(__file__).parents[1]


def configuration(folder: Path, engine: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(f"source: demo\ndisplay: {{kind: none}}\nweb: off\nengine: {{kind: remote, {engine}}}\n")
    return path


def start(path: Path, *more: str, log: str = "warning") -> subprocess.Popen[str]:
    with path.open("a") as file:
        file.write(f"log: {{level: {log}}}\n")
    command = [sys.executable, "-m", "picam_infer", "run", "-c", str(path), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def silent() -> Iterator[tuple[str, Callable[[], object]]]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        yield f"127.0.0.1:{listener.getsockname()[1]}", listener.accept


@contextlib.contextmanager
def closed() -> Iterator[tuple[str, Callable[[], object]]]:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"127.0.0.1:{port}", lambda: None


@contextlib.contextmanager
def no_answer() -> Iterator[tuple[str, Callable[[], object]]]:
    """A port whose connections are neither taken nor refused, as behind a cut wire."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as waiting:
        address = listener.getsockname()
        for _ in range(3):  # its queue is full with the first
            sock = waiting.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(address)
        yield f"127.0.0.1:{address[1]}", lambda: None


def recorded(scheme: str) -> Any:
    @contextlib.contextmanager
    def run() -> Iterator[tuple[str, Callable[[], object]]]:
        """A server that answers, and can be stopped."""
        command = [sys.executable, str(TESTS / "recorded_server.py"), scheme, "digits"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                yield process.stdout.readline().strip().partition("://")[2], lambda: process.send_signal(signal.SIGSTOP)
            finally:
                process.kill()

    return run


STATES: dict[str, tuple[str, str, Any, str, bool]] = {
    "starting": ("http", "cpu", silent, "", True),
    "starting, nothing behind it": ("grpc", "none", silent, "", True),
    "answering": ("grpc", "cpu", recorded("grpc"), "inference is on the server now", False),
    "hung in mid-run, HTTP": ("http", "cpu", recorded("http"), "inference is on the server now", True),
    "hung in mid-run, gRPC": ("grpc", "none", recorded("grpc"), "sees ", True),
    "looked for": ("grpc", "cpu", closed, "the server is not used", False),
    "waited for": ("http", "none", closed, "engine lost", False),
    "behind a cut wire": ("http", "cpu", no_answer, "the server is not used", False),
    "behind a cut wire, nothing behind it": ("grpc", "none", no_answer, "engine lost", False),
}
"""The URL's scheme, what is behind it, the server, what is to be heard before it ends, and whether that stops it."""


@pytest.mark.parametrize("state", STATES)
def test_it_ends_within_two_seconds_in_every_state(tmp_path: Path, state: str) -> None:
    scheme, fallback, server, words, trips = STATES[state]
    took_s = []
    for _ in range(3):  # a busy machine may be late once; a fault is always
        with server() as (place, trip):
            deadline_s = 1 if server is no_answer else 20
            path = configuration(tmp_path, f"url: '{scheme}://{place}', deadline_s: {deadline_s}, fallback: {fallback}")
            running = start(path, log="info")
            assert running.stderr
            heard = ""
            if words:
                heard = next(line for line in running.stderr if words in line)
            if trips:
                trip()
            time.sleep(0.5)  # a call, or the wait for the next one, is under way
            running.send_signal(signal.SIGTERM)
            began_s = time.monotonic()
            assert running.wait(30) == 0
            took_s.append(time.monotonic() - began_s)
            assert "Traceback" not in heard + running.stderr.read()
        if took_s[-1] < 2:
            return
    raise AssertionError(f"it took {took_s} s to end")


def test_results_carry_the_servers_name(tmp_path: Path) -> None:
    behaviour = Behaviour(
        lambda tensor: np.eye(11, dtype=np.float32)[[3]],
        [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}],
        [{"name": "scores", "datatype": "FP32", "shape": [-1, 11]}],
        name="digits",
    )
    with model_server.http(behaviour) as server:
        path = configuration(tmp_path, f"url: 'http://127.0.0.1:{server.port}', deadline_s: 30, fallback: none")
        running = start(path, "--frames", "3", "--json")
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    results = [json.loads(line) for line in out.splitlines()]
    assert len(results) == 3 and {r["engine"] for r in results} == {"remote:127.0.0.1/digits"}
    assert {r["top"][0]["label"] for r in results} == {bundles.load("digits").labels[3]}


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("url: ''", "no model server is named: engine.url is empty; give one with engine.url or --url"),
        ("url: 'ftp://pi'", "f.yaml"),
    ],
)
def test_a_wrong_address_is_a_configuration_error(tmp_path: Path, engine: str, words: str) -> None:
    path = tmp_path / "f.yaml"
    configuration(tmp_path, engine).rename(path)
    done = subprocess.run(
        [sys.executable, "-m", "picam_infer", "run", "-c", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78 and words in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_metrics() -> None:
    digits = bundles.load("digits")
    state = State(Tuning(digits.card.preprocess, Decide()))
    page = Metrics(state).page("")[0].decode()
    assert "picam_remote" not in page
    traffic: Traffic = state.traffic
    traffic.answered(0.004, 784, 44)
    traffic.failed("timeout")
    traffic.fell_back()
    page = Metrics(state).page("")[0].decode()
    for line in (
        'round_trip_seconds_bucket{le="0.005"} 1.0',
        "round_trip_seconds_count 1.0",
        'bytes_total{direction="sent"} 784.0',
        'bytes_total{direction="received"} 44.0',
        'failures_total{kind="timeout"} 1.0',
        "fallbacks_total 1.0",
    ):
        assert f"picam_remote_{line}" in page
