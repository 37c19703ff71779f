import sys
import threading
import time
import types

import numpy as np
import pytest

from picam_infer.config import Capture
from picam_infer.core import Disconnected, Source, Unavailable
from picam_infer.runtime import camera_controls
from picam_infer.sources import open_source

CSI = {"Model": "imx708", "Id": "/base/axi/pcie@120000/rp1/i2c@88000/imx708@1a", "Num": 1}
USB = {"Model": "C270", "Id": "/base/axi/pcie@120000/rp1/usb@200000-1:1.0-046d:0825", "Num": 0}


class Request:
    def __init__(self, camera):
        self.camera, self.released = camera, False

    def make_array(self, stream):
        assert stream == "main" and not self.released
        self.camera.memory[:] = 40
        return self.camera.memory

    def get_metadata(self):
        return {"SensorTimestamp": self.camera.stamp_ns()}

    def release(self):
        self.released = True
        self.camera.memory[:] = 0
        self.camera.out -= 1


class Picamera2:
    cameras, error, made = [CSI], None, []
    granted = None

    @classmethod
    def global_camera_info(cls):
        return cls.cameras

    def __init__(self, number):
        if self.error:
            raise self.error
        self.number, self.calls, self.out, self.fails = number, [], 0, None
        self.gate = None
        self.waits = threading.Event()
        self.made.append(self)

    def create_video_configuration(self, **wanted):
        return wanted

    def configure(self, wanted):
        self.wanted = wanted
        width, height = self.granted or wanted["main"]["size"]
        self.memory = np.zeros((height, width, 3), np.uint8)

    def camera_configuration(self):
        return {"main": {"size": self.memory.shape[1::-1]}}

    def start(self):
        self.calls.append("start")

    def stamp_ns(self):
        return int((time.clock_gettime(time.CLOCK_BOOTTIME) - 0.02) * 1e9)

    def capture_request(self, wait=None):
        assert "close" not in self.calls
        if self.gate:
            self.waits.set()
            self.gate.wait(10)
        if self.fails:
            raise self.fails
        assert wait and wait <= 2
        self.out += 1
        return Request(self)

    def stop(self):
        self.calls.append("stop")

    def close(self):
        self.calls.append("close")


@pytest.fixture
def system(monkeypatch):
    kind = type("Picamera2", (Picamera2,), {"cameras": [CSI], "made": []})
    monkeypatch.setitem(sys.modules, "picamera2", types.SimpleNamespace(Picamera2=kind))
    return kind


def test_without_picamera2_the_line_to_run_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(Unavailable, match="apt install python3-picamera2") as error:
        open_source("picamera", Capture())
    assert error.value.exit_code == 69 and not isinstance(error.value, Disconnected)


def test_frames_are_bgr_copies_with_the_sensors_stamp(system):
    source = open_source("picamera", Capture(width=640, height=480, fps=25, rotate=180))
    assert isinstance(source, Source) and source.live and source.description == "imx708 640×480 25 fps"
    before_s = time.monotonic()
    frame = source.read()
    assert frame.codec == "bgr" and frame.data.shape == (480, 640, 3) and frame.data.min() == 40
    assert before_s - 0.021 < frame.monotonic_s < time.monotonic() - 0.019 and frame.rotate == 180
    (camera,) = system.made
    assert camera.number == 1 and camera.out == 0
    assert camera.wanted["main"] == {"size": (640, 480), "format": "RGB888"}
    assert camera.wanted["controls"]["FrameDurationLimits"] == (40000, 40000)
    source.close()
    source.close()
    assert camera.calls == ["start", "stop", "close"]


def test_the_granted_size_counts(system):
    system.granted = (644, 484)
    assert open_source("picamera", Capture(width=640, height=480)).read().width == 644


def test_usb_cameras_are_not_taken(system):
    system.cameras = [USB, CSI]
    open_source("picamera", Capture())
    assert system.made[0].number == 1
    system.cameras = [USB]
    with pytest.raises(Disconnected, match="camera port"):
        open_source("picamera", Capture())


@pytest.mark.parametrize(
    ("error", "hint"),
    [(RuntimeError("Failed to acquire camera: resource busy"), "other program"), (RuntimeError("x"), "cable")],
)
def test_a_camera_that_does_not_open_is_lost(system, error, hint):
    system.error = error
    with pytest.raises(Disconnected) as lost:
        open_source("picamera", Capture())
    assert hint in lost.value.hint


@pytest.mark.parametrize("error", [TimeoutError(), RuntimeError("Camera frontend has timed out!")])
def test_a_camera_that_stops_is_lost(system, error):
    source = open_source("picamera", Capture())
    source.read()
    system.made[0].fails = error
    with pytest.raises(Disconnected):
        source.read()
    source.close()
    assert system.made[0].calls[-1] == "close"


def test_closing_under_a_waiting_read_is_left_to_the_reader(system):
    source = open_source("picamera", Capture())
    camera = system.made[0]
    camera.gate = threading.Event()
    camera.fails = TimeoutError()
    caught = []

    def reads():
        try:
            source.read()
        except Disconnected as lost:
            caught.append(lost)

    reader = threading.Thread(target=reads)
    reader.start()
    assert camera.waits.wait(10)
    source.close()
    assert camera.calls == ["start"]
    camera.gate.set()
    reader.join(5)
    assert caught and camera.calls == ["start", "stop", "close"]


def test_libcameras_settings_are_controls_in_the_same_style(system):
    camera = open_source("picamera", Capture())
    made = system.made[-1]
    made.camera_controls = {
        "ExposureTime": (14, 220000000, 20000),
        "AnalogueGain": (1.0, 16.0, None),
        "AeEnable": (False, True, True),
        "ColourGains": ((0.0, 0.0), (32.0, 32.0), None),
        "FrameDurationLimits": (1, 2, 1),
        "AfMode": (0, 2, 0),
    }
    made.set_controls = made.calls.append
    found = {control.name: control for control in camera.controls()}
    assert set(found) == {"exposure_time", "analogue_gain", "ae_enable", "af_mode"}
    assert str(found["exposure_time"]) == "exposure_time: 14 to 220000000, default 20000"
    report = camera_controls.apply_to(camera, {"exposure_time": 8000, "analogue_gain": 2.5, "ae_enable": 0})
    assert report.problems == {}
    assert made.calls[-3:] == [{"AeEnable": False}, {"ExposureTime": 8000}, {"AnalogueGain": 2.5}]
    (problem,) = camera_controls.apply_to(camera, {"exposure_time_absolute": 8}).problems.values()
    assert "did you mean exposure_time?" in problem

    def refuse(controls):
        raise RuntimeError("Control not supported")

    made.set_controls = refuse
    (problem,) = camera_controls.apply_to(camera, {"analogue_gain": 3}).problems.values()
    assert problem == "capture.controls.analogue_gain: the camera refuses 3 (Control not supported)"
    assert camera.read().codec == "bgr"
