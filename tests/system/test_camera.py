import json
import time

import pytest
from virtual_pi import needed, pi

__all__ = ["pi"]
pytestmark = needed


@pytest.fixture(autouse=True)
def plugged_in(pi):
    """Every test begins with the camera plugged in and sending."""
    pi.camera("thaw")
    pi.camera("plug")
    pi.ssh("for i in $(seq 50); do test -e /dev/v4l/by-id/*index0 && exit; sleep 0.2; done; exit 1")


def test_mjpg_arrives_raw_at_the_cameras_rate(pi):
    with pi.watch(seconds=8) as watch:
        first, _ = watch.until("first")
        end, seen = watch.until("end")
    assert first["codec"] == "jpeg" and "1280×720 MJPG 30 fps" in first["description"]
    # Alone on the host it is 30; with decoding reads it would be 6.5, and 10 is the camera's most in YUYV.
    assert end["per_s"] > 12 and 0 < end["age_ms"] < 100
    assert not [e for e in seen if e["event"] == "bad"]


def test_yuyv_when_it_is_asked_for(pi):
    with pi.watch(seconds=6, width=640, height=480, format="yuyv") as watch:
        first, _ = watch.until("first")
        end, _ = watch.until("end")
    assert (first["codec"], first["shape"]) == ("yuyv", [480, 640, 2]) and end["per_s"] > 10


def test_any_takes_the_format_that_reaches_the_rate(pi):
    with pi.watch(seconds=4, format="any") as watch:
        assert watch.until("first")[0]["codec"] == "jpeg"
    with pi.watch(seconds=4, format="any", width=640, height=480) as watch:
        assert watch.until("first")[0]["codec"] == "yuyv"


def test_unplugged_while_reading_and_back(pi):
    with pi.watch("camera:lab webcam", seconds=40) as watch:
        watch.until("first")
        pulled_s = time.monotonic()
        pi.camera("unplug")
        lost, _ = watch.until("lost")
        assert lost["host_at"] - pulled_s < 2 and lost["reason"] == "Lab Webcam is unplugged" and lost["hint"]
        watch.until("lost")
        pi.camera("plug")
        _, seen = watch.until("first")
    assert {e["reason"] for e in seen if e["event"] == "lost"} <= {"Lab Webcam is unplugged"}


def test_back_under_another_number(pi):
    # Somebody else holds the old node open, so the number is taken.
    with pi.watch("/dev/video0", seconds=60) as watch:
        watch.until("first", node="/dev/video0")
        with pi.process("exec 3</dev/video0 4</dev/video1; echo held; read gone") as holder:
            assert holder.stdout.readline() == "held\n"
            pi.camera("unplug")
            watch.until("lost")
            pi.camera("plug")
            again, _ = watch.until("first")
            holder.communicate("\n", timeout=30)
    assert again["node"] not in ("/dev/video0", "/dev/video1")
    pi.camera("unplug")


def test_frozen_and_thawed(pi):
    with pi.watch(seconds=60) as watch:
        watch.until("first")
        pi.camera("freeze")
        frozen_s = time.monotonic()
        lost, _ = watch.until("lost")
        assert lost["reason"] == "no picture for 2 s" and lost["host_at"] - frozen_s < 4
        watch.until("lost", reason="no picture for 2 s")
        pi.camera("thaw")
        _, seen = watch.until("first")
    assert {e["reason"] for e in seen if e["event"] == "lost"} <= {"no picture for 2 s"}


CLOSE = """
import threading, time
from picam_infer.config import Capture
from picam_infer.core import Disconnected
from picam_infer.sources import open_source
source = open_source("camera", Capture())
def reads():
    try:
        while True: source.read()
    except Disconnected as lost: print("reader:", lost.message, flush=True)
reader = threading.Thread(target=reads)
reader.start()
print("reading", flush=True); input()
began = time.monotonic()
source.close()
print("closed", time.monotonic() - began < 0.1); reader.join(5); print("alive", reader.is_alive())
"""


def test_closing_while_the_driver_hangs(pi):
    pi.ssh(f"cat > close.py <<'E'\n{CLOSE}\nE")
    with pi.process("PYTHONPATH=. v/bin/python close.py") as process:
        assert process.stdout.readline().strip() == "reading"
        pi.camera("freeze")
        time.sleep(0.5)  # the reader is inside its wait of 2 s
        out, _ = process.communicate("\n", timeout=30)
    assert "closed True" in out and "alive False" in out


def test_in_use_by_another_program(pi):
    with pi.watch(seconds=60) as other:
        other.until("first")
        with pi.watch(seconds=20) as watch:
            lost, _ = watch.until("lost")
        script = "from picam_infer.sources import list_cameras; print(list_cameras()[0].busy_by)"
        found = pi.ssh(f"PYTHONPATH=. v/bin/python -c '{script}'")
    assert "is in use by python (PID " in lost["reason"]
    assert found.startswith("python (PID ")


def test_not_in_the_group_video(pi):
    pi.ssh("id nobodyelse 2>/dev/null || sudo useradd -m nobodyelse; sudo chmod 755 /home/pi")
    with pi.watch(seconds=10, before="sudo -u nobodyelse env PYTHONDONTWRITEBYTECODE=1") as watch:
        lost, _ = watch.until("lost")
    assert "permission denied" in lost["reason"] and "usermod -aG video nobodyelse" in lost["hint"]


def test_devices_lists_the_camera_once(pi):
    script = (
        "import json, dataclasses; from picam_infer.sources import list_cameras; "
        "print(json.dumps([dataclasses.asdict(c) for c in list_cameras()]))"
    )
    (camera,) = json.loads(pi.ssh(f"PYTHONPATH=. v/bin/python -c '{script}'"))
    assert camera["name"] == "Lab Webcam" and camera["usb_id"] == "1d6b:0102" and camera["serial"] == "PILAB0001"
    assert {f["fourcc"] for f in camera["formats"]} == {"YUYV", "MJPG"}
    assert camera["formats"][1]["modes"][0] == {"width": 1280, "height": 720, "rates": [30.0, 15.0]}
    assert camera["busy_by"] == "" and camera["by_id"].endswith("-video-index0")
