"""Inference on a server: the network's input out, its answer back, a few under way at once, each with a deadline."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

from picam_infer.config import EngineSettings
from picam_infer.core import Disconnected, PicamError, Pixels, Scores, Telemetry
from picam_infer.inference.engines.failover import probe_image
from picam_infer.inference.engines.remote import address, client, errors, tensor_spec
from picam_infer.inference.engines.remote.address import Wanted
from picam_infer.inference.engines.remote.client import Client, Connect
from picam_infer.inference.engines.remote.traffic import Traffic
from picam_infer.models.bundle import Bundle

T = TypeVar("T")
_LOOK_S = 0.05
_GRACE_S = 0.2
"""How much later than the client the engine stops waiting: the client can tell better what went wrong."""


class Remote:
    """A bundle's model on a server. Raises `RemoteError`, also when `stopping` is set while it is opened."""

    telemetry: Telemetry | None = None

    def __init__(
        self,
        bundle: Bundle,
        settings: EngineSettings,
        traffic: Traffic | None = None,
        *,
        stopping: threading.Event | None = None,
        connect: Connect = client.connect,
    ) -> None:
        """Connect, compare the server's metadata with the bundle, and send one probe. Raises `ConfigError`, too."""
        self._bundle, self.traffic = bundle, traffic or Traffic()
        self._stopping = stopping or threading.Event()
        self._wanted = wanted(settings, bundle)
        client.load(self._wanted.address)
        self.depth = settings.in_flight
        self.name = f"remote:{self._wanted.address.host}/{self._wanted.model}"
        self._under_way: deque[tuple[Future[Scores], float]] = deque()
        self._turn = 0
        try:
            self._wanted = replace(self._wanted, token=client.read_token(settings.token_file))
        except errors.RemoteError as loss:
            self.traffic.failed(loss.kind)
            raise
        self._workers = [_Worker(lambda: connect(self._wanted)) for _ in range(self.depth)]
        try:
            self._spec = tensor_spec.agree(self._now(lambda server: server.metadata()), bundle)
            self._settle_softmax()
        except BaseException as error:
            self.close()
            if isinstance(error, errors.RemoteError):
                self.traffic.failed(error.kind)
            raise

    def submit(self, input_image: Pixels) -> None:
        """Send (H, W, C) uint8; the caller may reuse the buffer. Raises `Disconnected`."""
        tensor, asked = self._spec.tensor(input_image, self._bundle), self._spec

        def ask(server: Client) -> Scores:
            began_s = time.monotonic()
            answer = server.infer(asked.input, asked.datatype, tensor, asked.output)
            self.traffic.answered(time.monotonic() - began_s, tensor.nbytes, answer.nbytes)
            return asked.scores(answer, self._bundle)

        worker = self._workers[self._turn]
        self._turn = (self._turn + 1) % self.depth
        self._under_way.append((worker.do(ask), time.monotonic() + self._wanted.deadline_s))

    def collect(self) -> Scores:
        """Wait for the oldest answer: probabilities, shape (classes,). Raises `Disconnected` at the deadline."""
        future, until_s = self._under_way.popleft()
        try:
            return self._waited(future, until_s)
        except errors.RemoteError as loss:
            self.traffic.failed(loss.kind)
            raise

    def statistics(self) -> dict[str, object]:
        """Return the server's own statistics of the model. Raises `RemoteError` where it has none."""
        return dict(self._now(lambda server: server.statistics()))

    def close(self) -> None:
        """Hang up; a call under way ends by its own deadline. May be called from another thread."""
        for worker in self._workers:
            worker.end()

    def _now(self, work: Callable[[Client], T]) -> T:
        """Have the connection's thread do something, and wait for the result."""
        return self._waited(self._workers[0].do(work), time.monotonic() + self._wanted.deadline_s)

    def _waited(self, future: Future[T], until_s: float) -> T:
        until_s += _GRACE_S
        while True:
            left_s = until_s - time.monotonic()
            with contextlib.suppress(TimeoutError):
                return future.result(min(max(left_s, 0.0), _LOOK_S))
            if future.done():  # its own error may be a TimeoutError
                continue
            if self._stopping.is_set():
                raise Disconnected("the connection was given up")
            if left_s <= 0:
                raise errors.too_slow(self._wanted)

    def _settle_softmax(self) -> None:
        """Find out once whether the server's model gives logits, as the bundle's own does, or probabilities."""
        if not self._bundle.card.softmax:
            return
        self.submit(probe_image(self._bundle))
        self._spec = replace(self._spec, softmax=not tensor_spec.probabilities(self._first_answer()))

    def _first_answer(self) -> Scores:
        future, until_s = self._under_way.popleft()
        return self._waited(future, until_s)


def wanted(settings: EngineSettings, bundle: Bundle) -> Wanted:
    """Return what the settings ask for, without the token. Raises `ConfigError`."""
    return Wanted(address.parse(settings.url), settings.model or bundle.name, settings.version,
                  ca_file=settings.ca_file, deadline_s=settings.deadline_s)  # fmt: skip


class _Worker:
    """A thread with a connection of its own, which does one thing after another until it is told to end."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._jobs: queue.SimpleQueue[Callable[[Client | Exception], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="remote", daemon=True).start()

    def do(self, work: Callable[[Client], T]) -> Future[T]:
        """Have something done with the connection; its result, or what it raised, comes later."""
        future: Future[T] = Future()

        def job(server: Client | Exception) -> None:
            if isinstance(server, Exception):
                future.set_exception(server)
                return
            try:
                future.set_result(work(server))
            except Exception as error:  # whoever waits gets it
                future.set_exception(error)

        self._jobs.put(job)
        return future

    def end(self) -> None:
        """End after what is under way."""
        self._jobs.put(None)

    def _work(self) -> None:
        server: Client | Exception
        try:
            server = self._connect()
        except PicamError as error:
            server = error
        while (job := self._jobs.get()) is not None:
            job(server)
        if not isinstance(server, Exception):
            server.close()
