"""`picam-infer check` and `devices`."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import stick_lab
from makers import make_bundle
from stick_lab import StickLab

from picam_infer import cli
from picam_infer.cli import check as check_verb
from picam_infer.cli import devices
from picam_infer.core import Disconnected
from picam_infer.platform import sysinfo
from picam_infer.platform.sysinfo import Memory


def settings(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(
        json.dumps(
            {
                "source": "demo",
                "model": str(tmp_path / "m"),
                "display": {"kind": "none"},
                "web": {"listen": "127.0.0.1:0"},
                **changes,
            }
        )
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


def test_a_model_folder_beside_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_bundle(tmp_path / "m")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, found = check(capsys, settings(tmp_path, model="./m"))
    assert code == 0, found


def test_a_port_that_another_program_has_is_named_with_a_free_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "m")
    code = "import socket as s; t = s.create_server(('127.0.0.1', 0)); print(t.getsockname()[1], flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin and other.stdout
        port = int(other.stdout.readline())
        code, found = check(capsys, settings(tmp_path, web={"listen": f"127.0.0.1:{port}"}))
        other.stdin.close()
    said = found["web"]
    assert code == 1 and said["grade"] == "error"
    assert said["text"].startswith(f"cannot listen on 127.0.0.1:{port}: port {port} is used by ")
    assert said["text"].endswith(f"(PID {other.pid})")
    free = re.search(r"set web.listen: 127.0.0.1:(\d+)$", said["hint"])
    assert free and int(free[1]) > port
    socket.create_server(("127.0.0.1", int(free[1]))).close()
    assert check(capsys, settings(tmp_path, web={"listen": f"127.0.0.1:{port}"}))[0] == 0


@pytest.mark.parametrize("listen", ["192.0.2.1:8080", "no-such-machine.invalid:8080"])
def test_an_address_that_is_not_this_machines_is_named(
    listen: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "m")
    path = settings(tmp_path, web={"listen": listen, "token_file": str(tmp_path / "token")})
    assert cli.main(["check", "-c", str(path)]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ERROR")]
    assert line.startswith(f"ERROR web: cannot listen on {listen}: {listen.partition(':')[0]} is not an address of")
    assert "0.0.0.0:8080" in line


def no_display(config: object) -> None:
    raise Disconnected("no desktop is running", "start one")


def test_every_finding_has_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_verb, "open_display", no_display)
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


def test_outlets_and_the_folder_of_kept_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_bundle(tmp_path / "m")
    outlets = [{"kind": "jsonl", "path": "/proc/nope/e"}, {"kind": "command", "argv": ["/not/there"]}]
    path = settings(tmp_path, events=outlets, keep={"folder": "/proc/nope"})
    code, found = check(capsys, path)
    assert code == 1 and found["events"]["grade"] == found["keep"]["grade"] == "error"
    assert found["events"]["hint"] and found["keep"]["hint"]
    good = [{"kind": "jsonl", "path": str(tmp_path / "e")}]
    keep = {"folder": str(tmp_path / "kept"), "reserve_mb": 0.0, "max_mb": 1.0}
    code, found = check(capsys, settings(tmp_path, events=good, keep=keep))
    assert code == 0 and found["events"]["grade"] == found["keep"]["grade"] == "ok"
    code, found = check(capsys, settings(tmp_path, keep={**keep, "reserve_mb": 1e9}))
    assert code == 1 and "reserve_mb" in found["keep"]["hint"]


def test_labels_that_the_model_never_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_bundle(tmp_path / "m")
    outlet = {"kind": "jsonl", "path": str(tmp_path / "e"), "labels": ["bright", "unknown", "brihgt", "seven"]}
    other = {"kind": "jsonl", "path": str(tmp_path / "f"), "labels": ["seven"], "about": ["lost"]}
    assert cli.main(["check", "-c", str(settings(tmp_path, events=[outlet, other]))]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "never says" in line]
    assert notes == ["note  events: jsonl: m never says brihgt; did you mean bright?",
                     "note  events: jsonl: m never says seven; it says: dark, bright, unknown"]  # fmt: skip


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


needs_compiler = pytest.mark.skipif(not stick_lab.COMPILER, reason="needs a C compiler for the stand-in libmvnc")


@pytest.fixture
def plugged(sticks: StickLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StickLab:
    """A stick, and a model for it and the CPU in `m`."""
    for place in ("sticks.Usb", "ncs.engine.Usb"):
        monkeypatch.setattr(f"picam_infer.inference.engines.{place}", lambda: sticks.usb)
    sticks.plug()
    sticks.set("2", ms=0)
    stick_lab.twin(tmp_path / "m")
    return sticks


@needs_compiler
def test_a_stick_by_name(plugged: StickLab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["check", "-c", str(settings(tmp_path, engine={"kind": "ncs", "device": "2-ma2450"}))])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "ncs:2-ma2450 took the graph" in said and "on CPU:" in said and "up to 0.00" in said
    assert cli.main(["check", "-c", str(settings(tmp_path, engine={"kind": "ncs", "device": "other"}))]) == 1
    assert "there is 2-ma2450, not other" in capsys.readouterr().out


@needs_compiler
def test_bench_measures_the_stick(plugged: StickLab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "-m", str(tmp_path / "m"), "--json"]) == 0
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    (stick,) = (row for name, row in rows.items() if "ncs:2-ma2450" in name)
    assert "differ from the CPU's by up to 0.00" in stick["note"]
    plugged.unplug()
    assert cli.main(["bench", "-m", str(tmp_path / "m")]) == 0
    assert "ncs:" not in capsys.readouterr().out


def test_controls_that_the_source_does_not_have_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_bundle(tmp_path / "m")
    path = settings(tmp_path, source="demo", capture={"controls": {"gain": 3, "focus_auto": 0}})
    assert cli.main(["check", "-c", str(path)]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "capture.controls" in line]
    assert "demo" in line and "picam-infer devices" in line


@pytest.mark.parametrize(
    ("memory", "grade", "words"),
    [
        (Memory(436, 311), "ok", "no swap"),
        (Memory(436, 311, ("/dev/zram0",)), "ok", "zram"),
        (Memory(436, 311, ("/var/swap",)), "note", "zram keeps swap in memory"),
        (Memory(240, 100), "note", "512 MB"),
    ],
)
def test_memory_and_where_it_swaps_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, memory: Memory, grade: str,
    words: str,
) -> None:  # fmt: skip
    make_bundle(tmp_path / "m")
    monkeypatch.setattr(sysinfo, "memory", lambda: memory)
    code, found = check(capsys, settings(tmp_path))
    assert (code, found["memory"]["grade"]) == (0, grade)
    assert words in found["memory"]["text"] + found["memory"]["hint"]
