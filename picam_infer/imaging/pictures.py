"""Picture files: whatever a phone, a browser or a drawing program saved, as upright pixels."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from picam_infer.core import NoInput, PicamError, Pixels

MAX_PIXELS = 120_000_000
"""Beyond this a picture is refused before it is unpacked: 360 MB as BGR, more than a Pi should spend on one file."""
MAX_BYTES = 256 * 2**20
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pgm", ".ppm"})
"""Names that a folder of pictures is searched for, in lower case."""

_KINDS = "JPEG, PNG, WebP, GIF, BMP, TIFF, PGM and PPM are read"
_EXIF = 0  # cv2::ImageMetadataType::IMAGE_METADATA_EXIF

# The reason for a failure is told by the error that is raised; OpenCV's own lines would only repeat it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_picture(path: Path) -> Pixels:
    """Return the picture as BGR uint8 (H, W, 3), turned upright as its EXIF says, transparency laid on white.

    Grey and palette pictures become BGR, 16-bit samples are scaled to 8; of an animation the first frame counts.
    Raises `NoInput` (missing, unreadable) or `PicamError` (no picture, truncated, too large).
    """
    return decode_picture(_read(path), str(path))


def decode_picture(data: bytes, name: str) -> Pixels:
    """Return the picture in `data` as `read_picture` does; `name` is for the error."""
    size = _declared_size(data)
    if size is None:
        raise PicamError(f"{name} is not a picture this program reads", _KINDS)
    width, height = size
    if width * height > MAX_PIXELS:
        million = round(width * height / 1e6)
        raise PicamError(f"{name} is too large ({width}×{height}, {million} million pixels)", "make it smaller first")
    raw = np.frombuffer(data, np.uint8)
    try:
        picture = None if data[:2] == b"\xff\xd8" else _on_white(raw)
        if picture is None:
            picture = cv2.imdecode(raw, cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError, SystemError) as error:
        raise PicamError(f"{name} cannot be decoded as a picture", "open it and save it again") from error
    if picture is None or picture.ndim != 3 or picture.shape[2] != 3:
        raise PicamError(f"{name} is damaged or cut short", "copy it again, or open it and save it again")
    return np.ascontiguousarray(picture, dtype=np.uint8)


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise NoInput(f"{path} is a folder, not a picture")
        if not stat.S_ISREG(status.st_mode):
            raise NoInput(f"{path} is not a regular file")
        if status.st_size > MAX_BYTES:
            raise PicamError(f"{path} is too large ({status.st_size >> 20} MB)", "make the picture smaller first")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NoInput(f"there is no picture {path}", "check the name") from error
    except (OSError, ValueError) as error:
        raise NoInput(f"{path} cannot be read ({error})", "check its owner and permissions") from error


def _on_white(raw: npt.NDArray[np.uint8]) -> npt.NDArray[Any] | None:
    """Return a picture that has an alpha channel composited on white; None for one that has none."""
    plain, orientation = _unchanged(raw)
    if plain is None or plain.ndim != 3 or plain.shape[2] != 4 or plain.dtype not in (np.uint8, np.uint16):
        return None
    full = int(np.iinfo(plain.dtype).max)
    shallow = plain if full == 255 else cv2.convertScaleAbs(plain, alpha=1 / 257)
    alpha = shallow[:, :, 3:].astype(np.uint16)
    mixed = shallow[:, :, :3].astype(np.uint16)
    mixed *= alpha
    mixed += (255 - alpha) * 255 + 127
    mixed //= 255
    return _upright(mixed.astype(np.uint8), orientation)


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
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "little", b"MM": "big"}.get(exif[:2])
    if order is None:
        return 1

    def number(at: int, count: int) -> int:
        return int.from_bytes(exif[at : at + count], "little" if order == "little" else "big")

    first = number(4, 4)
    for entry in range(first + 2, first + 2 + 12 * number(first, 2), 12):
        if number(entry, 2) == 0x0112:
            return number(entry + 8, 2) if 1 <= number(entry + 8, 2) <= 8 else 1
    return 1


def _upright(picture: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[Any]:
    if orientation >= 5:
        picture = picture.transpose(1, 0, 2)
    across = orientation in (2, 3, 6, 7)
    down = orientation in (3, 4, 7, 8)
    return picture[:: -1 if down else 1, :: -1 if across else 1]


def _declared_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height (pixels) from the file's header; None if it is no picture of a known kind."""
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    if data[:2] == b"BM" and len(data) >= 26:
        width, height = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (18, 22))
        return abs(width), abs(height)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _tiff_size(data)
    if data[:2] in (b"P2", b"P3", b"P5", b"P6"):
        words = data[2:200].split()
        return (int(words[0]), int(words[1])) if len(words) > 1 and all(w.isdigit() for w in words[:2]) else (1, 1)
    return None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 2 if marker == 0x01 or 0xD0 <= marker <= 0xD8 else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 1, 1  # no frame header: the decoder will say that it is damaged


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
