"""The web server: a thread with its own event loop, which listens, and keeps trying if it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

from picam_infer.config import Web as Settings
from picam_infer.config import is_loopback
from picam_infer.core import PicamError
from picam_infer.outputs.web import port
from picam_infer.outputs.web import token as token_file
from picam_infer.outputs.web.access import Access
from picam_infer.outputs.web.application import application
from picam_infer.outputs.web.connection_limiter import ConnectionLimiter
from picam_infer.outputs.web.context import STUCK_S, Collection, Context, Streams
from picam_infer.outputs.web.event_stream import EventStream
from picam_infer.outputs.web.mjpeg import Broadcaster, Drawn, Raw, Render, Snapshots
from picam_infer.outputs.web.public_state import public_state
from picam_infer.outputs.web.token import Token
from picam_infer.runtime import page_address
from picam_infer.runtime.model_trial import ModelTrial
from picam_infer.runtime.reports import WebReport
from picam_infer.runtime.settings import RuntimeSettings
from picam_infer.runtime.state import State
from picam_infer.runtime.teaching import Teaching

log = logging.getLogger(__name__)

RETRY_S = 5.0
_LEAST_FPS = 1.0


class Web:
    """Serves the page until `close`. Its errors never stop the daemon: they are logged once, and are in the state.

    `render` draws for those who watch the stream with the overlay; `runtime_settings` has the settings that the page
    may change; `collection` has the pictures collected for training; `teaching` owns what is taught on the page,
    `trial` a model that is brought to it.
    """

    def __init__(
        self,
        settings: Settings,
        state: State,
        render: Render,
        *,
        runtime_settings: RuntimeSettings | None = None,
        collection: Collection | None = None,
        teaching: Teaching | None = None,
        trial: ModelTrial | None = None,
        patience_s: float = STUCK_S,
    ) -> None:
        self.port = 0
        """The port that it listens on; 0: none yet."""
        self.reason = "starting"
        """Why it does not listen; empty: it does."""
        self.listening = threading.Event()
        self._settings = settings
        self._state = state
        self._render = render
        self._runtime_settings = runtime_settings or RuntimeSettings(state)
        self._collection = collection
        self._teaching = teaching
        self._trial = trial
        self._patience_s = patience_s
        self._context: Context | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop, self._changed = asyncio.Event(), asyncio.Event()
        self._limiter = ConnectionLimiter(2 * settings.max_clients + 32, patience_s)
        self._ready = threading.Event()
        state.reports.web.serve(self.report)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._thread.start()

    def __enter__(self) -> Web:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and hang up. May be called more than once."""
        self._ready.wait(5)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        if self._context is not None:
            self._context.streams.join(2)
        self._state.reports.web.end(self.report)

    def report(self) -> WebReport:
        """Return the page's report."""
        return WebReport(not self.reason, self._settings.listen, self.reason, self.clients())

    def clients(self) -> dict[str, int]:
        """Return the number of watchers, by kind."""
        context = self._context
        if context is None:
            return {}
        return context.streams.watchers() | {"connections": self._limiter.connections}

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:  # the top of a thread: recognition continues without a page
            self.reason = "an internal error; see the journal"
            log.exception("the web page has stopped")
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        with self._opened() as context:
            self._context = context
            runner = web.AppRunner(application(context, self._limiter), shutdown_timeout=0.5)
            await runner.setup()
            assert runner.server is not None
            self._limiter.take(runner.server, context.access)
            self._ready.set()
            watch = asyncio.create_task(self._limiter.watch())
            await self._listen_until_stopped(context.access.token)
            watch.cancel()
            context.streams.close()
            await runner.cleanup()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Context]:
        loop, state, settings = asyncio.get_running_loop(), self._state, self._settings
        drawn = Drawn(state, self._render, lambda: max(_LEAST_FPS, settings.fps))
        snapshots = Snapshots(state, Drawn(state, self._render, lambda: _LEAST_FPS), lambda: settings.fps)
        events = EventStream(state, loop, lambda: public_state(state), self._runtime_settings.as_json)
        raw = Broadcaster(Raw(state), loop, "web raw")
        streams = Streams(raw, Broadcaster(drawn, loop, "web drawn"), events, settings.max_clients)
        try:
            access = Access(settings, Token(Path(settings.token_file), self._runtime_settings.path), state.share.redeem)
            yield Context(
                settings,
                state,
                self._runtime_settings,
                self._collection,
                access,
                streams,
                snapshots,
                self._teaching,
                self._trial,
                self._patience_s,
            )
        finally:
            events.close()

    # -- listening -----------------------------------------------------------

    async def _listen_until_stopped(self, token: Token) -> None:
        """Listen as configured, and on every address while the page is shared."""
        loop, share = asyncio.get_running_loop(), self._state.share
        always = not is_loopback(self._settings.listen.rpartition(":")[0])

        def changed() -> None:
            with contextlib.suppress(RuntimeError):  # the loop ends
                loop.call_soon_threadsafe(self._changed.set)

        undo = share.listen(changed)
        sockets = _Sockets(self._settings, self._limiter, self._patience_s)
        try:
            while not self._stop.is_set():
                self._changed.clear()
                shared = share.now is not None and not always
                listening = await self._try(sockets, shared)
                share.port = sockets.port
                if listening and sockets.news and (shared or always):
                    _tell_token(token, make=shared)
                if not shared and not always:
                    self._limiter.cut_remote()
                sockets.news = False
                await self._wait(None if listening else RETRY_S)
        finally:
            undo()
            share.port = 0
            sockets.close()

    async def _wait(self, timeout_s: float | None) -> None:
        """Wait until told to stop or to listen elsewhere, at most for that long."""
        waits = [asyncio.create_task(event.wait()) for event in (self._stop, self._changed)]
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()

    async def _try(self, sockets: _Sockets, shared: bool) -> bool:
        """Listen; False (and logged once) if that is not possible now."""
        try:
            await sockets.listen(shared)
        except (OSError, ssl.SSLError) as error:
            reason = _reason(error)
            if shared and await self._try(sockets, shared=False):
                if reason != self._state.share.fault:
                    log.warning("web: cannot be opened to the network: %s; trying again every %.0f s", reason, RETRY_S)
                self._state.share.fault = reason
                return False
            if reason != self.reason:
                what, remedy = port.trouble(error, self._settings.listen)
                said = "; ".join(filter(None, [what or reason, remedy, f"trying again every {RETRY_S:.0f} s"]))
                log.warning("web: cannot listen on %s: %s", self._settings.listen, said)
            self.reason = reason
            return False
        if self.reason or sockets.news:
            log.info("web: %s", " or ".join(page_address.reachable(self._settings, sockets.port, shared)))
        self.port, self.reason = sockets.port, ""
        if shared:
            self._state.share.fault = ""
        self.listening.set()
        return True


def _tell_token(token: Token, make: bool) -> None:
    """Make sure that there is a token for visitors from other machines, or log that there is none."""
    if token:
        return
    try:
        if make and token_file.make(token.path):
            return
        fault = f" ({token.fault})" if token.fault else ""
        why = f"there is no token in {token.path}{fault}; make one there with: {token.maker}"
    except PicamError as error:
        why = str(error)
    log.warning("web: open to the network, but only this machine may look: %s", why)


class _Sockets:
    """The listening sockets. Connections outlive a change: only the sockets for new ones are replaced."""

    def __init__(self, settings: Settings, limiter: ConnectionLimiter, patience_s: float) -> None:
        self.port = 0
        """0: none yet."""
        self.news = False
        """Whether the addresses to listen on have changed."""
        self._settings, self._limiter, self._patience_s = settings, limiter, patience_s
        self._servers: list[asyncio.Server] = []
        self._shared = False

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.close()
        self._servers = []

    async def listen(self, shared: bool) -> None:
        """Listen as configured, or (`shared`) on every address. On `OSError` it listens nowhere."""
        if self._servers and shared == self._shared:
            return
        self.close()  # a socket on one address is in the way of one on all
        context = _tls(self._settings)
        host, _, number = self._settings.listen.rpartition(":")
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(
            None if shared else host.strip("[]") or None,
            self.port or int(number),
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
        try:
            for listener in port.bound(found):
                self._servers.append(
                    await loop.create_server(
                        self._limiter,
                        sock=listener,
                        ssl=context,
                        backlog=64,
                        ssl_handshake_timeout=self._patience_s if context else None,
                    )
                )
        except OSError:
            self.close()
            raise
        self.port = self._servers[0].sockets[0].getsockname()[1]
        self._shared, self.news = shared, True


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.tls_cert and not settings.tls_key:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key or None)
    except ssl.SSLError:
        raise
    except OSError as error:  # the library does not say which of the two is wrong
        names = " or ".join(name for name in (settings.tls_cert, settings.tls_key) if name)
        raise OSError(error.errno, error.strerror, names) from error
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"the certificate or its key is not usable ({error.reason or error})"
    name = f"{error.filename}: " if error.filename else ""
    return name + (os.strerror(error.errno) if error.errno and error.errno > 0 else str(error))
