"""A window of a running desktop session (X11 or Wayland), through OpenCV's highgui. Main thread only."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from picam_infer.config import DisplaySettings
from picam_infer.core import Lost, Pixels
from picam_infer.imaging import letterbox
from picam_infer.platform import x11

_TITLE = "picam-infer"
_NAMES = {27: "esc", 32: "space", 13: "enter", 0xFF50: "home", 0xFF51: "left", 0xFF52: "up", 0xFF53: "right",
          0xFF54: "down", 0xFF55: "pageup", 0xFF56: "pagedown", 0xFF1B: "esc", 0xFF0D: "enter"}  # fmt: skip
"""Characters, and X11's keysyms for the keys that have none."""


class Window:
    """One resizable window; closing it with the mouse is the same as pressing q."""

    def __init__(self, settings: DisplaySettings) -> None:
        self._full = settings.fullscreen
        self._shown = False
        self._canvas: Pixels = np.zeros((0, 0, 3), np.uint8)
        self._picture: tuple[int, ...] = ()
        self._session = x11.find()
        self._session.enter()
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
            self._apply()
        except cv2.error as error:
            raise Lost(f"no window can be opened ({_short(error)})", "is a desktop running, and is this "
                       "opencv-python, not opencv-python-headless?") from error  # fmt: skip
        finally:
            self._session.release()
        self.name = f"window on {self._session.display}"

    def show(self, image: Pixels) -> None:
        """Show BGR (H, W, 3). Raises `Lost`."""
        try:
            cv2.imshow(_TITLE, self._fitted(image))
        except cv2.error as error:
            raise Lost(f"the window is gone ({_short(error)})", "the desktop session ended?") from error
        self._shown = True

    def keys(self) -> Sequence[str]:
        """Return the keys pressed since the last call; also lets the window draw itself."""
        pressed = []
        # Not `waitKey`: it keeps the lowest byte only, and Left (0xFF51) would be Q, which ends everything.
        while (code := cv2.waitKeyEx(1)) >= 0:
            code &= 0xFFFF
            if code in _NAMES or code < 0xFF00:
                pressed.append(_NAMES.get(code, chr(code).lower()))
        if "f" in pressed:
            self._full = not self._full
            self._apply()
        if self._shown and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1:
            pressed.append("q")
        return pressed

    def close(self) -> None:
        """Close the window."""
        if self.name:
            self.name = ""
            cv2.destroyAllWindows()

    def _fitted(self, image: Pixels) -> Pixels:
        """Return the picture as large as the window, with black bars: OpenCV's own are light grey."""
        width, height = cv2.getWindowImageRect(_TITLE)[2:]
        if min(width, height) < 1 or image.shape[:2] == (height, width):
            return image
        if self._canvas.shape[:2] != (height, width) or self._picture != image.shape:
            self._canvas, self._picture = np.zeros((height, width, 3), np.uint8), image.shape
        x, y, width, height = letterbox.box(image.shape[1], image.shape[0], width, height)
        cv2.resize(image, (width, height), dst=self._canvas[y : y + height, x : x + width])
        return self._canvas

    def _apply(self) -> None:
        mode = cv2.WINDOW_FULLSCREEN if self._full else cv2.WINDOW_NORMAL
        cv2.setWindowProperty(_TITLE, cv2.WND_PROP_FULLSCREEN, mode)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[-120:]
