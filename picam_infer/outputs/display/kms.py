"""The monitor without a desktop: mode setting and tear-free page flips, as any user of the group `video`."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from picam_infer.config import DisplaySettings
from picam_infer.core import Disconnected, Overlay, Pixels
from picam_infer.imaging.letterbox import Letterbox
from picam_infer.outputs.display import drm, owner
from picam_infer.outputs.display.bare_screen import ENABLE_DRIVER, BareScreen, permission_denied, unplugged

log = logging.getLogger(__name__)

_DEV = Path("/dev/dri")
_FLIP_S = 1.0
_DESKTOP = "in a desktop session use --display window (display.kind)"


class Kms(BareScreen):
    """One monitor, and whatever replaces it. Raises `Disconnected` when there is none, or another program has it."""

    def __init__(self, settings: DisplaySettings, picture: tuple[int, int] | None = None) -> None:
        """Take the first monitor that is plugged in. Raises `Disconnected`.

        `picture`: the width and height of what will be shown, where they are known; the monitor's mode follows them.
        """
        super().__init__()
        self._picture = picture
        self._card: drm.Card | None = None
        self._buffers: list[drm.Buffer] = []
        self._resizer = Letterbox()
        self._before: drm.Crtc | None = None
        self._flipping = False
        self._open()

    @property
    def size(self) -> tuple[int, int]:
        """Width, height of the monitor's mode, pixels."""
        return (self._buffers[0].pixels.shape[1], self._buffers[0].pixels.shape[0]) if self._buffers else (0, 0)

    def show(self, image: Pixels, over: Sequence[Overlay] = ()) -> None:
        """Show BGR (H, W, 3) and what is laid over it from the next refresh on. Raises `Disconnected`."""
        if self._card is None:
            raise Disconnected("the monitor was given back", "")
        self._require_active_vt()
        if self._look_due():
            self._look()
        try:
            self._flip(image, over)
        except OSError as error:
            connector = self._outlet
            self.close()
            raise self._refused(connector, error) from error

    def close(self) -> None:
        """Give monitor and keyboard back; the console returns."""
        super().close()
        card, self._card = self._card, None
        if card is not None:
            with contextlib.suppress(OSError):
                if self._flipping:
                    card.flipped(0.1)
                if self._before is not None and self._before.mode_valid and self._before.fb_id:
                    card.set_crtc(self._crtc_id, self._before.fb_id, self._before.mode, self._monitor.connector_id)
            for buffer in self._buffers:
                buffer.close()
            self._buffers.clear()
            card.close()
            self._before = None

    # -- taking the monitor ------------------------------------------------

    def _open(self) -> None:
        owner.require_active_vt()
        found = owner.connectors()
        if not found:
            raise Disconnected("this machine has no graphics card that can drive a monitor", ENABLE_DRIVER)
        plugged = [connector for connector in found if connector.plugged]
        if not plugged:
            raise unplugged(found)
        loss: Disconnected | None = None
        for connector in plugged:
            try:
                self._take(connector)
                return
            except OSError as error:
                loss = loss or self._refused(connector, error)
            except Disconnected as refused:
                loss = loss or refused
            self.close()
        assert loss is not None
        raise loss

    def _take(self, connector: owner.Connector) -> None:
        self._outlet, self._flipping = connector, False
        card = self._card = drm.Card(_DEV / connector.card)
        if not card.master:
            raise owner.Held(*_held(card.path))
        if not card.can_draw:
            raise Disconnected(f"{card.path} has no buffers to draw in", "try --display framebuffer (display.kind)")
        monitors = {monitor.name: monitor for monitor in card.monitors()}
        if connector.name not in monitors:
            raise Disconnected(
                f"the monitor at {connector.name} does not answer", "check its cable and that it is switched on"
            )
        self._monitor = monitors[connector.name]
        mode = drm.choose_mode(self._monitor.modes, self._picture)
        self._crtc_id = card.crtc_for(self._monitor)
        self._before = card.crtc(self._crtc_id)
        self._buffers = []
        for _ in range(2):
            self._buffers.append(drm.Buffer(card, mode.hdisplay, mode.vdisplay))
        card.set_crtc(self._crtc_id, self._buffers[0].fb_id, mode, self._monitor.connector_id)
        self._clear = 2
        self._shape: tuple[int, ...] = ()
        self._looked()
        # Looking at the connector may have changed what /sys tells of it.
        self._outlet = owner.connector(connector.card, connector.name)
        self.name = f"kms {connector.name} {mode.hdisplay}×{mode.vdisplay}"
        self._take_keyboard()

    def _refused(self, connector: owner.Connector, error: OSError) -> Disconnected:
        path = _DEV / connector.card
        if error.errno in (errno.EACCES, errno.EPERM) and not os.access(path, os.R_OK | os.W_OK):
            return permission_denied(path)
        if error.errno == errno.EPERM:
            return Disconnected(
                f"{path}: the service's unit does not allow it",
                "run `sudo systemctl restart picam-infer`; if that does not help, install again",
            )
        if error.errno in (errno.EACCES, errno.EBUSY):
            return owner.Held(*_held(path))
        return Disconnected(
            f"the monitor at {connector.name} is gone ({os.strerror(error.errno or 0)})",
            "check its cable; it is used again once it is back",
        )

    # -- showing -----------------------------------------------------------

    def _flip(self, image: Pixels, over: Sequence[Overlay]) -> None:
        assert self._card is not None
        if self._flipping and not self._card.flipped(_FLIP_S):
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        self._flipping = False
        if image.shape != self._shape:
            self._shape, self._clear = image.shape, 2
        back = self._buffers[1]
        self._resizer.draw(image, back.pixels, self._clear > 0, over)
        self._clear = max(0, self._clear - 1)
        self._card.flip(self._crtc_id, back.fb_id)
        self._flipping = True
        self._buffers.reverse()

    def _require_active_vt(self) -> None:
        """Give the card back at once: a desktop that starts on another console fails unless it is free by then."""
        try:
            owner.require_active_vt()
        except Disconnected:
            self.close()
            raise

    def _look(self) -> None:
        """Notice that the monitor was unplugged or replaced; another one takes its place. Raises `Disconnected`."""
        self._looked()
        before, now = self._outlet, owner.connector(self._outlet.card, self._outlet.name)
        if now != before:
            self.close()
            self._open()
            log.info("the monitor was changed: %s", self.name)


def _held(path: Path) -> tuple[str, str]:
    by = owner.holder(path)
    if by is not None and by.keeps_devices:
        return (
            f"{by} is showing on the monitor already",
            "for a single service that is normal; of two services, one needs display: {kind: none}",
        )
    if by is not None:
        return (
            f"the monitor is held by {by}",
            f"end that program; {_DESKTOP}",
        )
    return (
        f"the monitor ({path}) is held by another program",
        f"`sudo fuser -v {path}` names it; {_DESKTOP}",
    )
