"""Events for a program: no shell, JSON on stdin, a time limit for all it started."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from event_samples import change, until

from picam_infer import config
from picam_infer.outputs.events.command import Program
from picam_infer.outputs.events.outlet import DeliveryError, Event


def run(*argv: str, timeout_s: float = 5.0) -> None:
    Program(config.Command(argv=argv, timeout_s=timeout_s)).deliver(Event(change("one")), lambda s: True)


def test_gets_the_json_and_no_shell(tmp_path: Path) -> None:
    program = tmp_path / "take it"
    program.write_text('#!/bin/sh\ncat > "$1"\necho noise\n')
    program.chmod(0o755)
    out = tmp_path / "$(touch pwned); out"
    run(str(program), str(out))
    assert json.loads(out.read_bytes())["label"] == "one"


def test_failures_say_why(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match=r"ended with 3: bad luck") as error:
        run("sh", "-c", "cat >/dev/null; echo fine; echo bad luck >&2; exit 3")
    assert error.value.final
    with pytest.raises(DeliveryError, match="cannot be started: No such file"):
        run(str(tmp_path / "missing"))


def test_what_cannot_be_started_gets_the_remedy_that_check_gives(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    (tmp_path / "dos").write_text("#!/bin/sh\r\n")
    (tmp_path / "dos").chmod(0o755)
    for name, remedy in (("plain", "chmod +x"), ("dos", "sed -i"), ("missing", "correct argv")):
        with pytest.raises(DeliveryError, match="cannot be started") as error:
            run(str(tmp_path / name))
        assert error.value.hint.startswith(remedy)
    for words, remedy in ((("false",), "run it by hand"), (("sleep", "9"), "raise timeout_s")):
        with pytest.raises(DeliveryError) as error:
            run(*words, timeout_s=0.3)
        assert remedy in error.value.hint


def test_one_that_does_not_read_is_fine() -> None:
    run("true")


def test_a_program_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(DeliveryError, match=r"longer than 0\.5 s"):
        run("sh", "-c", f"sleep 60 & echo $! > {note}; wait", timeout_s=0.5)
    child = int(note.read_text())
    until(lambda: not _runs(child))


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_may_say_any_amount() -> None:
    with pytest.raises(DeliveryError, match=r"ended with 4: the end$"):
        run("sh", "-c", "head -c 30000000 /dev/zero >&2; echo >&2; echo the end >&2; exit 4", timeout_s=30)


def test_what_it_leaves_behind_keeps_nobody_waiting(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    try:
        run("sh", "-c", f"sleep 60 & echo $! > {note}", timeout_s=20)  # which raises when it is waited for
        assert _runs(int(note.read_text()))
    finally:
        os.kill(int(note.read_text()), signal.SIGKILL)
