"""The stick's engine against the stand-in library: what it answers, what it says when it cannot, what it leaves."""

from __future__ import annotations

import ast
import contextlib
import errno
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import stick_lab
from makers import until
from stick_lab import StickLab, bundle, expected, left_overs, possessions

from picam_infer.config import EngineSettings
from picam_infer.core import Disconnected, Finding, Pixels, Telemetry
from picam_infer.inference.engines.ncs import causes, child, diagnostics
from picam_infer.inference.engines.ncs.engine import Ncs
from picam_infer.inference.engines.sticks import USBDEVFS_RESET, Usb, library_users
from picam_infer.models.bundle import Bundle

pytestmark = pytest.mark.skipif(not stick_lab.COMPILER, reason="needs a C compiler for the stand-in libmvnc")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def model(tmp_path: Path) -> Bundle:
    return bundle(tmp_path / "model")


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    before = possessions()
    yield
    until(lambda: not left_overs(before))


def patch(seed: int = 0, shape: tuple[int, int, int] = (28, 28, 1)) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@contextlib.contextmanager
def opened(model: Bundle, lab: StickLab, stick: str = "", deadline_s: float = 0.3) -> Iterator[Ncs]:
    engine = Ncs(model, stick, deadline_s, usb=lab.usb)
    try:
        yield engine
    finally:
        engine.close()


def refusal(model: Bundle, lab: StickLab, stick: str = "") -> str:
    with pytest.raises(Disconnected) as caught, opened(model, lab, stick):
        pass
    assert caught.value.hint
    return str(caught.value)


def test_it_answers_in_order_with_two_under_way(model: Bundle, sticks: StickLab) -> None:
    sticks.plug()
    with opened(model, sticks) as engine:
        assert engine.name == "ncs:2-ma2450" and engine.depth == 2
        engine.submit(patch(0))
        for seed in range(1, 20):
            engine.submit(patch(seed))
            np.testing.assert_allclose(engine.collect(), expected(model, patch(seed - 1)), atol=1e-3)
        engine.collect()
    assert sticks.product() == "2150" and sticks.resets == 0


def test_scale_offset_and_channels_arrive(tmp_path: Path, sticks: StickLab) -> None:
    sticks.plug()
    model = bundle(tmp_path / "photo", (20, 30, 3), photo=True)
    with opened(model, sticks) as engine:
        picture = patch(3, (20, 30, 3))
        engine.submit(picture)
        wanted = expected(model, picture)
        picture[:] = 0  # the caller may reuse its buffer
        np.testing.assert_allclose(engine.collect(), wanted, atol=1e-3)


def test_a_talkative_library_does_not_fill_the_memory(model: Bundle, sticks: StickLab) -> None:
    sticks.plug()
    with opened(model, sticks) as engine:
        written = Path(f"/proc/{engine.pid}/fd/1")
        for _ in range(3):
            with written.open("ab") as stdout:
                stdout.write(b"W: [         0] a line of libmvnc's\n" * 30_000)
            engine.submit(patch())
            engine.collect()
            assert written.stat().st_size < 100_000


def test_more_opens_than_a_process_has(model: Bundle, sticks: StickLab) -> None:
    sticks.plug()
    for _ in range(18):
        with opened(model, sticks) as engine:
            engine.submit(patch())
            engine.collect()


def test_two_sticks_by_name_and_the_first_free_one(model: Bundle, sticks: StickLab) -> None:
    sticks.plug("2")
    sticks.plug("4")
    with opened(model, sticks, "4-ma2450") as one, opened(model, sticks) as other:
        assert (one.name, other.name) == ("ncs:4-ma2450", "ncs:2-ma2450")
    with opened(model, sticks, "4") as one:
        assert one.name == "ncs:4-ma2450"
    assert "there is 2-ma2450, 4-ma2450, not 7" in refusal(model, sticks, "7")


@pytest.mark.parametrize("words", ["import time; time.sleep(60)", "import os; os.abort()", "raise RuntimeError('odd')"])
def test_an_import_that_goes_wrong(
    model: Bundle, sticks: StickLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setattr(sys, "path", stick_lab.stranger(tmp_path / "strange", words))
    monkeypatch.setattr("picam_infer.inference.engines.ncs.engine.DEADLINES_S", {"import": 1.0})
    said = refusal(model, sticks)
    assert "loading mvnc" in said and ("install-ncsdk.sh" in said or "signal 6" in said)


def test_a_slow_import_gets_more_time_at_the_next_try(
    model: Bundle, sticks: StickLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", stick_lab.stranger(tmp_path / "strange", "import time; time.sleep(60)"))
    monkeypatch.setattr("picam_infer.inference.engines.ncs.engine.DEADLINES_S", {"import": 0.2})
    for seconds in ("0.3", "0.4", "0.8", "0.8"):  # 0.3 is the engine's own deadline
        assert f"longer than {seconds} s" in refusal(model, sticks)


def test_a_second_generation_stick_beside_a_first(model: Bundle, sticks: StickLab) -> None:
    sticks.plug("4", product="2485")
    sticks.set("4", noboot="")
    assert "not served by NCSDK2" in refusal(model, sticks)
    sticks.plug("2")
    with opened(model, sticks, "2") as engine:
        assert engine.name == "ncs:2-ma2450"


# -- what it says --------------------------------------------------------


def test_nothing_plugged_in(model: Bundle, sticks: StickLab) -> None:
    assert "no Neural Compute Stick is plugged in" in refusal(model, sticks)


def test_no_graph(model: Bundle, sticks: StickLab) -> None:
    (model.folder / "graph").unlink()
    assert "picam-infer compile-ncs" in refusal(model, sticks)


def test_mvnc_is_not_installed(model: Bundle, sticks: StickLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(stick_lab.SOURCE)])
    sticks.plug()
    said = refusal(model, sticks)
    assert "mvnc is not installed" in said and "install-ncsdk.sh" in said


def test_the_library_is_missing(model: Bundle, sticks: StickLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "")
    sticks.plug()
    said = refusal(model, sticks)
    assert "libmvnc.so does not load" in said and "install-ncsdk.sh" in said


def test_the_firmware_is_missing(
    model: Bundle, sticks: StickLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "libmvnc.so").write_bytes((Path(os.environ["LD_LIBRARY_PATH"]) / "libmvnc.so").read_bytes())
    monkeypatch.setenv("LD_LIBRARY_PATH", str(alone))
    sticks.plug()
    said = refusal(model, sticks)
    assert "firmware is missing" in said and f"{alone}/mvnc/MvNCAPI-ma2450.mvcmd" in said


def test_a_graph_of_another_sdk(model: Bundle, sticks: StickLab) -> None:
    (model.folder / "graph").write_bytes(b"NCSDK1 graph")
    sticks.plug()
    said = refusal(model, sticks)
    assert "another SDK version" in said and "compile-ncs" in said
    assert sticks.product() == "2150"  # the stick works: it was given back


def test_a_graph_of_another_size(model: Bundle, sticks: StickLab) -> None:
    (model.folder / "graph").write_bytes(stick_lab.graph((14, 14, 1)))
    sticks.plug()
    said = refusal(model, sticks)
    assert "14×14×1" in said and "28×28×1" in said


def test_a_graph_of_other_classes(model: Bundle, sticks: StickLab) -> None:
    (model.folder / "graph").write_bytes(stick_lab.graph(classes=3))
    sticks.plug()
    said = refusal(model, sticks)
    assert "3 values" in said and "10 labels" in said


def test_held_by_another_process(model: Bundle, sticks: StickLab) -> None:
    sticks.plug()
    code = (
        "from mvnc import mvncapi as m\nd=m.Device(m.enumerate_devices()[0]);d.open();print('held',flush=True);input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline()
        # While the bus cannot tell (here: this holder is our own child), nothing is reset and nobody is disturbed.
        said = refusal(model, sticks)
        assert "another program may hold it" in said and sticks.resets == 0
        nested = f"import subprocess,sys;subprocess.run([sys.executable,'-c',{code!r}])"
    with subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as outer:
        assert outer.stdout and outer.stdout.readline()
        (pid,) = sticks.usb.sticks()[0].holders
        said = refusal(model, sticks)
        assert f"held by process {pid} (python" in said and "one process at a time" in said


def test_a_child_of_another_picam_infer_is_known_by_its_name() -> None:
    code = "import os;print(os.getpid(),flush=True);input()"
    program = "picam_infer/inference/engines/ncs/child.py"
    nested = f"import subprocess,sys;subprocess.run([sys.executable,'-c',{code!r},{program!r}])"
    with subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as outer:
        assert outer.stdout
        assert int(outer.stdout.readline()) in library_users()


@pytest.mark.parametrize("status", [value for value in causes.NAMES if value])
@pytest.mark.parametrize("call", ["allocate", "queue", "read"])
def test_every_status_has_its_sentence(status: int, call: str) -> None:
    cause = causes.explain(call, causes.NAMES[status], "detail")
    assert f"{causes.NAMES[status]} while" in cause.what and "detail" in cause.what and cause.remedy
    assert "failed with" not in cause.what


def test_silence_before_a_stick_is_in_play() -> None:
    assert "overloaded" in causes.silent("import", 15).remedy and "unplug" in causes.silent("open", 10).remedy


@pytest.mark.parametrize(("number", "words"), [(errno.ENODEV, []), (errno.EACCES, ["cannot be reset (Permission"])])
def test_a_reset_that_fails(sticks: StickLab, number: int, words: list[str]) -> None:
    def refuse(file: int, request: int, _: bytes) -> int:
        if request == USBDEVFS_RESET:
            raise OSError(number, os.strerror(number))
        return 0

    sticks.plug(product="f63b")
    said = Usb(sticks.root, refuse).revive()
    assert len(said) == len(words) and all(word in line for word, line in zip(words, said, strict=True))


def test_a_stick_that_somebody_uses_is_never_reset(sticks: StickLab) -> None:
    def claimed(file: int, request: int, _: bytes) -> int:
        raise OSError(errno.EBUSY, "busy")

    sticks.plug(product="f63b")
    assert Usb(sticks.root, claimed).revive() == []


@pytest.mark.parametrize(("call", "status", "words"), [
    ("queue", -9, "UNAUTHORIZED while sending"), ("read", -3, "out of memory"), ("read", -13, "told by the stick"),
    ("queue", -99, "status -99"),
])  # fmt: skip
def test_a_status_in_mid_run_reaches_the_reader(
    model: Bundle, sticks: StickLab, call: str, status: int, words: str
) -> None:
    sticks.plug()
    with opened(model, sticks) as engine:
        sticks.set("2", **{call: status})
        engine.submit(patch())
        if call == "queue":  # the child has spoken and gone before anybody listens
            until(lambda: not _running(engine.pid))
        with pytest.raises(Disconnected, match=words):
            engine.collect()


def test_heat(model: Bundle, sticks: StickLab) -> None:
    sticks.plug()
    sticks.set("2", temperature=81)
    with opened(model, sticks) as engine:
        engine.submit(patch())
        engine.collect()
        assert engine.telemetry == Telemetry(81.0, 2)
        assert "81 °C" in engine.telemetry.warning and "air" in engine.telemetry.warning
    assert not Telemetry(60, 0).warning


def test_a_temperature_whose_bytes_look_like_text(model: Bundle, sticks: StickLab) -> None:
    (odd,) = struct.unpack("<f", b"{\x00\x34\x42")
    sticks.plug()
    sticks.set("2", temperature=odd)
    with opened(model, sticks) as engine:
        engine.submit(patch())
        engine.collect()
        assert engine.telemetry.temperature_c == odd


# -- what happens to sticks ----------------------------------------------


@pytest.mark.parametrize("blocks", [None, ""])
def test_unplugged_in_mid_run(model: Bundle, sticks: StickLab, blocks: str | None) -> None:
    sticks.plug()
    sticks.set("2", blocks=blocks, ms=50)
    with opened(model, sticks) as engine:
        engine.submit(patch())
        engine.submit(patch())
        sticks.unplug()
        with pytest.raises(Disconnected):
            engine.collect()
    assert "no Neural Compute Stick" in refusal(model, sticks)
    sticks.plug()
    with opened(model, sticks) as engine:
        engine.submit(patch())
        engine.collect()


def test_a_hang_is_found_within_the_deadline(model: Bundle, sticks: StickLab) -> None:
    sticks.plug()
    with opened(model, sticks) as engine:
        sticks.set("2", hang="")
        engine.submit(patch())
        with pytest.raises(Disconnected, match=r"stopped answering \(waiting for an answer took longer than 0.3 s\)"):
            engine.collect()
        engine.close()
    sticks.plug()
    with opened(model, sticks):
        pass


@pytest.mark.parametrize("step", ["open", "enumerate"])
def test_a_hang_before_the_first_answer(
    model: Bundle, sticks: StickLab, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sticks.plug()
    if step == "enumerate":
        sticks.plug(product="f63b")
    sticks.set("2", hang="")
    monkeypatch.setattr(sticks.usb.__class__, "revive", lambda *_: [])
    monkeypatch.setattr("picam_infer.inference.engines.ncs.engine.DEADLINES_S", {"import": 15})
    said = refusal(model, sticks)
    assert "stopped answering" in said and causes.DOING[step] in said


@pytest.mark.parametrize("stuck", [None, ""])
def test_a_child_killed_in_mid_inference_leaves_a_stick_that_is_reset(
    model: Bundle, sticks: StickLab, stuck: str | None
) -> None:
    sticks.plug()
    sticks.set("2", stuck=stuck)
    with opened(model, sticks) as engine:
        engine.submit(patch())
        engine.submit(patch())
        engine.collect()
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(Disconnected, match="signal 9"):
            engine.submit(patch())
            engine.collect()
    assert sticks.product() == "f63b"
    heard: list[str] = []
    engine = Ncs(model, usb=sticks.usb, noticed=heard.append)
    engine.submit(patch())
    engine.collect()
    engine.close()
    assert sticks.resets == 1 and "reset" in heard[0]


def test_an_abort_is_told(model: Bundle, sticks: StickLab, monkeypatch: pytest.MonkeyPatch) -> None:
    sticks.plug(product="f63b")
    sticks.set("2", dirty="")
    monkeypatch.setattr(sticks.usb.__class__, "revive", lambda *_: [])
    said = refusal(model, sticks)
    assert "crashed while looking for sticks" in said and "signal 6" in said


def test_firmware_taken_but_the_stick_does_not_come_back(model: Bundle, sticks: StickLab) -> None:
    sticks.plug()
    sticks.set("2", noboot="")
    assert "could not be opened" in refusal(model, sticks)
    sticks.set("2", noboot=None)
    with opened(model, sticks):
        pass


def test_closing_is_quick_whatever_libmvnc_does(model: Bundle, sticks: StickLab) -> None:
    sticks.plug()
    sticks.times(close_ms=5000)
    with opened(model, sticks) as engine:
        engine.submit(patch())
    with pytest.raises(Disconnected):
        engine.submit(patch())
        engine.collect()


def test_stopping_while_it_opens(model: Bundle, sticks: StickLab) -> None:
    sticks.plug()
    sticks.times(open_ms=60_000)
    stopping = threading.Event()
    threading.Timer(0.3, stopping.set).start()
    with pytest.raises(Disconnected, match="no longer wanted"):
        Ncs(model, usb=sticks.usb, stopping=stopping)


def test_closing_from_another_thread_ends_a_wait(model: Bundle, sticks: StickLab) -> None:
    sticks.plug()
    engine = Ncs(model, deadline_s=600, usb=sticks.usb)
    sticks.set("2", hang="")
    engine.submit(patch())
    closer = threading.Timer(0.2, engine.close)
    closer.start()
    with pytest.raises(Disconnected):
        engine.collect()
    closer.join()


PARENT = """
import sys, time
sys.path[:0] = [{tests!r}]
from pathlib import Path
import numpy as np, stick_lab
from picam_infer.models.bundle import Bundle
from picam_infer.inference.engines.ncs.engine import Ncs
engine = Ncs(stick_lab.bundle(Path({folder!r})), usb=stick_lab.Usb(Path({root!r})))
engine.submit(np.zeros((28, 28, 1), np.uint8))
print(engine.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("hang", [None, ""])
def test_no_child_outlives_a_killed_parent(model: Bundle, sticks: StickLab, hang: str | None) -> None:
    sticks.plug()
    code = PARENT.format(tests=str(ROOT / "tests"), folder=str(model.folder), root=str(sticks.root))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        sticks.set("2", hang=hang)
        parent.kill()
    until(lambda: not _running(pid))


def _running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def test_the_child_needs_nothing_but_mvnc() -> None:
    tree = ast.parse(Path(child.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names) | {"mvnc"}


# -- check ---------------------------------------------------------------


def checked(model: Bundle, lab: StickLab, kind: str = "auto") -> list[Finding]:
    settings = EngineSettings(kind=kind)  # type: ignore[arg-type]
    return list(diagnostics.diagnose(model, settings, open_cpu=lambda: stick_lab.Cpu(model), usb=lab.usb))


def test_check_proves_the_whole_chain(model: Bundle, sticks: StickLab) -> None:
    sticks.plug()
    sticks.set("2", temperature=72)
    on_bus, opened_, fast, hot, same = checked(model, sticks)
    assert on_bus == ("ok", "Neural Compute Stick at 1-2 (usb 03e7:2150)", "")
    assert opened_.grade == "ok" and "took the graph" in opened_.what
    assert "ms per inference, 72 °C" in fast.what and hot.grade == "note" and "hot" in hot.what
    assert same.grade == "ok" and "differ from the CPU's by up to 0.00" in same.what


def test_check_names_what_is_missing(model: Bundle, sticks: StickLab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [v.grade for v in checked(model, sticks, "ncs")] == ["error"]
    assert [v.grade for v in checked(model, sticks)] == ["note"]
    assert checked(model, sticks, "openvino") == []
    sticks.plug()
    (model.folder / "graph").unlink()
    assert "has no graph" in checked(model, sticks)[-1].what
    monkeypatch.setattr("picam_infer.inference.engines.sticks.installed", lambda: False)
    assert {v.remedy for v in checked(model, sticks, "ncs")} == {causes.INSTALL}


def test_listing(sticks: StickLab, monkeypatch: pytest.MonkeyPatch) -> None:
    sticks.plug("2")
    sticks.plug("4", product="2485")
    first, second = sticks.usb.sticks()
    assert str(first) == "1-2  Neural Compute Stick (usb 03e7:2150): usable" and first.as_json()["usable"] is True
    assert "MYRIAD" in str(second) and "2022.3.2" in str(second) and second.as_json()["usable"] is False
    monkeypatch.setattr(os, "access", lambda *_: False)
    (closed, _) = sticks.usb.sticks()
    assert "no permission" in str(closed) and "99-picam-infer-ncs.rules" in closed.as_json()["hint"]
