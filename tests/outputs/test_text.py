"""Lines of text in the world's scripts: shaped, ordered, each glyph from a font that has it, never a box."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from picam_infer.core import Pixels, isolated
from picam_infer.outputs import text

SIZE = 40
WHITE = (255, 255, 255)
SAMPLES = {"he": "חתול", "ar": "قطة", "th": "แมว", "hi": "बिल्ली", "ja": "猫"}


def font_for(characters: str) -> bool:
    if not shutil.which("fc-list"):
        return False
    wanted = " ".join(f"{ord(c):x}" for c in characters)
    return bool(subprocess.run(["fc-list", f":charset={wanted}"], capture_output=True, check=False).stdout)


def needs(characters: str) -> None:
    if not font_for(characters):
        pytest.skip(f"no font here has {characters} (Debian: fontconfig fonts-noto-core fonts-noto-color-emoji)")


def raqm() -> bool:
    from PIL import features

    return bool(features.check("raqm"))


shaped = pytest.mark.skipif(not raqm(), reason="needs Pillow with raqm (Debian: libfribidi0)")


def drawn(line: str, size: int = SIZE) -> Pixels:
    """Return a line as it is drawn, (H, W, 3), white on black and cut to what is there."""
    width, height = text.measure(line, size)
    image = np.zeros((height, width, 3), np.uint8)
    text.write(image, line, (0, 0), size, WHITE)
    columns = np.flatnonzero(image.any(axis=(0, 2)))
    return image[:, columns[0] : columns[-1] + 1]


def width(line: str) -> int:
    return drawn(line).shape[1]


@pytest.mark.parametrize("label", [*SAMPLES.values(), "cat", "🐱", "ಠ_ಠ", "𒀀", "\ue123", "🫨"])
def test_a_percentage_looks_the_same_beside_any_label(label: str) -> None:
    percent = drawn("98 %")
    line = drawn(f"{isolated(label)}  98 %")
    assert np.abs(line[:, -percent.shape[1] :].astype(int) - percent).mean() < 3


@pytest.mark.parametrize("label", ["고양이", "猫", "кошка", "çğışöü İ", "mèo – chó", "ασδφ", *SAMPLES.values()])
def test_letters_of_the_worlds_labels_are_drawn_each_with_its_own_shape(label: str) -> None:
    needs(label.replace(" ", ""))
    letters = [part for part in text.clusters(label) if part.strip()]
    shapes = {(drawn(letter).shape, drawn(letter).tobytes()) for letter in letters}
    assert len(shapes) == len(set(letters)), "boxes would be all the same"


def test_right_to_left_is_drawn_from_the_right() -> None:
    needs("אב")
    pair, alef, bet = drawn("אב"), drawn("א"), drawn("ב")
    assert np.array_equal(pair[:, : bet.shape[1] - 1], bet[:, : bet.shape[1] - 1])
    assert np.array_equal(pair[:, -alef.shape[1] + 1 :], alef[:, 1:])


@shaped
def test_arabic_is_joined_and_indic_and_thai_marks_sit_on_their_letters() -> None:
    for characters in ("ق", "क", "ท"):
        needs(characters)
    assert width("قطة") < sum(map(width, "قطة")) and width("قطة") < width("ق ط ة")
    assert width("क्ष") < width("क") + width("ष")
    assert width("ที่") <= width("ท") + 4


def test_what_hangs_below_the_line_is_not_cut() -> None:
    needs("မ")
    line = drawn("မြန်မာ")
    assert line[:-1].any() and not line[-1].any()


def test_emoji_have_their_colours_and_the_letters_theirs() -> None:
    needs("🐱")
    image = drawn("🐱 cat")
    cat, word = image[:, :SIZE], image[:, -width("cat") :]
    assert np.ptp(cat.astype(int), axis=2).max() > 100, "coloured"
    assert np.ptp(word.astype(int), axis=2).max() == 0
    dark = np.zeros((60, 200, 3), np.uint8)
    text.write(dark, "🐱 cat", (0, 0), SIZE, (0, 255, 0))
    assert (dark[:, 60:, 1] > 200).any() and not dark[:, 60:, [0, 2]].any()


@shaped
@pytest.mark.parametrize(
    "emoji", ["👩‍👩‍👧", "🇩🇪", "👍🏽", "1️⃣", "🏳️‍🌈", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"]
)
def test_an_emoji_of_several_parts_is_one(emoji: str) -> None:
    needs("🐱")
    assert list(text.clusters(emoji)) == [emoji]
    assert width(emoji) < 1.4 * width("🐱")


@pytest.mark.parametrize(
    ("label", "parts"),
    [
        ("कि", ["कि"]),
        ("ที่1", ["ที่", "1"]),
        ("e\u0301e", ["e\u0301", "e"]),
        ("🇩🇪🇫🇷", ["🇩🇪", "🇫🇷"]),
        ("🐱🐶", ["🐱", "🐶"]),
        ("", []),
    ],
)
def test_what_a_reader_takes_for_one_character(label: str, parts: list[str]) -> None:
    assert list(text.clusters(label)) == parts


def test_a_cut_never_leaves_half_a_character() -> None:
    family = "👩‍👩‍👧"
    for room in range(20, 400, 15):
        cut = text.shorten(family * 6, room, SIZE)
        assert cut == "…" or cut == family * 6 or cut.removesuffix("…") == family * cut.count(family)


WITHOUT_FONTS = """
import numpy as np
from picam_infer.outputs import text
def drawn(line):
    width, height = text.measure(line, 40)
    image = np.zeros((height, width, 3), np.uint8)
    text.write(image, line, (0, 0), 40, (255, 255, 255))
    return image
same = lambda a, b: a.shape == b.shape and np.array_equal(a, b)
print(same(drawn("🐱 x"), drawn("[cat face] x")), same(drawn("🇩🇪"), drawn("[DE]")))
print(same(drawn("\\U00012000"), drawn("U+12000")), same(drawn("חת"), drawn("U+05EAU+05D7")))
print(same(drawn("a\\n\\x07b"), drawn("a b")))
"""


def test_without_fonts_there_are_words_and_numbers_instead_of_boxes() -> None:
    """A process that cannot find fontconfig."""
    environment = {**os.environ, "PATH": "/nonexistent"}
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_FONTS], env=environment, capture_output=True, text=True, timeout=60
    )
    assert run.stdout.split() == ["True"] * 5, run.stderr


def test_a_line_that_was_drawn_costs_no_more_search(monkeypatch: pytest.MonkeyPatch) -> None:
    for label in SAMPLES.values():
        drawn(f"{isolated(label)}  41 %")

    def refuse(*words: object, **more: object) -> None:
        raise AssertionError(f"looked for a font again: {words}")

    monkeypatch.setattr(subprocess, "run", refuse)
    for percent in range(100):
        for label in SAMPLES.values():
            drawn(f"{isolated(label)}  {percent} %")


def test_text_is_wrapped_and_cut_to_its_room() -> None:
    lines = text.wrap("one two three four five", 120, 20)
    assert len(lines) > 1
    assert " ".join(lines) == "one two three four five"
    assert all(text.measure(line, 20)[0] <= 120 for line in lines)
    cut = text.shorten("w" * 100, 100, 20)
    assert cut.endswith("…")
    assert text.measure(cut, 20)[0] <= 100
