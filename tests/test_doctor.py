"""`picam-infer check` and `devices`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from makers import make_bundle

from picam_infer import cli, devices, displays
from picam_infer.core import Lost


def settings(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(
        json.dumps({"source": "demo", "model": str(tmp_path / "m"), "display": {"kind": "none"}, **changes})
    )
    return path


def check(capsys: pytest.CaptureFixture[str], path: Path) -> tuple[int, dict[str, dict[str, str]]]:
    code = cli.main(["check", "--json", "-c", str(path)])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return code, {row["part"]: row for row in rows}


def test_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_bundle(tmp_path / "m")
    code, found = check(capsys, settings(tmp_path))
    assert code == 0, found
    assert {found[part]["grade"] for part in ("config", "model", "openvino", "source", "display")} == {"ok"}


def no_display(settings: object) -> None:
    raise Lost("no desktop is running", "start one")


def test_every_finding_has_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(displays, "open_display", no_display)
    code, found = check(capsys, settings(tmp_path, source="camera:none such", display={"kind": "window"}))
    assert code == 1
    errors = [row for row in found.values() if row["grade"] == "error"]
    assert {row["part"] for row in errors} >= {"model", "source", "display"}
    assert all(row["hint"] for row in errors)


def test_a_bad_configuration_is_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("sourze: demo\n")
    code, found = check(capsys, path)
    assert code == 78
    assert "did you mean source?" in found["config"]["hint"]


def test_text_is_one_line_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_bundle(tmp_path / "m")
    assert cli.main(["check", "-c", str(settings(tmp_path))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("ok    ", "note  ", "ERROR ")) for line in lines)


def test_devices_lists_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["devices"]) == 0
    said = capsys.readouterr().out
    assert all(title in said for title in devices.LISTINGS)
    assert cli.main(["devices", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any(row["kind"] == "openvino" and row["name"] == "CPU" for row in rows)


def test_monitors_are_read_from_sysfs(tmp_path: Path) -> None:
    port = tmp_path / "card1-HDMI-A-1"
    port.mkdir()
    (port / "status").write_text("connected\n")
    (port / "modes").write_text("1920x1080\n1280x720\n1280x720\n")
    (row,) = devices.monitors(tmp_path)
    assert row == {"name": "card1-HDMI-A-1", "status": "connected", "modes": ["1920x1080", "1280x720"],
                   "text": "card1-HDMI-A-1  connected 1920x1080"}  # fmt: skip
