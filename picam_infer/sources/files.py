"""Files instead of a camera: a video, a picture or a folder of pictures, each frame exactly once."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import cv2

from picam_infer.config import Capture
from picam_infer.core import BadFrame, Frame, NoInput, PicamError, Pixels
from picam_infer.imaging.decode import whole_jpeg
from picam_infer.imaging.pictures import SUFFIXES, read_picture
from picam_infer.sources.frames import jpeg_size, make_frame
from picam_infer.sources.thread_safe_capture import Guarded

log = logging.getLogger(__name__)

_MAGICS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_JPEG_ROWS = frozenset({".mjpg", ".mjpeg"})
_TEXT = "plain text is no video"


def open_replay(path: Path, capture: Capture) -> Pictures | Video:
    """Return the source that plays `path`. Raises `NoInput` (missing, empty, unreadable) or `PicamError` (damaged)."""
    try:
        if path.is_dir():
            return Pictures(_pictures_in(path), capture, f"{path}/")
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise NoInput(f"{path} cannot be read ({error.strerror})", "check its name, owner and permissions") from error
    if not head:
        raise NoInput(f"{path} is empty", "copy it again")
    suffix = path.suffix.lower()
    if suffix not in _JPEG_ROWS and (suffix in SUFFIXES or head.startswith(_MAGICS) or head[8:12] == b"WEBP"):
        return Pictures([path], capture, str(path))
    return Video(path, capture, head)


def _pictures_in(folder: Path) -> list[Path]:
    found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()]
    if not found:
        raise NoInput(f"{folder} holds no pictures", f"these are looked for: {' '.join(sorted(SUFFIXES))}")
    return sorted(found, key=natural)


def natural(path: Path) -> list[tuple[int, str]]:
    """Return a sort key that puts `frame2` before `frame10`, and `frame.jpg` before both."""
    parts = [part for part in re.split(r"(\d+)", path.stem) if part]
    words = [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in parts]
    return [*words, (-2, path.suffix.lower())]


class Pictures:
    """Plays picture files in order."""

    live = False

    def __init__(self, paths: list[Path], capture: Capture, name: str) -> None:
        self._paths, self._capture = paths, capture
        self._seq = 0
        self._closed = False
        self.description = f"{name} {len(paths)} picture{'s' if len(paths) > 1 else ''}"

    def read(self) -> Frame | None:
        """Return the next picture, codec bgr; None at the end.

        Raises `PicamError` when the only picture is bad, `BadFrame` when one of several is.
        """
        if self._closed or self._seq == len(self._paths):
            return None
        seq, path = self._seq, self._paths[self._seq]
        self._seq += 1
        try:
            image = read_picture(path)
        except PicamError as error:
            if len(self._paths) == 1:
                raise
            log.warning("%s", error)
            raise BadFrame(str(error)) from error
        height, width = image.shape[:2]
        return make_frame(image, "bgr", (width, height), seq, self._capture, name=str(path))

    def close(self) -> None:
        """End the playing."""
        self._closed = True


class Video:
    """Plays a video file. Of Motion JPEG the packets are handed on as they are, everything else is decoded."""

    live = False

    def __init__(self, path: Path, capture: Capture, head: bytes) -> None:
        """Open and read the first frame. Raises `NoInput`."""
        self._path, self._asked = path, capture
        if _is_text(head):
            raise NoInput(f"{path} is neither a picture nor a video", _TEXT)
        self._capture = Guarded(str(path), cv2.CAP_FFMPEG)
        self._raw = self._capture.opened and self._starts_with_jpeg()
        if not self._raw:
            self._capture.close()
            self._capture = Guarded(str(path), cv2.CAP_FFMPEG)
        self._next = self._capture.read()
        if self._next is None:
            self._capture.close()
            raise NoInput(f"{path} holds no video this program can play", "try: ffmpeg -i FILE new.mp4")
        self._seq = 0
        self._count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.description = self._describe()

    def _starts_with_jpeg(self) -> bool:
        # A turned video is left to the decoder, which turns it back.
        fourcc = int(self._capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        if fourcc.to_bytes(4, "little").upper() != b"MJPG" or self._capture.get(cv2.CAP_PROP_ORIENTATION_META):
            return False
        if not self._capture.set(cv2.CAP_PROP_FORMAT, -1):
            return False
        first = self._capture.read()
        worked = first is not None and whole_jpeg(first.reshape(-1)) and jpeg_size(first.reshape(-1)) is not None
        self._capture.close()
        self._capture = Guarded(str(self._path), cv2.CAP_FFMPEG)
        return worked and self._capture.set(cv2.CAP_PROP_FORMAT, -1)

    def _describe(self) -> str:
        width, height = (int(self._capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        return f"{self._path} {width}×{height} {'MJPG ' if self._raw else ''}{fps:.3g} fps"

    def read(self) -> Frame | None:
        """Return the next frame, codec jpeg or bgr; None at the end. Raises `BadFrame`."""
        image = self._next if self._next is not None else self._capture.read()
        self._next = None
        if image is None:
            if not self._capture.closed and 0 < self._seq < self._count:
                log.warning("%s ends after %d of %d frames", self._path, self._seq, self._count)
            self.close()
            return None
        seq, self._seq = self._seq, self._seq + 1
        return self._jpeg(image.reshape(-1), seq) if self._raw else self._decoded(image, seq)

    def _jpeg(self, data: Pixels, seq: int) -> Frame:
        size = jpeg_size(data) if whole_jpeg(data) else None
        if size is None:
            raise BadFrame(f"{self._path}: frame {seq} is truncated")
        return make_frame(data, "jpeg", size, seq, self._asked, name=str(self._path))

    def _decoded(self, image: Pixels, seq: int) -> Frame:
        height, width = image.shape[:2]
        return make_frame(image, "bgr", (width, height), seq, self._asked, name=str(self._path))

    def close(self) -> None:
        """Close the file."""
        self._capture.close()


def _is_text(head: bytes) -> bool:
    # FFmpeg plays a text file as a picture of a terminal.
    try:
        text = head[:4000].decode("utf-8", "strict" if len(head) < 4000 else "ignore")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\r\n\t\f\x1b" for c in text)
