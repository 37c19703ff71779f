"""The genuine libmvnc on the virtual Pi, built by our installer, against the lab's simulated sticks.

PICAM_NCSDK names NCSDK2's source archive (branch ncsdk2 of movidius/ncsdk); the simulated stick takes any firmware.
"""

import os
import subprocess
import time
from pathlib import Path

import pytest
from virtual_pi import ROOT, Watch, needed, pi

__all__ = ["pi"]
ARCHIVE = os.environ.get("PICAM_NCSDK", "")
pytestmark = [*needed, pytest.mark.skipif(not Path(ARCHIVE).is_file(), reason="set PICAM_NCSDK to NCSDK2's archive")]
STICK, CPU = "ncs:2-ma2450", "openvino:CPU"
PATIENCE_S = 120
"""The guest is emulated: several times slower than a Pi."""


@pytest.fixture(scope="module")
def ncsdk(pi):
    """NCSDK installed as a user would, twice, for the second time must change nothing."""
    archive = ROOT / "build" / "stick.tar"
    parts = ["picam_infer", "scripts/install-ncsdk.sh", "systemd", "tests/stick_lab.py", "tests/system/stick_guest.py"]
    subprocess.run(["tar", "cf", archive, *parts], cwd=ROOT, check=True)
    pi.vm("put", str(archive), "/tmp/stick.tar")
    archive.unlink()
    pi.vm("put", ARCHIVE, f"/tmp/{Path(ARCHIVE).name}")
    pi.ssh("mkdir -p stick && tar xf /tmp/stick.tar -C stick && echo firmware > /tmp/MvNCAPI-ma2450.mvcmd")
    words = f"--archive /tmp/{Path(ARCHIVE).name} --firmware /tmp/MvNCAPI-ma2450.mvcmd --venv ~/v"
    for _ in range(2):
        assert "done" in pi.ssh(f"sudo stick/scripts/install-ncsdk.sh {words}", timeout=900)
    return pi


class Guest(Watch):
    """stick_guest.py in the guest, its lines as they come."""

    def __init__(self, machine, kind="auto", stick=""):
        command = f"cd stick && PYTHONPATH=.:tests exec ~/v/bin/python tests/system/stick_guest.py {kind} {stick}"
        super().__init__(machine, command)

    def until(self, **facts):  # of these lines the facts tell, not the kind
        """Return the next line with these facts and all reports before it; a text needs only to be contained."""
        reports, end_s = [], time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            line = self.events.get(timeout=PATIENCE_S)
            reports.append(line.get("report", line.get("lost", "")))
            if all(str(text) in str(line.get(key, "")) for key, text in facts.items()):
                return line, reports
        raise AssertionError(f"no {facts} in {PATIENCE_S} s: {reports}")


@pytest.fixture(autouse=True)
def sticks(ncsdk):
    """Every test begins with one healthy stick."""
    for act in ("unplug 1", "unplug 2", "plug", "thaw", "slow 8", "hot 45"):
        ncsdk.vm("stick", *act.split())
    return ncsdk


def test_unplug_replug_hang_and_replug(sticks):
    with Guest(sticks) as guest:
        line, _ = guest.until(engine=STICK)
        assert line["error"] < 2e-3
        sticks.vm("stick", "unplug")
        line, _ = guest.until(engine=CPU)
        assert line["longest_s"] < 3
        sticks.vm("stick", "plug")
        guest.until(engine=STICK)
        sticks.vm("stick", "hang")
        line, reports = guest.until(engine=CPU)
        assert line["longest_s"] < 3.5 and any("stopped answering" in report for report in reports)
        sticks.vm("stick", "unplug")
        sticks.vm("stick", "plug")
        guest.until(engine=STICK)


def test_killed_in_mid_inference_and_started_again(sticks):
    guest = Guest(sticks)
    guest.until(engine=STICK)
    sticks.ssh("pkill -9 -f stick_guest.py; sleep 1")
    assert sticks.ssh("pgrep -f ncs/child.py || true").strip() == ""
    with Guest(sticks) as again:
        again.until(engine=STICK)


def test_two_sticks(sticks):
    sticks.vm("stick", "plug", "2")
    with Guest(sticks, "ncs") as one:
        line, _ = one.until(engine="ncs:")
        other = "3" if line["engine"].startswith("ncs:2") else "2"
        with Guest(sticks, "ncs", other) as two:
            two.until(engine=f"ncs:{other}-")
            one.until(engine=line["engine"])


def test_held_by_another_process(sticks):
    with Guest(sticks, "ncs") as one:
        one.until(engine=STICK)
        with Guest(sticks, "ncs") as two:
            two.until(lost="is held by process")
        one.until(engine=STICK)


def test_a_hot_stick(sticks):
    with Guest(sticks) as guest:
        guest.until(engine=STICK)
        sticks.vm("stick", "hot", "75")
        guest.until(report="75 °C")
