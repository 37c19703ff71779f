"""Every step to the server in order: name, port, TLS, token, server, model, metadata, an answer, the CPU's answer."""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from picam_infer.config import EngineSettings
from picam_infer.core import Disconnected, Engine, Finding, PicamError
from picam_infer.inference.engines.failover import SUSPICIOUS, compare, difference, probe_image
from picam_infer.inference.engines.remote import client, errors, port, tensor_spec
from picam_infer.inference.engines.remote.address import Wanted
from picam_infer.inference.engines.remote.engine import Remote, wanted
from picam_infer.inference.engines.remote.preferred import DOUBT
from picam_infer.models.bundle import Bundle
from picam_infer.platform import secret_file

ROUNDS = 10


def diagnose(bundle: Bundle, settings: EngineSettings, open_cpu: Callable[[], Engine]) -> Iterator[Finding]:
    """Yield findings, cheapest first, and stop at the first step that fails."""
    try:
        asked = wanted(settings, bundle)
        client.load(asked.address)
        yield from _network(asked)
        yield from _token(asked, settings)
        if settings.ca_file and not asked.address.encrypted:
            yield Finding(
                "note",
                f"engine.ca_file is not used: {asked.address.scheme}:// is not encrypted",
                "use grpcs:// or https://",
            )
        asked = replace(asked, token=client.read_token(settings.token_file))
        for line in _in_a_thread(lambda: _serving(asked, bundle), settings.deadline_s):
            yield line
            if line.grade == "error":
                return
        yield from _answers(bundle, settings, open_cpu)
    except PicamError as error:
        yield Finding("error", error.message, error.hint.removesuffix(errors.SEE_CHECK))


def _network(asked: Wanted) -> Iterator[Finding]:
    """Yield name, port, what it speaks, and TLS. Raises `RemoteError`."""
    where = asked.address
    try:
        found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
        addresses = ", ".join(dict.fromkeys(str(entry[4][0]) for entry in found))
        if addresses != where.host:
            yield Finding("ok", f"{where.host} is {addresses}")
        with socket.create_connection((where.host, where.port), asked.deadline_s) as raw:
            yield Finding("ok", f"{where.place} takes connections")
            _right_port(asked)
            if where.encrypted:
                yield Finding("ok", _tls(raw, asked))
    except OSError as error:
        raise errors.of_os(error, asked) from error


def _right_port(asked: Wanted) -> None:
    """Raise `RemoteError` when something else listens there than `engine.url` says."""
    where = asked.address
    there = port.scheme(where, asked.deadline_s)
    if there and there != where.scheme:
        expected, found = port.NAMES[where.scheme], port.NAMES[there]
        other = "" if there.startswith("grpc") == where.grpc else f", or its port for {expected}"
        raise errors.RemoteError(
            "protocol", f"{where.place} speaks {found}, not {expected}", f"engine.url: {there}://{where.place}{other}"
        )


def _tls(raw: socket.socket, asked: Wanted) -> str:
    """Return what is known of the connection. Raises `OSError` or `RemoteError`."""
    context = client.authorities(asked.ca_file)
    if asked.address.grpc:
        context.set_alpn_protocols(["h2"])
    with context.wrap_socket(raw, server_hostname=asked.address.host) as secure:
        return f"{secure.version()}, the certificate is {_until(secure)}"


def _until(secure: ssl.SSLSocket) -> str:
    end = str((secure.getpeercert() or {}).get("notAfter", ""))
    if not end:
        return "trusted"
    days = (ssl.cert_time_to_seconds(end) - time.time()) / 86400
    return f"trusted and good for {days:.0f} days"


def _token(asked: Wanted, settings: EngineSettings) -> Iterator[Finding]:
    if not settings.token_file:
        return
    if wrong := secret_file.exposed(settings.token_file):
        yield Finding.of(wrong, "note")
    if not asked.address.encrypted and asked.address.host not in ("localhost", "127.0.0.1", "::1"):
        yield Finding(
            "note", "the token travels unencrypted, for everybody on the network to read", "use grpcs:// or https://"
        )


def _serving(asked: Wanted, bundle: Bundle) -> Iterator[Finding]:
    """Yield server, model and metadata. Raises `RemoteError`."""
    with contextlib.closing(client.connect(asked)) as server:
        if not server.server_ready():
            yield Finding(
                "error",
                "the server is there, but not ready",
                "its log says why: a model that does not load, or no memory",
            )
            return
        yield Finding("ok", "the server is ready")
        if not server.model_ready():
            raise errors.no_model(asked)
        yield Finding("ok", f"model {asked.title} is ready")
        metadata = server.metadata()
        fits = tensor_spec.agree(metadata, bundle)
        platform = f" ({metadata['platform']})" if metadata.get("platform") else ""
        yield Finding(
            "ok",
            f"it takes {fits.datatype} {fits.layout} as {fits.input} and answers with "
            f"{len(bundle.labels)} values as {fits.output}{platform}",
        )
        if fits.datatype != "UINT8":
            yield Finding(
                "note",
                f"it takes {fits.datatype}: more bytes than pixels need",
                "picam-infer export makes a model that takes uint8",
            )


def _in_a_thread(work: Callable[[], Iterator[Finding]], deadline_s: float) -> Iterator[Finding]:
    """Do it in a separate thread: the HTTP client's greenlets belong to the thread that made them."""
    found: queue.SimpleQueue[Finding | BaseException | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            for finding in work():
                found.put(finding)
            found.put(None)
        except BaseException as error:  # whoever waits raises it again
            found.put(error)

    threading.Thread(target=run, name="remote", daemon=True).start()
    while True:
        try:
            finding = found.get(timeout=2 * deadline_s + 5)
        except queue.Empty:
            raise Disconnected("the server does not finish its answer", "restart it") from None
        if finding is None:
            return
        if isinstance(finding, BaseException):
            raise finding
        yield finding


def _answers(bundle: Bundle, settings: EngineSettings, open_cpu: Callable[[], Engine]) -> Iterator[Finding]:
    """Yield round trip and agreement. Raises `PicamError`."""
    picture = probe_image(bundle)
    with contextlib.closing(Remote(bundle, settings)) as engine:
        took_ms = []
        for _ in range(ROUNDS):
            began_s = time.perf_counter()
            engine.submit(picture)
            scores = engine.collect()
            took_ms.append((time.perf_counter() - began_s) * 1e3)
        yield Finding("ok", f"{engine.name}: {statistics.median(took_ms):.1f} ms from picture to answer")
        try:
            cpu = open_cpu()
        except PicamError:  # the CPU's failure is a finding elsewhere
            return
        with contextlib.closing(cpu):
            cpu.submit(picture)
            own = cpu.collect()
        sentence = f"{engine.name}: {compare(scores, own, DOUBT)}"
        yield Finding("ok" if difference(scores, own) <= SUSPICIOUS else "error", sentence)
