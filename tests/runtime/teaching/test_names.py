"""Twin of `picam_infer.runtime.teaching.names`: what a person types becomes a folder's name."""

from __future__ import annotations

import pytest

from picam_infer.core import UsageError
from picam_infer.models import bundle as bundles
from picam_infer.runtime.teaching.names import lesson_name, model_name


@pytest.mark.parametrize(
    ("typed", "name"),
    [("socks", "socks"), ("my socks", "my-socks"), ("../../etc", "etc"), ("Größe 4", "Größe-4"), ("a/b", "a-b"),
     ("靴" * 40, "靴" * 20)],
)  # fmt: skip
def test_any_text_becomes_a_name_that_a_folder_can_have(typed: str, name: str) -> None:
    assert lesson_name(typed) == name


@pytest.mark.parametrize("typed", ["", " ", "/", "...", "x.before", "x.pictures"])
def test_what_cannot_be_a_name_is_refused(typed: str) -> None:
    with pytest.raises(UsageError):
        lesson_name(typed)


def test_a_model_that_is_found_by_its_name_is_written_by_its_name() -> None:
    folder = bundles.load("digits").folder
    assert model_name(folder) == "digits"
    assert model_name(folder.parent / "elsewhere" / "digits") == str(folder.parent / "elsewhere" / "digits")
