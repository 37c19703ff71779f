"""The order in which a line of mixed writing directions is drawn: Unicode's bidirectional algorithm (UAX #9).

Implicit levels, paired brackets and isolates are done; embeddings and overrides, which no label needs, are ignored.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

FSI, PDI = "\u2068", "\u2069"
_ISOLATES = {"\u2066": 0, "\u2067": 1, FSI: None}
"""LRI, RLI and FSI, and the level that each gives."""
_IGNORED = frozenset(["LRE", "RLE", "LRO", "RLO", "PDF", "BN"])
_OPENING = "([{<«‹⟨⟪（［｛「『【〈《"
_CLOSING = ")]}>»›⟩⟫）］｝」』】〉》"
_MIRRORED = dict(zip(_OPENING + _CLOSING, _CLOSING + _OPENING, strict=True))
_BRACKETS = {opening: closing for opening, closing in zip(_OPENING, _CLOSING, strict=True) if opening not in "<«‹"}
_NEUTRAL = frozenset(["B", "S", "WS", "ON", "ISOLATE"])


class Run(msgspec.Struct, frozen=True):
    """A stretch that is written in one direction, its characters in the order they are read."""

    text: str
    right_to_left: bool


@dataclass(slots=True)
class _Item:
    """A character, or a whole isolate in its place."""

    text: str
    kind: str
    inside: list[Run] | None = None
    level: int = 0


def mirrored(text: str) -> str:
    """Return right-to-left text as a font without shaping draws it: back to front, brackets turned round."""
    return "".join(_MIRRORED.get(character, character) for character in reversed(text))


def runs(text: str, base: int | None = 0) -> list[Run]:
    """Return the runs of a line from left to right. `base` is 0 for left to right, 1; None: as its first letter."""
    items = _items(text)
    if base is None:
        base = _first_strong(items)
    _weak(items, base)
    _brackets(items, base)
    _neutral(items, base)
    for item in items:
        even = base % 2 == 0
        item.level = base + {"R": int(even), "L": int(not even)}.get(item.kind, 2 if even else 1)
    for item in reversed(items):  # white space at the end of a line stands where the line ends
        if unicodedata.bidirectional(item.text[0]) not in ("WS", "S", "B") or item.inside is not None:
            break
        item.level = base
    return _visual(items)


def _items(text: str) -> list[_Item]:
    found: list[_Item] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character in _ISOLATES:
            end = _end_of_isolate(text, at)
            inside = text[at + 1 : end]
            if inside:
                found.append(_Item(inside, "ISOLATE", runs(inside, _ISOLATES[character])))
            at = end + 1
            continue
        kind = unicodedata.bidirectional(character) or "L"
        if kind not in _IGNORED and character != PDI:
            found.append(_Item(character, kind))
        elif found and (character in "\u200c\u200d" or "\U000e0020" <= character <= "\U000e007f"):
            # Joiners, and the letters of a flag, belong to what is before them.
            found.append(_Item(character, "NSM"))
        at += 1
    return found


def _end_of_isolate(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in _ISOLATES) - (text[at] == PDI)
        if depth == 0:
            return at
    return len(text)


def _first_strong(items: Sequence[_Item]) -> int:
    return next((int(item.kind in ("R", "AL")) for item in items if item.kind in ("L", "R", "AL")), 0)


def _weak(items: list[_Item], base: int) -> None:
    """Rules W1 to W7."""
    before = strong = "R" if base else "L"
    for item in items:
        if item.kind == "NSM":
            item.kind = "ON" if before == "ISOLATE" else before
        if item.kind in ("L", "R", "AL"):
            strong = item.kind
        elif item.kind == "EN" and strong == "AL":
            item.kind = "AN"
        before = item.kind
    for item in items:
        item.kind = "R" if item.kind == "AL" else item.kind
    for left, item, right in zip(items, items[1:], items[2:], strict=False):
        if left.kind == right.kind and (
            (item.kind == "CS" and left.kind in ("EN", "AN")) or (item.kind == "ES" and left.kind == "EN")
        ):
            item.kind = left.kind
    for row in (items, items[::-1]):  # signs before and after a number
        near = ""
        for item in row:
            if item.kind == "ET" and near == "EN":
                item.kind = "EN"
            near = item.kind
    strong = "R" if base else "L"
    for item in items:
        if item.kind in ("ET", "ES", "CS"):
            item.kind = "ON"
        elif item.kind in ("L", "R"):
            strong = item.kind
        elif item.kind == "EN" and strong == "L":
            item.kind = "L"


def _side(kind: str) -> str:
    """Return the direction that a resolved kind counts as; empty for a neutral."""
    return "R" if kind in ("R", "EN", "AN") else "L" if kind == "L" else ""


def _brackets(items: list[_Item], base: int) -> None:
    """Rule N0: a pair of brackets goes the way of the line if anything in it does, else the way of what is before."""
    own = "R" if base else "L"
    for start, end in _pairs(items):
        inside = {_side(item.kind) for item in items[start + 1 : end]} - {""}
        if own in inside:
            kind = own
        elif inside:
            before = next((_side(item.kind) for item in reversed(items[:start]) if _side(item.kind)), own)
            kind = before
        else:
            continue
        items[start].kind = items[end].kind = kind


def _pairs(items: Sequence[_Item]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    stack: list[tuple[str, int]] = []
    for at, item in enumerate(items):
        if item.kind != "ON":
            continue
        if item.text in _BRACKETS:
            stack.append((_BRACKETS[item.text], at))
        elif any(closing == item.text for closing, _ in stack):
            while stack[-1][0] != item.text:
                stack.pop()
            found.append((stack.pop()[1], at))
    return sorted(found)


def _neutral(items: list[_Item], base: int) -> None:
    """Rules N1 and N2: neutrals between two of one direction take it, others that of the line."""
    own = "R" if base else "L"
    at = 0
    while at < len(items):
        if items[at].kind not in _NEUTRAL:
            at += 1
            continue
        end = next((i for i in range(at, len(items)) if items[i].kind not in _NEUTRAL), len(items))
        left = _side(items[at - 1].kind) if at else own
        right = _side(items[end].kind) if end < len(items) else own
        for item in items[at:end]:
            item.kind = left if left == right else own
        at = end


def _visual(items: list[_Item]) -> list[Run]:
    """Return the runs from left to right (rule L2)."""
    order = list(items)
    highest = max((item.level for item in items), default=0)
    for level in range(highest, 0, -1):
        at = 0
        while at < len(order):
            end = at
            while end < len(order) and order[end].level >= level:
                end += 1
            order[at:end] = order[at:end][::-1]
            at = max(end, at + 1)
    found: list[Run] = []
    last: int | None = None
    for item in order:
        if item.inside is not None:
            found += item.inside
            last = None
        elif last == item.level:
            joined = item.text + found[-1].text if item.level % 2 else found[-1].text + item.text
            found[-1] = Run(joined, found[-1].right_to_left)
        else:
            found.append(Run(item.text, bool(item.level % 2)))
            last = item.level
    return found
