"""One visitor's connection. Requests that fail before they reach an endpoint are answered like all others."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from picam_infer.outputs.web.access import Access, Refused
from picam_infer.outputs.web.headers import dress
from picam_infer.outputs.web.refusals import refuse

log = logging.getLogger(__name__)
_unheard = logging.getLogger(f"{__name__}.visitors")
"""Drops the web library's log messages on damaged requests, so that strangers cannot fill the journal."""
_unheard.disabled = True


class Connection(web.RequestHandler):
    """The web library's, but its answers to invalid requests neither quote them nor name the library's version."""

    __slots__ = ("_access",)

    def __init__(self, access: Access, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            logger=_unheard,
            keepalive_timeout=30.0,
            max_headers=64,
            lingering_time=2.0,
        )
        self._access = access

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to an invalid request, or to one that failed before it reached the application."""
        if request.writer.output_size:
            raise ConnectionError("the answer has begun already")
        if status == 500 and isinstance(exc, UnicodeError) and "Expect" in request.headers:
            status = 417  # the library's own refusal quotes the header, which may not be valid text
        if status == 500:
            log.error("web: no answer to %s %s", request.method, request.path, exc_info=exc)
        assert isinstance(request, web.Request)
        answer = refuse(self._access, request, _refusal(status))
        answer.force_close()
        dress(answer)
        return answer


def _refusal(status: int) -> Refused:
    if status == 417:
        return UNEXPECTED
    if status == 504:
        return Refused(status, "the answer took too long", "try again")
    if status < 500:
        return Refused(status, "this is not a valid HTTP request")
    return Refused(status, "an internal error; see the journal")


UNEXPECTED = Refused(417, "this Expect header is not known", "leave it out, or send Expect: 100-continue")
