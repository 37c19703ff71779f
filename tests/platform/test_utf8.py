"""Text that UTF-8 cannot hold: what Python makes of a file name's undecodable bytes."""

from __future__ import annotations

import json
import os

import pytest

from picam_infer.platform import utf8


@pytest.mark.parametrize("indent", [None, 1])
def test_a_name_that_is_not_utf8_comes_back_unchanged(indent: int | None) -> None:
    name = os.fsdecode(b"caf\xe9 \xc3\xa9.jpg")
    written = utf8.json_bytes({name: [name]}, indent=indent)
    assert "é".encode() in written and (b"\n" in written) == (indent is not None)
    assert json.loads(written.decode()) == {name: [name]}
    assert os.fsencode(json.loads(written)[name][0]) == b"caf\xe9 \xc3\xa9.jpg"


def test_text_is_never_refused() -> None:
    assert utf8.encoded("é \udce9 \ud800") == "é \\udce9 \\ud800".encode()
