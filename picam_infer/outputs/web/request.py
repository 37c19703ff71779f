"""Reads requests: their parameters, their body, and who made them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import NoneType
from typing import Any, TypeVar

from aiohttp import web

from picam_infer.core import NoSpace, PicamError
from picam_infer.outputs.web.access import Access, Refused
from picam_infer.outputs.web.visitor import Visitor, WrongPrefix
from picam_infer.platform import disk

T = TypeVar("T")

FORMS = ("/login", "/logout", "/join")
UPLOAD = "/api/models/upload"
"""The only path that takes a file, of any size that the disk has room for."""
Kinds = type | tuple[type, ...]
_KINDS = {
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
    NoneType: "null",
    list: "an array",
    dict: "an object",
}
"""The JSON term for the values of each type."""


def inner(access: Access, request: web.Request) -> str:
    """Return a request's path without a prefix that a proxy has left."""
    return access.proxies.inner(request.path)


def visitor(access: Access, request: web.Request) -> Visitor:
    """Return who asks; malformed headers of a proxy are ignored."""
    try:
        return access.proxies.visitor(peer(request), request.path, request.headers, request.secure)
    except WrongPrefix:
        return Visitor(peer(request), request.headers.get("Host", ""))


def root(access: Access, request: web.Request) -> str:
    """Return the relative address of the page from a request's, `./` or `../`, which is right behind any proxy."""
    if request.path == access.proxies.base:
        return request.path.rpartition("/")[2] + "/"
    return "../" * (access.proxies.inner(request.rel_url.raw_path).count("/") - 1) or "./"


def peer(request: web.Request) -> str:
    """Return the visitor's address; empty for a socket without one."""
    name = request.transport.get_extra_info("peername") if request.transport else None
    return str(name[0]) if isinstance(name, tuple) else ""


def for_person(request: web.Request) -> bool:
    """Whether a person will read the answer, because a browser opens it as a page. Programs and scripts get JSON."""
    mode, accepts = request.headers.get("Sec-Fetch-Mode", "navigate"), request.headers.get("Accept", "")
    return mode == "navigate" and "text/html" in accepts


def flag(request: web.Request, name: str) -> bool:
    """Whether a query parameter is set: `raw=1`."""
    return request.query.get(name, "0") not in ("0", "", "false", "no")


def number(request: web.Request, name: str, default: float, least: float, most: float) -> float:
    """Return the number in a query parameter, clamped to limits. Raises `Refused`."""
    text = request.query.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError as error:
        raise Refused(422, f"{name}: expected a number") from error
    return min(most, max(least, value)) if value == value else default


def refused(error: PicamError, statuses: Sequence[tuple[type[PicamError], int]] = (), default: int = 409) -> Refused:
    """Return the refusal for an error: 507 where there is no space, the status of the error's type, or `default`."""
    status = next((status for kind, status in statuses if isinstance(error, kind)), default)
    if isinstance(error, NoSpace) or disk.is_full(error):
        status = 507
    return Refused(status, error.message, error.hint)


async def in_thread(work: Callable[[], T], statuses: Sequence[tuple[type[PicamError], int]]) -> T:
    """Await in a thread what may block. Raises `Refused`: see `refused`."""
    try:
        return await asyncio.to_thread(work)
    except PicamError as error:
        raise refused(error, statuses) from error


async def body(request: web.Request, patience_s: float) -> Any:
    """Return the JSON body of a request. Raises `Refused`."""
    try:
        return json.loads(await arriving(request.read(), "body", patience_s))
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"not JSON: {error}") from error


async def fields(
    request: web.Request,
    patience_s: float,
    needed: Mapping[str, Kinds] | None = None,
    optional: Mapping[str, Kinds] | None = None,
    expected: str = "",
) -> dict[str, Any]:
    """Return the JSON object in the body of a request: all `needed` keys, any of the `optional` ones, and no others.

    `expected` describes the object in the error message. Raises `Refused`.
    """
    needed, kinds = needed or {}, {**(needed or {}), **(optional or {})}
    expected = expected or f"expected an object with {', '.join(kinds) or 'nothing in it'}"
    asked = await body(request, patience_s)
    if not isinstance(asked, dict) or not set(needed) <= set(asked) <= set(kinds):
        raise Refused(422, expected)
    for key, value in asked.items():
        kind = kinds[key]
        wanted: tuple[type, ...] = kind if isinstance(kind, tuple) else (kind,)
        if type(value) not in wanted:  # True is not a number
            words = " or ".join(dict.fromkeys(_KINDS[kind] for kind in wanted))
            raise Refused(422, f"{key}: expected {words}, not {_KINDS[type(value)]}")
    return asked


async def arriving(reading: Awaitable[T], what: str, patience_s: float) -> T:
    """Return a request's body or a block of it, if it arrives in time and is valid. Raises `Refused`."""
    try:
        async with asyncio.timeout(patience_s):
            return await reading
    except TimeoutError as error:
        raise Refused(408, f"the {what} has stalled") from error
    except ConnectionError as error:  # nobody is there to read the answer
        raise Refused(400, f"the {what} broke off") from error
    except (ValueError, LookupError, web.RequestPayloadError) as error:
        raise Refused(400, f"the {what} is damaged") from error
