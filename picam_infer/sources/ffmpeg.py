"""What FFmpeg plays, through PyAV: pictures, or the packets of a Motion JPEG as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from picam_infer.core import BadFrame, Pixels
from picam_infer.imaging.limits import MAX_PIXELS
from picam_infer.sources.causes import CannotPlay
from picam_infer.sources.deferred_close import DeferredClose

_OPTIONS = {"max_pixels": str(MAX_PIXELS), "rtsp_flags": "prefer_tcp"}
"""FFmpeg's decoders refuse a larger picture before they take memory for it, also while a stream is examined."""


class Readable(Protocol):
    """A source of bytes."""

    def read(self, count: int) -> bytes:
        """Return that many bytes or fewer; empty at the end."""


class Player:
    """Owns what is being played. One thread reads, any may close: the reading thread then does it when it returns."""

    def __init__(
        self, what: str | Readable, *, open_s: float | None = None, quiet_s: float | None = None, packets: bool = False
    ) -> None:
        """Open and find the video. `packets`: hand on Motion JPEG as it is. Raises `CannotPlay`."""
        self._door = DeferredClose(self._release)
        self._reformatter = VideoReformatter()
        try:
            self._container: InputContainer = av.open(what, "r", options=_OPTIONS, timeout=(open_s, quiet_s))
        except (av.error.FFmpegError, ValueError) as error:
            raise cannot_play(error) from None
        try:
            self._stream = self._video()
            self.packets = packets and self.codec == "mjpeg"
            self._stream.codec_context.options = _OPTIONS
            # With a thread for each picture the newest one comes several pictures late, and so do reports of damage.
            self._stream.thread_type = "SLICE"
        except BaseException:
            self._container.close()
            raise
        self._pictures = self._decoded()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._door.closed

    def _video(self) -> VideoStream:
        if not self._container.streams.video:
            kinds = sorted({stream.type for stream in self._container.streams})
            raise CannotPlay(f"it has no video{', only ' + ' and '.join(kinds) if kinds else ''}")
        stream = self._container.streams.video[0]
        if stream.codec_context is None:
            raise CannotPlay("its codec is not known here")
        return stream

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec."""
        return str(self._stream.codec_context.name)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels as declared; zeros when unknown."""
        return int(self._stream.codec_context.width), int(self._stream.codec_context.height)

    @property
    def fps(self) -> float:
        """Pictures a second as declared; 0 when unknown."""
        return float(self._stream.average_rate or self._stream.base_rate or 0)

    @property
    def count(self) -> int:
        """How many pictures the file says it has; 0 when unknown."""
        return int(self._stream.frames or 0)

    def read(self) -> tuple[Pixels, int] | None:
        """Return the next picture and by how many degrees clockwise it is to be turned; None at the end.

        It is BGR (H, W, 3), or the bytes (n,) of a packet, uint8. Raises `BadFrame` for a damaged one, `CannotPlay`
        when the stream broke off.
        """
        with self._door.reading() as is_open:
            if not is_open:
                return None
            try:
                return next(self._pictures, None)
            except BadFrame:
                self._pictures = self._decoded()
                raise
            except av.error.EOFError:
                return None
            except (av.error.FFmpegError, ValueError) as error:
                raise cannot_play(error) from None

    def _decoded(self) -> Iterator[tuple[Pixels, int]]:
        for packet in self._container.demux(self._stream):
            if self.packets:
                if packet.size:
                    yield np.frombuffer(bytes(packet), np.uint8), 0
                continue
            try:
                pictures: list[Any] = list(packet.decode())
            except (av.error.InvalidDataError, av.error.ArgumentError):
                raise BadFrame("a picture is damaged or too large") from None
            for picture in pictures:
                yield self._pixels(picture)

    def _pixels(self, picture: VideoFrame) -> tuple[Pixels, int]:
        if picture.is_corrupt:
            raise BadFrame("a picture is damaged")
        image = self._reformatter.reformat(picture, format="bgr24").to_ndarray()
        return np.asarray(image, np.uint8), -int(picture.rotation) % 360

    def _release(self) -> None:
        with contextlib.suppress(av.error.FFmpegError):
            self._container.close()

    def close(self) -> None:
        """Close now, or as soon as the reading thread comes back. Never waits."""
        self._door.close()


_CODES: dict[type[Exception], int] = {
    av.error.HTTPUnauthorizedError: 401,
    av.error.HTTPForbiddenError: 403,
    av.error.HTTPNotFoundError: 404,
}


def cannot_play(error: Exception) -> CannotPlay:
    """Return what a PyAV error means, without any of its text."""
    number = getattr(error, "errno", 0) or 0
    timed_out = isinstance(error, (av.error.ExitError, TimeoutError))
    return CannotPlay("it cannot be played", _CODES.get(type(error), 0), timed_out, int(number))
