"""Pictures that declare more than anybody should take memory for, each kind in its own way of lying."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

HUGE = 60_000
NOISE = np.random.default_rng(5).integers(0, 255, (96, 128, 3)).astype(np.uint8)


def lying_jpeg(width: int, height: int, marker: int = 0xC0, precision: int = 8) -> bytes:
    """Return a small JPEG whose frame header says something else."""
    data = bytearray(cv2.imencode(".jpg", NOISE, [cv2.IMWRITE_JPEG_PROGRESSIVE, int(marker == 0xC2)])[1].tobytes())
    at = data.index(bytes((0xFF, marker)))
    data[at + 4 : at + 9] = struct.pack(">BHH", precision, height, width)
    return bytes(data)


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = zlib.compress(b"\0" * 100_000)
    head = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def gif(screen: int, picture: int) -> bytes:
    size, inner = struct.pack("<HH", screen, screen), struct.pack("<HHHH", 0, 0, picture, picture)
    colours = b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    return b"GIF89a" + size + colours + b"," + inner + b"\0\x02\x02\x4c\x01\0;"


def bmp(header: int, width: int, height: int) -> bytes:
    if header == 12:
        body = struct.pack("<IHHHH", 12, width, height, 1, 24)
    else:
        body = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 0, 0, 0, 0, 0) + b"\0" * 1024
    return b"BM" + struct.pack("<IHHI", 14 + len(body) + 8, 0, 0, 14 + len(body)) + body + b"\0\1" * 4


def webp(canvas: int, inner: int) -> bytes:
    plain = bytearray(cv2.imencode(".webp", NOISE, [cv2.IMWRITE_WEBP_QUALITY, 50])[1].tobytes())
    plain[26:30] = struct.pack("<HH", inner, inner)
    if not canvas:
        return bytes(plain)
    head = struct.pack("<4sIB3x", b"VP8X", 10, 0) + (canvas - 1).to_bytes(3, "little") * 2
    return b"RIFF" + struct.pack("<I", 4 + len(head) + len(plain) - 12) + b"WEBP" + head + bytes(plain[12:])


def tiff(**tags: int) -> bytes:
    known = {"width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "offset": 273,
             "samples": 277, "rows": 278, "count": 279, "tile_width": 322, "tile_height": 323}  # fmt: skip
    values = {"bits": 8, "compression": 1, "photometric": 1, "offset": 8, "samples": 1, "rows": 2**31, "count": 64}
    values |= tags
    entries = [struct.pack("<HHII", known[name], 4, 1, value) for name, value in values.items()]
    entries.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
    return struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries)) + b"".join(entries) + b"\0" * 4


HOSTILE = {
    "jpeg": lying_jpeg(HUGE, HUGE),
    "jpeg with 9,000 rows too many": lying_jpeg(9_000, 9_000),
    "progressive jpeg, kept twice": lying_jpeg(6_500, 6_500, 0xC2),
    "png": png(HUGE, HUGE),
    "png of one endless row": png(2**31 - 1, 1),
    "gif": gif(HUGE, HUGE),
    "gif with a picture larger than its screen": gif(16, HUGE),
    "bmp": bmp(40, HUGE, HUGE),
    "bmp, upside down": bmp(40, HUGE, -HUGE),
    "bmp of 1990": bmp(12, 30_000, 30_000),
    "webp": webp(0, 16_383),
    "webp with a picture larger than its canvas": webp(16, 16_383),
    "webp with a large canvas": webp(16_000, 128),
    "tiff": tiff(width=HUGE, height=HUGE),
    "tiff of one large tile": tiff(width=64, height=64, tile_width=HUGE, tile_height=HUGE),
    "tiff of many samples": tiff(width=7_000, height=7_000, samples=65_535),
    "ppm": b"P6\n60000 60000\n255\n" + b"\0" * 1000,
    "ppm behind a comment": b"P6 # made by hand\n60000 # wide\n60000\n255\n" + b"\0" * 1000,
}
