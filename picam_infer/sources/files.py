"""Files instead of a camera: a video, a picture or a folder of pictures, each frame exactly once."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from picam_infer.config import Capture
from picam_infer.core import BadFrame, Frame, NoInput, PicamError, Pixels, counted
from picam_infer.imaging import picture_files
from picam_infer.imaging.decode import whole_jpeg
from picam_infer.imaging.pictures import SUFFIXES, read_picture, suffix_of
from picam_infer.platform import regular_file
from picam_infer.sources.causes import CannotPlay
from picam_infer.sources.frames import jpeg_size, make_frame, upright_by

log = logging.getLogger(__name__)

_JPEG_ROWS = frozenset({".mjpg", ".mjpeg"})
_TEXT = "plain text is not a video"


def open_replay(path: Path, capture: Capture) -> Pictures | Video:
    """Return the source that plays `path`. Raises `NoInput` (missing, empty, unreadable) or `PicamError` (damaged)."""
    try:
        if path.is_dir():
            return Pictures(_pictures_in(path), capture, f"{path}/")
        regular_file.require(path)
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise regular_file.unreadable(path, error) from error
    if not head:
        raise NoInput(f"{path} is empty", "copy it again")
    suffix = path.suffix.lower()
    if suffix not in _JPEG_ROWS and (suffix in SUFFIXES or suffix_of(head) is not None):
        return Pictures([path], capture, str(path))
    return Video(path, capture, head)


def _pictures_in(folder: Path) -> list[Path]:
    found = picture_files.find(folder)
    if found.left_out:
        log.info("%s", found.remark(folder))
    return list(found.pictures)


class Pictures:
    """Plays picture files in order."""

    live = False

    def __init__(self, paths: list[Path], capture: Capture, name: str) -> None:
        self._paths, self._capture = paths, capture
        self._seq = 0
        self._closed = False
        self.description = f"{name} {counted(len(paths), 'picture')}"

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
        """Stop playing."""
        self._closed = True


class Video:
    """Plays a video file. Of Motion JPEG the packets are handed on as they are, everything else is decoded."""

    live = False

    def __init__(self, path: Path, capture: Capture, head: bytes) -> None:
        """Open and read the first frame. Raises `NoInput`."""
        self._path, self._asked = path, capture
        if _is_text(head):
            raise NoInput(f"{path} is neither a picture nor a video", _TEXT)
        from picam_infer.sources.ffmpeg import Player

        try:
            self._player = Player(str(path))
            if self._player.codec == "mjpeg" and not self._turned():
                self._player.close()
                self._player = Player(str(path), packets=True)
        except CannotPlay as error:
            raise _no_video(path, head, str(error)) from None
        self._seq, self._count, self._ended = 0, self._player.count, False
        try:
            self._next = self._read()
        except BadFrame:
            self._next, self._seq = None, 1
            self._first_is_bad = True
        else:
            self._first_is_bad = False
            if self._next is None:
                raise _no_video(path, head, "it has no pictures")
        self.description = self._describe()

    def _turned(self) -> bool:
        # A rotated video is left to the decoder, whose pictures say how they are rotated.
        try:
            first = self._player.read()
        except (BadFrame, CannotPlay):
            return False
        return first is not None and first[1] != 0

    def _describe(self) -> str:
        width, height = self._player.size
        return f"{self._path} {width}×{height} {'MJPG ' if self._player.packets else ''}{self._player.fps:.3g} fps"

    def read(self) -> Frame | None:
        """Return the next frame, codec jpeg or bgr; None at the end. Raises `BadFrame`."""
        if self._first_is_bad:
            self._first_is_bad = False
            raise BadFrame(f"{self._path}: frame 0 is damaged")
        frame, self._next = self._next or self._read(), None
        if frame is None and not self._ended:
            self._ended = True
            if not self._player.closed and 0 < self._seq < self._count:
                log.warning("%s ends after %d of %d frames", self._path, self._seq, self._count)
            self.close()
        return frame

    def _read(self) -> Frame | None:
        try:
            picture = self._player.read()
        except CannotPlay:  # cut off: the count shows how much is missing
            return None
        except BadFrame as error:
            self._seq += 1
            raise BadFrame(f"{self._path}: frame {self._seq - 1} is damaged") from error
        if picture is None:
            return None
        seq, self._seq = self._seq, self._seq + 1
        data, turn = picture
        return self._jpeg(data, seq) if self._player.packets else self._decoded(data, turn, seq)

    def _jpeg(self, data: Pixels, seq: int) -> Frame:
        size = jpeg_size(data) if whole_jpeg(data) else None
        if size is None:
            raise BadFrame(f"{self._path}: frame {seq} is truncated")
        return make_frame(data, "jpeg", size, seq, self._asked, name=str(self._path))

    def _decoded(self, image: Pixels, turn: int, seq: int) -> Frame:
        upright = upright_by(image, turn)
        height, width = upright.shape[:2]
        return make_frame(upright, "bgr", (width, height), seq, self._asked, name=str(self._path))

    def close(self) -> None:
        """Close the file."""
        self._player.close()


def _no_video(path: Path, head: bytes, why: str) -> NoInput:
    if head[4:8] == b"ftyp" and not _has_index(path):
        return NoInput(
            f"{path} was never finished: it has no index (moov), without which nothing in it can be found",
            "record it again and end the recording properly; to be safe from that, record as .mkv or .ts "
            "(the program untrunc can rebuild it with a whole file from the same camera)",
        )
    if head.startswith(b"PK\x03\x04"):
        return NoInput(f"{path} is an archive, not a video", "unpack it; a model's is for: picam-infer convert")
    return NoInput(f"{path} holds no video this program can play ({why})", "try: ffmpeg -i FILE new.mp4")


def _has_index(path: Path) -> bool:
    """Tell whether an MP4 file has a `moov` box among its outermost (ISO/IEC 14496-12, 4.2)."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        end = file.seek(0, 2)
        at = 0
        while at + 8 <= end:
            file.seek(at)
            box = file.read(16)
            size, kind = int.from_bytes(box[:4], "big"), box[4:8]
            if kind == b"moov":
                return True
            if size == 1:
                size = int.from_bytes(box[8:16], "big")
            if size < 8:  # the last box may be open at its end
                return False
            at += size
    return False


def _is_text(head: bytes) -> bool:
    # FFmpeg plays a text file as a picture of a terminal.
    try:
        text = head[:4000].decode("utf-8", "strict" if len(head) < 4000 else "ignore")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\r\n\t\f\x1b" for c in text)
