import errno
import os

import pytest
from v4l2_stand_in import CAPTURE, M2M, META, Kernel

from picam_infer.sources import v4l2


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    return Kernel(tmp_path, monkeypatch)


def webcam(kernel, number=0, name="C270 HD WEBCAM", usb="046d:0825", serial="A1B2", **more):
    link = f"usb-{usb.replace(':', '_')}_{name.replace(' ', '_')}_{serial}-video-index0"
    kernel.plug(number, name, usb=usb, serial=serial, link=link, **more)


def test_a_pi_full_of_codecs_lists_its_webcam_only(kernel):
    webcam(kernel, 8)
    kernel.plug(9, "C270 HD WEBCAM", caps=META, usb="046d:0825", serial="A1B2", index=1)
    kernel.plug(10, "bcm2835-codec-decode", driver="bcm2835-codec", caps=M2M)
    kernel.plug(13, "bcm2835-isp-capture0", driver="bcm2835-isp")
    kernel.plug(19, "rpivid", driver="rpivid", caps=M2M)
    kernel.plug(20, "pispbe-output", driver="pispbe")
    kernel.plug(21, "rp1-cfe-csi2_ch0", driver="rp1-cfe")
    kernel.plug(22, "some-encoder", driver="new-thing", caps=M2M)
    (camera,) = v4l2.list_cameras(kernel.roots)
    assert camera.node.endswith("/video8") and camera.name == "C270 HD WEBCAM" and camera.driver == "uvcvideo"
    assert (camera.usb_id, camera.serial, camera.bus) == ("046d:0825", "A1B2", "usb-1-9")
    assert camera.path == camera.by_id and camera.by_id.endswith("C270_HD_WEBCAM_A1B2-video-index0")
    assert [f.fourcc for f in camera.formats] == ["MJPG", "YUYV"]
    assert camera.formats[0].modes[0] == v4l2.Mode(1280, 720, (30.0, 15.0))
    assert str(camera.formats[0]) == "MJPG: 1280×720 at 30, 15 fps; 640×480 at 30 fps"
    assert camera.busy_by == camera.problem == ""
    assert v4l2.has_ribbon_camera(kernel.roots)


def test_numbers_are_sorted_as_numbers_and_doubled_names_said_once(kernel):
    webcam(kernel, 10, "Cam Ten")
    webcam(kernel, 2, "USB2.0 HD UVC WebCam: USB2.0 HD", usb="13d3:5666")
    assert [c.name for c in v4l2.discover(kernel.roots)] == ["USB2.0 HD UVC WebCam", "Cam Ten"]


def test_no_video_class_at_all(tmp_path):
    assert v4l2.list_cameras(v4l2.Roots(tmp_path, tmp_path, tmp_path)) == []


def test_without_permission_the_first_node_is_still_listed(kernel):
    webcam(kernel)
    kernel.plug(1, "C270 HD WEBCAM", caps=META, index=1)
    kernel.errors["open"] = errno.EACCES
    (camera,) = v4l2.list_cameras(kernel.roots)
    assert camera.name == "C270 HD WEBCAM" and camera.problem == "Permission denied" and camera.formats == ()


def test_a_camera_in_use_names_its_holder(kernel):
    webcam(kernel)
    kernel.hold(0, 812, "ffmpeg")
    kernel.errors[v4l2.REQBUFS] = errno.EBUSY
    assert v4l2.list_cameras(kernel.roots)[0].busy_by == "ffmpeg (PID 812)"


def test_a_holder_nobody_may_see(kernel):
    webcam(kernel)
    kernel.errors[v4l2.REQBUFS] = errno.EBUSY
    assert v4l2.list_cameras(kernel.roots)[0].busy_by == "another program"


def test_our_own_handle_is_no_holder(kernel):
    webcam(kernel)
    kernel.hold(0, os.getpid(), "picam-infer")
    assert v4l2.holder(str(kernel.roots.dev / "video0"), kernel.roots) is None


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [("C270", True), ("c270 hd", True), ("a1B", True), ("usb:046D:0825", True), ("usb:046d:82", False), ("C9", False)],
)
def test_a_camera_is_meant_by_any_part_of_its_identity(kernel, wanted, fits):
    webcam(kernel)
    assert v4l2.matches(v4l2.discover(kernel.roots)[0], wanted) is fits


@pytest.mark.parametrize(
    ("request_", "number", "reason", "hint"),
    [
        ("open", errno.EACCES, "permission denied", "usermod -aG video"),
        (v4l2.S_FMT, errno.EBUSY, "in use by cheese (PID 77)", "end that program"),
        (v4l2.STREAMON, errno.ENOSPC, "not enough USB bandwidth", "smaller capture size"),
        ("open", errno.ENODEV, "C270 HD WEBCAM is unplugged", "plug it in"),
        (v4l2.STREAMON, errno.EIO, "does not start: Input/output error", "another port"),
        (None, 0, "starts but gives no picture", "another port"),
    ],
)
def test_each_cause_has_its_own_words_and_remedy(kernel, request_, number, reason, hint):
    webcam(kernel)
    kernel.hold(0, 77, "cheese")
    camera = v4l2.discover(kernel.roots)[0]
    if request_ is not None:
        kernel.errors[request_] = number
    error = v4l2.start_error(camera.node, "MJPG", 1280, 720)
    lost = v4l2.explain(camera, error, kernel.roots)
    assert reason in lost.message and hint in lost.hint and "\n" not in str(lost)


def test_a_camera_that_the_service_has_is_no_fault(kernel):
    webcam(kernel)
    camera, busy = v4l2.discover(kernel.roots)[0], OSError(errno.EBUSY, "busy")
    hidden = kernel.roots.proc / "812"
    hidden.mkdir()
    (hidden / "comm").write_text("picam-infer\n")
    (hidden / "cmdline").write_text("/usr/bin/python3\0/opt/picam-infer/current/bin/picam-infer\0check\0")
    assert "another program" in v4l2.explain(camera, busy, kernel.roots).message
    # Its open files are hidden from everybody but root.
    (hidden / "cmdline").write_text("/usr/bin/python3\0/opt/picam-infer/current/bin/picam-infer\0run\0")
    lost = v4l2.explain(camera, busy, kernel.roots)
    assert isinstance(lost, v4l2.Watched) and "most likely by picam-infer (PID 812)" in lost.message
    # Whoever can be seen to have the camera is named instead, the service too.
    kernel.hold(0, 900, "picam-infer")
    assert v4l2.explain(camera, busy, kernel.roots).message.endswith("in use by picam-infer (PID 900)")
    (kernel.roots.proc / "900/comm").write_text("cheese\n")
    assert not isinstance(v4l2.explain(camera, busy, kernel.roots), v4l2.Watched)


def test_what_is_missing_is_said_with_what_is_there(kernel):
    assert str(v4l2.none_found("", kernel.roots)) == "no camera is plugged in; plug in a USB webcam"
    devices = "picam-infer devices lists the cameras"
    assert str(v4l2.none_found("C270", kernel.roots)) == f"no camera matches 'C270'; plug it in; {devices}"
    assert str(v4l2.none_found("/dev/video97", kernel.roots)) == f"there is no /dev/video97; plug it in; {devices}"
    kernel.plug(0, "unicam-image", driver="unicam", caps=CAPTURE)
    assert "source: picamera" in v4l2.none_found("C920", kernel.roots).hint
    webcam(kernel, 2)
    lost = v4l2.none_found("C920", kernel.roots)
    assert lost.message == "no camera matches 'C920'" and "C270 HD WEBCAM" in lost.hint
    lost = v4l2.none_found("/dev/video97", kernel.roots)
    assert lost.message == "there is no /dev/video97" and "C270 HD WEBCAM" in lost.hint
    assert v4l2.none_found("/dev/null", kernel.roots).message == "/dev/null is not a camera"
