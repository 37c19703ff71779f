"""Live pictures: the stream, the newest one, and what the network saw of it."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from picam_infer.core import BadFrame
from picam_infer.imaging import jpeg, pictures
from picam_infer.outputs.web.access import Refused
from picam_infer.outputs.web.context import Context
from picam_infer.outputs.web.mjpeg import BOUNDARY
from picam_infer.outputs.web.public_state import no_picture_reason, unhealthy_reason
from picam_infer.outputs.web.request import flag, number
from picam_infer.outputs.web.stream_client import UNBUFFERED, StreamClient


class Pictures:
    """Pictures of the camera."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints with their paths."""
        return [
            web.get("/stream.mjpg", self.stream, allow_head=False),
            web.get("/snapshot.jpg", self.snapshot),
            web.get("/input.png", self.input),
        ]

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Motion JPEG: the overlay drawn in, or with `raw=1` the camera's own pictures."""
        raw = flag(request, "raw")
        pause_s = 1 / number(request, "fps", 1000.0, 0.05, 1000.0)
        self._context.streams.check_room()
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        response = web.StreamResponse(headers={"Content-Type": kind, **UNBUFFERED})
        response.force_close()
        await response.prepare(request)
        broadcaster = self._context.streams.raw if raw else self._context.streams.drawn
        loop, newest = asyncio.get_running_loop(), 0
        next_s, client = loop.time(), StreamClient(self._context, request)
        with broadcaster.watching():
            while client.goes_on() and not broadcaster.closed:
                if next_s > loop.time():
                    await asyncio.sleep(next_s - loop.time())
                picture = await broadcaster.after(newest, 1.0)
                if picture is None:
                    continue
                # Counted from due time to due time, so that 10 of 30 a second are really 10.
                next_s = max(next_s + pause_s, loop.time() - pause_s)
                newest = picture.number
                if not await client.send(response, picture.part):
                    break
        return response

    async def snapshot(self, request: web.Request) -> web.StreamResponse:
        """One picture: the newest with its overlay, or with `raw=1` the camera's own."""
        state = self._context.state
        reason = no_picture_reason(state, self._context.settings.stale_s)
        if flag(request, "raw"):
            newest = state.frames.peek()
            if newest is None or reason:
                raise Refused(503, reason or str(state.pause.now or "no picture yet"))
            try:
                return _jpeg(await asyncio.to_thread(jpeg.portable, newest[1]), newest[1].captured)
            except BadFrame as error:
                raise Refused(503, str(error)) from error
        picture = await self._context.snapshots.take()
        if picture is None:
            raise Refused(503, reason or "no picture yet")
        return _jpeg(picture.jpeg, time.time())

    async def input(self, request: web.Request) -> web.StreamResponse:
        """What the network saw of the newest picture; 204: nothing yet, or it is old."""
        state = self._context.state
        state.want_input()
        newest = state.results.peek()
        if newest is None or newest[1].input_image is None or unhealthy_reason(state, self._context.settings.stale_s):
            return web.Response(status=204)
        image = newest[1].input_image
        return web.Response(body=await asyncio.to_thread(pictures.png, image), content_type="image/png")


def _jpeg(data: bytes, captured: float) -> web.Response:
    return web.Response(body=data, content_type="image/jpeg", headers={"X-Timestamp": f"{captured:.6f}"})
