"""Pictures and zips that a browser keeps or saves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from aiohttp import web

from picam_infer.core import BadFrame
from picam_infer.imaging import pictures, previews
from picam_infer.outputs.web.context import Context
from picam_infer.outputs.web.stream_client import StreamClient

_FOR_EVER = "private, max-age=31536000, immutable"


async def picture(
    find: Callable[[str], bytes | None], name: str, make: Callable[[bytes], bytes] = lambda data: data
) -> web.StreamResponse:
    """Answer with a picture that never changes under its name, so that browsers cache it forever.

    `find` reads it (None: there is none), `make` turns it into what is sent. Both run in threads.
    """
    data = await asyncio.to_thread(find, name)
    if data is None:
        raise web.HTTPNotFound
    try:
        body = await asyncio.to_thread(make, data)
    except BadFrame:
        raise web.HTTPNotFound from None
    kind = previews.SHOWN.get(pictures.suffix_of(body) or "", "application/octet-stream")
    return web.Response(body=body, content_type=kind, headers={"Cache-Control": _FOR_EVER})


async def zipped(context: Context, request: web.Request, name: str, blocks: Iterator[bytes]) -> web.StreamResponse:
    """Answer with a zip file, made while it is sent; `name` in ASCII. Raises `Refused` for too many viewers."""
    context.streams.check_room()
    attachment = f'attachment; filename="{name}"'
    response = web.StreamResponse(headers={"Content-Type": "application/zip", "Content-Disposition": attachment})
    await response.prepare(request)
    client = StreamClient(context, request)
    while block := await asyncio.to_thread(next, blocks, b""):
        if not await client.send(response, block):
            break
    return response
