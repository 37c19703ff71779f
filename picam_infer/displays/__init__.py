"""The displays' door: finds something that can show pictures."""

from __future__ import annotations

import os

from picam_infer.config import DisplaySettings
from picam_infer.core import Display, Lost


def open_display(settings: DisplaySettings) -> Display | None:
    """Open the display that is asked for, None for `none`; raise `Lost` when there is none now.

    `auto` tries them in order; a kind forced by name is tried alone.
    """
    if settings.kind == "none":
        return None
    if settings.kind in ("auto", "window") and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        from picam_infer.displays.window import Window

        return Window(settings)
    raise Lost("no monitor to draw on", "start it inside a desktop session, or set display.kind")
