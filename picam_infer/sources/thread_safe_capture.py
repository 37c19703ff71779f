"""A cv2.VideoCapture that one thread reads while any other may close it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import cv2
import numpy as np

from picam_infer.core import Pixels
from picam_infer.sources.deferred_close import DeferredClose

SELECT_TIMEOUT_S = 2
"""How long OpenCV waits for a camera's next picture (its own default is 10)."""

# Read by OpenCV at its first capture; whole seconds only.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(SELECT_TIMEOUT_S))
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# The errors that are raised give the reasons; OpenCV's own lines would only repeat them.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class ThreadSafeCapture:
    """Owns the capture. Releasing it under a thread that is inside `read` crashes, so that thread does it itself."""

    def __init__(self, address: str, backend: int, params: Sequence[int] = ()) -> None:
        """Open; `opened` tells whether that worked."""
        self._capture: cv2.VideoCapture | None = None
        with contextlib.suppress(cv2.error):
            self._capture = cv2.VideoCapture(address, backend, params) if params else cv2.VideoCapture(address, backend)
        self.opened = self._capture is not None and self._capture.isOpened()
        self._door = DeferredClose(lambda: self._capture and self._capture.release())
        self.position_ms = 0.0
        """CAP_PROP_POS_MSEC of the picture that `read` returned last."""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._door.closed

    def get(self, prop: int) -> float:
        """Return a property; 0 when it has none."""
        return 0.0 if self._capture is None or self.closed else float(self._capture.get(prop))

    def set(self, prop: int, value: float) -> bool:
        """Ask for a property; many drivers say yes and do something else, so read it back."""
        if self._capture is None or self.closed:
            return False
        try:
            return bool(self._capture.set(prop, value))
        except cv2.error:
            return False

    def read(self) -> Pixels | None:
        """Return the next picture, which the caller owns; None when there is none or the capture is closed."""
        with self._door.reading() as is_open:
            if not is_open or self._capture is None:
                return None
            try:
                done, image = self._capture.read()
                if done:
                    self.position_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            except cv2.error:
                done, image = False, None
        if not done or image is None or image.size == 0 or self.closed:
            return None
        return np.asarray(image, dtype=np.uint8)

    def close(self) -> None:
        """Release the device: now, or as soon as the reading thread comes back. Never waits."""
        self._door.close()
