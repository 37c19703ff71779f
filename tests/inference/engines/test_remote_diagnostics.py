"""`check` on the way to a model server: one finding a link, and none beyond the first that does not hold."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import model_server
import numpy as np
import pytest
from model_server import Behaviour, Certificate, encrypted, plain
from socket_server import Caller, SocketServer
from stick_lab import Cpu, bundle, expected

from picam_infer.config import EngineSettings
from picam_infer.core import Finding
from picam_infer.inference.engines.remote import port
from picam_infer.inference.engines.remote.address import PORTS
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
    server.ready = False
    assert said(found(model, server)) == [
        "the server is there, but not ready; its log says why: a model that does not load, or no memory"
    ]
    server.ready, server.loaded = True, False
    (line,) = said(found(model, server, version="3"))
    assert "has no model lab version 3 that is ready; load it there, or correct engine.model or engine.version" in line
    server.loaded, server.outputs = True, [{"name": "scores", "datatype": "FP32", "shape": [-1, 11]}]
    (line,) = said(found(model, server))
    assert "model lab has 10 labels; make what it serves with: picam-infer export" in line
    server.token = "secret"
    (line,) = said(found(model, server))
    assert line.endswith("wants a token; write it into a file, and name that in engine.token_file")
    wrong = tmp_path / "token"
    wrong.write_text("wrong")
    wrong.chmod(0o600)
    (line,) = said(found(model, server, token_file=str(wrong)))
    assert "does not accept the token; put a valid token into the file that engine.token_file names" in line
    assert "wrong" not in line and "secret" not in line


def said(lines: list[Finding]) -> list[str]:
    """Return what is wrong, as it is printed; a remedy that sends to `check` is of no use in it."""
    assert not any("picam-infer check" in line.remedy for line in lines)
    return [f"{line.what}; {line.remedy}" for line in lines if line.grade == "error"]


def at(model: Bundle, url: str, **more: Any) -> list[str]:
    return said(list(diagnose(model, EngineSettings(kind="remote", url=url, **more), lambda: Cpu(model))))


def test_a_name_or_a_port_that_is_not_there(model: Bundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for scheme in PORTS:
        assert at(model, f"{scheme}://127.0.0.1:{port}") == [
            f"127.0.0.1:{port}: connection refused; is it running, and is the port right?"
        ]
        assert at(model, f"{scheme}://no-such.invalid") == [
            "there is no host called no-such.invalid; check the name in engine.url"
        ]


@pytest.mark.parametrize("there", PORTS)
@pytest.mark.parametrize("wished", PORTS)
def test_ports_that_are_mixed_up(
    model: Bundle, server: Behaviour, certificates: dict[str, Certificate], there: str, wished: str
) -> None:
    with encrypted(server, there, certificates["good"]) if there.endswith("s") else plain(server, there) as url:
        place = url.partition("://")[2]
        lines = at(model, f"{wished}://{place}", ca_file=str(certificates["authority"][0]), deadline_s=20)
    if there == wished:
        assert lines == []
        return
    (line,) = lines
    assert line.startswith(f"{place} speaks {port.NAMES[there]}, not {port.NAMES[wished]}; engine.url: {url}")
    assert ("or its port for" in line) == (there[:4] != wished[:4])


def test_a_certificate_in_check(model: Bundle, server: Behaviour, certificates: dict[str, Certificate]) -> None:
    for scheme, name, words in (
        ("https", "expired", "expired"),
        ("grpcs", "elsewhere", "certificate is for"),
        ("https", "stranger", "engine.ca_file needs"),
    ):
        with encrypted(server, scheme, certificates[name]) as url:
            (line,) = at(model, url, ca_file=str(certificates["authority"][0]))
        assert words in line


def test_what_is_no_model_server(model: Bundle) -> None:
    def page(caller: Caller) -> None:
        while caller.request():
            caller.http("text/html", b"hello", "404 Not Found", Content_Length="5")

    def proxy(caller: Caller) -> None:
        while caller.request():
            caller.http("text/html", b"none", "502 Bad Gateway", Content_Length="4")

    def moved(caller: Caller) -> None:
        while caller.request():
            caller.http("", b"", "301 Moved Permanently", Location="https://elsewhere.example/", Content_Length="0")

    def secure_shell(caller: Caller) -> None:
        caller.send("SSH-2.0-OpenSSH\r\n")

    for serve, words in (
        (page, "does not speak the protocol (it has no v2/health/ready); is it an Open Inference Protocol (V2) server"),
        (proxy, "finds no server behind it (502); is the server running?"),
        (moved, "redirects to another address (301); give that one in engine.url; often it is https://"),
        (secure_shell, "does not speak the protocol ("),
    ):
        with SocketServer(serve) as running:
            (line,) = at(model, f"http://127.0.0.1:{running.port}")
        assert words in line


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
    given = {"token_file": str(token), "ca_file": str(token)}
    notes = [line.what for line in found(model, server, **given) if line.grade == "note"]
    expectations = ("can read", "engine.ca_file is not used: http:// is not encrypted", "takes FP32: more bytes")
    assert all(words in note for words, note in zip(expectations, notes, strict=True)), notes


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
    assert between.text(5.0) == (
        "of 5.00 ms on average the server had 4.00 ms (waiting 1.00, computing 3.00), network and client 1.00 ms"
    )
    assert ServerTime.of({}) is None and ServerTime.of({"model_stats": [{}]}) is None
