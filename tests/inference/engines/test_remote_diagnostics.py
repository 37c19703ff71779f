"""`check` on the way to a model server: one finding a link, and none beyond the first that does not hold."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import model_server
import numpy as np
import pytest
from model_server import Behaviour
from stick_lab import Cpu, bundle, expected

from picam_infer.config import EngineSettings
from picam_infer.core import Finding
from picam_infer.inference.engines.remote.diagnostics import diagnose
from picam_infer.inference.engines.remote.server_time import ServerTime
from picam_infer.models.bundle import Bundle

pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")


@pytest.fixture
def model(tmp_path: Path) -> Bundle:
    return bundle(tmp_path / "model")


@pytest.fixture
def server(model: Bundle) -> Behaviour:
    return Behaviour(
        lambda tensor: expected(model, tensor[0])[None],
        [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}],
        [{"name": "scores", "datatype": "FP32", "shape": [-1, 10]}],
    )


def found(model: Bundle, server: Behaviour, protocol: str = "http", **more: Any) -> list[Finding]:
    def ask(url: str) -> list[Finding]:
        settings = EngineSettings(kind="remote", url=url, deadline_s=20, **more)
        return list(diagnose(model, settings, lambda: Cpu(model)))

    if protocol == "grpc":
        with model_server.grpc(server) as port:
            return ask(f"grpc://127.0.0.1:{port}")
    with model_server.http(server) as running:
        return ask(f"http://127.0.0.1:{running.port}")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_whole_chain(model: Bundle, server: Behaviour, protocol: str) -> None:
    lines = found(model, server, protocol)
    assert {line.grade for line in lines} == {"ok"}
    expectations = ("takes connections", "the server is ready", "model lab is ready", "takes UINT8 NHWC as pixels",
                    "ms from picture to answer", "differ from the CPU's by up to 0.0000")  # fmt: skip
    for line, words in zip(lines, expectations, strict=True):
        assert words in line.what


def test_each_link_that_does_not_hold_ends_it(model: Bundle, server: Behaviour, tmp_path: Path) -> None:
    server.loaded = False
    assert [line.grade for line in found(model, server)] == ["ok", "ok", "error"]
    server.loaded, server.outputs = True, [{"name": "scores", "datatype": "FP32", "shape": [-1, 11]}]
    last = found(model, server)[-1]
    assert last.grade == "error" and "model lab has 10 labels" in last.what
    server.token = "secret"
    last = found(model, server)[-1]
    assert last.grade == "error" and "does not accept the token" in last.what and "engine.token_file" in last.remedy
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (line,) = diagnose(model, EngineSettings(kind="remote", url=f"http://127.0.0.1:{port}"), lambda: Cpu(model))
    assert line.grade == "error" and "refused" in line.what.lower()
    (line,) = diagnose(model, EngineSettings(kind="remote", url="http://no-such.invalid"), lambda: Cpu(model))
    assert line.grade == "error" and "there is no host called no-such.invalid" in line.what


def test_other_answers_are_an_error(model: Bundle, server: Behaviour) -> None:
    server.answer = lambda tensor: expected(model, tensor[0])[None, ::-1]
    last = found(model, server)[-1]
    assert last.grade == "error" and "is the model there this one?" in last.what


def test_floats_and_a_readable_token_are_noted(model: Bundle, server: Behaviour, tmp_path: Path) -> None:
    chain = model.card.preprocess
    server.inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 28, 28, 1]}]
    server.answer = lambda t: expected(model, np.rint((t[0] - chain.offset) / chain.scale).astype(np.uint8))[None]
    token = tmp_path / "token"
    token.write_text("word")
    token.chmod(0o644)
    notes = [line for line in found(model, server, token_file=str(token)) if line.grade == "note"]
    assert "can read" in notes[0].what and "takes FP32: more bytes" in notes[1].what


def test_where_the_time_went() -> None:
    """As Triton 2.51 answered (over gRPC numbers come as words)."""
    ms = 1_000_000

    def said(count: int) -> dict[str, Any]:
        parts = {"success": 4, "queue": 1, "compute_input": 0, "compute_infer": 2, "compute_output": 1}
        stats = {part: {"count": str(count), "ns": str(count * each * ms)} for part, each in parts.items()}
        return {"model_stats": [{"name": "lab", "inference_count": str(count), "execution_count": str(count // 4),
                                 "inference_stats": stats}]}  # fmt: skip

    before, after = ServerTime.of(said(100)), ServerTime.of(said(300))
    assert before and after
    between = after.since(before)
    assert (between.requests, between.pictures, between.batches) == (200, 200, 50)
    assert between.sentence(5.0) == ("of 5.00 ms on average the server had 4.00 ms (waiting 1.00, computing 3.00), "
                                     "network and client 1.00 ms")  # fmt: skip
    assert ServerTime.of({}) is None and ServerTime.of({"model_stats": [{}]}) is None
