"""What is printed and logged: on full disks, closed and old terminals, and with text that would steer a terminal."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from makers import make_bundle, picture

from picam_infer.platform import terminal
from picam_infer.platform.systemd import Notifier, journal_handler

NASTY = "da\x1b[31mrk\u202e\x07\x9b猫"
SHOWN = "da\\x1b[31mrk\\u202e\\x07\\x9b猫"


def test_what_steers_a_terminal_is_made_visible() -> None:
    assert terminal.printable(NASTY) == SHOWN
    assert terminal.printable("two\nlines\r\u2028") == "two\\x0alines\\x0d\\u2028"
    assert terminal.printable("\udcff.png") == "\\udcff.png"
    for fine in ("कि", "👩‍🔬", "é", "e\u0301", "שלום", "ك\u200cك", "A/B C#"):
        assert terminal.printable(fine) == fine


def test_json_stays_json_and_shows_what_the_terminal_can() -> None:
    for encoding in ("utf-8", "latin-1", "ascii"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        text = terminal.json_text({"label": NASTY + "🐱\udcff"}, stream)
        text.encode(encoding)
        assert json.loads(text) == {"label": NASTY + "🐱\udcff"}
        assert not any(c in text for c in "\x1b\u202e\x9b")
        assert ("猫" in text) == (encoding == "utf-8")


def test_the_log_and_the_status_are_clean(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    handler = journal_handler({})
    log = logging.Logger("outside")
    log.addHandler(handler)
    seen: list[logging.LogRecord] = []
    handler.addFilter(lambda record: seen.append(record) or True)  # type: ignore[func-returns-value]
    log.info("sees %s", NASTY, extra={"PICAM_LABEL": NASTY})
    try:
        raise ValueError(NASTY + "\n<0>forged")
    except ValueError:
        log.exception("broken")
    said = capsys.readouterr().err
    assert f"picam-infer: sees {SHOWN}\n" in said and seen[0].__dict__["PICAM_LABEL"] == SHOWN
    assert "Traceback" in said and not any(c in said for c in "\x1b\u202e\x9b")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}).status("sees a\nWATCHDOG=trigger")
        assert manager.recv(4096) == b"STATUS=sees a\\x0aWATCHDOG=trigger"


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    make_bundle(tmp_path / "m", labels=(NASTY, "bright🐱é"))
    for value, name in ((0, "a\x1b]0;x\x07\u202e.png"), (255, "b.png")):
        cv2.imwrite(str(tmp_path / name), picture(value))
    return tmp_path


VERBS = [
    ("classify", "-m", "./m", "a\x1b]0;x\x07\u202e.png"), ("classify", "-m", "./m", "--json", "b.png"), ("devices",),
    ("devices", "--json"), ("check",), ("bench", "-m", "./m"), ("convert", "m/model.xml", "-o", "again"),
    ("run", "--source", "b.png", "-m", "./m", "--display", "none", "--json"), ("--help",), ("--version",),
    ("convert", "--help"),
]  # fmt: skip


def run(folder: Path, words: tuple[str, ...], out: str, redirect: str = "", **environment: str) -> tuple[int, str]:
    line = f'exec "$0" -m picam_infer "$@" {redirect or ">" + out}'
    config = folder / "c.yaml"
    config.write_text("web: off\n")
    more = ("-c", "c.yaml") if words[0] in ("run", "check") else ()
    done = subprocess.run(["bash", "-c", line, sys.executable, *words, *more], cwd=folder, capture_output=True,
                          env={**os.environ, "HOME": str(folder), **environment}, check=False, timeout=100)  # fmt: skip
    return done.returncode, done.stderr.decode(environment.get("PYTHONIOENCODING", "utf-8"))


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_full_disk_is_one_line_and_a_failure(scene: Path, words: tuple[str, ...]) -> None:
    code, err = run(scene, words, "/dev/full", PYTHONUNBUFFERED="1" if words[-1] == "--version" else "")
    said = [line for line in err.splitlines() if "standard output cannot be written (No space left on device)" in line]
    assert (code, len(said)) == (1, 1), err
    assert "Traceback" not in err and "Exception ignored" not in err


@pytest.mark.parametrize("words", [VERBS[0], VERBS[2], VERBS[4], VERBS[7]], ids=" ".join)
def test_a_closed_standard_output_is_one_line_and_a_failure(scene: Path, words: tuple[str, ...]) -> None:
    code, err = run(scene, words, "", ">&-")
    assert code == 1 and err.count("standard output is closed") == 1, err
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [VERBS[0], VERBS[1], VERBS[7]], ids=" ".join)
def test_an_old_terminal_and_nasty_names(scene: Path, words: tuple[str, ...]) -> None:
    code, err = run(scene, words, "out", PYTHONIOENCODING="latin-1")
    text = (scene / "out").read_bytes().decode("latin-1") + err
    assert code == 0 and "Traceback" not in err
    assert not any(c in text for c in "\x1b\x07\x9b\u202e")
    if "--json" in words:
        assert json.loads((scene / "out").read_text("latin-1").splitlines()[0])["label"] == "bright🐱é"


def test_a_closed_standard_error_says_nothing_on_standard_output(scene: Path) -> None:
    code, _ = run(scene, ("classify", "-m", "nowhere", "b.png"), "out", ">out 2>&-")
    assert code == 66 and (scene / "out").read_bytes() == b""


def test_nothing_is_printed_past_it() -> None:
    """What runs in a process of its own, whose output a parent reads, is not for people."""
    package = Path(terminal.__file__).parents[1]
    children = {"probe.py"}
    found = [
        f"{path.relative_to(package)}:{number}" for path in package.rglob("*.py") if path.name not in children
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1) if re.search(r"(?<![\w.])print\(", line)
    ]  # fmt: skip
    assert found == []
