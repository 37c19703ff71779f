"""The collected pictures."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from aiohttp import web

from picam_infer.core import BadFrame
from picam_infer.imaging import jpeg
from picam_infer.outputs.web.context import Context
from picam_infer.outputs.web.request import number
from picam_infer.outputs.web.stream_client import StreamClient

_ENTRIES = 200
_THUMBNAIL_PX = 320
_FOR_EVER = "private, max-age=31536000, immutable"


class Collected:
    """The pictures that were collected for training."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[web.RouteDef]:
        """Return where they are."""
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
        return await self._one(request, lambda data: data)

    async def thumbnail(self, request: web.Request) -> web.StreamResponse:
        """One collected picture, small."""
        return await self._one(request, lambda data: jpeg.thumbnail(data, _THUMBNAIL_PX))

    async def _one(self, request: web.Request, make: Callable[[bytes], bytes]) -> web.StreamResponse:
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

    async def zip(self, request: web.Request) -> web.StreamResponse:
        """All of them, in label folders."""
        if self._context.collection is None:
            raise web.HTTPNotFound
        self._context.streams.check_room()
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", self._context.state.model) or "picam"
        attachment = f'attachment; filename="{name}-kept.zip"'
        response = web.StreamResponse(headers={"Content-Type": "application/zip", "Content-Disposition": attachment})
        await response.prepare(request)
        blocks, client = self._context.collection.zipped(), StreamClient(self._context, request)
        while block := await asyncio.to_thread(next, blocks, b""):
            if not await client.send(response, block):
                break
        return response
