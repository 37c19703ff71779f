"""Teaching: the open lesson, its classes and pictures, and the model made from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web

from picam_infer.core import Busy, NoInput, PicamError, UsageError
from picam_infer.imaging import previews
from picam_infer.outputs.web import downloads
from picam_infer.outputs.web.access import Refused
from picam_infer.outputs.web.context import Context
from picam_infer.outputs.web.request import Kinds, fields, in_thread
from picam_infer.platform.zip_stream import zipped
from picam_infer.runtime.teaching import Teaching

T = TypeVar("T")

_THUMBNAIL_PX = 160
_STATUS: tuple[tuple[type[PicamError], int], ...] = ((Busy, 503), (UsageError, 422), (NoInput, 422))


class Teach:
    """The endpoints of the Teach view and of “This was really …”."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints with their paths."""
        return [
            web.get("/api/teach", self.status),
            web.post("/api/teach/open", self.open),
            web.post("/api/teach/close", self.close),
            web.post("/api/teach/classes", self.classes),
            web.post("/api/teach/record", self.record),
            web.get("/api/teach/pictures", self.pictures),
            web.post("/api/teach/pictures", self.correct),
            web.post("/api/teach/pin", self.pin),
            web.post("/api/teach/undo", self.undo),
            web.post("/api/teach/use", self.use),
            web.post("/api/teach/back", self.back),
            web.get("/teach/picture/{id}", self.picture),
            web.get("/teach/thumbnail/{id}", self.thumbnail),
            web.get("/teach/recent/{name}", self.recent),
            web.get("/teach.zip", self.zip, allow_head=False),
        ]

    # -- looking -----------------------------------------------------------

    async def status(self, request: web.Request) -> web.StreamResponse:
        """The state of the lesson; for some seconds the live label follows the camera."""
        return web.json_response(await self._do(self._teaching.look))

    async def pictures(self, request: web.Request) -> web.StreamResponse:
        """The lesson's pictures, the oldest first."""
        return web.json_response({"pictures": await self._do(self._teaching.pictures)})

    async def picture(self, request: web.Request) -> web.StreamResponse:
        """One of them, in a format that browsers show."""
        return await downloads.picture(self._teaching.picture, request.match_info["id"], previews.for_browser)

    async def thumbnail(self, request: web.Request) -> web.StreamResponse:
        """A thumbnail of one of them."""
        return await downloads.picture(
            self._teaching.picture, request.match_info["id"], lambda data: previews.thumbnail(data, _THUMBNAIL_PX)
        )

    async def recent(self, request: web.Request) -> web.StreamResponse:
        """The picture of a recent label change."""
        return await downloads.picture(self._teaching.recent.get, request.match_info["name"])

    async def zip(self, request: web.Request) -> web.StreamResponse:
        """A zip file of all of them, a folder per class."""
        found = self._teaching.zip_entries()
        if found is None:
            raise web.HTTPNotFound
        name, entries = found
        plain = "".join(char if char.isascii() and (char.isalnum() or char in "_-") else "-" for char in name)
        return await downloads.zipped(self._context, request, f"{plain}-pictures.zip", zipped(entries))

    # -- changing ----------------------------------------------------------

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Open a lesson by name, or the most likely one, and name the model to build on."""
        wish = await self._wish(request, name=str, base=str)
        await self._do(lambda: self._teaching.open(wish.get("name", ""), wish.get("base", "")))
        return await self.status(request)

    async def close(self, request: web.Request) -> web.StreamResponse:
        """Close it; all of it is kept."""
        await self._wish(request)
        await self._do(self._teaching.end)
        return web.json_response(self._teaching.status())

    async def classes(self, request: web.Request) -> web.StreamResponse:
        """Make, rename, merge or remove a class."""
        wish = await self._wish(request, add=str, rename=str, to=str, remove=str)
        if set(wish) == {"add"}:
            await self._do(lambda: self._teaching.add_class(wish["add"]))
        elif set(wish) == {"rename", "to"}:
            await self._do(lambda: self._teaching.rename_class(wish["rename"], wish["to"]))
        elif set(wish) == {"remove"}:
            await self._do(lambda: self._teaching.remove_class(wish["remove"]))
        else:
            raise Refused(422, 'expected {"add": CLASS}, {"rename": CLASS, "to": CLASS} or {"remove": CLASS}')
        return web.json_response(self._teaching.status())

    async def record(self, request: web.Request) -> web.StreamResponse:
        """Record while a button is held (repeat it within a second), or stop (`label` null)."""
        wish = await self._wish(request, label=(str, type(None)), hold=str)
        label = wish.get("label")
        if label is None:
            self._teaching.release()
        else:
            await self._do(lambda: self._teaching.hold(label, wish.get("hold", "")[:64]))
        return web.json_response(self._teaching.status())

    async def correct(self, request: web.Request) -> web.StreamResponse:
        """Correct a picture's class; `label` null removes a taught one."""
        wish = await self._wish(request, label=(str, type(None)), id=str, recent=str, kept=str, use=bool)
        label, teaching = wish.get("label"), self._teaching
        sources = [key for key in ("id", "recent", "kept") if key in wish]
        if len(sources) != 1 or "label" not in wish or (label is None and "id" not in wish):
            raise Refused(422, 'expected {"label": CLASS or null} with one of "id", "recent", "kept"')
        answer: dict[str, Any] = {}
        if "id" in wish:
            id = wish["id"]
            await self._do(lambda: teaching.remove(id) if label is None else teaching.relabel(id, label))
        else:
            data = await self._given(wish)
            name, use = str(label), bool(wish.get("use", False))
            answer = await self._do(lambda: teaching.correct(name, data, "corrected", use))
        return web.json_response({**teaching.status(), **answer})

    async def pin(self, request: web.Request) -> web.StreamResponse:
        """Keep the newest picture, to say later what it really shows."""
        await self._wish(request)
        return web.json_response({"recent": await self._do(self._teaching.pin)})

    async def undo(self, request: web.Request) -> web.StreamResponse:
        """Undo the last change of the lesson."""
        wish = await self._wish(request, use=bool)
        undone = await self._do(lambda: self._teaching.undo(wish.get("use", False)))
        return web.json_response({**self._teaching.status(), "undone": undone})

    async def use(self, request: web.Request) -> web.StreamResponse:
        """Make the service run what was taught from now on."""
        await self._wish(request)
        await self._do(self._teaching.use)
        return web.json_response(self._teaching.status())

    async def back(self, request: web.Request) -> web.StreamResponse:
        """Make the service run the previous model."""
        await self._wish(request)
        return web.json_response({"model": await self._do(self._teaching.back)})

    # -- shared --------------------------------------------------------------

    @property
    def _teaching(self) -> Teaching:
        teaching = self._context.teaching
        if teaching is None:
            raise Refused(503, "nothing can be taught here")
        return teaching

    async def _wish(self, request: web.Request, **kinds: Kinds) -> dict[str, Any]:
        """Return the object of a request, with any of these keys, and without control characters in strings."""
        wish = await fields(request, self._context.stuck_s, optional=kinds)
        return {key: _printable(value) if isinstance(value, str) else value for key, value in wish.items()}

    async def _given(self, wish: dict[str, Any]) -> bytes:
        """Return the picture to correct, as a JPEG. Raises `Refused`."""
        collection = self._context.collection
        if "recent" in wish:
            data = self._teaching.recent.get(wish["recent"])
        else:
            data = await asyncio.to_thread(collection.picture, wish["kept"]) if collection else None
        if data is None:
            raise Refused(404, "this picture no longer exists", "take a newer one")
        return data

    async def _do(self, work: Callable[[], T]) -> T:
        """Await in a thread what may wait for the teaching thread. Raises `Refused`."""
        return await in_thread(work, _STATUS)


def _printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable())
