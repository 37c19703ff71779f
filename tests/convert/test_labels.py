"""Labels as people write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_models import colour_keras

from picam_infer.convert import label_files, labels
from picam_infer.convert.conversion import Options, convert
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


def likeliest(folder: Path) -> Path | None:
    return next(iter(label_files.candidates(folder, None)), None)


def test_teachable_machine_metadata_and_any_case(tmp_path: Path) -> None:
    assert likeliest(tmp_path) is None
    (tmp_path / "metadata.json").write_text('{"labels": ["x", "y"], "imageSize": 224}')
    assert labels.read(likeliest(tmp_path) or tmp_path).names == ("x", "y")
    (tmp_path / "Labels.TXT").write_text("0 p\n1 q\n")
    assert labels.read(likeliest(tmp_path) or tmp_path).names == ("p", "q")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"\n\n")
    with pytest.raises(PicamError, match="no labels"):
        labels.read(tmp_path / "labels.txt")


FORMS = {
    "any order": ("labels.txt", "2 blue\n0 red\n1 green\n"),
    "colons": ("labels.txt", "0: red\n1: green\n2: blue\n"),
    "commas": ("labels.csv", "0,red\n1,green\n2,blue\n"),
    "name first": ("labels.csv", "red,0\ngreen,1\nblue,2\n"),
    "name first, any order": ("labels.txt", "blue: 2\nred: 0\ngreen: 1\n"),
    "semicolons": ("labels.txt", "0;red\n2;blue\n1;green\n"),
    "tabs": ("labels.txt", "0\tred\n1\tgreen\n2\tblue\n"),
    "equals": ("labels.txt", "0=red\n1=green\n2=blue\n"),
    "both brackets": ("labels.txt", "[2] blue\n[0] red\n[1] green\n"),
    "both brackets, round": ("labels.txt", "(0) red\n(1) green\n(2) blue\n"),
    "hashes": ("labels.txt", "#0 red\n#1 green\n#2 blue\n"),
    "quoted numbers": ("labels.txt", '"0","red"\n"1","green"\n"2","blue"\n'),
    "a word before the number": ("labels.txt", "class 1: green\nclass 0: red\nclass 2: blue\n"),
    "number behind a space": ("labels.txt", "blue 2\nred 0\ngreen 1\n"),
    "wide marks": ("labels.txt", "2：blue\n0：red\n1：green\n"),
    "one line with indices": ("labels.txt", "1:green,0:red,2:blue\n"),
    "one line, wide commas": ("labels.txt", "red、green、blue\n"),
    "a flow map": ("labels.txt", "{0: red, 2: blue, 1: green}\n"),
    "a line of a program": ("labels.txt", 'const labels = ["red", "green", "blue"];\n'),
    "ended by semicolons": ("labels.txt", "red;\ngreen;\nblue;\n"),
    "yaml under another name": ("labels.txt", "names:\n  0: red\n  1: green\n  2: blue\n"),
    "json pairs": ("labels.json", '[[2, "blue"], [0, "red"], [1, "green"]]'),
    "json with a word before the number": ("labels.json", '{"class_1": "green", "class_0": "red", "class_2": "blue"}'),
    "brackets": ("labels.txt", "0) red\n1) green\n2) blue\n"),
    "dashes": ("labels.txt", "0 - red\n1 - green\n2 - blue\n"),
    "dots": ("labels.txt", "0. red\n1. green\n2. blue\n"),
    "from 1": ("labels.txt", "1 red\n2 green\n3 blue\n"),
    "from 1, colons": ("labels.txt", "1: red\n3: blue\n2: green\n"),
    "padded": ("labels.txt", "00 red\n01 green\n02 blue\n"),
    "blank lines": ("labels.txt", "\nred\n\ngreen\n\n\nblue\n\n"),
    "blank lines and indices": ("labels.txt", "0 red\n\n1 green\n\n2 blue\n"),
    "a comment": ("labels.txt", "# colours\nred\ngreen\nblue\n"),
    "a heading": ("labels.txt", "label\nred\ngreen\nblue\n"),
    "quotes": ("labels.txt", '"red"\n"green"\n"blue"\n'),
    "a list's quotes": ("labels.txt", "'red',\n'green',\n'blue'\n"),
    "one line": ("labels.txt", "red, green, blue\n"),
    "a list in one line": ("labels.txt", "['red', 'green', 'blue']\n"),
    "python's class_indices": ("labels.txt", "{'blue': 2, 'green': 1, 'red': 0}\n"),
    "json list": ("labels.json", '["red", "green", "blue"]'),
    "json by index": ("labels.json", '{"0": "red", "2": "blue", "1": "green"}'),
    "json by name": ("class_indices.json", '{"green": 1, "red": 0, "blue": 2}'),
    "json with identifiers": ("labels.json", '{"0": ["n1", "red"], "1": ["n2", "green"], "2": ["n3", "blue"]}'),
    "json of objects": (
        "labels.json",
        '[{"id": 2, "name": "blue"}, {"id": 0, "name": "red"}, {"id": 1, "name": "green"}]',
    ),
    "json, deep inside": ("metadata.json", '{"version": 3, "model": {"classes": ["red", "green", "blue"]}}'),
    "hugging face": ("label_config.json", '{"id2label": {"0": "red", "1": "green", "2": "blue"}, "model_type": "vit"}'),
    "json from 1": ("labels.json", '{"1": "red", "2": "green", "3": "blue"}'),
    "csv with a heading": ("labels.csv", "id,name\n0,red\n1,green\n2,blue\n"),
    "csv, any order": ("labels.csv", "class_id,class_name\n2,blue\n0,red\n1,green\n"),
    "csv, more columns": ("labels.csv", "name,colour code,index\nred,f00,0\nblue,00f,2\ngreen,0f0,1\n"),
    "csv, no numbers": ("labels.csv", "label,note\nred,warm\ngreen,cool\nblue,cool\n"),
    "csv, one column": ("labels.csv", "name\nred\ngreen\nblue\n"),
    "csv of pandas": ("classes.csv", ",label\n0,red\n1,green\n2,blue\n"),
    "label map": (
        "labelmap.pbtxt",
        "item {\n id: 1\n name: 'red'\n}\nitem { id: 2 name: 'green' }\nitem { id: 3 name: 'blue' }",
    ),
    "yaml": ("class_names.yaml", "nc: 3\nnames: [red, green, blue]\n"),
    "yaml by index": ("class_names.yaml", "names:\n  0: red\n  1: green\n  2: blue\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_forms_that_people_have(form: str, tmp_path: Path) -> None:
    name, text = FORMS[form]
    (tmp_path / name).write_text(text)
    (tmp_path / "package.json").write_text('{"name": "x", "version": "1"}')
    found = likeliest(tmp_path)
    assert found == tmp_path / name
    assert labels.read(found, {3}).names == ("red", "green", "blue")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("7 up\ncola\nwater\n", ["7 up", "cola", "water"]),
        ("2 blue\nred\n0 green\n", ["2 blue", "red", "0 green"]),
        ("7 Up\n1 Coke\n3 Musketeers\n", ["7 Up", "1 Coke", "3 Musketeers"]),
        ("1 finger\n2 fingers\n3 fingers\n", ["1 finger", "2 fingers", "3 fingers"]),
        ("salt, sea\npepper, black\nsugar, cane\n", ["salt, sea", "pepper, black", "sugar, cane"]),
        ("ratio 1:2\nratio 1:3\nratio 2:3\n", ["ratio 1:2", "ratio 1:3", "ratio 2:3"]),
        ("0 Class 1\n1 Class 2\n2 Class 3\n", ["Class 1", "Class 2", "Class 3"]),
        ("C#\nC++\nF#\n", ["C#", "C++", "F#"]),
        ("2020\n2021\n2022\n", ["2020", "2021", "2022"]),
        ("0\n1\n2\n", ["0", "1", "2"]),
        ("- none\n- some\n- all\n", ["- none", "- some", "- all"]),
        ("0 a\n1 a\n2 b\n", ["a", "a", "b"]),
        ("Room 2\nRoom 0\nRoom 1\n", ["Room 2", "Room 0", "Room 1"]),
        ("Class 1\nClass 2\nClass 3\n", ["Class 1", "Class 2", "Class 3"]),
        ("label\nred\nblue\n", ["label", "red", "blue"]),
        ("red\n\nblue\n", ["red", "class 1", "blue"]),
    ],
)
def test_numbers_and_marks_that_belong_to_names_stay(text: str, names: list[str], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(text)
    assert list(labels.read(tmp_path / "labels.txt", {3}).names) == names


@pytest.mark.parametrize("text", ["- no\n- yes\n", "names: {0: no, 1: yes}\n", "names: [no, yes]\n"])
def test_yes_and_no_are_names_in_yaml(text: str, tmp_path: Path) -> None:
    (tmp_path / "labels.yaml").write_text(text)
    assert labels.read(tmp_path / "labels.yaml", {2}).names == ("no", "yes")


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_read(order: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("Äpfel\r\nBirnen\r\n".encode(order))
    read = labels.read(tmp_path / "labels.txt", {2})
    assert read.names == ("Äpfel", "Birnen") and not read.notes


@pytest.mark.parametrize("data", [
    "りんご\nなし\n".encode("utf-16-be"), "a\nb\n".encode("utf-32"), b"a\0\nb\n", b"gr\xfcn\0\nrot\n",
])  # fmt: skip
def test_what_is_no_text_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(data)
    with pytest.raises(PicamError, match="NUL characters; save it as UTF-8"):
        labels.read(tmp_path / "labels.txt", {2})
    assert not labels.fits(tmp_path / "labels.txt", {2})


def test_a_name_that_is_a_whole_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\n" + 100_000 * "x" + "\n")
    with pytest.raises(PicamError, match="the name of class 1 has 100,000 characters") as error:
        labels.read(tmp_path / "labels.txt", {2})
    assert "--labels" in error.value.hint
    (tmp_path / "labels.txt").write_text("cat\n" + 200 * "x" + "\n")
    assert len(labels.read(tmp_path / "labels.txt", {2}).names[1]) == 200


@pytest.mark.parametrize(
    ("name", "text", "count", "names"),
    [
        ("labels.txt", "0 cat\n3 dog\n", 4, ["cat", "class 1", "class 2", "dog"]),
        ("labels.txt", "1 cat\n3 dog\n", 3, ["cat", "class 1", "dog"]),
        ("labels.txt", "7 Up\n1 Coke\n", 8, ["class 0", "Coke", *(f"class {at}" for at in range(2, 7)), "Up"]),
        ("labels.txt", "7 Up\n1 Coke\n", 2, ["7 Up", "1 Coke"]),
        ("labels.json", '{"0": "cat", "3": "dog"}', 4, ["cat", "class 1", "class 2", "dog"]),
        ("labels.json", '{"1": "cat", "2": "dog"}', 3, ["class 0", "cat", "dog"]),
        ("labels.txt", "red\n\ngreen\n\nblue\n", 5, ["red", "class 1", "green", "class 3", "blue"]),
    ],
)
def test_the_count_decides(name: str, text: str, count: int, names: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert list(labels.read(tmp_path / name, {count}).names) == names


def test_what_was_done_to_the_lines_is_told(tmp_path: Path) -> None:
    for text, said in (
        ("2 b\n0 a\n1 c\n", "sorted"),
        ("a\n\nb\n\nc\n", "has 2 empty lines: they were left out"),
        ("a\n\nb\nc\n", "has an empty line: it was left out"),
        ("1 a\n2 b\n3 c\n", "from 1"),
    ):
        (tmp_path / "labels.txt").write_text(text)
        assert any(said in note for note in labels.read(tmp_path / "labels.txt", {3}).notes)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_with_several_label_lists_the_count_decides_and_a_tie_is_reported(tmp_path: Path) -> None:
    source = colour_keras(tmp_path / "m.h5")
    write(tmp_path / "labels.txt", "one\ntwo\n")
    write(tmp_path / "coco_labels.txt", "".join(f"thing {at}\n" for at in range(80)))
    write(tmp_path / "classes.txt", "red\ngreen\nblue\n")
    write(tmp_path / "notes.json", '{"names": 7}')
    report = convert(source, tmp_path / "o")
    assert report.labels == ["red", "green", "blue"] and not any("would fit" in note for note in report.notes)
    write(tmp_path / "labels.json", '["r", "g", "b"]')
    report = convert(source, tmp_path / "o")
    assert report.labels == ["red", "green", "blue"]
    assert any("labels.json would fit" in note and "--labels" in note for note in report.notes)


def test_a_list_that_does_not_fit_is_an_error_only_where_it_is_surely_meant(tmp_path: Path) -> None:
    source = colour_keras(tmp_path / "m.h5")
    write(tmp_path / "coco_labels.txt", "a\nb\n")
    write(tmp_path / "metadata.json", '{"labels": ["x"]}')
    assert convert(source, tmp_path / "o").labels == ["class 0", "class 1", "class 2"]
    for given in (None, write(tmp_path / "labels.txt", "a\nb\n")):
        with pytest.raises(PicamError, match="2 labels, the network has 3 outputs"):
            convert(source, tmp_path / "o", Options(labels=given))


def test_a_thousand_names_serve_a_network_with_a_background(tmp_path: Path) -> None:
    kernel = np.zeros((3, 1001))
    source = colour_keras(tmp_path / "m.h5", kernel)
    write(tmp_path / "labels.txt", "".join(f"name {at}\n" for at in range(1000)))
    report = convert(source, tmp_path / "o")
    assert report.labels[:2] == ["background", "name 0"] and any("background" in note for note in report.notes)


def test_a_sound_model_is_named(tmp_path: Path) -> None:
    source = colour_keras(tmp_path / "m.h5", shape=(None, 43, 232, 3))
    write(tmp_path / "metadata.json", '{"wordLabels": ["clap", "snap", "noise"], "modelName": "x"}')
    with pytest.raises(PicamError, match="sound"):
        convert(source, tmp_path / "o")


@pytest.mark.parametrize(
    "text", ["{", "[[[", '{"a": {}}', "[1, [2]]", "{'a'", "\x00\x01", ",,,\n,,,\n", "item {", "- [", "0 \n"]
)
@pytest.mark.parametrize("name", ["labels.txt", "labels.json", "labels.csv", "labels.yaml", "labels.pbtxt"])
def test_odd_files_are_refused_or_read_never_a_traceback(text: str, name: str, tmp_path: Path) -> None:
    write(tmp_path / name, text)
    try:
        assert labels.read(tmp_path / name, {3}).names
    except PicamError as error:
        assert error.hint
    assert not labels.fits(tmp_path / name, {3}), "no file here has three labels"
    assert label_files.candidates(tmp_path, tmp_path) in ([], [tmp_path / name])
