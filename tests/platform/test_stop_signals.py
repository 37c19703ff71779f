"""The signals that end a command, sent to real ones while they are at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lessons import backbone, pictures
from makers import until

# It cleans up for a while, as a command that removes many files does; more signals come meanwhile, and at its very end.
_PROGRAM = """
import atexit, os, signal, sys, time

def again(count=30):
    for _ in range(count):
        os.kill(os.getpid(), signal.{name})

from picam_infer.platform import early_signals, stop_signals
early_signals.prepare(service=False)
stop_signals.PATIENCE_S = {patience_s}
from picam_infer import cli
from picam_infer.cli import models

def work(args):
    try:
        again(1)
        time.sleep(60)
    finally:
        again()
        print("cleaned up", flush=True)

models.main = work
atexit.register(again)
raise SystemExit(cli.main(["models"]))
"""


def ended(name: str, patience_s: float) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", _PROGRAM.format(name=name, patience_s=patience_s)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_only_the_first_of_many_signals_counts(name: str, code: int) -> None:
    done = ended(name, 60.0)
    assert (done.returncode, done.stdout, done.stderr) == (code, "cleaned up\n", "picam-infer models: stopped\n")


def test_who_does_not_come_to_an_end_is_ended_by_another_one() -> None:
    done = ended("SIGTERM", -1.0)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


def test_what_was_started_to_go_on_without_its_terminal_does(tmp_path: Path) -> None:
    program = _PROGRAM.replace("time.sleep(60)", "again()").format(name="SIGHUP", patience_s=60.0)
    words = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert "cleaned up" in done.stdout and "stopped" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_command_that_is_stopped_leaves_nothing_behind(number: int, tmp_path: Path) -> None:
    backbone(tmp_path / "base")
    pictures(tmp_path / "photos", 60)
    place = tmp_path / "tmp"
    place.mkdir()
    words = [sys.executable, "-m", "picam_infer", "teach", "-m", "./base", "-o", "balls", "photos"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                               env={**os.environ, "TMPDIR": str(place)})  # fmt: skip
    try:
        until(lambda: list(place.glob("picam-infer-scratch-*")))
        process.send_signal(number)
        time.sleep(0.001)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, said) == (128 + number, "picam-infer teach: stopped\n")
    assert not list(place.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".base-build", "base", "photos", "tmp"]
