"""Fits a picture into a screen of another shape: aspect kept, centred, black bars around it."""

from __future__ import annotations

import cv2

from picam_infer.core import Pixels


def box(width: int, height: int, screen_width: int, screen_height: int) -> tuple[int, int, int, int]:
    """Return x, y, width, height (pixels) of a width×height picture fitted into the screen."""
    scale = min(screen_width / width, screen_height / height)
    fitted_width = min(screen_width, max(1, round(width * scale)))
    fitted_height = min(screen_height, max(1, round(height * scale)))
    return (screen_width - fitted_width) // 2, (screen_height - fitted_height) // 2, fitted_width, fitted_height


class Letterbox:
    """Draws pictures into screen memory, which it only ever writes: reading it is slow on a Pi."""

    def __init__(self, conversion: int = cv2.COLOR_BGR2BGRA) -> None:
        """`conversion` turns BGR into the screen's pixels (cv2's code)."""
        self._conversion = conversion
        self._scratch: Pixels | None = None

    def draw(self, image: Pixels, screen: Pixels, clear: bool) -> None:
        """Draw BGR (H, W, 3) into screen (H, W, bytes a pixel), any row stride; `clear`: blacken the bars first."""
        x, y, width, height = box(image.shape[1], image.shape[0], screen.shape[1], screen.shape[0])
        if clear:
            screen[:] = 0
        target = screen[y : y + height, x : x + width]
        if image.shape[:2] != target.shape[:2]:
            # Averaging looks better but costs seven times as much: only where lines would be dropped.
            way = cv2.INTER_AREA if width * 2 < image.shape[1] else cv2.INTER_LINEAR
            if self._scratch is not None and self._scratch.shape != (height, width, 3):
                self._scratch = None
            image = self._scratch = cv2.resize(image, (width, height), dst=self._scratch, interpolation=way)
        cv2.cvtColor(image, self._conversion, dst=target)
