"""What the recorder takes, and what not."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import cast

import numpy as np
from makers import jpeg_frame, until

from picam_infer.core import Frame
from picam_infer.runtime.state import State
from picam_infer.runtime.teaching.recorder import Hold, Recorder

FRAME = jpeg_frame(np.zeros((8, 8, 3), np.uint8))


class SlowCamera:
    """Frames in place of a round's: each comes when the test says so."""

    def __init__(self) -> None:
        self.awaited, self.comes = threading.Semaphore(0), threading.Semaphore(0)
        self._number = 0

    def peek(self, after: int, timeout_s: float) -> tuple[int, Frame]:
        """Return a frame once it comes, however long that takes."""
        self.awaited.release()
        assert self.comes.acquire(timeout=10)
        self._number += 1
        return self._number, FRAME


def test_a_frame_that_comes_after_the_release_is_not_recorded() -> None:
    camera, recorder = SlowCamera(), Recorder()
    state = cast(State, SimpleNamespace(frames=camera, watching=True))
    recorder.hold(Hold.now("ring", "held"), state)
    camera.comes.release()
    for _ in range(2):
        assert camera.awaited.acquire(timeout=10)
    assert recorder.taken == 1
    recorder.release()
    camera.comes.release()
    until(lambda: not any(thread.name == "record" for thread in threading.enumerate()))
    assert recorder.taken == 1
    recorder.hold(Hold.now("ring", "tap"), state)
    recorder.release()
    camera.comes.release()
    until(lambda: recorder.taken == 2)
