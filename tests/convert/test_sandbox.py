"""The converter's child process: what it may use, and what is said when it ends otherwise than it should."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_refusals import good

from picam_infer.cli.convert import Told
from picam_infer.convert import sandbox
from picam_infer.core import NoInput, PicamError

_WORK = """
import json, time
def spend(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""
_DONE = 'print(json.dumps({"report": {"done": True}}), flush=True)'


def run(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, progress: sandbox.Progress = lambda *_: None
) -> object:
    monkeypatch.setattr(sandbox, "CODE", _WORK + code)
    return sandbox.convert(good(tmp_path / "m.h5"), tmp_path / "out", {}, progress)


@pytest.mark.parametrize(("ending", "said"), [
    (signal.SIGSEGV, "SIGSEGV"), (signal.SIGABRT, "SIGABRT"), (signal.SIGKILL, "more memory than there is"),
])  # fmt: skip
def test_a_reader_that_dies_costs_one_line(
    ending: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PicamError, match=said) as caught:
        run(f"import os; os.kill(os.getpid(), {int(ending)})", tmp_path, monkeypatch)
    assert "damaged" not in str(caught.value) and "m.h5" in str(caught.value)


def test_processor_time_is_what_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "READ_S", 0.5)
    with pytest.raises(PicamError, match=r"reading m\.h5 took longer than 1 s of processor time") as caught:
        run("spend(60)", tmp_path, monkeypatch)
    assert "damaged" not in str(caught.value)
    # Each phase has its own: what the first used up does not count in the second.
    monkeypatch.setattr(sandbox, "BUILD_S", 0.5)
    monkeypatch.setattr(sandbox, "LIMITS_S", {"check": 5.0})
    assert run(f"""spend(0.3); print('{{"phase": "check"}}', flush=True); spend(0.8); {_DONE}""", tmp_path, monkeypatch)


def test_waiting_costs_no_processor_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Stopped for longer than it may compute: what a busy machine or a cold disk does to it.
    monkeypatch.setattr(sandbox, "READ_S", 0.5)
    assert run(f"time.sleep(1.5); {_DONE}", tmp_path, monkeypatch) == {"done": True}


@pytest.mark.parametrize("code", [
    "time.sleep(60)", "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "[time.sleep(0.2) for _ in range(300)]", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
])  # fmt: skip
def test_a_reader_that_does_nothing_is_ended(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "IDLE_S", 0.7)
    with pytest.raises(PicamError, match="has stopped") as caught:
        run(code, tmp_path, monkeypatch)
    assert "damaged" not in str(caught.value)


def test_the_limits_leave_room_for_slow_computers() -> None:
    # A file that takes this machine a second is minutes of work for the smallest Pi.
    assert sandbox.READ_S >= 100 and sandbox.BUILD_S >= 600 and sandbox.IDLE_S >= 30


def test_the_childs_own_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
from picam_infer.convert import sandbox
import os, resource
before = os.nice(0)
sandbox.limit_itself(None)
names = ("RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_AS", "RLIMIT_DATA")
limits = {name: resource.getrlimit(getattr(resource, name))[1] for name in names}
limits["nicer"] = os.nice(0) - before
limits["oom"] = int(open("/proc/self/oom_score_adj").read())
print(json.dumps({"report": limits}), flush=True)
"""
    found = run(code, tmp_path, monkeypatch)
    assert isinstance(found, dict)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert found["RLIMIT_CORE"] == 0 and found["oom"] == 1000
    assert 2**30 <= found["RLIMIT_DATA"] <= max(memory, 2**30) and found["RLIMIT_AS"] == sandbox.ADDRESSES
    assert found["RLIMIT_CPU"] >= sandbox.READ_S
    assert found["nicer"] == sandbox.NICE or os.nice(0) + found["nicer"] == 19  # there is nothing beyond 19


def test_a_small_file_gets_less_memory_than_the_machine_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "BASE_MEMORY", 2**30)
    code = """
import sys
from picam_infer.convert import sandbox
sandbox.limit_itself(json.loads(sys.argv[1])["memory"])
try:
    bytearray(3 << 29)
except MemoryError:
    print(json.dumps({"report": {"refused": True}}), flush=True)
"""
    assert run(code, tmp_path, monkeypatch) == {"refused": True}


def test_an_administrators_lower_limit_is_kept(tmp_path: Path) -> None:
    lower = 5 * 2**30
    done = subprocess.run(
        [sys.executable, "-m", "picam_infer", "convert", str(good(tmp_path / "m.h5")), "-o", str(tmp_path / "out")],
        capture_output=True, text=True, check=False, timeout=100,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (lower, lower)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_converter_that_cannot_start_does_not_blame_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PicamError, match="the converter ended with code 1 before it began to read") as caught:
        run("raise MemoryError", tmp_path, monkeypatch)
    assert "is there enough memory?" in caught.value.hint
    with pytest.raises(PicamError, match="the library that reads such files ended with code 3"):
        run("""print('{"phase": "read"}', flush=True); raise SystemExit(3)""", tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "error", ["MemoryError()", "OSError(12, 'Cannot allocate memory')", "ImportError('std::bad_alloc')"]
)
def test_too_little_memory_for_a_file_is_named(error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"""
from picam_infer.convert import conversion, sandbox
def convert(*words):
    raise {error}
conversion.convert = convert
sandbox.child()
"""
    with pytest.raises(PicamError, match=r"converting m\.h5 needs more memory than there is"):
        run(code, tmp_path, monkeypatch)


def test_an_error_keeps_its_exit_code_on_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(NoInput, match="has no pictures in it"):
        sandbox.convert(good(tmp_path / "m.h5"), tmp_path / "out", {"try_": tmp_path / "none"})


def test_links_that_lead_nowhere_are_told_by_the_reader(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "m.h5").symlink_to("../.git/annex/objects/ab/x")
    for given in (tmp_path / "in" / "m.h5", tmp_path / "in"):
        with pytest.raises(NoInput, match=r"git annex get m\.h5"):
            sandbox.convert(given, tmp_path / "out", {})
    with pytest.raises(NoInput, match="there is no"):
        sandbox.convert(tmp_path / "none.h5", tmp_path / "out", {})


def test_progress_is_told_after_two_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    told = Told("m.h5")
    steps = (
        ("read", 0.5),
        ("read", 1.9),
        ("read", 2.1),
        ("read", 2.4),
        ("build", 2.6),
        ("check", 8.0),
        ("check", 39.0),
        ("quantize", 45.0),
    )
    for phase, waited_s in steps:
        told(phase, waited_s)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" … ")[0] for line in lines] == [
        "picam-infer convert: reading m.h5",
        "picam-infer convert: trying the network of m.h5",
        "picam-infer convert: trying the network of m.h5",
        "picam-infer convert: quantising m.h5, which takes minutes",
    ]


def test_what_is_being_done_is_told_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[str, float]] = []
    code = (
        f"""print('{{"phase": "read"}}', flush=True); spend(0.6); print('{{"phase": "check"}}', flush=True); {_DONE}"""
    )
    run(code, tmp_path, monkeypatch, lambda phase, waited_s: heard.append((phase, waited_s)))
    assert len([phase for phase, _ in heard if phase == "read"]) >= 2 and heard[-1][0] == "check"
    assert [waited_s for _, waited_s in heard] == sorted(waited_s for _, waited_s in heard)
