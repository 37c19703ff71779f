"""The installed models, and the one on trial, which came by upload or from a USB stick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from aiohttp import web

from picam_infer.core import Busy, NoInput, PicamError, UsageError
from picam_infer.outputs.web.access import Refused
from picam_infer.outputs.web.context import Context
from picam_infer.outputs.web.request import UPLOAD, arriving, fields, in_thread
from picam_infer.platform import disk
from picam_infer.runtime.model_trial import ModelTrial

T = TypeVar("T")
_STATUS: tuple[tuple[type[PicamError], int], ...] = ((Busy, 503), (UsageError, 422), (NoInput, 404))
_BLOCK = 1 << 20


class Models:
    """The endpoints of the page's list of models."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints with their paths."""
        return [
            web.get("/api/models", self.models),
            web.post("/api/models/use", self.use),
            web.post("/api/models/delete", self.delete),
            web.post(UPLOAD, self.upload),
            web.post("/api/models/import", self.bring),
            web.get("/api/models/trial", self.trial),
            web.post("/api/models/trial/use", self.use_trial),
            web.post("/api/models/trial/discard", self.discard),
        ]

    async def models(self, request: web.Request) -> web.StreamResponse:
        """The models, what is on trial, and what is on sticks."""
        return web.json_response(await self._do(self._trial.look))

    async def use(self, request: web.Request) -> web.StreamResponse:
        """Make the service run one of them from now on."""
        name = await self._asked(request, "name")
        await self._do(lambda: self._trial.switch(name))
        return web.json_response({"name": name})

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Delete one that is neither in use nor built in."""
        name = await self._asked(request, "name")
        await self._do(lambda: self._trial.delete(name))
        return web.json_response(await self._do(self._trial.look))

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """Take a model file, block by block, and put it on trial."""
        trial, size = self._trial, request.content_length
        path = await self._do(lambda: trial.receive(request.query.get("name", "model"), size))
        reason = "the upload broke off"
        whole = False
        try:
            await self._receive(request, path)
            whole = True
        except Refused as refusal:
            reason = refusal.reason
            raise
        finally:
            if not whole:
                trial.lost(reason)
        await self._do(lambda: trial.bring(path))
        return web.json_response(trial.status(), status=202)

    async def _receive(self, request: web.Request, path: Path) -> None:
        count = 0
        try:
            with path.open("xb") as file:
                while True:
                    block = await arriving(request.content.read(_BLOCK), "upload", self._context.stuck_s)
                    if not block:
                        break
                    count += len(block)
                    self._trial.received(count)
                    await asyncio.to_thread(file.write, block)
        except PicamError as error:
            raise Refused(413, error.message, error.hint) from error
        except OSError as error:
            why = f"the file cannot be written ({error.strerror or error})"
            remedy = disk.remedy(error, path.parent, fixed=True)
            raise Refused(507 if disk.is_full(error) else 409, why, remedy) from error
        if not count or (request.content_length or count) != count:
            raise Refused(400, "the file is empty" if not count else "the upload broke off")

    async def bring(self, request: web.Request) -> web.StreamResponse:
        """Put a model from a stick on trial."""
        path = await self._asked(request, "path")
        await self._do(lambda: self._trial.bring_offer(path))
        return web.json_response(self._trial.status(), status=202)

    async def trial(self, request: web.Request) -> web.StreamResponse:
        """The state of the trial, which follows the camera for some seconds."""
        return web.json_response(self._trial.status())

    async def use_trial(self, request: web.Request) -> web.StreamResponse:
        """Keep the model on trial and have the service run it."""
        name = (await fields(request, self._context.stuck_s, optional={"name": str})).get("name", "")
        return web.json_response({"name": await self._do(lambda: self._trial.use(name))})

    async def discard(self, request: web.Request) -> web.StreamResponse:
        """Discard the model on trial."""
        await fields(request, self._context.stuck_s)
        await self._do(self._trial.discard)
        return web.json_response(self._trial.status())

    @property
    def _trial(self) -> ModelTrial:
        trial = self._context.trial
        if trial is None:
            raise Refused(503, "models cannot be changed here")
        return trial

    async def _asked(self, request: web.Request, key: str) -> str:
        """Return the one string that a request has to have."""
        return str((await fields(request, self._context.stuck_s, {key: str}))[key])

    async def _do(self, work: Callable[[], T]) -> T:
        """Await in a thread what may wait for the disk. Raises `Refused`."""
        return await in_thread(work, _STATUS)
