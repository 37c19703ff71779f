"""What a service without a model or with wrong settings waits for."""

from __future__ import annotations

from pathlib import Path

from makers import until

from picam_infer.core import ConfigError
from picam_infer.runtime.waiting import WrongConfiguration


def test_a_file_that_is_still_being_written_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("model: [\n")
    wrong = WrongConfiguration(path, ConfigError("no end"))
    assert not wrong.changed()
    with path.open("w") as editor:
        editor.write("model: digits\n")
        editor.flush()
        assert not wrong.changed()
        editor.write("display: {kind: none}\n")
    assert not wrong.changed()
    until(wrong.changed, 20)
    assert not wrong.changed()
