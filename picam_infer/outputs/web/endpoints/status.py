"""The state, its events, metrics, health, the explanation of an answer; and pausing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from picam_infer.outputs.web.context import Context
from picam_infer.outputs.web.explain import Why
from picam_infer.outputs.web.public_state import public_state, unhealthy_reason
from picam_infer.outputs.web.request import fields
from picam_infer.outputs.web.stream_client import UNBUFFERED, StreamClient

if TYPE_CHECKING:
    from picam_infer.outputs.web.metrics import Metrics

_QUIET_S = 15.0


class Status:
    """The endpoints for programs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._metrics: Metrics | None = None
        self._why = Why()

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints with their paths."""
        return [
            web.get("/api/state", self.state),
            web.get("/api/events", self.events, allow_head=False),
            web.post("/api/pause", self.pause),
            web.post("/api/explain", self.explain),
            web.get("/metrics", self.metrics),
            web.get("/healthz", self.healthz),
        ]

    async def state(self, request: web.Request) -> web.StreamResponse:
        """Counters, parts that are down, the newest result, the machine."""
        return web.json_response(public_state(self._context.state))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: history, change, result, state."""
        self._context.streams.check_room()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **UNBUFFERED})
        response.force_close()
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        last_s, client = loop.time(), StreamClient(self._context, request)
        blocks = self._context.streams.events.stream(request.headers.get("Last-Event-ID", ""))
        try:
            async for block in blocks:
                if not client.goes_on():
                    break
                if not block and loop.time() - last_s > _QUIET_S:
                    block = b": still here\n\n"
                if block:
                    last_s = loop.time()
                    if not await client.send(response, block):
                        break
        finally:
            await blocks.aclose()
        return response

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """Metrics for Prometheus, whose library is loaded at the first request."""
        if self._metrics is None:
            from picam_infer.outputs.web.metrics import Metrics

            self._metrics = Metrics(self._context.state)
        text, kind = self._metrics.page(request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": kind})

    async def healthz(self, request: web.Request) -> web.StreamResponse:
        """200 while pictures and results are fresh, else 503 with the reason."""
        reason = unhealthy_reason(self._context.state, self._context.settings.stale_s)
        return web.json_response({"ok": not reason, "reason": reason}, status=503 if reason else 200)

    async def explain(self, request: web.Request) -> web.StreamResponse:
        """Why the model answers as it does about the newest picture."""
        return web.json_response(await self._why.answer(self._context.state))

    async def pause(self, request: web.Request) -> web.StreamResponse:
        """Pause watching, or resume."""
        example = 'expected {"paused": true} or {"paused": false}'
        asked = await fields(request, self._context.stuck_s, {"paused": bool}, expected=example)
        pause = self._context.state.pause
        pause.set(asked["paused"], "page")
        return web.json_response({"paused": pause.now.as_json() if pause.now else None})
