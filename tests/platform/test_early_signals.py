"""Signals that come while the program is being imported: a hook sends a real one just before a module is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from makers import make_bundle

_PROGRAM = """
import os, signal, sys

class Before:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Before())
sys.argv = ["picam-infer", *{words!r}]
{more}
from picam_infer.__main__ import main
raise SystemExit(main())
"""
# The settings have been read, and nobody listens yet.
_LATE = """
from pathlib import Path
from picam_infer.platform import early_signals
early_signals.prepare(service=True)
from picam_infer.runtime import daemon

class Late(daemon.Supervisor):
    def __init__(self, *words, **more):
        Path({path!r}).write_text({text!r})
        os.kill(os.getpid(), signal.SIGHUP)
        super().__init__(*words, **more)

daemon.Supervisor = Late
"""


def started(
    number: int, module: str, *words: str, more: str = "", before: str = ""
) -> subprocess.CompletedProcess[str]:
    program = _PROGRAM.format(module=module, number=int(number), words=[*map(str, words)], more=more)
    return subprocess.run(
        ["sh", "-c", f"{before} exec \"$@\"", "sh", sys.executable, "-c", program],
        capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ),
    )  # fmt: skip


def watching(tmp_path: Path, *words: str) -> list[str]:
    make_bundle(tmp_path / "m")
    return ["run", "--source", "demo", "--model", str(tmp_path / "m"), "--display", "none", "--frames", "3", "--json",
            *words]  # fmt: skip


@pytest.mark.parametrize("module", ["picam_infer.core", "numpy", "numpy.linalg", "yaml", "cv2", "picam_infer.cli.run"])
def test_interrupted_while_it_is_imported_it_ends_without_a_word(module: str, tmp_path: Path) -> None:
    done = started(signal.SIGINT, module, *watching(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_who_ignores_interrupts_is_not_ended_by_one(tmp_path: Path) -> None:
    done = started(signal.SIGINT, "numpy", *watching(tmp_path), before="trap '' INT;")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3, done.stderr


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
@pytest.mark.parametrize("module", ["picam_infer.core", "cv2", "picam_infer.runtime.supervisor"])
def test_what_is_meant_for_the_service_does_not_end_it(module: str, number: int, tmp_path: Path) -> None:
    done = started(number, module, *watching(tmp_path))
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3, done.stderr
    assert "configuration read again" not in done.stderr, "it has been read only now"


def test_other_commands_end_with_their_terminal() -> None:
    assert started(signal.SIGHUP, "numpy", "devices").returncode == -signal.SIGHUP


def test_a_reload_before_anybody_listens_is_made_up_for(tmp_path: Path) -> None:
    make_bundle(tmp_path / "m")
    path = tmp_path / "c.yaml"
    text = f"source: demo\nmodel: {tmp_path / 'm'}\ndisplay: {{kind: none}}\nweb: off\ndecide: {{top: "
    path.write_text(f"{text}1}}\n")
    late = _LATE.format(path=str(path), text=f"{text}2}}\n")
    done = started(signal.SIGHUP, "none of them", "run", "-c", str(path), "--frames", "30", "--json", more=late)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout.splitlines()[-1])["top"]) == 2


def test_a_pause_asked_for_early_is_one(tmp_path: Path) -> None:
    """Paused, it would never see three pictures: it is resumed by whoever notices."""
    program = _PROGRAM.format(module="cv2", number=int(signal.SIGUSR1), words=watching(tmp_path), more="")
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "paused" in line:
                break
        process.send_signal(signal.SIGUSR2)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0 and len(out.splitlines()) == 3, err
