"""The pictures of the last label changes, for a person to say afterwards what they really were."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict

from picam_infer.core import BadFrame, Frame
from picam_infer.imaging import jpeg
from picam_infer.runtime.state import Change

MOST, MOST_BYTES = 24, 4_000_000


class Recent:
    """Keeps a few pictures as JPEGs, named by the moment they were taken. Any thread may use it."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._pictures: OrderedDict[str, bytes] = OrderedDict()

    def hear(self, change: Change) -> None:
        """Keep the picture of a label change; a listener for `State.listen`."""
        if change.kind == "label" and change.frame is not None:
            with contextlib.suppress(BadFrame):
                self.add(change.frame)

    def add(self, frame: Frame) -> str:
        """Keep a frame and return its name. Raises `BadFrame`."""
        name, data = name_of(frame.captured), jpeg.portable(frame)
        with self._lock:
            self._pictures[name] = data
            self._pictures.move_to_end(name)
            while len(self._pictures) > 1 and (
                len(self._pictures) > MOST or sum(map(len, self._pictures.values())) > self._most_bytes
            ):
                self._pictures.popitem(last=False)
        return name

    def names(self) -> list[str]:
        """Return the names of the pictures, the oldest first."""
        with self._lock:
            return list(self._pictures)

    def get(self, name: str) -> bytes | None:
        """Return a JPEG; None: it was dropped."""
        with self._lock:
            return self._pictures.get(name)


def name_of(captured: float) -> str:
    """Return the name of a moment's picture (Unix seconds): its milliseconds, as the timeline has them."""
    return str(round(captured * 1000))
