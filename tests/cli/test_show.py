"""`picam-infer show` and `picam-infer instance` where there is no service."""

from __future__ import annotations

from pathlib import Path

import pytest

from picam_infer import cli
from picam_infer.platform import service_manager


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_manager, "SETTINGS", tmp_path)


@pytest.mark.parametrize("words", [[], ["--instance", "bench"]])
def test_a_window_without_a_service_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", *words]) == 69
    said = capsys.readouterr().err
    assert "there is no service with the configuration" in said and "picam-infer run" in said and said.count("\n") == 1


def test_no_services_are_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["instance"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "there are no services yet" in err
    (tmp_path / "config.yaml").touch()
    assert cli.main(["instance"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("picam-infer.service") and err == ""
