"""Twin of `picam_infer.imaging.picture_files`, and pictures that only Pillow reads."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from makers import unprivileged
from PIL import Image

from picam_infer.core import NoInput, PicamError
from picam_infer.imaging import other_formats, picture_files
from picam_infer.imaging.pictures import decode_picture, read_picture

COLOURS = {"red": (200, 30, 20), "green": (20, 200, 30)}


def written(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((32, 48, 3), COLOURS[colour][::-1], np.uint8)
    path.write_bytes(cv2.imencode(".jpg" if path.suffix.lower() in (".jpg", ".jfif") else ".png", pixels)[1].tobytes())
    return path


def test_one_order_for_files_and_folders(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/10.jpg", "a.jpg", "x10.JPG", "x9.Jfif", "B2/deep/1.PNG", "b/Über.png"):
        written(tmp_path / name)
    found = picture_files.find(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found.pictures] == [
        "a.jpg", "x9.Jfif", "x10.JPG", "b/Über.png", "b/2.jpg", "b/10.jpg", "B2/deep/1.PNG"]  # fmt: skip
    assert found.left_out == () and found.remark(tmp_path) == ""


def test_hidden_files_and_desktop_junk_are_not_mentioned(tmp_path: Path) -> None:
    written(tmp_path / "a.jpg")
    for name in ("._a.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", ".git/b.jpg", "__MACOSX/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"junk")
    found = picture_files.find(tmp_path)
    assert [path.name for path in found.pictures] == ["a.jpg"] and found.left_out == ()


def test_what_is_left_out_is_named_in_one_line(tmp_path: Path) -> None:
    written(tmp_path / "a.jpg")
    for number in range(9):
        (tmp_path / f"clip{number}.mp4").touch()
    remark = picture_files.find(tmp_path).remark(tmp_path)
    assert "clip0.mp4, clip1.mp4" in remark and "and 3 more" in remark and "\n" not in remark


def test_a_folder_without_pictures_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match=r"has no pictures.*looked for"):
        picture_files.find(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(NoInput, match=r"has no pictures.*notes\.txt"):
        picture_files.find(tmp_path)


def test_a_folder_of_nearly_everything_else_is_not_searched_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `/` is."""
    monkeypatch.setattr(picture_files, "MOST_OTHERS", 20)
    for folder in range(40):
        (tmp_path / "all" / f"{folder:02}").mkdir(parents=True)
        (tmp_path / "all" / f"{folder:02}" / "library.so").touch()
    written(tmp_path / "all" / "39" / "a.jpg")
    looked: list[str] = []
    listening = [True]
    sys.addaudithook(lambda event, args: looked.append(args[0]) if listening and event == "os.scandir" else None)
    with pytest.raises(NoInput, match="holds more than 20 files and folders that are no pictures; name the folder"):
        picture_files.find(tmp_path / "all")
    listening.clear()
    assert 1 < len(looked) < 20


def test_any_number_of_pictures_may_have_as_many_files_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_files, "MOST_OTHERS", 5)
    for number in range(12):
        (tmp_path / f"{number}.jpg").touch()
    for number in range(10):
        (tmp_path / f"{number}.xmp").touch()
    found = picture_files.find(tmp_path)
    assert (len(found.pictures), len(found.left_out)) == (12, 10)


def test_folders_inside_that_may_not_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "p" / "deep").mkdir(parents=True)
    program = (
        "import sys\nfrom pathlib import Path\nfrom picam_infer.imaging import picture_files\n"
        "try:\n    print(picture_files.find(Path(sys.argv[1])).remark(Path(sys.argv[1])))\n"
        "except picture_files.NoInput as error:\n    print(type(error).__name__, error)\n"
    )

    def said() -> str:
        words = [*unprivileged(), sys.executable, "-c", program, str(tmp_path / "p")]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    (tmp_path / "p" / "deep").chmod(0)
    try:
        assert "the folder deep cannot be read: check its owner and permissions" in said()
        written(tmp_path / "p" / "a.jpg")
        remark = f"left out of {tmp_path}/p: deep; the folder deep cannot be read: check its owner and permissions"
        assert said() == f"{remark}\n"
        (tmp_path / "p").chmod(0)
        assert said().startswith(f"NoInput {tmp_path}/p cannot be read (Permission denied); check its owner")
    finally:
        (tmp_path / "p").chmod(0o755)
        (tmp_path / "p" / "deep").chmod(0o755)


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    written(tmp_path / "p" / "a.jpg")
    (tmp_path / "p" / "again").symlink_to(tmp_path / "p")
    assert len(picture_files.find(tmp_path / "p").pictures) == 1


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000", "TGA", "PCX", "QOI", "ICO", "SGI", "PPM", "DDS", "MPO"])
def test_what_pillow_reads_is_read(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), COLOURS["red"]).save(buffer, kind)
    seen = decode_picture(buffer.getvalue(), f"a.{kind.lower()}")
    assert seen.shape == (32, 32, 3)
    assert np.abs(seen[16, 16].astype(int) - COLOURS["red"][::-1]).max() <= 4


def test_transparency_and_orientation_of_such_pictures() -> None:
    picture = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right
    buffer = io.BytesIO()
    picture.save(buffer, "AVIF", exif=exif, quality=100)
    seen = decode_picture(buffer.getvalue(), "a.avif")
    assert seen.shape == (20, 10, 3)
    assert seen[5, 5].tolist()[0] > 250 and seen[5, 5].tolist()[2] < 8 and seen[15, 5].min() > 250


def test_heic_is_read_with_its_plugin(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif (pip install pillow-heif)")
    heif.register_heif_opener()
    Image.new("RGB", (64, 48), COLOURS["green"]).save(tmp_path / "A.HEIC", "HEIF")
    seen = read_picture(tmp_path / "A.HEIC")
    assert seen.shape == (48, 64, 3) and np.abs(seen[20, 20].astype(int) - COLOURS["green"][::-1]).max() <= 6
    assert [path.name for path in picture_files.find(tmp_path).pictures] == ["A.HEIC"]


def test_heic_without_its_plugin_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    written(tmp_path / "b.jpg")
    program = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from pathlib import Path\n"
        "from picam_infer.imaging import picture_files, pictures\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "found = picture_files.find(folder)\n"
        "print(len(found.pictures), found.remark(folder))\n"
        "try:\n    pictures.read_picture(folder / 'a.heic')\n"
        "except pictures.PicamError as error:\n    print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert said[0].startswith("1 left out of") and "a.heic; .heic files need: pip install pillow-heif" in said[0]
    assert "a HEIC picture" in said[1] and "pip install pillow-heif" in said[1]


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000", "TGA", "QOI"])
def test_such_pictures_have_limits_and_may_be_broken(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    with pytest.raises(PicamError) as caught:
        decode_picture(buffer.getvalue()[: len(buffer.getvalue()) // 2], "cut")
    assert "cut" in str(caught.value) and "\n" not in str(caught.value)
    monkeypatch.setattr("picam_infer.imaging.pictures.MAX_PIXELS", 64 * 64 - 1)
    with pytest.raises(PicamError, match="64×64"):
        decode_picture(buffer.getvalue(), "large")


def test_no_other_program_is_started_for_a_picture() -> None:
    assert not other_formats.formats() & {"EPS", "WMF", "PDF"}
    with pytest.raises(PicamError, match="not a picture"):
        decode_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "a.eps")


def test_a_name_may_have_more_digits_than_python_reads() -> None:
    paths = [Path(f"frame{number}.jpg") for number in ("9" * 5000, "10", "9", "0", "007")]
    assert [path.stem[:8] for path in sorted(paths, key=picture_files.order)] == [
        "frame0",
        "frame007",
        "frame9",
        "frame10",
        "frame999",
    ]
