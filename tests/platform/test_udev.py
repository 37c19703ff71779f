"""udev at work: what is wrong with a device is said when it has come to rest."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from picam_infer.core import Disconnected
from picam_infer.platform import udev


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a /run/udev that has been at rest for long."""
    monkeypatch.setattr(udev, "RUN", tmp_path)
    at_rest(tmp_path)
    return tmp_path


def at_rest(run: Path) -> None:
    (run / "queue").unlink(missing_ok=True)
    os.utime(run, (time.time() - 60, time.time() - 60))


def test_it_works_while_it_has_a_queue_and_a_moment_longer(run: Path) -> None:
    assert not udev.working()
    (run / "queue").touch()
    os.utime(run, (0, 0))
    assert udev.working()
    (run / "queue").unlink()
    assert udev.working(), "what it just set up may bring the next device"
    at_rest(run)
    assert not udev.working()


def test_a_clock_that_was_set_back_is_no_work(run: Path) -> None:
    os.utime(run, (time.time() + 3600, time.time() + 3600))
    assert not udev.working()


def test_without_udev_nothing_is_waited_for(tmp_path: Path) -> None:
    assert not udev.working(tmp_path / "none")


def test_a_device_is_tried_until_udev_rests(run: Path) -> None:
    (run / "queue").touch()
    tries, waits = [], []

    def opener() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise Disconnected("permission denied", "usermod")
        return "opened"

    assert udev.opened(opener, threading.Event(), lambda: waits.append(1)) == "opened"
    assert (len(tries), len(waits)) == (3, 2)


def test_at_rest_the_reason_is_told_at_once(run: Path) -> None:
    def opener() -> None:
        raise Disconnected("no camera is plugged in", "plug one in")

    with pytest.raises(Disconnected, match="no camera"):
        udev.opened(opener, threading.Event(), lambda: pytest.fail("waits for nothing"))


def test_it_is_told_when_udev_never_rests_and_when_the_program_ends(run: Path) -> None:
    (run / "queue").touch()

    def opener() -> None:
        raise Disconnected("no camera is plugged in", "plug one in")

    with pytest.raises(Disconnected):
        udev.opened(opener, threading.Event(), lambda: None, patience_s=0.3)
    stop = threading.Event()
    with pytest.raises(Disconnected):
        udev.opened(opener, stop, stop.set)


def test_an_opened_device_gets_the_whole_patience_again(run: Path) -> None:
    (run / "queue").touch()
    settling = udev.Settling(patience_s=0.0)
    assert not settling.excuses()
    patient = udev.Settling()
    assert patient.excuses()
    patient.over()
    assert patient.excuses()
