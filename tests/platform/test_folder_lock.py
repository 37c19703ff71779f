"""The lock on a folder: threads and processes, and what happens where there is none."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from picam_infer.platform.folder_lock import StillHeld, locked

HOLD = """
import sys
from pathlib import Path
from picam_infer.platform.folder_lock import locked
with locked(Path(sys.argv[1]), 5):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds the lock until its standard input ends."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_is_waited_for_and_named_when_it_does_not_finish(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with pytest.raises(StillHeld) as held, locked(tmp_path, 0.05):
        pass
    assert held.value.holder in (holder.pid, None), "None: a file system whose numbers /proc/locks does not tell"
    holder.kill()
    with locked(tmp_path, 5):
        pass


def test_threads_wait_for_each_other_and_not_for_ever(tmp_path: Path) -> None:
    seen: list[str] = []

    def other() -> None:
        try:
            with locked(tmp_path, 0.05):
                seen.append("both at once")
        except StillHeld:
            seen.append("waited")

    with locked(tmp_path, 5):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(10)
    assert seen == ["waited"]
    with locked(tmp_path, 0.05):
        pass


def test_a_folder_that_cannot_be_opened_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "missing", tmp_path / "file"):
        with locked(folder, 0.05):
            pass
