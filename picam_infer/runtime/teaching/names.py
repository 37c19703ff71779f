"""The names of lessons and of the models made from them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from picam_infer.core import PicamError, UsageError
from picam_infer.models import bundle as bundles

DEFAULT = "taught"
"""The first lesson's name."""
BEFORE = ".before"
"""What follows a lesson's name in the name of its previous bundle."""


def lesson_name(text: str) -> str:
    """Return a text as a lesson's name, which its bundle has, too. Raises `UsageError`."""
    name = "".join(char if char.isalnum() or char in "._- " else "-" for char in text).strip("-. ").replace(" ", "-")
    name = name.encode()[:60].decode(errors="ignore")
    if not name:
        raise UsageError(f"{text!r} cannot be the name of a lesson", "use letters and digits")
    if name.endswith((BEFORE, ".pictures")):
        raise UsageError(f"a lesson cannot be called {name}", "leave the ending out")
    return name


def model_name(folder: Path) -> str:
    """Return how the settings name a model: its name if that leads to this folder, else the folder."""
    with contextlib.suppress(PicamError):
        if bundles.load(folder.name).folder == folder:
            return folder.name
    return str(folder)
