"""`picam-infer devices`: this machine's cameras, accelerators and displays."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from picam_infer.core import PicamError
from picam_infer.inference.engines import openvino, sticks
from picam_infer.platform.terminal import say, say_json
from picam_infer.runtime.camera_controls import Control
from picam_infer.sources import v4l2
from picam_infer.sources.v4l2 import CameraInfo
from picam_infer.sources.v4l2_controls import NodeControls

Row = Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `devices`' options."""
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def main(args: argparse.Namespace) -> int:
    """List everything; returns 0 also when there is nothing."""
    for title, listing in LISTINGS.items():
        rows = list(listing())
        if args.json:
            for row in rows:
                say_json({"kind": title, **row})
            continue
        say(f"{title}:" if rows else f"{title}: none found")
        for row in rows:
            for line in str(row["text"]).splitlines():
                say(f"  {line}")
    return 0


def cameras() -> Iterator[Row]:
    """Yield the capture devices with their formats."""
    for camera in v4l2.list_cameras():
        plain = {**msgspec.to_builtins(camera), "controls": [control.as_json() for control in controls(camera)]}
        offers = [str(each) for each in camera.formats]
        usb = f" (usb {camera.usb_id})" if camera.usb_id else ""
        lines = [f"{camera.node}  {camera.name}{usb}", *offers]
        settings = [f"  {control}" for control in controls(camera)]
        lines += ["what capture.controls can set:", *settings] if settings else []
        if camera.busy_by:
            lines.append(f"in use by {camera.busy_by}")
        if camera.problem:
            lines.append(camera.problem)
        yield {**plain, "text": "\n      ".join(lines)}


def controls(camera: CameraInfo) -> Sequence[Control]:
    """Return a camera's own settings; nothing when it cannot be asked."""
    try:
        return NodeControls(camera.node).controls()
    except OSError:
        return ()


def compute_sticks() -> Iterator[Row]:
    """Yield the Movidius sticks on the USB bus, usable or not."""
    for stick in sticks.list_sticks():
        yield {**stick.as_json(), "text": str(stick)}


def openvino_devices() -> Iterator[Row]:
    """Yield what OpenVINO can compile for."""
    try:
        for name, full in openvino.devices():
            yield {"name": name, "full_name": full, "text": f"{name}  {full}"}
    except PicamError as error:
        yield {"error": str(error), "text": str(error)}


def monitors(root: Path = Path("/sys/class/drm")) -> Iterator[Row]:
    """Yield the video outputs and whether a monitor is plugged in."""
    for connector in sorted(root.glob("card*-*")):
        status = (connector / "status").read_text().strip()
        modes = (connector / "modes").read_text().split()
        mode = f" {modes[0]}" if modes else ""
        yield {"name": connector.name, "status": status, "modes": list(dict.fromkeys(modes)),
               "text": f"{connector.name}  {status}{mode}"}  # fmt: skip


LISTINGS: dict[str, Callable[[], Iterator[Row]]] = {
    "cameras": cameras,
    "sticks": compute_sticks,
    "openvino": openvino_devices,
    "displays": monitors,
}
