"""Picture files: whatever a phone, a browser or a drawing program saved, as upright pixels."""

from __future__ import annotations

import re
import struct
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from picam_infer.core import Frame, NoInput, PicamError, Pixels
from picam_infer.imaging import jpeg_header, native_stderr, other_formats
from picam_infer.imaging.limits import MAX_PIXELS, too_large
from picam_infer.platform import atomic_file, disk, regular_file
from picam_infer.platform.paths import real

MAX_BYTES = 256 * 2**20
_NAMES = ".jpg .jpeg .jpe .jfif .jif .png .webp .gif .bmp .tif .tiff .pgm .ppm"
_OWN = frozenset(_NAMES.split())
SUFFIXES = _OWN | other_formats.SUFFIXES
"""File name suffixes that a folder of pictures is searched for, in lower case."""

_KINDS = "JPEG, PNG, WebP, GIF, BMP, TIFF, PGM, PPM and what Pillow knows are read"
_SMALLER = f"at most {MAX_PIXELS // 1_000_000} million pixels are decoded: make it smaller first"
_BAND_PX = 1_000_000
"""How many pixels are laid on white at a time: that needs three times their memory."""
_PNM_HEAD = 4096  # bytes in which the size is looked for: comments may come before it
_STARTS = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
)
_ORIENTATION = 0x0112
_EXIF = 0  # cv2::ImageMetadataType::IMAGE_METADATA_EXIF

# The error that is raised gives the reason; OpenCV's own lines would only repeat it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_picture(path: Path) -> Pixels:
    """Return the picture as BGR uint8 (H, W, 3), turned upright as its EXIF says, transparency laid on white.

    Grey and palette pictures become BGR, 16-bit samples are scaled to 8; of an animation the first frame counts.
    Raises `NoInput` (missing, unreadable) or `PicamError` (no picture, truncated, too large).
    """
    return decode_picture(read_bytes(path), str(path))


def decode_picture(data: bytes, name: str) -> Pixels:
    """Return the picture in `data` as `read_picture` does; `name` is for the error."""
    size = _declared_size(data)
    if size is None:
        return _other(data, name)
    width, height, copies = size
    if excess := too_large(width, height, copies, MAX_PIXELS):
        raise PicamError(f"{name} is too large ({excess})", _SMALLER)
    raw = np.frombuffer(data, np.uint8)
    try:
        with native_stderr.taken():
            picture = None if data[:2] == b"\xff\xd8" else _on_white(raw)
            if picture is None:
                picture = cv2.imdecode(raw, cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError, SystemError) as error:
        if "MAX_IMAGE" in str(error):  # a size that OpenCV itself found, in a place we did not look
            raise PicamError(f"{name} is too large", _SMALLER) from error
        raise PicamError(f"{name} cannot be decoded as a picture", "open it and save it again") from error
    if picture is None or picture.ndim != 3 or picture.shape[2] != 3:
        if suffix_of(data) == ".tif":  # a format that OpenCV does not know
            return _other(data, name)
        raise PicamError(f"{name} is damaged or cut short", "copy it again, or open it and save it again")
    return np.ascontiguousarray(picture, dtype=np.uint8)


def suffix_of(data: bytes) -> str | None:
    """Return the suffix that goes with a file's first 12 bytes, `.jpg`; None: no picture format is known by them."""
    for start, suffix in _STARTS:
        if data.startswith(start):
            return suffix
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return other_formats.suffix_of(data)


def readable(path: Path) -> bool:
    """Tell whether a file's name is that of a picture that can be read here."""
    return path.suffix.lower() in _OWN or other_formats.readable(path)


def _other(data: bytes, name: str) -> Pixels:
    """Return a picture in a format that OpenCV does not read."""
    try:
        with native_stderr.taken():
            picture = other_formats.decode(data, name, MAX_PIXELS)
    except MemoryError as error:
        raise PicamError(f"{name} is too large", _SMALLER) from error
    if picture is None and data.startswith(b"PK\x03\x04"):
        raise PicamError(f"{name} is an archive, not a picture", "unpack it; a model's is for: picam-infer convert")
    if picture is None:
        raise PicamError(f"{name} is not a picture this program reads", _KINDS)
    return _on_white_bands(picture)


def read_bytes(path: Path) -> bytes:
    """Return what a picture's file holds. Raises `NoInput` (missing, unreadable) or `PicamError` (too large)."""
    try:
        size = regular_file.require(path).st_size
        if size > MAX_BYTES:
            raise PicamError(f"{path} is too large ({size / 1e6:.0f} MB)", "make the picture smaller first")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NoInput(f"there is no picture {path}", "check the name") from error
    except (OSError, ValueError) as error:
        raise regular_file.unreadable(path, error) from error


def _on_white(raw: npt.NDArray[np.uint8]) -> npt.NDArray[Any] | None:
    """Return a picture that has an alpha channel composited on white; None for one that has none."""
    plain, orientation = _unchanged(raw)
    if plain is None or plain.ndim != 3 or plain.shape[2] != 4 or plain.dtype not in (np.uint8, np.uint16):
        return None
    return _upright(_on_white_bands(plain), orientation)


def _on_white_bands(plain: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    white = np.empty((*plain.shape[:2], 3), np.uint8)
    rows = max(1, _BAND_PX // plain.shape[1])
    for top in range(0, plain.shape[0], rows):
        white[top : top + rows] = _mixed(plain[top : top + rows])
    return white


def _mixed(band: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return rows with alpha, (H, W, 4) uint8 or uint16, on white: (H, W, 3) uint8."""
    shallow = band if band.dtype == np.uint8 else cv2.convertScaleAbs(band, alpha=1 / 257)
    alpha = shallow[:, :, 3:].astype(np.uint16)
    mixed = shallow[:, :, :3].astype(np.uint16)
    mixed *= alpha
    mixed += (255 - alpha) * 255 + 127
    mixed //= 255
    return mixed.astype(np.uint8)


def _unchanged(raw: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[Any] | None, int]:
    # OpenCV turns pictures as EXIF says only where it drops their alpha channel.
    reader = getattr(cv2, "imdecodeWithMetadata", None)  # since 4.12
    if reader is None:
        return cv2.imdecode(raw, cv2.IMREAD_UNCHANGED), 1
    picture, kinds, blocks = reader(raw, flags=cv2.IMREAD_UNCHANGED)
    exif = [np.asarray(block, np.uint8).tobytes() for kind, block in zip(kinds, blocks, strict=False) if kind == _EXIF]
    return picture, _orientation(exif[0]) if exif else 1


def _orientation(exif: bytes) -> int:
    """Return EXIF's orientation, 1 (upright) to 8 (EXIF 2.32, tag 0x0112), from a TIFF block; 1 if it has none."""
    from PIL import Image

    block = Image.Exif()
    try:
        block.load(exif)
        value = int(block.get(_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, OSError, struct.error):  # what Pillow says of damaged blocks
        return 1
    return value if 1 <= value <= 8 else 1


def _upright(picture: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[Any]:
    if orientation >= 5:
        picture = picture.transpose(1, 0, 2)
    across = orientation in (2, 3, 6, 7)
    down = orientation in (3, 4, 7, 8)
    return picture[:: -1 if down else 1, :: -1 if across else 1]


def _declared_size(data: bytes) -> tuple[int, int, int] | None:
    """Return width and height (pixels) from the file's header, and how often decoding keeps them in memory.

    None if the format is unknown. A header that gives no size is left to the decoder: it is damaged.
    """
    if data[:2] == b"\xff\xd8":
        header = jpeg_header.read(data)
        return (header.width, header.height, header.copies) if header else (1, 1, 1)
    size = _plain_size(data)
    if size is not None and data[:4] == b"\x89PNG" and len(data) > 25:  # its depth and colour type
        return (*size, (2 if data[24] == 16 else 1) * (2 if data[25] & 4 else 1))
    return None if size is None else (*size, 1)


def _plain_size(data: bytes) -> tuple[int, int] | None:
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    if data[:2] == b"BM" and len(data) >= 26:
        bytes_each = 2 if int.from_bytes(data[14:18], "little") == 12 else 4  # the first header had short numbers
        places = (18, 18 + bytes_each)
        width, height = (int.from_bytes(data[at : at + bytes_each], "little", signed=True) for at in places)
        return abs(width), abs(height)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _tiff_size(data)
    if data[:2] in (b"P2", b"P3", b"P5", b"P6"):
        words = re.sub(rb"#[^\r\n]*", b"", data[2:_PNM_HEAD]).split()
        return (int(words[0]), int(words[1])) if len(words) > 1 and all(w.isdigit() for w in words[:2]) else (1, 1)
    return None


def _webp_size(data: bytes) -> tuple[int, int]:
    """RFC 9649, sections 2.5 to 2.7: the three kinds of first chunk."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _tiff_size(data: bytes) -> tuple[int, int]:
    little = data[:2] == b"II"

    def number(at: int, count: int) -> int:
        return int.from_bytes(data[at : at + count], "little" if little else "big")

    first, found = number(4, 4), {256: 1, 257: 1}
    for entry in range(first + 2, first + 2 + 12 * number(first, 2), 12):
        if number(entry, 2) in found:
            found[number(entry, 2)] = number(entry + 8, 2 if number(entry + 2, 2) == 3 else 4)
    return found[256], found[257]


def as_frame(picture: Pixels, seq: int = 0, name: str = "") -> Frame:
    """Return a picture, BGR uint8 (H, W, 3), as a frame taken now; `name` is its file's."""
    height, width = picture.shape[:2]
    return Frame(picture, "bgr", width, height, time.monotonic(), time.time(), seq, name=name)


def png(image: Pixels) -> bytes:
    """Return BGR (H, W, 3) or grey (H, W, 1) uint8 as a PNG."""
    return bytes(cv2.imencode(".png", image)[1])


def write_picture(image: Pixels, path: Path, option: str) -> None:
    """Write BGR (H, W, 3) or grey (H, W, 1) uint8 into a file, in its suffix's format. Raises `PicamError`.

    `option`: the command's own that chooses the file.
    """
    try:
        good, data = cv2.imencode(path.suffix, image)
    except cv2.error:
        good = False
    if not good:
        raise PicamError(f"{path} is not the name of a picture", f"give a name that ends with .png: {option} FILE")
    try:
        atomic_file.write(real(path), data.tobytes(), durable=False)
    except OSError as error:
        raise disk.unwritable(path, error, option=option) from error
