"""Twin of `picam_infer.imaging.pictures`: every kind of picture file that people have."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from picam_infer.core import NoInput, PicamError
from picam_infer.imaging.pictures import decode_picture, read_picture, suffix_of

HEIGHT, WIDTH = 40, 60


def quarters() -> npt.NDArray[np.uint8]:
    """A landscape whose corners tell how it was turned: blue, green / red, white."""
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[:20, :30], picture[:20, 30:], picture[20:, :30], picture[20:, 30:] = (
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 255),
    )
    return picture


def corners(picture: npt.NDArray[np.uint8]) -> str:
    names = {(1, 0, 0): "b", (0, 1, 0): "g", (0, 0, 1): "r", (1, 1, 1): "w"}
    return "".join(names[tuple(int(v > 127) for v in picture[y, x])] for y in (5, -5) for x in (5, -5))


def exif(orientation: int, big: bool = False) -> bytes:
    order, mark = (">", b"MM\0*") if big else ("<", b"II*\0")
    value = struct.pack(order + "HH", orientation, 0)
    return mark + struct.pack(order + "IHHHI", 8, 1, 0x112, 3, 1) + value + bytes(4)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(ihdr: bytes, rows: list[bytes], *extra: bytes) -> bytes:
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + b"".join(extra) + pixels + chunk(b"IEND", b"")


def encoded(suffix: str, picture: npt.NDArray[np.generic], *options: int) -> bytes:
    return bytes(cv2.imencode(suffix, picture, options)[1].tobytes())


TURNED = {1: "bgrw", 2: "gbwr", 3: "wrgb", 4: "rwbg", 5: "brgw", 6: "rbwg", 7: "wgrb", 8: "gwbr"}


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_jpeg(orientation: int, big: bool) -> None:
    plain = encoded(".jpg", quarters(), cv2.IMWRITE_JPEG_QUALITY, 100)
    block = b"Exif\0\0" + exif(orientation, big)
    jpeg = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]
    assert corners(decode_picture(jpeg, "x.jpg")) == TURNED[orientation]


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_png_with_and_without_alpha(orientation: int, alpha: bool) -> None:
    picture = quarters()
    if alpha:
        picture = np.dstack([picture, np.full((HEIGHT, WIDTH), 255, np.uint8)])
    plain = encoded(".png", picture)
    turned = decode_picture(plain[:33] + chunk(b"eXIf", exif(orientation)) + plain[33:], "x.png")
    assert corners(turned) == TURNED[orientation]
    assert turned.shape == ((WIDTH, HEIGHT, 3) if orientation >= 5 else (HEIGHT, WIDTH, 3))


@pytest.mark.parametrize(("suffix", "depth"), [(".png", 1), (".png", 257), (".webp", 1), (".tiff", 257)])
def test_transparency_is_laid_on_white(suffix: str, depth: int) -> None:
    picture = np.zeros((HEIGHT, WIDTH, 4), np.uint16 if depth > 1 else np.uint8)
    picture[:10, :, 3], picture[10:20, :, 3], picture[20:, :, 3] = 0, 128 * depth, 255 * depth
    seen = decode_picture(encoded(suffix, picture), "x")
    assert seen.dtype == np.uint8
    assert [int(seen[y, 30, c]) for y in (5, 15, 30) for c in range(3)] == [255] * 3 + [127] * 3 + [0] * 3


def test_a_transparent_palette_and_grey_with_alpha_are_laid_on_white() -> None:
    palette = png(
        struct.pack(">IIBBBBB", 2, 2, 8, 3, 0, 0, 0),
        [b"\0\1"] * 2,
        chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 50])),
        chunk(b"tRNS", bytes([0, 255])),
    )
    assert decode_picture(palette, "x")[0].tolist() == [[255, 255, 255], [50, 100, 200]]
    grey = png(struct.pack(">IIBBBBB", 2, 2, 8, 4, 0, 0, 0), [bytes([100, 0, 100, 255])] * 2)
    assert decode_picture(grey, "x")[0].tolist() == [[255] * 3, [100] * 3]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff", ".pgm"])
def test_grey_becomes_three_equal_channels(suffix: str) -> None:
    seen = decode_picture(encoded(suffix, np.full((HEIGHT, WIDTH), 90, np.uint8)), "x")
    assert seen.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(seen.astype(int) - 90).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_sixteen_bits_are_scaled_not_cut(suffix: str) -> None:
    seen = decode_picture(encoded(suffix, np.full((HEIGHT, WIDTH), 200 * 257, np.uint16)), "x")
    assert seen.dtype == np.uint8
    assert np.abs(seen.astype(int) - 200).max() <= 1


@pytest.mark.parametrize(("level", "seen"), [(0.5, 128), (200.0, 200)])
def test_a_tiff_of_floats_is_read(level: float, seen: int, tmp_path: Path) -> None:
    Image.new("F", (WIDTH, HEIGHT), level).save(tmp_path / "f.tif")
    assert np.abs(read_picture(tmp_path / "f.tif").astype(int) - seen).max() <= 1


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    animation = cv2.Animation()
    animation.frames = [quarters(), 255 - quarters()]
    animation.durations = [100, 100]
    assert cv2.imwriteanimation(str(tmp_path / "a.gif"), animation)
    assert corners(read_picture(tmp_path / "a.gif")) == "bgrw"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".bmp", ".tiff"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_truncated_picture_is_refused(suffix: str, share: float, tmp_path: Path) -> None:
    whole = encoded(suffix, np.random.default_rng(1).integers(0, 255, (90, 120, 3), np.uint8))
    (tmp_path / "cut").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(PicamError) as refused:
        read_picture(tmp_path / "cut")
    assert "cut" in str(refused.value) and refused.value.hint


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = png(struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0), [b""])
    with pytest.raises(PicamError, match="3600 million pixels"):
        decode_picture(bomb, "bomb.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".bmp", ".tiff", ".ppm"])
def test_every_kind_is_measured_before_it_is_unpacked(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picam_infer.imaging.pictures.MAX_PIXELS", WIDTH * HEIGHT - 1)
    for options in ([], [cv2.IMWRITE_WEBP_QUALITY, 50]) if suffix == ".webp" else ([],):
        with pytest.raises(PicamError, match=f"{WIDTH}×{HEIGHT}"):
            decode_picture(encoded(suffix, quarters(), *options), "x")


def test_missing_folders_and_other_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="no picture"):
        read_picture(tmp_path / "none.jpg")
    with pytest.raises(NoInput, match="folder"):
        read_picture(tmp_path)
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(PicamError, match=r"not a picture.*JPEG"):
        read_picture(tmp_path / "text.jpg")
    (tmp_path / "model.zip").write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(PicamError, match=r"is an archive, not a picture; .*picam-infer convert"):
        read_picture(tmp_path / "model.zip")
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(PicamError, match="not a picture"):
        read_picture(tmp_path / "empty.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "JPEG2000", "ICNS", "ICO"])
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_a_picture_that_is_cut_short_is_not_called_something_else(kind: str, share: float) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    try:
        if kind == "HEIF":
            pytest.importorskip("pillow_heif", reason="pillow-heif is not installed").register_heif_opener()
        Image.fromarray(noise).save(buffer, kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {kind}")
    whole = buffer.getvalue()
    with pytest.raises(PicamError, match="x is damaged or cut short"):
        decode_picture(whole[: int(share * len(whole))], "x")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".bmp", ".tif", ".webp", ".avif"])
def test_a_picture_is_known_by_how_it_begins(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    try:
        Image.new("RGB", (16, 16), "red").save(path)
    except (KeyError, ValueError, OSError) as error:
        pytest.skip(f"Pillow cannot write {suffix} here ({error})")
    assert suffix_of(path.read_bytes()) == suffix_of(path.read_bytes()[:12]) == suffix


def test_a_film_in_the_same_container_as_heic_is_not_a_picture() -> None:
    assert suffix_of(b"\0\0\0\x18ftypheic\0\0\0\0") == suffix_of(b"\0\0\0\x18ftypmif1") == ".heic"
    for brand in (b"isom", b"mp42", b"qt  ", b"M4V "):
        assert suffix_of(b"\0\0\0\x18ftyp" + brand) is None
    assert suffix_of(b"RIFF\0\0\0\0AVI LIST") is None
    assert suffix_of(b"") is suffix_of(b"\xff\xd8") is None
