import errno
import threading
import time

import cv2
import pytest
from v4l2_stand_in import C270, C920_CONTROLS, Kernel, Webcam, jpeg

from picam_infer.config import Capture
from picam_infer.core import BadFrame, Disconnected, Source, UsageError
from picam_infer.runtime import camera_controls
from picam_infer.runtime.camera_controls import Adjustable
from picam_infer.sources import camera as module
from picam_infer.sources import v4l2
from picam_infer.sources.camera import Camera, preferred
from picam_infer.sources.v4l2 import Format, Mode


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "found_before", {})
    kernel = Kernel(tmp_path, monkeypatch)
    plug(kernel)
    return kernel


@pytest.fixture
def webcam(kernel, monkeypatch):
    webcam = Webcam(kernel)
    monkeypatch.setattr(cv2, "VideoCapture", webcam)
    return webcam


def plug(kernel, number=0, name="C270 HD WEBCAM", serial="A1", **more):
    kernel.plug(number, name, usb="046d:0825", serial=serial, link=f"usb-046d_{name}_{serial}-video-index0", **more)


def opened(kernel, address="camera", **capture):
    return Camera(address, Capture(**capture), kernel.roots)


def test_mjpg_bytes_arrive_untouched_with_the_drivers_stamp(kernel, webcam):
    camera = opened(kernel)
    assert isinstance(camera, Source) and camera.live
    first = camera.read()
    exact = jpeg(shade=200)
    webcam.script = [exact]
    webcam.stamp_ms = (time.monotonic() - 0.005) * 1e3
    wall_s, monotonic_s = time.time(), time.monotonic()
    second = camera.read()
    longest_s = time.monotonic() - monotonic_s
    assert second.codec == "jpeg" and second.data.tobytes() == exact.tobytes() and second.data.ndim == 1
    assert (second.width, second.height, second.seq) == (1280, 720, first.seq + 1)
    assert second.monotonic_s == pytest.approx(webcam.stamp_ms / 1e3)
    assert second.captured - second.monotonic_s == pytest.approx(wall_s - monotonic_s, abs=longest_s + 1e-3)
    assert camera.description == "C270 HD WEBCAM 1280×720 MJPG 30 fps"


def test_the_order_of_requests_is_the_one_that_works(kernel, webcam):
    opened(kernel)
    asked = [prop for prop, _ in webcam.log]
    assert asked[0] == cv2.CAP_PROP_FOURCC and asked[-1] == cv2.CAP_PROP_CONVERT_RGB
    assert asked.index(cv2.CAP_PROP_FOURCC) < asked.index(cv2.CAP_PROP_FRAME_WIDTH) < asked.index(cv2.CAP_PROP_FPS)
    assert not set(asked) & {cv2.CAP_PROP_EXPOSURE, cv2.CAP_PROP_AUTO_EXPOSURE, cv2.CAP_PROP_GAIN}


def test_it_is_opened_by_the_link_that_stays(kernel, webcam):
    opened(kernel)
    assert "/v4l/by-id/" in webcam.opened[0]


def test_rotation_and_flip_travel_with_the_frame(kernel, webcam):
    frame = opened(kernel, rotate=90, flip="horizontal").read()
    assert (frame.rotate, frame.flip, frame.width, frame.height) == (90, "horizontal", 1280, 720)


def test_a_camera_without_mjpg_gives_raw_yuyv(kernel, webcam):
    webcam.formats = kernel.devices[str(kernel.roots.dev / "video0")]["formats"] = {"YUYV": C270["YUYV"]}
    camera = opened(kernel)
    frame = camera.read()
    assert frame.codec == "yuyv" and frame.data.shape == (720, 1280, 2)
    assert camera.description.endswith("1280×720 YUYV 10 fps")


def test_an_odd_format_is_decoded_by_opencv(kernel, webcam):
    webcam.formats = kernel.devices[str(kernel.roots.dev / "video0")]["formats"] = {"NV12": {(640, 480): (30,)}}
    frame = opened(kernel).read()
    assert frame.codec == "bgr" and frame.data.shape == (480, 640, 3)


def test_what_was_granted_instead_is_logged(kernel, webcam, caplog):
    caplog.set_level("INFO")
    camera = opened(kernel, width=1920, height=1080, fps=60)
    assert camera.read().width == 1280
    assert "1280×720 MJPG 30 fps granted instead of 1920×1080 at 60 fps" in caplog.text


@pytest.mark.parametrize(
    "damaged",
    [jpeg()[:, :-700], jpeg()[:, 40:], jpeg(640, 480), jpeg()[:, :200]],
    ids=["no end", "no start", "wrong size", "a stump"],
)
def test_a_damaged_jpeg_is_skipped(kernel, webcam, damaged):
    camera = opened(kernel)
    camera.read()
    webcam.script = [damaged]
    with pytest.raises(BadFrame):
        camera.read()
    assert camera.read().codec == "jpeg"


def test_zero_padding_after_the_end_is_fine(kernel, webcam):
    camera = opened(kernel)
    camera.read()
    webcam.script = [cv2.copyMakeBorder(jpeg(), 0, 0, 0, 600, cv2.BORDER_CONSTANT, value=0)]
    assert camera.read().codec == "jpeg"


def test_damaged_first_pictures_are_forgiven_but_not_forever(kernel, webcam):
    webcam.script = [jpeg()[:, :300]] * 4
    assert opened(kernel).read().width == 1280
    webcam.script = [jpeg()[:, :300]] * 50
    with pytest.raises(Disconnected, match="damaged pictures only"):
        opened(kernel)


def test_a_camera_that_sends_another_size_than_it_says_is_believed(kernel, webcam):
    webcam.script = [jpeg(800, 600)] * 2
    camera = opened(kernel)
    assert (camera.read().width, camera.read().height) == (800, 600)


@pytest.mark.parametrize(
    "stamp_ms",
    [0.0, 12.5, time.time() * 1e3, (time.monotonic() + 3600) * 1e3, -5.0],
    ids=["zero", "at the start", "wall clock", "ahead", "negative"],
)
def test_an_implausible_stamp_is_replaced(kernel, webcam, stamp_ms):
    webcam.stamp_ms, before_s = stamp_ms, time.monotonic()
    stamp_s = opened(kernel).read().monotonic_s
    assert before_s <= stamp_s <= time.monotonic()


def test_unplugged_while_reading(kernel, webcam):
    camera = opened(kernel)
    camera.read()
    kernel.unplug(0)
    with pytest.raises(Disconnected) as lost:
        camera.read()
    assert str(lost.value) == "C270 HD WEBCAM is unplugged; plug it in again"
    camera.close()
    for _ in range(2):  # looking for it again is the same news
        with pytest.raises(Disconnected, match="C270 HD WEBCAM is unplugged"):
            opened(kernel)


def test_the_node_may_go_a_moment_after_the_read_failed(kernel, webcam):
    camera = opened(kernel)
    camera.read()
    webcam.script = [False]
    threading.Timer(0.1, kernel.unplug, [0]).start()
    with pytest.raises(Disconnected, match="is unplugged"):
        camera.read()


@pytest.mark.parametrize("address", ["camera", "camera:C270", "camera:usb:046d:0825"])
def test_it_comes_back_under_another_number(kernel, webcam, address):
    opened(kernel, address).close()
    kernel.unplug(0)
    plug(kernel, 0, "Other Cam", serial="Z9") if address == "camera" else None
    plug(kernel, 3)
    camera = opened(kernel, address)
    assert camera.info.node.endswith("/video3") and camera.info.name == "C270 HD WEBCAM"


def test_a_number_follows_the_camera_it_meant(kernel, webcam):
    address = str(kernel.roots.dev / "video0")
    opened(kernel, address).close()
    kernel.unplug(0)
    plug(kernel, 2)
    assert opened(kernel, address).info.node.endswith("/video2")


def test_another_camera_serves_when_any_is_wanted(kernel, webcam):
    opened(kernel).close()
    kernel.unplug(0)
    plug(kernel, 1, "Spare", serial="B7")
    assert opened(kernel).info.name == "Spare"


def test_a_named_camera_is_waited_for_while_another_is_there(kernel, webcam):
    with pytest.raises(Disconnected, match="no camera matches 'BRIO'"):
        opened(kernel, "camera:BRIO")
    with pytest.raises(UsageError):
        opened(kernel, "camera:")


@pytest.mark.parametrize(
    ("request_", "number", "words"),
    [(v4l2.S_FMT, errno.EBUSY, "in use by vlc"), ("open", errno.EACCES, "permission denied")],
)
def test_opencv_hides_why_it_does_not_open(kernel, webcam, request_, number, words):
    kernel.hold(0, 99, "vlc")
    webcam.refuses = True
    kernel.errors[request_] = number
    with pytest.raises(Disconnected, match=words):
        opened(kernel)


def test_no_bandwidth_shows_at_the_first_read(kernel, webcam):
    webcam.script = [False]
    kernel.errors[v4l2.STREAMON] = errno.ENOSPC
    with pytest.raises(Disconnected) as lost:
        opened(kernel)
    assert "bandwidth" in lost.value.message and "smaller" in lost.value.hint
    assert webcam.released


def test_frozen_is_not_unplugged(kernel, webcam, monkeypatch):
    monkeypatch.setattr(module, "SELECT_TIMEOUT_S", 0.2)
    camera = opened(kernel)
    camera.read()
    webcam.hang = threading.Event()
    threading.Timer(0.25, webcam.hang.set).start()
    with pytest.raises(Disconnected, match=r"no picture for 0.2 s"):
        camera.read()


def test_a_camera_may_take_two_time_outs_to_wake_up(kernel, webcam, monkeypatch):
    monkeypatch.setattr(module, "SELECT_TIMEOUT_S", 0.1)
    webcam.script = [0.1]
    assert opened(kernel).read().codec == "jpeg"
    webcam.script = [0.1, 0.1]
    with pytest.raises(Disconnected, match="no picture for"):
        opened(kernel)


def test_closing_under_a_hanging_read_is_left_to_the_reader(kernel, webcam):
    camera = opened(kernel)
    camera.read()
    webcam.hang = threading.Event()
    webcam.in_read.clear()
    caught = []

    def reads():
        try:
            camera.read()
        except Disconnected as lost:
            caught.append(lost)

    reader = threading.Thread(target=reads)
    reader.start()
    assert webcam.in_read.wait(5)
    camera.close()
    camera.close()
    assert reader.is_alive() and not webcam.released
    webcam.hang.set()
    reader.join(5)
    assert caught and len(webcam.released) == 1
    with pytest.raises(Disconnected):
        camera.read()


def test_a_node_that_udev_has_not_finished_is_waited_for(kernel, webcam):
    kernel.unplug(0)
    kernel.plug(1, "C270 HD WEBCAM", usb="046d:0825", serial="A1")
    link = kernel.roots.dev / "v4l/by-id/usb-C270-video-index0"
    threading.Timer(0.15, lambda: link.symlink_to("../../video1")).start()
    assert opened(kernel).info.by_id == str(link)


MODES = (
    Format("YUYV", "", (Mode(1280, 720, (10.0,)), Mode(640, 480, (30.0,)))),
    Format("MJPG", "", (Mode(1280, 720, (30.0,)), Mode(640, 480, (30.0,)))),
    Format("H264", "", ()),
)


@pytest.mark.parametrize(
    ("settings", "offered", "order"),
    [
        ({}, MODES, ["MJPG", "YUYV", "H264"]),
        ({"format": "yuyv"}, MODES, ["YUYV", "MJPG", "H264"]),
        ({"format": "any"}, MODES, ["MJPG", "YUYV", "H264"]),
        ({"format": "any", "width": 640, "height": 480}, MODES, ["YUYV", "MJPG", "H264"]),
        ({}, (), ["MJPG", "YUYV"]),
        ({"format": "any"}, (), ["YUYV", "MJPG"]),
    ],
)
def test_formats_are_asked_for_in_the_order_that_serves(settings, offered, order):
    assert preferred(Capture(**settings), offered) == order


def test_controls_are_set_on_whatever_node_the_camera_has_after_a_reconnect(kernel, webcam):
    kernel.unplug(0)
    plug(kernel, 0, controls=C920_CONTROLS)
    wanted = {"exposure_time_absolute": 200, "auto_exposure": 1}
    first = opened(kernel)
    assert isinstance(first, Adjustable)
    assert camera_controls.apply_to(first, wanted).problems == {}
    assert kernel.control(0, "Exposure Time, Absolute").value == 200
    kernel.unplug(0)
    assert camera_controls.apply_to(first, wanted).controls == (), "gone: the next read tells"
    with pytest.raises(Disconnected):
        for _ in range(3):
            first.read()
    first.close()
    plug(kernel, 3, controls=C920_CONTROLS)
    again = opened(kernel)
    assert again.info.node.endswith("video3")
    report = camera_controls.apply_to(again, wanted)
    assert report.problems == {} and report.camera == again.description
    assert kernel.control(3, "Exposure Time, Absolute").value == 200
    assert again.read().codec == "jpeg", "the stream goes on"
