"""The page, its files, and logging in and out."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator

from aiohttp import web

from picam_infer import __version__
from picam_infer.outputs.web.access import Refused, neighbourhood
from picam_infer.outputs.web.context import Context
from picam_infer.outputs.web.files import PAGE, file_response, page_files
from picam_infer.outputs.web.refusals import login_form
from picam_infer.outputs.web.request import arriving, for_person, root, visitor
from picam_infer.outputs.web.session_cookie import cookie, del_cookie, set_cookie

_LOGINS = 4
"""How many logins one address may have under way at once."""
_BUSY_S = 15.0


class Page:
    """The endpoints that a browser opens."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._files = page_files()
        self._logins: Counter[str] = Counter()
        """Logins under way now, by address or network."""

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints with their paths."""
        return [
            web.get("/", self.page),
            web.get("/page/{name}", self.asset),
            web.get("/openapi.json", self.openapi),
            web.get("/login", self.to_page),
            web.post("/login", self.login),
            web.post("/logout", self.logout),
            web.get("/join", self.join_form),
            web.post("/join", self.join),
        ]

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page itself; with a session it offers to log out."""
        session = " data-session" if self._context.access.session_holds(cookie(self._context.access, request)) else ""
        text = (PAGE / "index.html").read_text("utf-8")
        text = text.replace("<html ", f'<html data-version="{__version__}"{session} ', 1)
        return web.Response(text=text, content_type="text/html")

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """A file of the page."""
        path = self._files.get(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound
        return file_response(path)

    async def openapi(self, request: web.Request) -> web.StreamResponse:
        """The API's description, for programs."""
        described = json.loads((PAGE.parent / "openapi.json").read_bytes())
        base = visitor(self._context.access, request).base
        return web.json_response({**described, "servers": [{"url": base or "/"}]})

    async def to_page(self, request: web.Request) -> web.StreamResponse:
        """Redirect to the page, which is the login form for those who need it."""
        raise web.HTTPSeeOther("./")

    async def login(self, request: web.Request) -> web.StreamResponse:
        """Trade the token for a cookie."""
        access, who = self._context.access, visitor(self._context.access, request).address
        try:
            access.try_token(who, await self._given(request, who, "token"))
        except Refused as refusal:
            if refusal.status == 403 or not for_person(request):
                raise
            return login_form(self._context.access, request, refusal)
        raise self._let_in(request)

    async def join_form(self, request: web.Request) -> web.StreamResponse:
        """The form that the link in a QR code leads to."""
        text = (PAGE / "join.html").read_text("utf-8")
        text = text.replace("<!--root-->", root(self._context.access, request))
        return web.Response(text=text, content_type="text/html")

    async def join(self, request: web.Request) -> web.StreamResponse:
        """Trade a one-time login for a cookie."""
        access, who = self._context.access, visitor(self._context.access, request).address
        access.try_invitation(who, await self._given(request, who, "code"))
        raise self._let_in(request)

    async def _given(self, request: web.Request, who: str, field: str) -> str:
        """Return a field of a login form. Raises `Refused`."""
        with self._one_of_few(who):
            form = await arriving(request.post(), "form", self._context.stuck_s)
        if not self._context.access.token:
            raise self._context.access.tokenless()
        return str(form.get(field, "")).strip()

    def _let_in(self, request: web.Request) -> web.HTTPSeeOther:
        """Return the redirect to the page, with a new session's cookie."""
        answer = web.HTTPSeeOther("./")
        set_cookie(self._context.access, request, answer, self._context.access.session())
        return answer

    async def logout(self, request: web.Request) -> web.StreamResponse:
        """End the session."""
        self._context.access.log_out(cookie(self._context.access, request))
        answer = web.HTTPSeeOther("./")
        del_cookie(self._context.access, request, answer)
        raise answer

    @contextlib.contextmanager
    def _one_of_few(self, visitor: str) -> Iterator[None]:
        """Limit the logins under way from one address, so that slow ones cannot keep all others out."""
        key = neighbourhood(visitor)
        if self._logins[key] >= _LOGINS:
            raise Refused(503, "too many logins at once", wait_s=_BUSY_S)
        self._logins[key] += 1
        try:
            yield
        finally:
            self._logins[key] -= 1
            self._logins += Counter()  # forgets zeros
