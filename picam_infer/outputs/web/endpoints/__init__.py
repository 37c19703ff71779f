"""The endpoints, one module per resource."""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web

from picam_infer.outputs.web.context import Context
from picam_infer.outputs.web.endpoints.collection import Collected
from picam_infer.outputs.web.endpoints.models import Models
from picam_infer.outputs.web.endpoints.page import Page
from picam_infer.outputs.web.endpoints.pictures import Pictures
from picam_infer.outputs.web.endpoints.settings import ChangeableSettings
from picam_infer.outputs.web.endpoints.sharing import Sharing
from picam_infer.outputs.web.endpoints.status import Status
from picam_infer.outputs.web.endpoints.teach import Teach


def routes(context: Context) -> Iterator[web.RouteDef]:
    """Yield all endpoints with their paths; `openapi.json` describes them."""
    for resource in (Page, Pictures, Status, ChangeableSettings, Collected, Sharing, Teach, Models):
        yield from resource(context).routes()
