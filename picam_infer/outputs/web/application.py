"""The web application: who is let in, which endpoint answers, and the headers of every answer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator

from aiohttp import HttpVersion11, web

from picam_infer.core import Busy, ConfigError
from picam_infer.outputs.web.access import SAFE, Access, Refused
from picam_infer.outputs.web.connection import UNEXPECTED
from picam_infer.outputs.web.connection_limiter import ConnectionLimiter
from picam_infer.outputs.web.context import Context
from picam_infer.outputs.web.endpoints import routes
from picam_infer.outputs.web.headers import dress
from picam_infer.outputs.web.refusals import refuse
from picam_infer.outputs.web.request import FORMS, UPLOAD, inner, peer, refused
from picam_infer.outputs.web.session_cookie import cookie, renew
from picam_infer.outputs.web.visitor import WrongPrefix

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_BODY = 16_384
_FORM = "application/x-www-form-urlencoded"
_FILE = "application/octet-stream"
_ANYTHING = r"/{anything:[\s\S]*}"
_DRESS = ("/page/page.css", "/page/icon.svg", "/page/join.js")
"""Files of the login forms and error pages, which are public under any host name."""


def application(context: Context, limiter: ConnectionLimiter) -> web.Application:
    """Return the web application."""
    access = context.access

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        with limiter.serving(request):
            try:
                admit(access, request)
                return renew(access, request, await handler(request))
            except Refused as refusal:
                return refuse(access, request, refusal)
            except ConfigError as error:
                return refuse(access, request, refused(error, ((Busy, 503),), 422))
            except web.HTTPException as error:
                if error.status < 400:
                    raise
                answer = refuse(access, request, _refused(access, request, error))
                if "Allow" in error.headers:
                    answer.headers["Allow"] = error.headers["Allow"]
                return answer
            except (ConnectionError, TimeoutError):  # the visitor is gone
                raise
            except Exception:  # the top of a request: the next one may be fine
                log.exception("web: no answer to %s %s", request.method, request.path)
                return refuse(access, request, Refused(500, "an internal error; see the journal"))

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        dress(response)

    app = web.Application(middlewares=[guard], client_max_size=MAX_BODY)
    app.on_response_prepare.append(prepare)
    app.add_routes(_all_routes(context))
    return app


def _all_routes(context: Context) -> Iterator[web.RouteDef]:
    """Yield the endpoints, also below a proxy's path, and the handler for all other paths."""
    access = context.access

    async def expected(request: web.Request) -> web.StreamResponse | None:
        """Answer an Expect header, before the request is looked at."""
        if request.version != HttpVersion11:
            return None
        if request.headers.get("Expect", "").lower() != "100-continue":
            return refuse(access, request, UNEXPECTED)
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun
        return None

    found, base = list(routes(context)), access.proxies.base
    if base:  # for a proxy that does not strip the prefix
        found += [web.RouteDef(each.method, base + each.path, each.handler, each.kwargs) for each in found]
        found += [web.get(base, to_base)]
    for each in (*found, web.route("*", _ANYTHING, nothing_there)):
        yield web.RouteDef(each.method, each.path, each.handler, {**each.kwargs, "expect_handler": expected})


async def nothing_there(request: web.Request) -> web.StreamResponse:
    """Refuse a path, or the method, that no endpoint has. A route of our own, so that it has our Expect handler."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource.canonical != request.match_info.route.resource.canonical:  # type: ignore[union-attr]
            allowed |= (await resource.resolve(request))[1]
    raise web.HTTPMethodNotAllowed(request.method, allowed) if allowed else web.HTTPNotFound


def _refused(access: Access, request: web.Request, error: web.HTTPException) -> Refused:
    """Return what is wrong with a request that no endpoint takes, and what to do."""
    path = inner(access, request)
    if isinstance(error, web.HTTPNotFound):
        return Refused(error.status, f"there is no {path} here", "/openapi.json lists what there is")
    if isinstance(error, web.HTTPMethodNotAllowed):
        return Refused(
            error.status, f"{path} does not take {error.method}", f"it takes {', '.join(sorted(error.allowed_methods))}"
        )
    return Refused(error.status, error.reason)


async def to_base(request: web.Request) -> web.StreamResponse:
    """Redirect from the path without a slash to the one with, so that relative addresses are right."""
    raise web.HTTPPermanentRedirect(request.path.rpartition("/")[2] + "/")


def admit(access: Access, request: web.Request) -> None:
    """Let a request through or raise `Refused`. The cheapest checks come first."""
    path = inner(access, request)
    try:
        who = access.proxies.visitor(peer(request), request.path, request.headers, request.secure)
    except WrongPrefix as error:
        raise Refused(400, "the proxy's X-Forwarded-Prefix is not a plain path", "such as /cam") from error
    if path not in _DRESS:
        access.check_host(who.host)
    access.check_site(request.method, request.headers, who.host)
    if (request.content_length or 0) > MAX_BODY and path != UPLOAD:
        raise Refused(413, "too large")
    if path not in (*FORMS, *_DRESS) and request.path != access.proxies.base:
        access.check_token(who.address, request.headers, cookie(access, request))
    kind = _FORM if path in FORMS else _FILE if path == UPLOAD else "application/json"
    routed = request.match_info.http_exception is None and request.match_info.handler is not nothing_there
    if routed and request.method not in SAFE and request.content_type != kind:
        raise Refused(415, f"this takes {kind}", f"send it with the header Content-Type: {kind}")
