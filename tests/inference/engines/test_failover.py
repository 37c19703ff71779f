"""The stick and the CPU as one engine: every plug and unplug, without a gap and without a wrong answer."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stick_lab
from makers import until
from stick_lab import Cpu, StickLab, bundle, left_overs, possessions
from stick_soak import CPU, STICK, Running, soak

from picam_infer.config import EngineSettings
from picam_infer.core import Disconnected
from picam_infer.inference import engines
from picam_infer.inference.engines import failover
from picam_infer.inference.engines.failover import FailoverEngine
from picam_infer.inference.engines.ncs import engine, preferred
from picam_infer.inference.engines.ncs.engine import Ncs
from picam_infer.inference.engines.ncs.preferred import PreferredStick
from picam_infer.inference.engines.sticks import Usb
from picam_infer.models.bundle import Bundle

pytestmark = pytest.mark.skipif(not stick_lab.COMPILER, reason="needs a C compiler for the stand-in libmvnc")
Start = Callable[..., Running]


@pytest.fixture
def model(tmp_path: Path) -> Bundle:
    return bundle(tmp_path / "model")


@pytest.fixture
def start(model: Bundle, sticks: StickLab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(preferred, "POLL_S", 0.02)
    monkeypatch.setattr(preferred, "BACK_OFF_S", (0.1, 0.2))
    monkeypatch.setattr(
        "picam_infer.inference.engines.ncs.engine.DEADLINES_S", {"import": 15, "enumerate": 1, "waiting": 6, "open": 3}
    )
    before = possessions()
    running: list[Running] = []

    def run(**more: Any) -> Running:
        running.append(Running(model, sticks, **more))
        return running[-1]

    yield run
    for one in running:
        one.engine.close()
        assert one.cpu.closed
    running.clear()
    until(lambda: not left_overs(before))


def test_a_stick_that_is_there_answers_from_the_first_frame(start: Start, sticks: StickLab) -> None:
    sticks.plug()
    sticks.times(open_ms=300)
    run = start()
    assert run.once() == STICK and run.engine.depth == 2
    assert run.engine.telemetry and run.engine.telemetry.temperature_c == 45
    (line,) = run.said
    assert STICK in line and "differ from the CPU's by up to 0.00" in line


def test_without_a_stick_the_cpu_answers_at_once(start: Start, sticks: StickLab) -> None:
    run = start()
    assert run.once() == CPU and run.engine.depth == 1
    assert run.said == [] and run.engine.telemetry is None


@pytest.mark.parametrize("blocks", [None, ""])
def test_unplugged_and_plugged_in_again(start: Start, sticks: StickLab, blocks: str | None) -> None:
    sticks.plug()
    run = start()
    run.until(STICK)
    sticks.set("2", blocks=blocks)
    sticks.unplug()
    run.until(CPU)
    sticks.plug()
    run.until(STICK)
    assert [STICK in line for line in run.said] == [True, True, True]
    assert CPU in run.said[1]


def test_the_frame_under_way_is_not_lost(start: Start, sticks: StickLab) -> None:
    sticks.plug()
    sticks.set("2", ms=100)
    run = start()
    run.once()
    assert len(run.sent) == 1
    run.engine.submit(np.full((28, 28, 1), 9, np.uint8))
    run.sent.append(np.full((28, 28, 1), 9, np.uint8))
    sticks.unplug()
    assert [run.once(), run.once()] == [CPU, CPU]  # `once` compares with the right pictures


def test_a_hang_and_a_replug(start: Start, sticks: StickLab) -> None:
    sticks.plug()
    run = start()
    run.until(STICK)
    sticks.set("2", hang="")
    took_s = run.until(CPU)
    assert took_s < 0.5 + 1
    for _ in range(20):
        run.once()
    sticks.plug()
    run.until(STICK)
    assert sum("stopped answering" in line for line in run.said) >= 1


def test_a_stick_that_only_a_strange_libmvnc_sees(
    start: Start, sticks: StickLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", stick_lab.stranger(tmp_path / "strange"))
    monkeypatch.setattr(sticks, "usb", Usb(tmp_path / "no bus"))
    sticks.times(open_ms=300)
    sticks.plug()
    run = start()
    assert run.once() == "ncs:0"
    sticks.unplug()
    run.until(CPU)
    sticks.plug()
    run.until("ncs:0")
    sticks.set("2", hang="")
    assert run.until(CPU) < 0.5 + 1


def test_one_broken_stick_of_two(start: Start, sticks: StickLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engine.DEADLINES_S, "open", 0.5)
    sticks.plug("2")
    sticks.plug("4")
    sticks.set("2", hang="")
    run = start(first_s=0.1)
    run.until("ncs:4-ma2450")
    assert any("opening the stick took longer" in line for line in run.said)


def test_a_killed_child(start: Start, sticks: StickLab) -> None:
    sticks.plug()
    run = start()
    run.until(STICK)
    assert isinstance(run.engine.front, Ncs)
    os.kill(run.engine.front.pid, signal.SIGKILL)
    run.until(CPU)
    run.until(STICK)
    assert any("signal 9" in line for line in run.said) and sticks.resets == 1
    assert any("left running by a dead process: reset" in line for line in run.said)


def test_a_stick_that_cannot_be_used_is_told_once(start: Start, sticks: StickLab, model: Bundle) -> None:
    sticks.plug()
    sticks.set("2", allocate=-10)
    run = start()
    for _ in range(100):
        run.once()
    (line,) = run.said
    assert "another SDK version" in line
    sticks.set("2", allocate=None)
    run.until(STICK)


def test_mvnc_is_not_installed(start: Start, sticks: StickLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picam_infer.inference.engines.sticks.installed", lambda: False)
    run = start()
    assert run.once() == CPU and run.said == []
    sticks.plug()
    until(lambda: run.once() and run.said)
    assert "mvnc is not installed" in run.said[0] and "install-ncsdk.sh" in run.said[0]


def test_heat_is_told_once(start: Start, sticks: StickLab) -> None:
    sticks.plug()
    sticks.set("2", temperature=75)
    run = start()
    for _ in range(5):
        run.once()
    assert sum("75 °C" in line for line in run.said) == 1


def test_a_slow_stick_does_not_hold_up_the_start(start: Start, sticks: StickLab) -> None:
    sticks.plug()
    sticks.times(open_ms=700)
    run = start(first_s=0.2)
    assert run.once() == CPU
    run.until(STICK)


def test_closing_while_the_stick_is_being_opened(start: Start, sticks: StickLab) -> None:
    sticks.plug()
    sticks.times(open_ms=20000)
    start(first_s=0.2).once()


def test_a_cpu_that_does_not_open(model: Bundle, sticks: StickLab) -> None:
    def fails() -> Cpu:
        raise Disconnected("no CPU", "")

    before = threading.active_count()
    sticks.plug()
    with pytest.raises(Disconnected, match="no CPU"):
        FailoverEngine(model, fails, print, PreferredStick(model, print, usb=sticks.usb))
    assert threading.active_count() == before


def test_another_network_is_told() -> None:
    same, other = np.float32([0.7, 0.3]), np.float32([0.1, 0.9])
    assert "0.0000" in failover.compare(same, same) and "compiled" not in failover.compare(same, same)
    assert "was its graph compiled from this model?" in failover.compare(same, other)
    assert "compiled" in failover.compare(same, np.float32([1.0]))


def test_thirty_random_events(start: Start, sticks: StickLab) -> None:
    soak(start(), sticks, 30, seed=1)


# -- the door ------------------------------------------------------------


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch, sticks: StickLab, model: Bundle) -> Callable[[EngineSettings], Any]:
    openvino = "picam_infer.inference.engines.openvino.OpenVino"
    monkeypatch.setattr(openvino, lambda bundle, settings, cache: Cpu(bundle))
    monkeypatch.setattr("picam_infer.inference.engines.sticks.Usb", lambda: sticks.usb)
    monkeypatch.setattr("picam_infer.inference.engines.ncs.engine.Usb", lambda: sticks.usb)
    return lambda settings: engines.open_engine(settings, model)


def name_of(engine: Any) -> str:
    engine.close()
    return str(engine.name)


def test_the_door(door: Callable[[EngineSettings], Any], sticks: StickLab, model: Bundle) -> None:
    assert name_of(door(EngineSettings())) == CPU
    with pytest.raises(Disconnected, match="no Neural Compute Stick"):
        door(EngineSettings(kind="ncs"))
    sticks.plug("2")
    sticks.plug("4")
    assert name_of(door(EngineSettings())) == STICK
    assert name_of(door(EngineSettings(kind="openvino"))) == CPU
    assert name_of(door(EngineSettings(kind="ncs", device="4-ma2450"))) == "ncs:4-ma2450"
    assert name_of(door(EngineSettings(device="4"))) == "ncs:4-ma2450"
    sticks.set("2", hang="")
    with pytest.raises(Disconnected, match="not any-name"):
        door(EngineSettings(kind="ncs", device="any-name"))
    (model.folder / "graph").unlink()
    said: list[str] = []
    assert name_of(engines.open_engine(EngineSettings(), model, report=said.append)) == CPU
    assert "has no graph for it" in said[0]
