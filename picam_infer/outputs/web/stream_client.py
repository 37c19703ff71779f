"""One watcher of a stream: whether they may still look, and how data is sent to them."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from picam_infer.outputs.web.access import Refused
from picam_infer.outputs.web.context import Context
from picam_infer.outputs.web.request import visitor
from picam_infer.outputs.web.session_cookie import cookie

ADMITTED_S = 5.0
"""How long a watcher's token is trusted before it is checked again."""
UNBUFFERED = {"X-Accel-Buffering": "no"}
"""Tells a proxy not to buffer."""


class StreamClient:
    """One watcher of a stream."""

    def __init__(self, context: Context, request: web.Request) -> None:
        self._access = context.access
        self._stuck_s = context.stuck_s
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
                who = visitor(self._access, request).address
                self._access.check_token(who, request.headers, cookie(self._access, request))
            except Refused:
                return False
        return True

    async def send(self, response: web.StreamResponse, data: bytes) -> bool:
        """Send data and wait until the kernel has all of it; False (and hung up) if the visitor is too slow."""
        transport = self._request.transport
        try:
            async with asyncio.timeout(self._stuck_s):
                await response.write(data)
                # Only then is the next picture due: a slow visitor gets fewer pictures, not older ones.
                while transport is not None and not transport.is_closing() and transport.get_write_buffer_size():
                    await asyncio.sleep(0.01)
            return True
        except TimeoutError:
            if transport is not None:
                transport.abort()
        except ConnectionError:
            pass
        return False
