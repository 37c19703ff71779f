"""What the parts that may be there or not (page, event outlets, collected pictures) say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WebReport:
    """The page."""

    listening: bool
    address: str
    """As in the configuration."""
    reason: str
    """Why it does not listen; empty: it does."""
    clients: Mapping[str, int]
    """Who watches, by kind."""


@dataclass(frozen=True, slots=True)
class OutletReport:
    """An event outlet."""

    name: str
    kind: str
    ok: bool | None
    """Whether the last delivery worked; None: there was none yet."""
    reason: str
    """Why it did not."""
    note: str
    """What should be mended although events arrive."""
    sent: int
    failed: int
    dropped: int
    queued: int


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """The pictures that are collected for training."""

    folder: str
    when: str
    pictures: int
    bytes: int
    failures: int
    reason: str
    """Why the last picture was not saved; empty: it was."""


class Provider(Generic[T]):
    """Where a part leaves word how to ask it for its report, for as long as it runs."""

    def __init__(self) -> None:
        self._ask: Callable[[], T] | None = None

    def serve(self, ask: Callable[[], T]) -> None:
        """Answer with what `ask` returns, from any thread."""
        self._ask = ask

    def end(self, ask: Callable[[], T]) -> None:
        """Take it back, unless another has taken its place."""
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
        """What is being taught: it has an event of its own in the event stream, and is not part of the state."""

    def as_json(self) -> dict[str, Any]:
        """Return the members of the public state that are theirs; a part that is not there has none."""
        web, events, collection = self.web(), self.events(), self.collection()
        body: dict[str, Any] = {}
        if events is not None:
            body["events"] = [asdict(outlet) for outlet in events]
        if collection is not None:
            body["keep"] = asdict(collection)
        if web is not None:
            body["web"] = {**asdict(web), "clients": dict(web.clients)}
        return body
