"""Fits a picture into a screen of another shape: aspect ratio kept, centred, with black bars."""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from picam_infer.core import Overlay, Pixels


def box(width: int, height: int, screen_width: int, screen_height: int) -> tuple[int, int, int, int]:
    """Return x, y, width, height (pixels) of a width×height picture fitted into the screen."""
    scale = min(screen_width / width, screen_height / height)
    fitted_width = min(screen_width, max(1, round(width * scale)))
    fitted_height = min(screen_height, max(1, round(height * scale)))
    return (screen_width - fitted_width) // 2, (screen_height - fitted_height) // 2, fitted_width, fitted_height


class Resizer:
    """Scales pictures to the size that they have on a screen; those of that size stay as they are."""

    def __init__(self) -> None:
        self._scratch: Pixels | None = None

    def fit(self, image: Pixels, width: int, height: int) -> Pixels:
        """Return BGR (H, W, 3) fitted into a screen of width×height pixels; the next call reuses the buffer."""
        _, _, *size = box(image.shape[1], image.shape[0], width, height)
        return self.scale(image, size[0], size[1])

    def scale(self, image: Pixels, width: int, height: int) -> Pixels:
        """Return it with exactly that many pixels; the next call reuses the buffer."""
        if image.shape[:2] == (height, width):
            return image
        # Averaging looks better but costs seven times as much, so it is used only where lines would be dropped.
        way = cv2.INTER_AREA if width * 2 < image.shape[1] else cv2.INTER_LINEAR
        if self._scratch is not None and self._scratch.shape != (height, width, 3):
            self._scratch = None
        scaled: Pixels = cv2.resize(image, (width, height), dst=self._scratch, interpolation=way)
        self._scratch = scaled
        return scaled


class Letterbox:
    """Draws pictures into screen memory, which it only ever writes: reading it is slow on a Pi."""

    def __init__(self, conversion: int = cv2.COLOR_BGR2BGRA) -> None:
        """`conversion` turns BGR into the screen's pixels (cv2's code)."""
        self._conversion = conversion
        self._resizer = Resizer()

    def draw(self, image: Pixels, screen: Pixels, clear: bool, over: Sequence[Overlay] = ()) -> None:
        """Draw BGR (H, W, 3), and `over` over it, into screen (H, W, bytes a pixel), any row stride.

        `clear`: blacken the bars first. A picture of the right size goes there in one pass.
        """
        x, y, width, height = box(image.shape[1], image.shape[0], screen.shape[1], screen.shape[0])
        if clear:
            screen[:] = 0
        target = screen[y : y + height, x : x + width]
        if image.shape[:2] != target.shape[:2]:
            if over:  # drawn for another size: the screen's has just changed
                image, over = laid_over(image, over), ()
            image = self._resizer.scale(image, width, height)
        cv2.cvtColor(image, self._conversion, dst=target)
        for overlay in over:
            high, wide = overlay.pixels.shape[:2]
            cv2.cvtColor(
                overlay.pixels,
                self._conversion,
                dst=target[overlay.y : overlay.y + high, overlay.x : overlay.x + wide],
            )


def laid_over(image: Pixels, over: Sequence[Overlay]) -> Pixels:
    """Return a copy of BGR (H, W, 3) with the overlays in it."""
    image = image.copy()
    for overlay in over:
        image[
            overlay.y : overlay.y + overlay.pixels.shape[0],
            overlay.x : overlay.x + overlay.pixels.shape[1],
        ] = overlay.pixels
    return image
