"""Labels as names of folders: portable to any system, and never the same for two labels."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

UNKNOWN = "unknown"
"""The folder of what has no label."""
_LONGEST, _LONGEST_BYTES = 40, 96
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)
"""What Windows takes for a device, with any ending."""


def folder_name(label: str | None) -> str:
    """Return a label as the name of a folder; where that cannot hold all of the label, a mark of it is at the end.

    Two labels that differ only in case get names that differ only in case; `folder_names` tells those apart, too.
    """
    if label is None:
        return UNKNOWN
    name = _shortened("".join(map(_portable, unicodedata.normalize("NFC", label))))
    if name and name == label and name.casefold() != UNKNOWN and not _RESERVED.fullmatch(name):
        return name
    return _marked(name, label)


def folder_names(labels: Iterable[str | None]) -> dict[str | None, str]:
    """Return the folder of every label, all different also where case and composed letters do not count."""
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
    # Letters with their marks, digits, emoji; joiners and marks of direction go without a trace.
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
    # Without its points: a reserved word with any ending is still reserved.
    name = re.sub(r"-{2,}", "-", name.replace(".", "-"))[: _LONGEST - 9].strip(" -")
    return f"{name or 'label'}-{mark}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
