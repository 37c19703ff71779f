"""The cookie of a session: read from a request, set, renewed and deleted."""

from __future__ import annotations

from aiohttp import web

from picam_infer.outputs.web.access import SESSION_S, Access
from picam_infer.outputs.web.request import FORMS, inner, visitor


def cookie(access: Access, request: web.Request) -> str:
    """Return the value of the visitor's session cookie; empty without one."""
    return request.cookies.get(access.cookie, "")


def renew(access: Access, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Renew a session that is in use."""
    form = inner(access, request) in FORMS
    value = "" if response.prepared or form else access.renewed(cookie(access, request))
    if value:
        set_cookie(access, request, response, value)
    return response


def set_cookie(access: Access, request: web.Request, response: web.StreamResponse, value: str) -> None:
    """Add a session's cookie to an answer."""
    who = visitor(access, request)
    response.set_cookie(
        access.cookie,
        value,
        max_age=SESSION_S,
        httponly=True,
        samesite="Strict",
        secure=who.secure,
        path=who.base or "/",
    )


def del_cookie(access: Access, request: web.Request, response: web.StreamResponse) -> None:
    """Delete a session's cookie."""
    response.del_cookie(access.cookie, path=visitor(access, request).base or "/")
