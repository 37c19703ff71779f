"""Opening the page to the network, and one-time logins for phones."""

from __future__ import annotations

import asyncio
from types import NoneType
from typing import Any

from aiohttp import web

from picam_infer.outputs import qr
from picam_infer.outputs.web.access import Refused
from picam_infer.outputs.web.context import Context
from picam_infer.outputs.web.request import body, fields
from picam_infer.runtime.share import INVITATION_S, link

_LONGEST_S = 366 * 86400


class Sharing:
    """The endpoints for opening the page."""

    def __init__(self, context: Context) -> None:
        self._share = context.state.share
        self._patience_s = context.stuck_s

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints with their paths."""
        return [
            web.get("/api/share", self.share),
            web.post("/api/share", self.change),
            web.post("/api/share/invitation", self.invitation),
        ]

    async def share(self, request: web.Request) -> web.StreamResponse:
        """Whether the page is open to the network, and under which addresses."""
        return web.json_response(self._told())

    async def change(self, request: web.Request) -> web.StreamResponse:
        """Open it, for a time or until it is closed, or close it."""
        asked = await fields(
            request,
            self._patience_s,
            {"open": bool},
            {"for_s": (int, float, NoneType)},
            'expected {"open": true, "for_s": 3600} or {"open": false}',
        )
        for_s = asked.get("for_s")
        if for_s is not None and not for_s > 0:
            raise Refused(422, "for_s: expected a number of seconds above 0, or null: until it is closed")
        if asked["open"]:
            await asyncio.to_thread(self._share.open, None if for_s is None else min(_LONGEST_S, for_s))
        else:
            await asyncio.to_thread(self._share.close)
        return web.json_response(self._told())

    async def invitation(self, request: web.Request) -> web.StreamResponse:
        """Make a one-time login, as addresses and as a QR code of the first of them."""
        await body(request, self._patience_s)
        if self._share.now is None and not self._share.always:
            raise Refused(409, "the page is not open to the network", 'open it first: {"open": true}')
        code = self._share.invite().code
        links = [link(address, code) for address in self._share.addresses()]
        if not links:
            raise Refused(409, "this machine is not in any network", "connect it, then try again")
        rows = await asyncio.to_thread(qr.rows, links[0])
        return web.json_response({"links": links, "qr": rows, "ends_in_s": INVITATION_S})

    def _told(self) -> dict[str, Any]:
        share = self._share
        return {**share.as_json(), "addresses": share.addresses(), "kept": share.path is not None}
