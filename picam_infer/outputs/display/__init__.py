"""Opens the display that is asked for, or finds one."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

from picam_infer.config import Config
from picam_infer.core import Disconnected, Display
from picam_infer.outputs.display import owner
from picam_infer.platform import x11

_KINDS = {"window": "Window", "kms": "Kms", "framebuffer": "Framebuffer"}


def open_display(config: Config) -> Display | None:
    """Open the display that is asked for, None for `none`; raise `Disconnected` when there is none now.

    `auto` tries a desktop's window, the bare monitor and the frame buffer, in that order; on a machine that starts
    a desktop it waits for that. A kind given by name is tried alone.
    """
    kind = config.display.kind
    if kind == "none":
        return None
    if kind != "auto":
        return _open(kind, config)
    desktop = owner.desktop_expected()
    return first([_opener(kind, config) for kind in (["window"] if desktop else list(_KINDS))], desktop)


def first(openers: Sequence[Callable[[], Display]], desktop: bool) -> Display:
    """Return the first display that opens; raise the most telling `Disconnected` when none does."""
    losses: list[Disconnected] = []
    for opener in openers:
        try:
            return opener()
        except owner.Held as held:
            # A desktop that refuses the window holds the monitor: the refusal is what a person can fix.
            raise next((loss for loss in losses if isinstance(loss, x11.Refused)), held) from None
        except Disconnected as loss:
            losses.append(loss)
    # A desktop that does not answer is one: what the bare monitor lacks is of no interest then.
    if silent := next((loss for loss in losses if isinstance(loss, x11.Silent)), None):
        raise silent
    # Without a desktop, a missing desktop is no news: the bare monitor's reason is the one to fix.
    raise losses[0] if desktop or len(losses) < 2 else losses[1]


def _opener(kind: str, config: Config) -> Callable[[], Display]:
    return lambda: _open(kind, config)


def _open(kind: str, config: Config) -> Display:
    # Each is imported only when it is tried: a window pulls in the whole of Qt.
    module = importlib.import_module(f"picam_infer.outputs.display.{kind}")
    opens = getattr(module, _KINDS[kind])
    # A frame buffer's mode and shape are its own.
    display: Display = opens(config.display) if kind == "framebuffer" else opens(config.display, config.picture_size)
    return display
