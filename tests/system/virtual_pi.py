"""The virtual Pi for tests: PICAM_SYSTEM=1 runs them, PICAM_LAB names the lab's folder (default ../shared/lab)."""

import json
import os
import queue
import subprocess
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAB = Path(os.environ.get("PICAM_LAB") or ROOT / "../shared/lab").resolve()
# As it is at import: each test gets a cache folder of its own, and the lab's machines live in the real one.
ENVIRONMENT = {"PILAB_MEM": "1536", "PILAB_NAME": "camera", **os.environ}


def _missing():
    if os.environ.get("PICAM_SYSTEM") != "1":
        return "boots a virtual machine: set PICAM_SYSTEM=1"
    return "" if (LAB / "vm").exists() else "no lab here: set PICAM_LAB to its folder"


needed = [pytest.mark.skipif(bool(_missing()), reason=_missing()), pytest.mark.timeout(900)]


class VirtualPi:
    """The lab's machine, with the package and its libraries in ~/v."""

    def vm(self, *words, check=True, timeout=300):
        done = subprocess.run([LAB / "vm", *words], env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout)
        if check:
            assert done.returncode == 0, f"vm {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def ssh(self, command, check=True, timeout=300):
        return self.vm("ssh", command, check=check, timeout=timeout)

    def camera(self, *words):
        self.vm("camera", *words)

    def install(self):
        archive = ROOT / "build" / "lab.tar"
        archive.parent.mkdir(exist_ok=True)
        subprocess.run(["tar", "cf", archive, "picam_infer", "tests/system/watch_camera.py"], cwd=ROOT, check=True)
        self.vm("put", str(archive), "/tmp/lab.tar")
        archive.unlink()
        self.ssh("tar xf /tmp/lab.tar && mv tests/system/watch_camera.py watch.py")
        have = self.ssh("v/bin/python -c 'import cv2, msgspec, yaml' && echo yes", check=False)
        if "yes" not in have:
            self.ssh("python3 -m venv v && v/bin/pip install -q opencv-python numpy msgspec pyyaml", timeout=900)

    def process(self, command):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen([LAB / "vm", "ssh", command], env=ENVIRONMENT, text=True, **pipes)

    def watch(self, address="camera", seconds=20.0, before="", **settings):
        words = f"'{address}' {seconds} '{json.dumps(settings)}'"
        return Watch(self, f"{before} PYTHONPATH=. v/bin/python watch.py {words}")


class Watch:
    """A running watch.py: its events as they come."""

    def __init__(self, pi, command):
        self.process = pi.process(command)
        self.events = queue.Queue()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self):
        for line in self.process.stdout:
            event = json.loads(line)
            event["host_at"] = time.monotonic()
            print(line, end="")
            self.events.put(event)
        self.events.put({"event": "over"})

    def until(self, kind, timeout=60, **facts):
        """Return the next event of this kind and everything that came before it."""
        seen, until_s = [], time.monotonic() + timeout
        while True:
            event = self.events.get(timeout=max(0.1, until_s - time.monotonic()))
            seen.append(event)
            if event["event"] == kind and all(event.get(k) == v for k, v in facts.items()):
                return event, seen
            assert event["event"] != "over", f"no {kind} in {seen}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)


@pytest.fixture(scope="module")
def pi():
    machine = VirtualPi()
    mine = "running" not in machine.vm("status", check=False)
    if mine:
        machine.vm("up")
    try:
        machine.install()
        yield machine
    finally:
        if mine:
            machine.vm("down")
