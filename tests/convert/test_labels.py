"""Labels as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from picam_infer.convert import labels
from picam_infer.core import PicamError


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"0 Cereal Box\n1 Spicy\n", ["Cereal Box", "Spicy"]),
        (b"0 a\r\n1 b\r\n2 c", ["a", "b", "c"]),
        (b"\xef\xbb\xbf0 a\n1 b\n", ["a", "b"]),
        ("0 사과\n1 ಕನ್ನಡ\n2 Việt\n3 Щука\n4 İğne".encode(), ["사과", "ಕನ್ನಡ", "Việt", "Щука", "İğne"]),
        (b"".join(b"%d c%d\n" % (i, i) for i in range(12)), [f"c{i}" for i in range(12)]),
        (b"cat\ndog\n\n", ["cat", "dog"]),
        (b"0\n1\n2\n", ["0", "1", "2"]),
        (b"7 Up\n1 Coke\n", ["7 Up", "1 Coke"]),
        (b"1 Euro\n2 Euro\n", ["1 Euro", "2 Euro"]),
        (b"0 a\n1 \n2 c\n", ["a", "class 1", "c"]),
        (b"0 a\n1\n", ["a", "class 1"]),
        (b"0 3 apples\n1 4 apples\n", ["3 apples", "4 apples"]),
        ("0 a\n1 b\n".encode("utf-16"), ["a", "b"]),
        ("0 Käse\n1 b\n".encode("cp1252"), ["Käse", "b"]),
        ("a\x85b\nc\u2028d\n".encode(), ["a b", "c d"]),
        (b"a\na\n", ["a", "a"]),
    ],
)
def test_lines_are_cleaned(data: bytes, names: list[str], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(data)
    read = labels.read(tmp_path / "labels.txt")
    assert list(read.names) == names
    assert "\n".join(read.names).splitlines() == names
    assert any("same name" in note for note in read.notes) == (len(set(names)) < len(names))


def test_teachable_machine_metadata_and_any_case(tmp_path: Path) -> None:
    assert labels.find(tmp_path) is None
    (tmp_path / "metadata.json").write_text('{"labels": ["x", "y"], "imageSize": 224}')
    assert labels.read(labels.find(tmp_path) or tmp_path).names == ("x", "y")
    (tmp_path / "Labels.TXT").write_text("0 p\n1 q\n")
    assert labels.read(labels.find(tmp_path) or tmp_path).names == ("p", "q")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"\n\n")
    with pytest.raises(PicamError, match="no labels"):
        labels.read(tmp_path / "labels.txt")
