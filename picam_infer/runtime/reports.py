"""The reports of the optional parts: page, event outlets, collected pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class WebReport(msgspec.Struct, frozen=True):
    """The page."""

    listening: bool
    address: str
    """As in the configuration."""
    reason: str
    """Why it does not listen; empty: it does."""
    clients: Mapping[str, int]
    """The number of watchers, by kind."""


class OutletReport(msgspec.Struct, frozen=True):
    """An event outlet."""

    name: str
    kind: str
    ok: bool | None
    """Whether the last delivery worked; None: there was none yet."""
    reason: str
    """Why it did not."""
    note: str
    """What should be fixed although events arrive."""
    sent: int
    failed: int
    dropped: int
    queued: int


class CollectionReport(msgspec.Struct, frozen=True):
    """The pictures that are collected for training."""

    folder: str
    when: str
    pictures: int
    bytes: int
    failures: int
    reason: str
    """Why the last picture was not saved; empty: it was."""


class Provider(Generic[T]):
    """Asks a part for its report, for as long as the part runs."""

    def __init__(self) -> None:
        self._ask: Callable[[], T] | None = None

    def serve(self, ask: Callable[[], T]) -> None:
        """Have reports come from `ask`, which may be called from any thread."""
        self._ask = ask

    def end(self, ask: Callable[[], T]) -> None:
        """End that, unless another part has taken over."""
        if self._ask == ask:
            self._ask = None

    def __call__(self) -> T | None:
        """Return the report; None: there is no such part."""
        ask = self._ask
        return ask() if ask is not None else None


class Reports:
    """All of them."""

    def __init__(self) -> None:
        self.web: Provider[WebReport] = Provider()
        self.events: Provider[tuple[OutletReport, ...]] = Provider()
        self.collection: Provider[CollectionReport] = Provider()
        self.teaching: Provider[dict[str, Any]] = Provider()
        """What is being taught; it has its own event in the event stream, and is not part of the state."""

    def as_json(self) -> dict[str, Any]:
        """Return their members of the public state; a missing part has none."""
        web, events, collection = self.web(), self.events(), self.collection()
        body: dict[str, Any] = {}
        if events is not None:
            body["events"] = [msgspec.structs.asdict(outlet) for outlet in events]
        if collection is not None:
            body["keep"] = msgspec.structs.asdict(collection)
        if web is not None:
            body["web"] = {**msgspec.structs.asdict(web), "clients": dict(web.clients)}
        return body
