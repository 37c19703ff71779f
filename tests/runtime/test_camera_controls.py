"""A camera's own settings: the kernel's numbers, names, ranges, order, and what the driver refuses."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from v4l2_stand_in import C920_CONTROLS, Kernel

from picam_infer import cli
from picam_infer.core import ConfigError
from picam_infer.runtime import camera_controls
from picam_infer.runtime.camera_controls import Control, Number
from picam_infer.sources import v4l2
from picam_infer.sources import v4l2_controls as abi
from picam_infer.sources.v4l2_controls import NodeControls


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel(tmp_path, monkeypatch)
    kernel.plug(0, "C920", usb="046d:082d", controls=C920_CONTROLS)
    return kernel


@pytest.fixture
def camera(kernel: Kernel) -> NodeControls:
    return NodeControls(str(kernel.roots.dev / "video0"))


def by_name(camera: NodeControls) -> dict[str, Control]:
    return {control.name: control for control in camera.controls()}


HEADER = """
#include <linux/videodev2.h>
#include <stdio.h>
#define P(x) printf("%lu ", (unsigned long)(x));
int main(void) {
P(VIDIOC_QUERY_EXT_CTRL) P(VIDIOC_QUERYMENU) P(VIDIOC_G_EXT_CTRLS) P(VIDIOC_S_EXT_CTRLS)
P(sizeof(struct v4l2_query_ext_ctrl)) P(sizeof(struct v4l2_querymenu)) P(sizeof(struct v4l2_ext_control))
P(sizeof(struct v4l2_ext_controls))
P(V4L2_CTRL_FLAG_NEXT_CTRL) P(V4L2_CTRL_FLAG_DISABLED) P(V4L2_CTRL_FLAG_READ_ONLY) P(V4L2_CTRL_FLAG_INACTIVE)
P(V4L2_CTRL_FLAG_WRITE_ONLY) P(V4L2_CTRL_FLAG_VOLATILE) P(V4L2_CTRL_WHICH_CUR_VAL)
P(V4L2_CTRL_TYPE_INTEGER) P(V4L2_CTRL_TYPE_BOOLEAN) P(V4L2_CTRL_TYPE_MENU) P(V4L2_CTRL_TYPE_INTEGER64)
P(V4L2_CTRL_TYPE_BITMASK) P(V4L2_CTRL_TYPE_INTEGER_MENU)
P(V4L2_CID_AUTO_WHITE_BALANCE) P(V4L2_CID_EXPOSURE_AUTO) P(V4L2_CID_EXPOSURE_ABSOLUTE)
P(V4L2_CID_EXPOSURE_AUTO_PRIORITY) P(V4L2_CID_FOCUS_AUTO)
return 0; }
"""
LITERALS = [0xC0E85667, 0xC02C5625, 0xC0205647, 0xC0205648, 232, 44, 20, 32, 0x80000000, 1, 4, 0x10, 0x40, 0x80, 0,
            1, 2, 3, 5, 8, 9, 0x98090C, 0x9A0901, 0x9A0902, 0x9A0903, 0x9A090C]  # fmt: skip


def test_the_numbers_are_the_kernels() -> None:
    ours = [abi.QUERY_EXT_CTRL, abi.QUERYMENU, abi.G_EXT_CTRLS, abi.S_EXT_CTRLS, abi.QUERY.size, abi.MENU.size,
            abi.CONTROL.size, abi.CONTROLS.size, abi.NEXT_CTRL, abi.DISABLED, abi.READ_ONLY, abi.INACTIVE,
            abi.WRITE_ONLY, abi.VOLATILE, 0, abi.INTEGER, abi.BOOLEAN, abi.MENU_TYPE, abi.INTEGER64, abi.BITMASK,
            abi.INTEGER_MENU, *abi.NAMES]  # fmt: skip
    assert ours == LITERALS


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_the_literals_are_the_headers(tmp_path: Path) -> None:
    source = tmp_path / "numbers.c"
    source.write_text(HEADER)
    if subprocess.run(["cc", source, "-o", tmp_path / "numbers"], capture_output=True).returncode:
        pytest.skip("needs the kernel's headers (Debian: linux-libc-dev)")
    printed = subprocess.run([tmp_path / "numbers"], capture_output=True, text=True, check=True).stdout
    assert [int(word) for word in printed.split()] == LITERALS


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Exposure Time, Absolute", "exposure_time_absolute"),
        ("Focus, Auto", "focus_auto"),
        ("LED1 Mode", "led1_mode"),
        ("Exposure (Absolute)", "exposure_absolute"),
        ("White Balance Temperature, Auto", "white_balance_temperature_auto"),
        ("  Gain -- Auto!", "gain_auto"),
    ],
)
def test_names_are_those_of_v4l2_ctl(title: str, name: str) -> None:
    assert camera_controls.normalised(title) == name


def test_what_can_be_set_is_listed_with_range_default_and_menu(camera: NodeControls) -> None:
    found = by_name(camera)
    assert list(found) == [
        "brightness", "white_balance_automatic", "power_line_frequency", "white_balance_temperature", "auto_exposure",
        "exposure_time_absolute", "focus_absolute", "focus_automatic_continuous",
    ]  # no class, no button  # fmt: skip
    assert str(found["brightness"]) == "brightness: -64 to 64, default 0, now 0"
    assert found["auto_exposure"].menu == {1: "Manual Mode", 3: "Aperture Priority Mode"}
    assert str(found["auto_exposure"]).endswith("one of 1 (Manual Mode), 3 (Aperture Priority Mode), default 3, now 3")
    assert found["exposure_time_absolute"].inactive and not found["brightness"].inactive


def test_numbers_below_zero_long_ones_and_menus_of_numbers(kernel: Kernel) -> None:
    from v4l2_stand_in import Knob

    kernel.plug(
        1,
        "odd",
        controls=[
            Knob(0x980900, 1, "Brightness", -64, 64, 0, value=-7),
            Knob(0x980901, 5, "Pixel Rate", 0, 1 << 40, 0, value=1 << 33),
            Knob(0x980902, 9, "Link Frequency", 0, 1, 0, menu={0: 450_000_000, 1: 10}),
        ],
    )
    camera = NodeControls(str(kernel.roots.dev / "video1"))
    found = by_name(camera)
    assert found["brightness"].value == -7 and found["pixel_rate"].value == 1 << 33
    assert found["link_frequency"].menu == {0: "450000000", 1: "10"}
    camera.set_control(found["brightness"], -20)
    camera.set_control(found["pixel_rate"], 1 << 35)
    assert by_name(camera)["brightness"].value == -20 and by_name(camera)["pixel_rate"].value == 1 << 35


def test_automatic_modes_are_set_first_whatever_order_and_names(kernel: Kernel, camera: NodeControls) -> None:
    wanted: dict[str, Any] = {
        "exposure_absolute": 200,
        "focus_absolute": 30,
        "focus_auto": False,
        "exposure_auto": "manual mode",
        "Power Line Frequency": "50 hz",
    }
    report = camera_controls.apply(camera, "C920", wanted)
    assert report.problems == {}
    assert {name for name, _ in kernel.set[:2]} == {"Focus, Automatic Continuous", "Auto Exposure"}
    values = {control.name: control.value for control in report.controls}
    assert (values["exposure_time_absolute"], values["focus_absolute"], values["power_line_frequency"]) == (200, 30, 1)
    rows = {row["name"]: row for row in report.as_json()["controls"]}
    assert rows["auto_exposure"]["asked"] == "manual mode" and rows["brightness"]["asked"] is None


@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        ({"focus": 3}, "focus: C920 has no such control; did you mean focus_absolute"),
        ({"exposure_time": 3}, "did you mean exposure_time_absolute"),
        ({"sharpness": 3}, "it has: brightness, white_balance_automatic"),
        ({"brightness": 65}, "brightness: 65 is out of range; -64 to 64, default 0"),
        ({"brightness": 1.5}, "expected a whole number"),
        ({"brightness": float("nan")}, "expected a whole number"),
        ({"auto_exposure": 2}, r"2 is out of range; one of 1 \(Manual Mode\), 3 \("),
        ({"auto_exposure": "dark"}, "'dark' is not one of its values; one of 1"),
        ({"brightness": "dark"}, "'dark' is not one of its values; -64 to 64"),
        ({"focus_auto": 2}, "2 is out of range; 0 or 1"),
    ],
)
def test_nonsense_is_one_line_with_the_remedy(
    kernel: Kernel, camera: NodeControls, wanted: dict[str, Any], match: str
) -> None:
    report = camera_controls.apply(camera, "C920", {**wanted, "power_line_frequency": 1})
    (problem,) = report.problems.values()
    with pytest.raises(ConfigError, match=match):
        raise ConfigError(problem)
    assert problem.startswith("capture.controls.") and "\n" not in problem
    assert kernel.control(0, "Power Line Frequency").value == 1, "the others are set"


def test_a_value_under_an_automatic_mode_is_refused_with_the_modes_name(camera: NodeControls) -> None:
    report = camera_controls.apply(camera, "C920", {"exposure_time_absolute": 200, "focus_absolute": 10})
    assert list(report.problems.values()) == [
        "capture.controls.exposure_time_absolute: the camera refuses 200 (Permission denied); "
        "an automatic mode controls it: set auto_exposure: 1",
        "capture.controls.focus_absolute: the camera refuses 10 (Permission denied); "
        "an automatic mode controls it: set focus_automatic_continuous: 0",
    ]


def test_what_the_driver_refuses_or_changes_is_reported_and_stops_nothing(kernel: Kernel, camera: NodeControls) -> None:
    kernel.control(0, "Brightness").fails = errno.EIO
    report = camera_controls.apply(camera, "C920", {"brightness": 9, "power_line_frequency": 1})
    assert report.problems == {"brightness": "capture.controls.brightness: the camera refuses 9 (Input/output error)"}
    assert kernel.control(0, "Power Line Frequency").value == 1
    kernel.control(0, "Focus, Automatic Continuous").value = 0
    rounded = camera_controls.apply(camera, "C920", {"focus_absolute": 33})  # in steps of 5
    assert rounded.problems == {} and kernel.control(0, "Focus, Absolute").value == 30


def test_a_control_that_takes_a_value_and_ignores_it_is_noticed() -> None:
    class Deaf:
        knob = Control("gain", "Gain", "integer", 0, 255, 1, 10, 10)

        def controls(self) -> list[Control]:
            return [self.knob]

        def set_control(self, control: Control, value: Number) -> None:
            pass

    report = camera_controls.apply(Deaf(), "cam", {"gain": 200})
    assert report.problems == {"gain": "capture.controls.gain: the camera has 10 instead of 200"}
    Deaf.knob = msgspec.structs.replace(Deaf.knob, volatile=True)
    assert camera_controls.apply(Deaf(), "cam", {"gain": 200}).problems == {}


def test_a_camera_unplugged_meanwhile_or_without_controls(kernel: Kernel) -> None:
    gone = NodeControls(str(kernel.roots.dev / "video9"))
    assert camera_controls.apply(gone, "cam", {"gain": 1}).controls == ()
    kernel.plug(2, "plain")
    report = camera_controls.apply(NodeControls(str(kernel.roots.dev / "video2")), "plain", {"gain": 1})
    assert report.problems["gain"] == (
        "capture.controls.gain: plain has no controls that can be set; remove it from capture.controls"
    )


def test_a_camera_that_is_in_use_is_reported(kernel: Kernel, camera: NodeControls) -> None:
    kernel.errors["open"] = errno.EBUSY
    (problem,) = camera_controls.apply(camera, "C920", {"brightness": 1, "gain": 2}).problems.values()
    assert problem == "capture.controls: C920 cannot be asked for its controls (Device or resource busy)"
    kernel.errors["open"] = errno.ENODEV
    assert camera_controls.apply(camera, "C920", {"brightness": 1}).problems == {}


def test_devices_lists_them(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = v4l2.list_cameras(kernel.roots)
    monkeypatch.setattr(v4l2, "list_cameras", lambda: listed)
    assert cli.main(["devices"]) == 0
    text = capsys.readouterr().out
    assert "exposure_time_absolute: 3 to 2047, default 250, now 250 (set by an automatic mode)" in text
    assert cli.main(["devices", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (row,) = [row for row in rows if row["kind"] == "cameras"]
    menu = next(c["menu"] for c in row["controls"] if c["name"] == "auto_exposure")
    assert menu == [{"value": 1, "text": "Manual Mode"}, {"value": 3, "text": "Aperture Priority Mode"}]
