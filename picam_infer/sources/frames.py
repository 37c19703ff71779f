"""What every source needs to make a frame: its two time stamps, and the size a JPEG declares."""

from __future__ import annotations

import time

from picam_infer.config import Capture
from picam_infer.core import Codec, Frame, Pixels


def make_frame(
    data: Pixels,
    codec: Codec,
    size: tuple[int, int],
    seq: int,
    capture: Capture,
    monotonic_s: float | None = None,
    name: str = "",
) -> Frame:
    """Return a frame of `size` (width, height in pixels), stamped now unless the sensor's `monotonic_s` is known."""
    now_s = time.monotonic()
    stamp_s = now_s if monotonic_s is None else monotonic_s
    return Frame(
        data=data, codec=codec, width=size[0], height=size[1], monotonic_s=stamp_s,
        captured=time.time() - (now_s - stamp_s), seq=seq, rotate=capture.rotate, flip=capture.flip, name=name,
    )  # fmt: skip


def jpeg_size(data: Pixels) -> tuple[int, int] | None:
    """Return width and height (pixels) from the header of JPEG bytes (n,) (ITU-T T.81, B.2.2); None: there is none."""
    head = data[:65536].tobytes()
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(head[at + 7 : at + 9], "big"), int.from_bytes(head[at + 5 : at + 7], "big")
        elif marker in (0xD9, 0xDA):
            return None
        else:
            at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None
