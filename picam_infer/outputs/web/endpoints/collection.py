"""The collected pictures."""

from __future__ import annotations

import asyncio
import re

from aiohttp import web

from picam_infer.imaging import previews
from picam_infer.outputs.web import downloads
from picam_infer.outputs.web.context import Context
from picam_infer.outputs.web.request import number

_ENTRIES = 200
_THUMBNAIL_PX = 320


class Collected:
    """The pictures that were collected for training."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints with their paths."""
        return [
            web.get("/api/kept", self.entries),
            web.get("/kept/{name}", self.picture),
            web.get("/kept/thumbnail/{name}", self.thumbnail),
            web.get("/kept.zip", self.zip, allow_head=False),
        ]

    async def entries(self, request: web.Request) -> web.StreamResponse:
        """The newest collected pictures."""
        collection = self._context.collection
        count = int(number(request, "count", _ENTRIES, 1, _ENTRIES))
        entries = list(await asyncio.to_thread(collection.entries, count)) if collection else []
        return web.json_response({"on": collection is not None, "pictures": entries})

    async def picture(self, request: web.Request) -> web.StreamResponse:
        """One collected picture."""
        return await downloads.picture(self._read, request.match_info["name"])

    async def thumbnail(self, request: web.Request) -> web.StreamResponse:
        """A thumbnail of a collected picture."""
        return await downloads.picture(
            self._read, request.match_info["name"], lambda data: previews.thumbnail(data, _THUMBNAIL_PX)
        )

    def _read(self, name: str) -> bytes | None:
        collection = self._context.collection
        return collection.picture(name) if collection else None

    async def zip(self, request: web.Request) -> web.StreamResponse:
        """A zip file of all of them, a folder per label."""
        if self._context.collection is None:
            raise web.HTTPNotFound
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", self._context.state.model) or "picam"
        return await downloads.zipped(self._context, request, f"{name}-kept.zip", self._context.collection.zipped())
