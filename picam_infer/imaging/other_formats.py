"""Pictures in formats that OpenCV does not read here, through Pillow and its plug-ins: HEIC, AVIF, JPEG 2000, TGA…"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from picam_infer.core import PicamError

_NAMES = (
    ".avif .avifs .heic .heif .hif .heics .heifs .jp2 .j2k .jpf .jpx .j2c .tga .ico .cur .icns .pcx .psd .qoi .dds "
    ".sgi .rgb .bw .xbm .xpm .pbm .pnm .pfm .dib .apng .mpo"
)
SUFFIXES = frozenset(_NAMES.split())
"""Names of such pictures, in lower case."""

_NOT_READ = frozenset({"EPS", "WMF", "PDF", "MPEG", "BUFR", "GRIB", "HDF5", "FITS"})
"""Formats that Pillow would pass to other programs, or knows only by name."""
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_STARTS = frozenset({b"icns", b"\0\0\1\0", b"\0\0\2\0"})
"""Of Apple's and Windows' icons, and of Windows' cursors."""
_HEIF = frozenset({".heic", ".heif", ".hif", ".heics", ".heifs"})
_AVIF = frozenset({".avif", ".avifs"})


def readable(path: Path) -> bool:
    """Tell whether a picture with such a name can be read here: HEIC, and AVIF with an old Pillow, need a plug-in."""
    suffix = path.suffix.lower()
    if suffix in _HEIF:
        return "HEIF" in formats()
    return "AVIF" in formats() if suffix in _AVIF else suffix in SUFFIXES


def suffix_of(data: bytes) -> str | None:
    """Return `.heic` or `.avif` for the start of such a file (ISO/IEC 23008-12: the brand in `ftyp`), else None."""
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    return ".heic" if brand in _HEIF_BRANDS else ".avif" if brand in _AVIF_BRANDS else None


def remedy(path: Path) -> str:
    """Return what would make a picture readable; empty for one that is, and for other files."""
    lacking = path.suffix.lower() in _HEIF | _AVIF and not readable(path)
    return f"{path.suffix.lower()} files need: pip install {_plugin(path.suffix.lower() in _HEIF)}" if lacking else ""


def _plugin(heif: bool) -> str:
    return "pillow-heif" if heif else "pillow-avif-plugin"


@functools.cache
def formats() -> frozenset[str]:
    """Return the formats that Pillow reads here itself, with its plug-ins where they are installed."""
    from PIL import Image, features

    quiet = logging.getLogger("PIL")  # Pillow's warnings about damaged files: we report these ourselves
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    avif = bool(features.check("avif"))
    if not avif:
        with contextlib.suppress(ImportError):
            importlib.import_module("pillow_avif")
            avif = True
    Image.init()
    return frozenset(Image.OPEN) - _NOT_READ - (frozenset() if avif else {"AVIF"})


def decode(data: bytes, name: str, max_pixels: int) -> npt.NDArray[np.uint8] | None:
    """Return a picture with its transparency, turned upright, BGRA uint8 (H, W, 4); None for an unknown format.

    Raises `PicamError` when it is too large, broken, or of a kind whose plug-in is missing, and `MemoryError`.
    """
    _require_plugin(data, name)
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=sorted(formats())) as opened:
                width, height = opened.size
                if width * height > max_pixels:
                    raise PicamError(f"{name} is too large ({width}×{height})", "make it smaller first")
                picture = _eight_bits(ImageOps.exif_transpose(opened))
                rgba = np.asarray(picture.convert("RGBA"), np.uint8)
        except (PicamError, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise PicamError(f"{name} is too large", "make it smaller first") from error
        except Exception as error:  # whatever a decoder makes of hostile data
            if isinstance(error, Image.UnidentifiedImageError) and not _begins_as_one(data):
                return None
            raise PicamError(
                f"{name} is damaged or cut short", "copy it again, or open it and save it again"
            ) from error
    return np.ascontiguousarray(rgba[:, :, [2, 1, 0, 3]])


def _begins_as_one(data: bytes) -> bool:
    """Tell whether data begins as a format does whose reader says of damaged files only that it does not know them."""
    return suffix_of(data) is not None or data[:4] in _STARTS


def _require_plugin(data: bytes, name: str) -> None:
    suffix = suffix_of(data)
    if suffix is not None and not readable(Path(f"picture{suffix}")):
        heif = suffix in _HEIF
        raise PicamError(
            f"{name} is {'a HEIC' if heif else 'an AVIF'} picture, which needs a plug-in here",
            f"pip install {_plugin(heif)}, or save it as JPEG",
        )


def _eight_bits(picture: Any) -> Any:
    """Return a Pillow picture whose samples have eight bits: 16-bit greys are scaled, not cut off."""
    if not picture.mode.startswith("I") and picture.mode != "F":
        return picture
    from PIL import Image

    values = np.asarray(picture, np.float64)
    most = values.max(initial=0)
    full = 1.0 if picture.mode == "F" and most <= 1 else 255.0 if most <= 255 else 65535.0
    return Image.fromarray(np.clip(np.rint(values * (255 / full)), 0, 255).astype(np.uint8), "L")
