"""A model server under the whole program: status screen, metrics, and an end in time whatever the server does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import model_server
import numpy as np
import pytest
from makers import until
from model_server import Behaviour
from socket_server import SocketServer

from picam_infer.config import Decide
from picam_infer.inference.engines.remote.traffic import Traffic
from picam_infer.models import bundle as bundles
from picam_infer.outputs.web.metrics import Metrics
from picam_infer.runtime.state import State, Tuning

pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")


@pytest.fixture
def silent() -> Iterator[SocketServer]:
    """Takes connections and never says a word."""
    with SocketServer(lambda caller: caller.over.wait()) as server:
        yield server


def configuration(folder: Path, engine: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(f"source: demo\ndisplay: {{kind: none}}\nweb: off\nengine: {{kind: remote, {engine}}}\n")
    return path


def start(path: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "picam_infer", "run", "-c", str(path), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("fallback", ["none", "cpu"])
def test_a_silent_server_does_not_hold_up_the_end(tmp_path: Path, silent: SocketServer, fallback: str) -> None:
    path = configuration(tmp_path, f"url: 'http://127.0.0.1:{silent.port}', deadline_s: 3, fallback: {fallback}")
    running = start(path)
    assert running.stderr
    heard = ""
    for line in running.stderr:
        heard += line
        if "gave no answer within 3 s" in line:
            break
    assert ("engine lost" if fallback == "none" else "the server is not used") in heard
    before = silent.callers
    until(lambda: silent.callers > before)  # the next try is under way
    running.send_signal(signal.SIGTERM)
    assert running.wait(20) == 0
    rest = running.stderr.read()
    assert "Traceback" not in heard + rest


def test_results_carry_the_servers_name(tmp_path: Path) -> None:
    behaviour = Behaviour(
        lambda tensor: np.eye(11, dtype=np.float32)[[3]],
        [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}],
        [{"name": "scores", "datatype": "FP32", "shape": [-1, 11]}], name="digits",
    )  # fmt: skip
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
        ("url: ''", "engine.url is empty"),
        ("url: 'ftp://pi'", "f.yaml"),
    ],
)
def test_a_wrong_address_is_a_configuration_error(tmp_path: Path, engine: str, words: str) -> None:
    path = tmp_path / "f.yaml"
    configuration(tmp_path, engine).rename(path)
    done = subprocess.run([sys.executable, "-m", "picam_infer", "run", "-c", str(path)], capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip
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
        'round_trip_seconds_bucket{le="0.005"} 1.0', "round_trip_seconds_count 1.0",
        'bytes_total{direction="sent"} 784.0',
        'bytes_total{direction="received"} 44.0', 'failures_total{kind="timeout"} 1.0', "fallbacks_total 1.0",
    ):  # fmt: skip
        assert f"picam_remote_{line}" in page
