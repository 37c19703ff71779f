"""Labels as folders: distinct, portable, and readable where that is possible."""

from __future__ import annotations

import itertools
import re
import unicodedata

import pytest

from picam_infer.models.label_folders import folder_name, folder_names

LABELS = [
    None, "", "unknown", "Unknown", ".", "..", "...", " ", "cat", "Cat", "CAT", "cat.", "cat ", " cat", ".cat", "C#",
    "C!",
    "C", "C-", "A/B", "A-B", "A\\B", "A:B", "A_B", "🐱", "🐶", "👩‍🔬", "👩", "कि", "कु", "क", "é", "e\u0301", "ﬁ", "fi",
    "CON", "con", "aux", "aux.txt", "AUX.", "nul", "COM1", "com¹", "lpt9.x", "x" * 40, "x" * 41, "x" * 40 + "1",
    "x" * 40 + "2", "猫" * 60, "猫" * 61, "ẞ", "ss", "ß", "İ", "i̇", "a\x00b", "a\nb", "a\u202eb", "a\u200bb", "ab", "7",
    "Straße 1", "v1.2", "a  b", "a b", "K", "\u212a", "ſ", "s", "<>:\"|?*", "~", "$HOME", "%TEMP%", "-rf", "--", "-",
]  # fmt: skip


def folded(name: str) -> str:
    """As a file system compares that knows neither case nor composed letters."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


@pytest.mark.parametrize("label", LABELS)
def test_names_are_portable(label: str | None) -> None:
    for name in (folder_name(label), folder_names(LABELS)[label]):
        assert name and len(name) <= 40 and len(name.encode()) <= 112
        assert not re.search(r'[\x00-\x1f\x7f<>:"/\\|?*]', name) and name == unicodedata.normalize("NFC", name)
        assert name[0] not in " ." and name[-1] not in " ." and name not in (".", "..")
        assert not re.fullmatch(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", name)


def test_no_two_labels_share_a_name() -> None:
    for one, other in itertools.combinations(LABELS, 2):
        assert folder_name(one) != folder_name(other), (one, other)
    names = folder_names(LABELS)
    assert len({folded(name) for name in names.values()}) == len(LABELS) == len(names)


def test_ordinary_labels_stay_as_they_are_and_names_do_not_depend_on_the_order() -> None:
    for label in ("cat", "Class 1", "7", "猫", "कि", "🐱", "v1.2", "no-entry", "left_turn", "Straße 1", "C++"):
        assert folder_name(label) == label
    assert folder_name(None) == "unknown" and folder_name("C#").startswith("C-")
    assert folder_names(LABELS) == folder_names(reversed(LABELS))
