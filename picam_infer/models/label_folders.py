"""Labels as folder names: portable to any system, and never the same for two labels."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

UNKNOWN = "unknown"
"""The folder for pictures without a label."""
_LONGEST, _LONGEST_BYTES = 40, 96
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)
"""Names that Windows takes for devices, whatever their extension."""


def folder_name(label: str | None) -> str:
    """Return a label as a folder name; where characters are lost, a short hash of the label is appended.

    Two labels that differ only in case get names that differ only in case; `folder_names` tells those apart, too.
    """
    if label is None:
        return UNKNOWN
    name = _shortened("".join(map(_portable, unicodedata.normalize("NFC", label))))
    if name and name == label and name.casefold() != UNKNOWN and not _RESERVED.fullmatch(name):
        return name
    return _marked(name, label)


def folder_names(labels: Iterable[str | None]) -> dict[str | None, str]:
    """Return a folder for every label, all of them distinct even where case and Unicode composition do not count."""
    names: dict[str | None, str] = {}
    taken: set[str] = set()
    for label in sorted(set(labels), key=lambda label: (label is not None, label or "")):
        name = folder_name(label)
        if _folded(name) in taken and label is not None:
            name = _marked(name, label)
        taken.add(_folded(name))
        names[label] = name
    return names


def _portable(character: str) -> str:
    kind = unicodedata.category(character)
    # Letters with their combining marks, digits and emoji are kept; joiners and direction marks are dropped.
    if kind[0] in "LMN" or kind == "So" or character in " .+-_":
        return character
    return "" if kind == "Cf" else "-"


def _shortened(name: str) -> str:
    name = name[:_LONGEST]
    while len(name.encode()) > _LONGEST_BYTES:
        name = name[:-1]
    return name.strip(" .")


def _marked(name: str, label: str) -> str:
    mark = hashlib.sha256(label.encode(errors="surrogatepass")).hexdigest()[:8]
    # Without its dots: a reserved word is still reserved with an extension.
    name = re.sub(r"-{2,}", "-", name.replace(".", "-"))[: _LONGEST - 9].strip(" -")
    return f"{name or 'label'}-{mark}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
