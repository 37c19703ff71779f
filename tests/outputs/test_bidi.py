"""Lines of mixed directions are drawn in the order in which people read them."""

from __future__ import annotations

import random
import shutil
import subprocess
import unicodedata

import pytest

from picam_infer.core import isolated
from picam_infer.outputs import bidi
from picam_infer.outputs.bidi import Run


def seen(text: str, base: int | None = 0) -> str:
    """Return a line's characters from left to right."""
    return "".join(bidi.mirrored(run.text) if run.right_to_left else run.text for run in bidi.runs(text, base))


@pytest.mark.parametrize(
    ("text", "base", "shown"),
    [
        ("cat  98 %", 0, "cat  98 %"),
        (f"{isolated('חתול')}  98 %", 0, "לותח  98 %"),
        (f"{isolated('חתול 7')}  98 %", 0, "7 לותח  98 %"),
        ("חתול 98 %", None, "% 98 לותח"),  # a line of its own in Hebrew
        ("חתול 98 %", 0, "98 לותח %"),
        ("a חתול (x) b", 0, "a לותח (x) b"),
        ("cat (חתול) 5", 0, "cat (לותח) 5"),
        ("قطة", 0, "ةطق"),
        (f"label {isolated('(חתול)')}: lost", 0, "label (לותח): lost"),
        ("\u202eabc\u202c", 0, "abc"),
        ("", 0, ""),
        (isolated(""), 0, ""),
    ],
)
def test_known_lines(text: str, base: int | None, shown: str) -> None:
    assert seen(text, base) == shown


def test_a_runs_characters_stay_in_reading_order_for_the_shaping() -> None:
    assert bidi.runs("a שלום, עולם b") == [Run("a ", False), Run("שלום, עולם", True), Run(" b", False)]


@pytest.mark.skipif(not shutil.which("fribidi"), reason="needs fribidi (Debian: libfribidi-bin)")
@pytest.mark.parametrize("base", [0, 1])
def test_any_line_is_ordered_as_fribidi_does(base: int) -> None:
    chance = random.Random(4)
    alphabet = [*"aBאתبل19٣ %+-.,:()[]/$!", "  "]
    lines = ["".join(chance.choices(alphabet, k=chance.randint(1, 14))) for _ in range(3000)]
    lines = [line for line in lines if line.strip()]
    command = [
        "fribidi",
        "--nopad",
        "--nobreak",
        "--ltr" if not base else "--rtl",
        "--charset",
        "UTF-8",
        "--width",
        "999",
    ]
    out = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=True).stdout
    theirs = unicodedata.normalize("NFKC", out).split("\n")[: len(lines)]  # it also joins the letters
    wrong = [
        (line, seen(line, base), other) for line, other in zip(lines, theirs, strict=True) if seen(line, base) != other
    ]
    assert not wrong, f"{len(wrong)} of {len(lines)}: {wrong[:5]}"
