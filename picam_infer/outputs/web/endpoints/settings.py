"""The settings that may change while running, and the camera's own."""

from __future__ import annotations

import asyncio

from aiohttp import web

from picam_infer.outputs.web.access import Refused
from picam_infer.outputs.web.context import Context
from picam_infer.outputs.web.request import body
from picam_infer.runtime.camera_controls import Report

_CAMERA_S = 1.0
_GESTURE = 64
"""How many characters of a gesture's name count."""


class ChangeableSettings:
    """The endpoints of the page's sliders."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints with their paths."""
        return [
            web.get("/api/config", self.values),
            web.patch("/api/config", self.change),
            web.post("/api/config/undo", self.undo),
            web.post("/api/config/keep", self.save),
            web.get("/api/controls", self.controls),
            web.post("/api/controls", self.set_controls),
        ]

    async def values(self, request: web.Request) -> web.StreamResponse:
        """The settings that may change while running."""
        return web.json_response(self._context.runtime_settings.as_json())

    async def change(self, request: web.Request) -> web.StreamResponse:
        """Set some of them."""
        values = await body(request, self._context.stuck_s)
        if not isinstance(values, dict):
            raise Refused(422, "expected an object: dotted key → value")
        self._context.runtime_settings.change(values, request.query.get("gesture", "")[:_GESTURE])
        return web.json_response(self._context.runtime_settings.as_json())

    async def undo(self, request: web.Request) -> web.StreamResponse:
        """Take back the change with the `id` that is given, or the last one."""
        asked = await body(request, self._context.stuck_s)
        ident = asked.get("id") if isinstance(asked, dict) else asked
        if ident is not None and type(ident) is not int:
            raise Refused(422, "id: expected a whole number")
        self._context.runtime_settings.undo(ident)
        return web.json_response(self._context.runtime_settings.as_json())

    async def save(self, request: web.Request) -> web.StreamResponse:
        """Write them to the configuration file."""
        written = await asyncio.to_thread(self._context.runtime_settings.save)
        return web.json_response({**self._context.runtime_settings.as_json(), "written": written})

    async def controls(self, request: web.Request) -> web.StreamResponse:
        """The camera's settings with their values now; none while no camera is open."""
        report = await asyncio.to_thread(self._context.state.camera.ask, _CAMERA_S)
        return web.json_response((report or Report("")).as_json())

    async def set_controls(self, request: web.Request) -> web.StreamResponse:
        """Set some of them by name (null: the camera's default); answers like GET."""
        values = await body(request, self._context.stuck_s)
        if not isinstance(values, dict):
            raise Refused(422, "expected an object: name of a control → value")
        self._context.runtime_settings.change({f"capture.controls.{name}": value for name, value in values.items()})
        return await self.controls(request)
