"""The newest frame's pixels, shared by all who need them: a JPEG's Huffman codes are read once."""

from __future__ import annotations

import threading

import cv2

from picam_infer.core import Frame, Pixels
from picam_infer.imaging import decode, letterbox, native_stderr, region
from picam_infer.imaging.region import Aspect, Roi

Size = tuple[int, int]


class _Picture:
    """One frame in colour at 1/`reduction` of its size, before rotation and flip."""

    def __init__(self, frame: Frame, reduction: int) -> None:
        self.frame = frame
        self.reduction = reduction
        self._done = threading.Event()
        self._raw: Pixels | None = None
        self._upright: Pixels | None = None
        self._error: BaseException | None = None
        self._complaints = 0

    def unpack(self) -> None:
        """Decode the picture. Whoever created this object calls it, once."""
        before = native_stderr.complaints()
        try:
            self._raw = decode.jpeg_bgr(self.frame, self.reduction)
            self._raw.flags.writeable = False  # others use it, too
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._complaints = native_stderr.complaints() - before
            self._done.set()

    def raw(self, by_other: bool) -> Pixels:
        """Wait for it, (H, W, 3) uint8; `by_other`: another thread unpacks it. Raises `BadFrame`."""
        self._done.wait()
        if by_other:
            native_stderr.add(self._complaints)
        if self._error is not None:
            raise self._error
        assert self._raw is not None
        return self._raw

    def upright(self, by_other: bool) -> Pixels:
        """Wait for it the right way up. Raises `BadFrame`."""
        raw = self.raw(by_other)
        if self._upright is None:
            self._upright = decode.upright(raw, self.frame)
            self._upright.flags.writeable = False
        return self._upright


class Unpacked:
    """One slot for the newest picture. Whoever comes first decodes it so that all can use it.

    Nothing is kept, and the network's part is decoded alone, while nobody expects a whole picture. No lock is held
    while decoding. Any thread may use it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: _Picture | None = None
        self._expected: dict[object, Size | None] = {}
        self._part_expected = False
        self._part_reduction = 8

    def expect(self, onlooker: object, fit_px: Size | None = None) -> None:
        """Say that `onlooker` will ask for the `whole` of the next frame, to be fitted into that size."""
        with self._lock:
            self._expected[onlooker] = fit_px

    def expect_part(self) -> None:
        """Say that a network will ask for its part of the next frame."""
        self._part_expected = True

    def forget(self, onlooker: object) -> None:
        """Say that `onlooker` needs no more frames."""
        with self._lock:
            self._expected.pop(onlooker, None)
            if not self._expected:
                self._newest = None

    def whole(self, frame: Frame, onlooker: object, fit_px: Size | None = None) -> Pixels:
        """Return the picture the right way up, (H, W, 3) uint8, not to be drawn on; raises `BadFrame`.

        It has at least the pixels that it has when it is fitted into `fit_px`; None: all.
        """
        if frame.codec != "jpeg":
            self._done(onlooker)
            return decode.bgr(frame, copy=False)
        wanted = _reduction(frame, fit_px)
        with self._lock:
            self._expected.pop(onlooker, None)
            picture, made = self._picture(frame, wanted, self._part_reduction if self._part_expected else wanted)
        if made:
            picture.unpack()
        return picture.upright(by_other=not made)

    def grey_square(self, frame: Frame, roi: Roi, at_least_px: int) -> Pixels:
        """Return the square that `roi` means, as `decode.grey_square` does."""
        wanted, picture = self._for_part(frame, roi, (at_least_px, at_least_px), 1.0)
        if picture is None:
            return decode.grey_square(frame, roi, at_least_px)
        return decode.upright(_part(picture, frame, roi, 1.0, wanted, grey=True), frame)

    def bgr_part(self, frame: Frame, roi: Roi, at_least_px: Size, aspect: Aspect = 1.0) -> Pixels:
        """Return the part of those proportions, as `decode.bgr_part` does."""
        wanted, picture = self._for_part(frame, roi, at_least_px, aspect)
        if picture is None:
            return decode.bgr_part(frame, roi, at_least_px, aspect)
        return decode.upright(_part(picture, frame, roi, aspect, wanted, grey=False), frame)

    def _for_part(self, frame: Frame, roi: Roi, at_least_px: Size, aspect: Aspect) -> tuple[_Raw, Pixels | None]:
        """Return the reductions that a part is wanted in and comes in, and the raw picture; None: nobody shares it."""
        if frame.codec != "jpeg":
            return (1, 1), None
        wanted = decode.reduction(frame, roi, at_least_px, aspect)
        with self._lock:
            self._part_expected, self._part_reduction = False, wanted
            there = self._newest
            if there is not None and there.frame is frame and there.reduction <= wanted:
                picture, made = there, False
            elif self._expected and (there is None or frame.monotonic_s > there.frame.monotonic_s):
                # This is the next frame: whoever waits for one shares it.
                finest = min(_reduction(frame, fit_px) for fit_px in self._expected.values())
                picture, made = self._picture(frame, wanted, finest)
            else:
                return (wanted, wanted), None
        if made:
            picture.unpack()
        return (wanted, picture.reduction), picture.raw(by_other=not made)

    def _picture(self, frame: Frame, wanted: int, also: int) -> tuple[_Picture, bool]:
        """Return the frame's shared picture, and whether the caller has to decode it; the lock is held."""
        there = self._newest
        if there is not None and there.frame is frame and there.reduction <= wanted:
            return there, False
        made = _Picture(frame, min(wanted, also))
        if there is None or frame.monotonic_s >= there.frame.monotonic_s:
            self._newest = made
        return made, True

    def _done(self, onlooker: object) -> None:
        with self._lock:
            self._expected.pop(onlooker, None)


_Raw = tuple[int, int]


def _reduction(frame: Frame, fit_px: Size | None) -> int:
    """Return the reduction at which a whole picture can be decoded to be fitted into a size."""
    if fit_px is None or min(fit_px) <= 0:
        return 1
    size = decode.size(frame)
    _, _, *fitted = letterbox.box(*size, *fit_px)
    return next((n for n in (8, 4, 2) if size[0] // n >= fitted[0] and size[1] // n >= fitted[1]), 1)


def _part(raw: Pixels, frame: Frame, roi: Roi, aspect: Aspect, reductions: _Raw, *, grey: bool) -> Pixels:
    """Cut the part out of a raw picture and average it down to what the decoder would have given at its reduction.

    The decoder's own reduction is an average as well: what differs is rounding, less than one grey level.
    """
    times = reductions[0] // reductions[1]
    at = region.raw_box(roi, frame, -(-raw.shape[1] // times), -(-raw.shape[0] // times), aspect)
    part = raw[at.y * times : (at.y + at.height) * times, at.x * times : (at.x + at.width) * times]
    if grey:
        part = cv2.cvtColor(part, cv2.COLOR_BGR2GRAY)
    if times > 1:
        part = cv2.resize(part, (at.width, at.height), interpolation=cv2.INTER_AREA)
    return part
