"""A model server as the engine: what fits and what does not, every way of losing it, and the way back."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import model_server
import msgspec
import numpy as np
import pytest
from makers import until
from model_server import Behaviour, Certificate, encrypted, plain
from stick_lab import Cpu, bundle, expected

from picam_infer.config import EngineSettings
from picam_infer.core import ConfigError, Disconnected, Engine, Scores, Unavailable
from picam_infer.inference.engines.failover import FailoverEngine
from picam_infer.inference.engines.remote import address, preferred
from picam_infer.inference.engines.remote.engine import Remote
from picam_infer.inference.engines.remote.errors import RemoteError
from picam_infer.inference.engines.remote.preferred import PreferredServer
from picam_infer.inference.engines.remote.traffic import Traffic
from picam_infer.models.bundle import Bundle

pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
CPU, SERVER = "openvino:CPU", "remote:127.0.0.1/lab"
DEADLINE_S = 1.5
PROTOCOLS = ("http", "grpc")


@pytest.fixture
def model(tmp_path: Path) -> Bundle:
    return bundle(tmp_path / "model")


@pytest.fixture
def server(model: Bundle) -> Iterator[Behaviour]:
    behaviour = Behaviour(
        lambda tensor: expected(model, tensor[0])[None],
        [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}],
        [{"name": "scores", "datatype": "FP32", "shape": [-1, 10]}],
    )
    yield behaviour
    behaviour.over.set()


@pytest.fixture(params=PROTOCOLS)
def url(request: pytest.FixtureRequest, server: Behaviour) -> Iterator[str]:
    with plain(server, request.param) as where:
        yield where


def settings(url: str, deadline_s: float = 20.0, **more: Any) -> EngineSettings:
    return EngineSettings(kind="remote", url=url, deadline_s=deadline_s, **more)


def patches(count: int) -> list[Any]:
    return list(np.random.default_rng(3).integers(0, 256, (count, 28, 28, 1), np.uint8))


def ask(engine: Engine, input_image: Any) -> Scores:
    engine.submit(input_image)
    return engine.collect()


# -- what fits ---------------------------------------------------------------


def test_answers_come_in_order_and_are_counted(url: str, server: Behaviour, model: Bundle) -> None:
    traffic = Traffic()
    engine = Remote(model, settings(url, in_flight=3), traffic)
    pictures = patches(9)
    with contextlib.closing(engine):
        assert (engine.name, engine.depth) == (SERVER, 3)
        for start in range(0, 9, 3):
            buffer = np.empty_like(pictures[0])
            for picture in pictures[start : start + 3]:
                buffer[:] = picture  # the caller may reuse its buffer
                engine.submit(buffer)
            for picture in pictures[start : start + 3]:
                np.testing.assert_allclose(engine.collect(), expected(model, picture), atol=1e-6)
    assert sum(traffic.round_trip.counts) == 9 and not traffic.failures
    assert (traffic.sent_bytes, traffic.received_bytes) == (9 * 784, 9 * 40)
    assert {(tensor.dtype.name, tensor.shape) for tensor in server.seen} == {("uint8", (1, 28, 28, 1))}


@pytest.mark.parametrize(
    ("datatype", "shape"),
    [("FP32", [1, 28, 28, 1]), ("FP16", [-1, 28, 28, 1]), ("UINT8", [28, 28, 1]), ("FP32", [-1, 1, 28, 28]),
     ("UINT8", [-1, -1, -1, 1])],
)  # fmt: skip
def test_metadata_decides_what_travels(
    url: str, server: Behaviour, model: Bundle, datatype: str, shape: list[int]
) -> None:
    chain = model.card.preprocess
    server.inputs = [{"name": "x", "datatype": datatype, "shape": shape}]

    def answer(tensor: Any) -> Any:
        pixels = tensor.reshape(28, 28, 1)
        if datatype != "UINT8":
            pixels = np.rint((pixels.astype(np.float32) - chain.offset) / chain.scale).astype(np.uint8)
        return expected(model, pixels)[None]

    server.answer = answer
    picture = patches(1)[0]
    with contextlib.closing(Remote(model, settings(url))) as engine:
        np.testing.assert_allclose(ask(engine, picture), expected(model, picture), atol=1e-6)
    (sent,) = server.seen
    assert sent.dtype == model_server.TYPES[datatype] and sent.ndim == len(shape)
    assert sent.shape[-1] == 28 if shape[-1] == 28 else sent.shape[-1] == 1


def test_logits_become_probabilities(server: Behaviour, model: Bundle, url: str) -> None:
    model = Bundle(model.folder, msgspec.structs.replace(model.card, probabilities=False), model.labels)
    picture = patches(1)[0]
    with contextlib.closing(Remote(model, settings(url))) as engine:  # it softens them itself
        np.testing.assert_allclose(ask(engine, picture), expected(model, picture), atol=1e-5)
    server.answer = lambda tensor: np.log(expected(model, tensor[0])[None]) + 3
    with contextlib.closing(Remote(model, settings(url))) as engine:
        np.testing.assert_allclose(ask(engine, picture), expected(model, picture), atol=1e-5)


MISMATCHES = {
    "takes any×32×32×3, model lab gives 1×28×28×1": {"inputs": [("x", "UINT8", [-1, 32, 32, 3])]},
    "takes INT64 as its input x; picam-infer sends UINT8, FP32, FP16": {"inputs": [("x", "INT64", [-1, 28, 28, 1])]},
    "has 2 inputs, one is needed": {"inputs": [("x", "UINT8", [-1, 28, 28, 1]), ("y", "FP32", [1])]},
    "takes 8 pictures at a time": {"inputs": [("x", "UINT8", [8, 28, 28, 1])]},
    "answers with scores: FP32 any×11; model lab has 10 labels": {"outputs": [("scores", "FP32", [-1, 11])]},
    "answers with label: BYTES any×1": {"outputs": [("label", "BYTES", [-1, 1])]},
    "does not say what inputs its model has": {"inputs": []},
}


@pytest.mark.parametrize("words", MISMATCHES)
def test_what_does_not_fit_is_named(server: Behaviour, model: Bundle, words: str) -> None:
    for kind, tensors in MISMATCHES[words].items():
        setattr(server, kind, [dict(zip(("name", "datatype", "shape"), t, strict=True)) for t in tensors])
    with plain(server, "http") as url, pytest.raises(RemoteError) as caught:
        Remote(model, settings(url))
    assert words in caught.value.message and caught.value.kind == "mismatch"
    assert "picam-infer export" in caught.value.hint or "declare" in caught.value.hint
    assert not server.seen


# -- every way of losing it ---------------------------------------------------


class Running:
    """A server's engine with the CPU behind it, fed as the pipeline feeds it, with every answer checked."""

    def __init__(self, model: Bundle, given: EngineSettings) -> None:
        self.model, self.said = model, list[str]()
        self.traffic = Traffic()
        self.cpu = Cpu(model)
        front = PreferredServer(model, given, self.traffic, back_off_s=(0.1, 0.2))
        self.engine = FailoverEngine(model, lambda: self.cpu, self.said.append, front)
        self.pictures = np.random.default_rng(1)
        self.sent: list[Any] = []

    def once(self) -> str:
        while len(self.sent) < self.engine.depth:
            picture = self.pictures.integers(0, 256, (28, 28, 1), np.uint8)
            self.sent.append(picture)
            self.engine.submit(picture)
        scores = self.engine.collect()
        np.testing.assert_allclose(scores, expected(self.model, self.sent.pop(0)), atol=1e-6)
        return self.engine.name

    def hear(self, words: str, limit_s: float = 20.0) -> None:
        end_s = time.monotonic() + limit_s
        while not any(words in line for line in self.said):
            self.once()
            assert time.monotonic() < end_s, self.said
            time.sleep(0.002)

    def until(self, name: str, limit_s: float = 20.0) -> None:
        end_s = time.monotonic() + limit_s
        while self.once() != name:
            assert time.monotonic() < end_s, self.said
            time.sleep(0.002)


@pytest.fixture
def start(model: Bundle) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def run(url: str, **more: Any) -> Running:
        running.append(Running(model, settings(url, **more)))
        return running[-1]

    yield run
    for one in running:
        one.engine.close()
    until(lambda: not [t for t in threading.enumerate() if t.name in ("remote", "failover")])


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A token in its file."""
    path = tmp_path / "token"
    path.write_text("first\n")
    path.chmod(0o600)
    return path


def refuse(protocol: str, http: str, grpc: str) -> tuple[str, str]:
    return (http if protocol == "http" else grpc, "queue full")


LOSSES: dict[str, tuple[Callable[[Behaviour, str], None], Callable[[Behaviour], None], str, str]] = {
    "overloaded": (
        lambda s, p: setattr(s, "refuse", refuse(p, "503 Service Unavailable", "RESOURCE_EXHAUSTED")),
        lambda s: setattr(s, "refuse", None), "overloaded", "overloaded",
    ),
    "too many requests": (
        lambda s, p: setattr(s, "refuse", refuse(p, "429 Too Many Requests", "RESOURCE_EXHAUSTED")),
        lambda s: setattr(s, "refuse", None), "overloaded", "overloaded",
    ),
    "slow": (
        lambda s, p: setattr(s, "slow_s", 30.0), lambda s: setattr(s, "slow_s", 0.0), "timeout",
        "gave no answer within 1.5 s",
    ),
    "token revoked": (
        lambda s, p: setattr(s, "token", "another"), lambda s: setattr(s, "token", "first"), "token",
        "does not accept the token",
    ),
    "not allowed": (
        lambda s, p: setattr(s, "refuse", refuse(p, "403 Forbidden", "PERMISSION_DENIED")),
        lambda s: setattr(s, "refuse", None), "token", "does not accept the token",
    ),
    "fails": (
        lambda s, p: setattr(s, "refuse", refuse(p, "500 Internal Server Error", "INTERNAL")),
        lambda s: setattr(s, "refuse", None), "server", "failed to process the request",
    ),
    "eleven classes": (
        lambda s, p: setattr(s, "answer", lambda tensor: np.full((1, 11), 1 / 11, np.float32)), lambda s: None,
        "mismatch", "answers with 11 values, model lab has 10 labels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("loss", LOSSES)
def test_lost_and_found(
    start: Callable[..., Running], server: Behaviour, secret: Path, protocol: str, loss: str
) -> None:
    lose, mend, kind, words = LOSSES[loss]
    usual = server.answer
    server.token = "first"
    with plain(server, protocol) as url:
        run = start(url, deadline_s=DEADLINE_S if loss == "slow" else 20.0, token_file=str(secret))
        assert run.once() == SERVER
        lose(server, protocol)
        run.until(CPU)
        assert words in run.said[1] and run.said[1].startswith(f"inference is on {CPU} now, {SERVER} is lost: ")
        assert run.traffic.fallbacks == 1 and run.traffic.failures[kind] >= 1
        mend(server)
        server.answer = usual
        run.until(SERVER)
        assert "differ from the CPU's by up to 0.0000" in run.said[-1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_gone_and_back(start: Callable[..., Running], server: Behaviour, protocol: str) -> None:
    with plain(server, protocol) as url:
        run = start(url)
        run.until(SERVER)
    port = int(url.rpartition(":")[2])
    run.until(CPU)
    failures = run.traffic.failures.total()
    until(lambda: run.once() and run.traffic.failures.total() >= failures + 4)
    assert len(run.said) == 2  # taken, lost: however often and in whatever way it is not there
    with plain(server, protocol, port):
        run.until(SERVER)
    assert len(run.said) == 3


def test_a_new_reason_is_told_once(start: Callable[..., Running], server: Behaviour) -> None:
    with plain(server, "http") as url:
        run = start(url)
        run.until(SERVER)
        server.loaded = False
        run.until(CPU)
        for token in ("secret", "", "secret", ""):
            failures = run.traffic.failures.total()
            server.token = token
            until(lambda failures=failures: run.once() and run.traffic.failures.total() >= failures + 2)
    assert [("no model" in line, "token" in line) for line in run.said[1:]] == [(True, False), (False, True)]


def test_a_server_that_takes_connections_and_is_silent(start: Callable[..., Running], server: Behaviour) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        run = start(f"http://127.0.0.1:{listener.getsockname()[1]}", deadline_s=DEADLINE_S)
        assert run.once() == CPU
        assert "gave no answer within 1.5 s" in run.said[0]


def test_an_answer_that_trickles_is_cut_off(server: Behaviour, model: Bundle) -> None:
    """Each read has its byte in time; the whole has not."""

    def trickle(caller: Any) -> None:
        caller.request()
        caller.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not caller.over.wait(0.05):
            caller.send(" ")

    with model_server.SocketServer(trickle) as running:
        with pytest.raises(RemoteError, match="gave no answer within"):
            Remote(model, settings(f"http://127.0.0.1:{running.port}", deadline_s=DEADLINE_S))
        until(lambda: not [t for t in threading.enumerate() if t.name == "remote"])


def test_another_model_under_the_same_name_is_not_used(
    start: Callable[..., Running], server: Behaviour, model: Bundle
) -> None:
    server.answer = lambda tensor: expected(model, tensor[0])[None, ::-1]
    with plain(server, "http") as url:
        run = start(url)
        assert run.once() == CPU
        assert "the server's answers are not the model's" in run.said[0] and "picam-infer export" in run.said[0]
        assert run.traffic.failures["mismatch"] >= 1


def test_an_answer_that_is_no_number(start: Callable[..., Running], server: Behaviour) -> None:
    usual = server.answer
    with plain(server, "http") as url:
        run = start(url)
        assert run.once() == SERVER
        server.answer = lambda tensor: np.full((1, 10), np.nan, np.float32)
        run.until(CPU)  # every answer is held against the CPU's on the way
        assert "answers with NaN or infinity" in run.said[1] and run.traffic.failures["mismatch"] >= 1
        server.answer = usual
        run.until(SERVER)


def test_a_proxy_of_the_environments_is_no_way_to_it(
    server: Behaviour, model: Bundle, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    Remote(model, settings(url)).close()


def test_an_unloaded_model(server: Behaviour, model: Bundle, url: str) -> None:
    server.loaded = False
    with pytest.raises(RemoteError, match="has no model lab that is ready") as caught:
        Remote(model, settings(url))
    assert caught.value.kind == "model"


def test_a_slow_server_builds_no_queue(start: Callable[..., Running], server: Behaviour) -> None:
    server.slow_s = 0.2
    with plain(server, "http") as url:
        run = start(url)
        for _ in range(8):
            assert run.once() == SERVER
            assert len(run.sent) < 2  # never more than `in_flight`, so the newest frame is at most one answer late


# -- tokens and certificates ---------------------------------------------------


def test_the_token_travels_and_is_read_again(server: Behaviour, model: Bundle, url: str, secret: Path) -> None:
    server.token = "first"
    with contextlib.closing(Remote(model, settings(url, token_file=str(secret)))) as engine:
        ask(engine, patches(1)[0])
    server.token = "second"
    with pytest.raises(RemoteError) as caught:
        Remote(model, settings(url, token_file=str(secret)))
    assert caught.value.kind == "token" and "first" not in str(caught.value)
    secret.write_text("second\n")
    Remote(model, settings(url, token_file=str(secret))).close()
    for content in ("", "two words", "Schlüssel"):
        secret.write_text(content)
        with pytest.raises(RemoteError, match="holds no token"):
            Remote(model, settings(url, token_file=str(secret)))


def test_a_server_that_wants_a_token_and_gets_none(server: Behaviour, model: Bundle, url: str) -> None:
    server.token = "first"
    with pytest.raises(RemoteError, match=r"wants a token; write it into a file, and name that in engine\.token_file"):
        Remote(model, settings(url))


UNTRUSTED = {
    "expired": ("expired", "have it renewed"),
    "elsewhere": ("mismatch", "that the certificate is for"),
    "stranger": ("signed certificate", "engine.ca_file needs the certificate of the authority"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", UNTRUSTED)
def test_a_certificate_that_is_not_trusted(
    server: Behaviour, model: Bundle, certificates: dict[str, Certificate], protocol: str, name: str
) -> None:
    words, remedy = UNTRUSTED[name]
    with encrypted(server, f"{protocol}s", certificates[name]) as url, pytest.raises(RemoteError) as caught:
        Remote(model, settings(url, ca_file=str(certificates["authority"][0])))
    assert caught.value.kind == "certificate"
    assert words in caught.value.message and remedy in caught.value.hint, caught.value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_authority_of_ones_own(
    server: Behaviour, model: Bundle, certificates: dict[str, Certificate], protocol: str
) -> None:
    with encrypted(server, f"{protocol}s", certificates["good"]) as url:
        with contextlib.closing(Remote(model, settings(url, ca_file=str(certificates["authority"][0])))) as engine:
            ask(engine, patches(1)[0])
        with pytest.raises(RemoteError, match=r"of the authority that signed it with engine\.ca_file"):
            Remote(model, settings(url))  # the system's authorities do not vouch for it


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_certificate_that_expires_is_told_and_its_renewal_noticed(
    start: Callable[..., Running], server: Behaviour, certificates: dict[str, Certificate], protocol: str
) -> None:
    trusted = str(certificates["authority"][0])
    with encrypted(server, f"{protocol}s", certificates["good"]) as url:
        run = start(url, ca_file=trusted)
        run.until(SERVER)
    run.until(CPU)
    port = int(url.rpartition(":")[2])
    with encrypted(server, f"{protocol}s", certificates["expired"], port):
        run.hear("the server is not used: the certificate of 127.0.0.1:")
        assert "expired" in run.said[-1]
    with encrypted(server, f"{protocol}s", certificates["good"], port):
        run.until(SERVER)
    assert len(run.said) == 4  # taken, lost, expired, taken


def test_the_library_says_nothing_of_its_own(
    server: Behaviour, model: Bundle, certificates: dict[str, Certificate]
) -> None:
    program = (
        "import sys; from stick_lab import bundle; from pathlib import Path; "
        "from picam_infer.config import EngineSettings; from picam_infer.core import Disconnected\n"
        "from picam_infer.inference.engines.remote.engine import Remote\n"
        "settings = EngineSettings(kind='remote', url=sys.argv[2], deadline_s=20)\n"
        "try:\n    Remote(bundle(Path(sys.argv[1])), settings)\n"
        "except Disconnected as loss:\n    print(loss.kind)\n"
    )
    paths = f"{Path(__file__).parents[2]}:{os.environ.get('PYTHONPATH', '')}:{Path(__file__).parents[3]}"
    with encrypted(server, "grpcs", certificates["good"]) as url:
        done = subprocess.run([sys.executable, "-c", program, str(model.folder), url], capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": paths}, timeout=60, check=True)  # fmt: skip
    assert (done.stdout, done.stderr) == ("certificate\n", "")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_ca_file_that_is_none(
    server: Behaviour, model: Bundle, tmp_path: Path, protocol: str, certificates: dict[str, Certificate]
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate\n")
    with encrypted(server, f"{protocol}s", certificates["good"]) as url:
        for given in (empty, tmp_path / "missing.pem"):
            with pytest.raises(RemoteError) as caught:
                Remote(model, settings(url, ca_file=str(given)))
            assert caught.value.kind == "certificate"


# -- addresses, patience, the end ------------------------------------------------


@pytest.mark.parametrize(
    ("url", "place"),
    [("grpc://pi", "pi:8001"), ("http://pi", "pi:8000"), ("https://pi:443/serving/", "pi:443/serving"),
     ("http://[::1]:9", "[::1]:9"), ("http://pi/v2", "pi:8000"), ("http://pi/a b/\udce9", "pi:8000/a%20b/%E9")],
)  # fmt: skip
def test_addresses(url: str, place: str) -> None:
    assert address.parse(url).place == place


@pytest.mark.parametrize(
    "url",
    [
        "",
        "pi:8001",
        "ftp://pi",
        "ftp://pi:1",
        "grpc://pi/path",
        "http://",
        "http://pi:99999",
        "http://pi:0",
        "http://pi?x",
        "grpc://h\udce9",
        "http://a..b",
        f"http://{'a' * 64}",
    ],
)
def test_what_is_no_address(url: str, model: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"engine\.url"):
        Remote(model, settings("") if not url else msgspec.structs.replace(settings(""), url=url))


@pytest.mark.parametrize("url", ["http://me:secret@pi", "grpc://me:secret@pi:99999", "http://me:s/secret@[::1"])
def test_a_password_in_the_address_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        address.parse(url)
    assert "secret" not in str(caught.value) and "token_file" in caught.value.hint


def test_many_that_lost_a_server_together_come_back_spread(model: Bundle) -> None:
    first = [PreferredServer(model, settings("http://pi")).back_off(60.0).next_s() for _ in range(64)]
    assert max(first) - min(first) >= 2 and min(first) > 0


def test_a_server_that_is_lost_repeatedly_is_retried_less_often(model: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preferred, "JITTER", 0.0)
    server = PreferredServer(model, settings("http://pi"))
    flapping = [server.back_off(1.0).next_s() for _ in range(4)]
    assert flapping == [2, 4, 8, 15]
    assert server.back_off(preferred.STEADY_S).next_s() == 2


def test_stopping_ends_the_opening(model: Bundle) -> None:
    stopping = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        given = settings(f"http://127.0.0.1:{listener.getsockname()[1]}", deadline_s=60)
        threading.Timer(0.2, stopping.set).start()
        with pytest.raises(Disconnected, match="given up"):  # at the deadline it would say something else
            Remote(model, given, stopping=stopping)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_without_the_library(
    start: Callable[..., Running], model: Bundle, server: Behaviour, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """The CPU works, one line says what to install, and once it is installed the server is used."""
    with plain(server, protocol) as url, monkeypatch.context() as missing:
        missing.setitem(sys.modules, f"tritonclient.{protocol}", None)
        run = start(url)
        for _ in range(50):
            assert run.once() == CPU
            time.sleep(0.01)  # tried again meanwhile
        (line,) = run.said
        assert "-m pip install 'tritonclient[http,grpc]'" in line and "\n" not in line
        with pytest.raises(Unavailable, match="which is not installed here"):
            Remote(model, settings(url))
        missing.undo()
        run.until(SERVER)
