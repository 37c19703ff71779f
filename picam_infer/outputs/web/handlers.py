"""The endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aiohttp import web

from picam_infer import __version__
from picam_infer.config import Web as Settings
from picam_infer.core import BadFrame, ConfigError
from picam_infer.imaging import decode, jpeg, pictures
from picam_infer.inference import preprocess
from picam_infer.outputs.web.access import NEEDED, SAFE, SESSION_S, Access, Refused, neighbourhood
from picam_infer.outputs.web.connection_limiter import ConnectionLimiter
from picam_infer.outputs.web.event_stream import EventStream
from picam_infer.outputs.web.explain import Why
from picam_infer.outputs.web.mjpeg import BOUNDARY, Broadcaster, Drawn, Picture
from picam_infer.outputs.web.visitor import Visitor, WrongPrefix
from picam_infer.platform import sysinfo
from picam_infer.runtime.camera_controls import Report
from picam_infer.runtime.settings import RuntimeSettings
from picam_infer.runtime.state import State

if TYPE_CHECKING:
    from picam_infer.outputs.web.metrics import Metrics

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")

PAGE = Path(__file__).parent / "page"
MAX_BODY = 16_384
STUCK_S = 10.0
"""A watcher that has not taken a picture for so long is dropped."""
_QUIET_S = 15.0
ADMITTED_S = 5.0
_CAMERA_S = 1.0
_ENTRIES = 200
_THUMBNAIL_PX = 320
_FOR_EVER = "private, max-age=31536000, immutable"
_LOGINS = 4
"""Under way at once from one address."""
_GESTURE = 64
"""Characters of a gesture's name that count."""
_FORMS = ("/login", "/logout")
_FORM = "application/x-www-form-urlencoded"
_DRESS = ("/page/page.css", "/page/icon.svg")
"""What the login form and a page about a problem wear: for anybody, under any name."""
_UNBUFFERED = {"X-Accel-Buffering": "no"}
"""Tells a proxy to pass on at once what comes."""
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml",
          ".json": "application/json", ".webmanifest": "application/manifest+json"}  # fmt: skip
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
    "Server": "picam-infer",
}


class Collection(Protocol):
    """The collected pictures, as `picam_infer.outputs.dataset.Collector` has them."""

    def entries(self, count: int) -> Sequence[Mapping[str, Any]]:
        """Return the newest ones."""

    def picture(self, name: str) -> bytes | None:
        """Return a JPEG; None: no such picture."""

    def zipped(self) -> Iterator[bytes]:
        """Yield a zip of all, sorted in label folders."""


@dataclass(frozen=True, slots=True)
class Context:
    """All that the endpoints need of one run."""

    settings: Settings
    state: State
    access: Access
    live: RuntimeSettings
    event_stream: EventStream
    clients: Callable[[], Mapping[str, int]]
    raw: Broadcaster
    drawn: Broadcaster
    snapshot: Drawn
    collection: Collection | None
    stuck_s: float = STUCK_S


def application(context: Context, limiter: ConnectionLimiter) -> web.Application:
    """Return the web application."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        with limiter.serving(request):
            try:
                admit(context, request)
                return renew(context, request, await handler(request))
            except Refused as refusal:
                return refuse(context, request, refusal)
            except ConfigError as error:
                return refuse(context, request, Refused(422, error.message, error.hint))
            except web.HTTPException as error:
                if error.status < 400:
                    raise
                answer = refuse(context, request, Refused(error.status, error.reason))
                if "Allow" in error.headers:
                    answer.headers["Allow"] = error.headers["Allow"]
                return answer
            except (ConnectionError, TimeoutError):  # the visitor is gone
                raise
            except Exception:  # a request's top: the next one may be fine
                log.exception("web: no answer to %s %s", request.method, request.path)
                return refuse(context, request, Refused(500, "an error of its own; see the journal"))

    async def dress(request: web.Request, response: web.StreamResponse) -> None:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["Server"] = HEADERS["Server"]

    app = web.Application(middlewares=[guard], client_max_size=MAX_BODY)
    app.on_response_prepare.append(dress)
    routes, base = Endpoints(context).routes(), context.access.proxies.base
    app.add_routes(routes)
    if base:  # for a proxy that does not take it off
        app.add_routes([web.RouteDef(each.method, base + each.path, each.handler, each.kwargs) for each in routes])
        app.router.add_get(base, to_base)
    return app


async def to_base(request: web.Request) -> web.StreamResponse:
    """Send a visitor of the bare path on to where relative addresses mean what lies below it."""
    raise web.HTTPPermanentRedirect(request.path.rpartition("/")[2] + "/")


def admit(context: Context, request: web.Request) -> None:
    """Let a request through or raise `Refused`; the order matters: what costs least to check comes first."""
    access, path = context.access, inner(context, request)
    try:
        who = access.proxies.visitor(peer(request), request.path, request.headers, request.secure)
    except WrongPrefix as error:
        raise Refused(400, "the proxy's X-Forwarded-Prefix is not a plain path", "such as /cam") from error
    if path not in _DRESS:
        access.check_host(who.host)
    access.check_site(request.method, request.headers, who.host)
    if (request.content_length or 0) > MAX_BODY:
        raise Refused(413, "too large")
    if path not in (*_FORMS, *_DRESS) and request.path != access.proxies.base:
        access.check_token(who.address, request.headers, cookie(context, request))
    kind = _FORM if path in _FORMS else "application/json"
    routed = request.match_info.http_exception is None
    if routed and request.method not in SAFE and request.content_type != kind:
        raise Refused(415, f"this takes {kind}")


def inner(context: Context, request: web.Request) -> str:
    """Return a request's path without what a proxy left in front of it."""
    return context.access.proxies.inner(request.path)


def visitor(context: Context, request: web.Request) -> Visitor:
    """Return who asks; what a proxy says wrong of them does not count."""
    try:
        return context.access.proxies.visitor(peer(request), request.path, request.headers, request.secure)
    except WrongPrefix:
        return Visitor(peer(request), request.headers.get("Host", ""))


def root(context: Context, request: web.Request) -> str:
    """Return the way from a request's address up to the page, `./` or `../`: it is right behind any proxy."""
    if request.path == context.access.proxies.base:
        return request.path.rpartition("/")[2] + "/"
    return "../" * (context.access.proxies.inner(request.rel_url.raw_path).count("/") - 1) or "./"


def cookie(context: Context, request: web.Request) -> str:
    """Return the value of the visitor's session cookie; empty without one."""
    return request.cookies.get(context.access.cookie, "")


def renew(context: Context, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Give a session that is used another month."""
    form = inner(context, request) in _FORMS
    value = "" if response.prepared or form else context.access.renewed(cookie(context, request))
    if value:
        set_cookie(context, request, response, value)
    return response


def set_cookie(context: Context, request: web.Request, response: web.StreamResponse, value: str) -> None:
    """Add a session's cookie to an answer."""
    who = visitor(context, request)
    response.set_cookie(context.access.cookie, value, max_age=SESSION_S, httponly=True, samesite="Strict",
                        secure=who.secure, path=who.base or "/")  # fmt: skip


def del_cookie(context: Context, request: web.Request, response: web.StreamResponse) -> None:
    """Take a session's cookie back."""
    response.del_cookie(context.access.cookie, path=visitor(context, request).base or "/")


def peer(request: web.Request) -> str:
    """Return the visitor's address; empty for a socket without one."""
    name = request.transport.get_extra_info("peername") if request.transport else None
    return str(name[0]) if isinstance(name, tuple) else ""


def refuse(context: Context, request: web.Request, refusal: Refused) -> web.Response:
    """Return the answer to a request that is refused: a page or the login form for a person's visit, else JSON."""
    if for_person(request):
        login = refusal.status in (401, 429) and request.method in SAFE
        return login_form(context, request, refusal) if login else problem_page(context, request, refusal)
    answer = web.json_response({"error": refusal.reason, "hint": refusal.hint}, status=refusal.status)
    # A browser would open a window of its own over the page, for every picture and every fetch.
    if refusal.status == 401 and not request.headers.get("User-Agent", "").startswith("Mozilla/"):
        answer.headers["WWW-Authenticate"] = 'Basic realm="picam-infer"'
    return _finished(answer, refusal)


def for_person(request: web.Request) -> bool:
    """Whether a person will read the answer: what a browser opens as a page. Programs and scripts get JSON."""
    mode, accepts = request.headers.get("Sec-Fetch-Mode", "navigate"), request.headers.get("Accept", "")
    return mode == "navigate" and "text/html" in accepts


def problem_page(context: Context, request: web.Request, refusal: Refused) -> web.Response:
    """Return a page that says what is wrong and what to do about it."""
    text = (PAGE / "problem.html").read_text("utf-8")
    words = {"reason": _sentence(refusal.reason), "hint": _sentence(refusal.hint), "example": refusal.example}
    for name, said in words.items():
        text = text.replace(f"<!--{name}-->", html.escape(said))
    text = text.replace("<!--root-->", root(context, request))
    return _finished(web.Response(text=text, content_type="text/html", status=refusal.status), refusal)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _finished(answer: web.Response, refusal: Refused) -> web.Response:
    """Say when to come again, and hang up after what was damaged."""
    if refusal.wait_s:
        answer.headers["Retry-After"] = str(int(refusal.wait_s) + 1)
    if refusal.status in (400, 408, 413, 500):
        answer.force_close()
    return answer


def login_form(context: Context, request: web.Request, refusal: Refused) -> web.Response:
    """Return the form, with what was wrong about the last try."""
    reason = refusal.reason + (f"; {refusal.hint}" if refusal.hint else "")
    shown = "" if reason == NEEDED else html.escape(reason[:1].upper() + reason[1:])
    text = (PAGE / "login.html").read_text("utf-8").replace("<!--problem-->", shown)
    text = text.replace("<!--root-->", root(context, request))
    text = text.replace("<!--file-->", html.escape(str(context.access.token.path)))
    answer = web.Response(text=text, content_type="text/html", status=refusal.status)
    del_cookie(context, request, answer)
    return _finished(answer, refusal)


def unhealthy_reason(state: State, stale_s: float) -> str:
    """Return why pictures or results are not fresh; empty when they are, or when nobody expects them to be."""
    if state.pause.now:
        return ""
    if (problem := state.health.blocking) is not None:
        return f"{problem.title}: {problem.what}"
    now_s = time.monotonic()
    frame, result = state.frames.look(), state.results.look()
    for name, newest_s in (("picture", frame and frame[1].monotonic_s), ("result", result and result[1].monotonic_s)):
        if newest_s is None:
            return f"no {name} yet"
        if now_s - newest_s > max(stale_s, state.patience_s):
            return f"the last {name} is {now_s - newest_s:.0f} s old"
    return ""


def snapshot(state: State) -> dict[str, Any]:
    """Return `/api/state`."""
    body = state.as_json()
    newest, now, machine = state.frames.look(), time.time(), sysinfo.read()
    if newest:
        width, height = decode.size(newest[1])
        age_s = round(time.monotonic() - newest[1].monotonic_s, 2)
        chain = state.tuning.preprocess
        body["picture"] = {"width": width, "height": height, "age_s": age_s,
                           "box": list(preprocess.box(chain, state.network, width, height)),
                           "aspect": preprocess.aspect(chain, state.network)}  # fmt: skip
    return body | {
        "labels": list(state.labels),
        "now": round(now, 3),
        "uptime_s": round(time.monotonic() - state.stats.started_s, 1),
        "version": __version__,
        "machine": {"temperature_c": machine.temperature_c, "memory_mb": machine.memory_mb,
                    "findings": [{"what": problem.what, "remedy": problem.remedy} for problem in machine.problems]},
    }  # fmt: skip


class StreamClient:
    """One watcher of a stream."""

    def __init__(self, context: Context, request: web.Request) -> None:
        self._context = context
        self._request = request
        self._checked_s = time.monotonic()

    def goes_on(self) -> bool:
        """Whether the visitor is still there, and still has the right token."""
        request, now_s = self._request, time.monotonic()
        if request.transport is None or request.transport.is_closing():
            return False
        if now_s - self._checked_s > ADMITTED_S:
            self._checked_s = now_s
            try:
                who = visitor(self._context, request).address
                self._context.access.check_token(who, request.headers, cookie(self._context, request))
            except Refused:
                return False
        return True


class Endpoints:
    """One coroutine for each endpoint."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._drawing = asyncio.Lock()
        self._last_drawn: tuple[Picture | None, float] = (None, 0.0)
        self._files = {path.name: path for path in PAGE.iterdir() if path.suffix in _KINDS}
        self._metrics: Metrics | None = None
        self._why = Why()
        self._logins: Counter[str] = Counter()
        """Under way now, by neighbourhood."""

    def routes(self) -> list[web.RouteDef]:
        """Return where they are; `openapi.json` describes the same."""
        return [
            web.get("/", self.page),
            web.get("/page/{name}", self.asset),
            web.get("/openapi.json", self.openapi),
            web.post("/login", self.login),
            web.post("/logout", self.logout),
            web.get("/stream.mjpg", self.stream, allow_head=False),
            web.get("/snapshot.jpg", self.snapshot),
            web.get("/input.png", self.input),
            web.get("/api/state", self.state),
            web.get("/api/events", self.events, allow_head=False),
            web.post("/api/pause", self.pause),
            web.post("/api/explain", self.explain),
            web.get("/api/config", self.config),
            web.patch("/api/config", self.change),
            web.post("/api/config/undo", self.undo),
            web.post("/api/config/keep", self.keep),
            web.get("/api/controls", self.controls),
            web.post("/api/controls", self.set_controls),
            web.get("/api/kept", self.kept),
            web.get("/kept/{name}", self.kept_picture),
            web.get("/kept/thumbnail/{name}", self.kept_thumbnail),
            web.get("/kept.zip", self.kept_zip, allow_head=False),
            web.get("/metrics", self.metrics),
            web.get("/healthz", self.healthz),
        ]

    # -- page ------------------------------------------------------------

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page itself; who is logged in can log out."""
        session = " data-session" if self._context.access.session_holds(cookie(self._context, request)) else ""
        text = (PAGE / "index.html").read_text("utf-8")
        text = text.replace("<html ", f'<html data-version="{__version__}"{session} ', 1)
        return web.Response(text=text, content_type="text/html")

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """A file of the page."""
        path = self._files.get(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound
        return _file(path)

    async def openapi(self, request: web.Request) -> web.StreamResponse:
        """What this is all about, for programs."""
        described = json.loads((PAGE.parent / "openapi.json").read_bytes())
        return web.json_response({**described, "servers": [{"url": visitor(self._context, request).base or "/"}]})

    async def login(self, request: web.Request) -> web.StreamResponse:
        """Trade the token for a cookie."""
        access, who = self._context.access, visitor(self._context, request).address
        try:
            with self._one_of_few(who):
                form = await self._read(request.post(), "form")
            if not access.token:
                raise access.tokenless()
            access.try_token(who, str(form.get("token", "")).strip())
        except Refused as refusal:
            if refusal.status == 403 or not for_person(request):
                raise
            return login_form(self._context, request, refusal)
        answer = web.HTTPSeeOther("./")
        set_cookie(self._context, request, answer, access.session())
        raise answer

    async def logout(self, request: web.Request) -> web.StreamResponse:
        """End the session that the cookie is of."""
        self._context.access.log_out(cookie(self._context, request))
        answer = web.HTTPSeeOther("./")
        del_cookie(self._context, request, answer)
        raise answer

    # -- pictures --------------------------------------------------------

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Motion JPEG: the overlay drawn in, or with `raw=1` the camera's own pictures."""
        raw = _flag(request, "raw")
        pause_s = 1 / _number(request, "fps", 1000.0, 0.05, 1000.0)
        self._make_room()
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        response = web.StreamResponse(headers={"Content-Type": kind, **_UNBUFFERED})
        response.force_close()
        await response.prepare(request)
        feed = self._context.raw if raw else self._context.drawn
        loop, number = asyncio.get_running_loop(), 0
        next_s, visit = loop.time(), StreamClient(self._context, request)
        with feed.watching():
            while visit.goes_on() and not feed.closed:
                if next_s > loop.time():
                    await asyncio.sleep(next_s - loop.time())
                picture = await feed.after(number, 1.0)
                if picture is None:
                    continue
                # From one due time to the next, so that 10 of 30 a second are really 10.
                next_s = max(next_s + pause_s, loop.time() - pause_s)
                number = picture.number
                if not await self._give(request, response, picture.part):
                    break
        return response

    async def snapshot(self, request: web.Request) -> web.StreamResponse:
        """One picture: the newest with its overlay, or with `raw=1` the camera's own."""
        state = self._context.state
        reason = unhealthy_reason(state, self._context.settings.stale_s)
        if _flag(request, "raw"):
            newest = state.frames.look()
            if newest is None or (reason and "result" not in reason):
                raise Refused(503, reason or str(state.pause.now or "no picture yet"))
            try:
                return _jpeg(await asyncio.to_thread(jpeg.portable, newest[1]), newest[1].captured)
            except BadFrame as error:
                raise Refused(503, str(error)) from error
        picture = await self._drawn()
        if picture is None:
            raise Refused(503, reason or "no picture yet")
        return _jpeg(picture.jpeg, time.time())

    async def input(self, request: web.Request) -> web.StreamResponse:
        """What the network saw of the newest picture; 204: nothing yet, or it is old."""
        state = self._context.state
        state.want_input()
        newest = state.results.look()
        if newest is None or newest[1].input_image is None or unhealthy_reason(state, self._context.settings.stale_s):
            return web.Response(status=204)
        return web.Response(body=await asyncio.to_thread(pictures.png, newest[1].input_image), content_type="image/png")

    async def _drawn(self) -> Picture | None:
        """Return a picture drawn now, or just now for someone else."""
        async with self._drawing:
            pause_s = 1 / self._context.settings.fps
            picture, made_s = self._last_drawn
            if picture is None or time.monotonic() - made_s > pause_s:
                picture = await asyncio.to_thread(self._draw)
                self._last_drawn = (picture, time.monotonic())
        return picture

    def _draw(self) -> Picture | None:
        state = self._context.state
        newest = state.frames.look() if state.watching else None
        return self._context.snapshot.make(newest[1] if newest else None)

    # -- numbers ---------------------------------------------------------

    async def state(self, request: web.Request) -> web.StreamResponse:
        """Counters, losses, the newest result, the machine."""
        return web.json_response(snapshot(self._context.state))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: history, change, result, state."""
        self._make_room()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_UNBUFFERED})
        response.force_close()
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        last_s, visit = loop.time(), StreamClient(self._context, request)
        blocks = self._context.event_stream.stream(request.headers.get("Last-Event-ID", ""))
        try:
            async for block in blocks:
                if not visit.goes_on():
                    break
                if not block and loop.time() - last_s > _QUIET_S:
                    block = b": still here\n\n"
                if block:
                    last_s = loop.time()
                    if not await self._give(request, response, block):
                        break
        finally:
            await blocks.aclose()
        return response

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """Prometheus, whose library is loaded when it first asks."""
        if self._metrics is None:
            from picam_infer.outputs.web.metrics import Metrics

            self._metrics = Metrics(self._context.state, self._context.clients)
        body, kind = self._metrics.page(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": kind})

    async def healthz(self, request: web.Request) -> web.StreamResponse:
        """200 while pictures and results are fresh, else 503 with the reason."""
        reason = unhealthy_reason(self._context.state, self._context.settings.stale_s)
        return web.json_response({"ok": not reason, "reason": reason}, status=503 if reason else 200)

    async def explain(self, request: web.Request) -> web.StreamResponse:
        """Why the model says what it says of the newest picture."""
        return web.json_response(await self._why.answer(self._context.state))

    async def pause(self, request: web.Request) -> web.StreamResponse:
        """Pause watching, or go on."""
        wish = await self._json(request)
        if not isinstance(wish, dict) or set(wish) != {"paused"} or not isinstance(wish["paused"], bool):
            raise Refused(422, 'expected {"paused": true} or {"paused": false}')
        pause = self._context.state.pause
        pause.set(wish["paused"], "page")
        return web.json_response({"paused": pause.now.as_json() if pause.now else None})

    # -- settings --------------------------------------------------------

    async def config(self, request: web.Request) -> web.StreamResponse:
        """The live keys."""
        return web.json_response(self._context.live.as_json())

    async def change(self, request: web.Request) -> web.StreamResponse:
        """Set live keys."""
        values = await self._json(request)
        if not isinstance(values, dict):
            raise Refused(422, "expected an object: dotted key → value")
        self._context.live.change(values, request.query.get("gesture", "")[:_GESTURE])
        return web.json_response(self._context.live.as_json())

    async def undo(self, request: web.Request) -> web.StreamResponse:
        """Take back the change with the `id` that is given, or the last one."""
        wish = await self._json(request)
        ident = wish.get("id") if isinstance(wish, dict) else wish
        if ident is not None and type(ident) is not int:
            raise Refused(422, "id: expected a whole number")
        self._context.live.undo(ident)
        return web.json_response(self._context.live.as_json())

    async def keep(self, request: web.Request) -> web.StreamResponse:
        """Write the live keys to the configuration file."""
        written = await asyncio.to_thread(self._context.live.save)
        return web.json_response({**self._context.live.as_json(), "written": written})

    # -- the camera's own settings ---------------------------------------

    async def controls(self, request: web.Request) -> web.StreamResponse:
        """What the camera lets be set, with the values now; nothing while no camera is open."""
        report = await asyncio.to_thread(self._context.state.camera.ask, _CAMERA_S)
        return web.json_response((report or Report("")).as_json())

    async def set_controls(self, request: web.Request) -> web.StreamResponse:
        """Set some of them by name (null: the camera's default), and say what came of it."""
        values = await self._json(request)
        if not isinstance(values, dict):
            raise Refused(422, "expected an object: name of a control → value")
        self._context.live.change({f"capture.controls.{name}": value for name, value in values.items()})
        return await self.controls(request)

    # -- collected pictures ----------------------------------------------

    async def kept(self, request: web.Request) -> web.StreamResponse:
        """The newest kept pictures."""
        collection = self._context.collection
        count = int(_number(request, "count", _ENTRIES, 1, _ENTRIES))
        entries = list(await asyncio.to_thread(collection.entries, count)) if collection else []
        return web.json_response({"on": collection is not None, "pictures": entries})

    async def kept_picture(self, request: web.Request) -> web.StreamResponse:
        """One kept picture."""
        return await self._kept(request, lambda data: data)

    async def kept_thumbnail(self, request: web.Request) -> web.StreamResponse:
        """One kept picture, small."""
        return await self._kept(request, lambda data: jpeg.thumbnail(data, _THUMBNAIL_PX))

    async def _kept(self, request: web.Request, make: Callable[[bytes], bytes]) -> web.StreamResponse:
        collection, name = self._context.collection, request.match_info["name"]
        data = await asyncio.to_thread(collection.picture, name) if collection else None
        if data is None:
            raise web.HTTPNotFound
        try:
            body = await asyncio.to_thread(make, data)
        except BadFrame:
            raise web.HTTPNotFound from None
        # A picture never changes under its name, so that a browser asks for it once.
        return web.Response(body=body, content_type="image/jpeg", headers={"Cache-Control": _FOR_EVER})

    async def kept_zip(self, request: web.Request) -> web.StreamResponse:
        """All of them, in label folders."""
        if self._context.collection is None:
            raise web.HTTPNotFound
        self._make_room()
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", self._context.state.model) or "picam"
        attachment = f'attachment; filename="{name}-kept.zip"'
        response = web.StreamResponse(headers={"Content-Type": "application/zip", "Content-Disposition": attachment})
        await response.prepare(request)
        blocks = self._context.collection.zipped()
        while block := await asyncio.to_thread(next, blocks, b""):
            if not await self._give(request, response, block):
                break
        return response

    # -- shared ----------------------------------------------------------

    async def _give(self, request: web.Request, response: web.StreamResponse, data: bytes) -> bool:
        """Send, and wait until the kernel has it all; False (and hung up) when the visitor does not take it in time."""
        transport = request.transport
        try:
            async with asyncio.timeout(self._context.stuck_s):
                await response.write(data)
                # Only then the next one: a slow visitor gets fewer pictures, not older ones.
                while transport is not None and not transport.is_closing() and transport.get_write_buffer_size():
                    await asyncio.sleep(0.01)
            return True
        except TimeoutError:
            if transport is not None:
                transport.abort()
        except ConnectionError:
            pass
        return False

    def _make_room(self) -> None:
        context = self._context
        if (
            max(context.raw.watchers + context.drawn.watchers, context.event_stream.listeners)
            >= context.settings.max_clients
        ):
            raise Refused(503, "too many watchers", "see web.max_clients", wait_s=10)

    @contextlib.contextmanager
    def _one_of_few(self, visitor: str) -> Iterator[None]:
        """Let an address have only a few logins under way: slow ones of a stranger must not take all places."""
        key = neighbourhood(visitor)
        if self._logins[key] >= _LOGINS:
            raise Refused(503, "too many logins at once", wait_s=_QUIET_S)
        self._logins[key] += 1
        try:
            yield
        finally:
            self._logins[key] -= 1
            self._logins += Counter()  # forgets zeros

    async def _json(self, request: web.Request) -> Any:
        try:
            return json.loads(await self._read(request.read(), "body"))
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"not JSON: {error}") from error

    async def _read(self, reading: Awaitable[T], what: str) -> T:
        """Return what a visitor sends, if it comes in time and is what it says it is."""
        try:
            async with asyncio.timeout(self._context.stuck_s):
                return await reading
        except TimeoutError as error:
            raise Refused(408, "the request took too long") from error
        except (ValueError, LookupError, web.RequestPayloadError) as error:
            raise Refused(400, f"the {what} is damaged") from error


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "0") not in ("0", "", "false", "no")


def _number(request: web.Request, name: str, default: float, least: float, most: float) -> float:
    text = request.query.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError as error:
        raise Refused(422, f"{name}: expected a number") from error
    return min(most, max(least, value)) if value == value else default


def _jpeg(data: bytes, captured: float) -> web.Response:
    return web.Response(body=data, content_type="image/jpeg", headers={"X-Timestamp": f"{captured:.6f}"})


def _file(path: Path) -> web.Response:
    kind = _KINDS[path.suffix]
    charset = "utf-8" if kind.startswith("text/") else None
    return web.Response(body=path.read_bytes(), content_type=kind, charset=charset)
