"""The camera on the Pi's own connector (CSI), through the system's picamera2."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from picam_infer.config import Capture
from picam_infer.core import Disconnected, Frame, Unavailable
from picam_infer.platform.paths import system_package
from picam_infer.runtime.camera_controls import Control, Number
from picam_infer.sources.deferred_close import DeferredClose
from picam_infer.sources.frames import make_frame

log = logging.getLogger(__name__)

QUIET_S = 2.0
_BUFFERS = 3
_OURS = ("FrameDurationLimits", "ScalerCrop")
"""What `capture.fps` sets, and no number can."""
_CABLE = "check the ribbon cable (with the power off); `rpicam-hello --list-cameras` shows what the system sees"


class PiCamera:
    """libcamera's main stream in colour."""

    live = True

    def __init__(self, capture: Capture) -> None:
        """Start the first camera that is not on USB. Raises `Unavailable` (no picamera2) or `Disconnected`."""
        kind = _picamera2()
        self._asked = capture
        self._door = DeferredClose(self._release)
        number, model = _first(kind)
        try:
            self._camera: Any = kind(number)
        except Exception as error:  # libcamera and picamera2 raise RuntimeError, IndexError, OSError…
            raise _failed(model, error) from error
        try:
            self._start()
        except Exception as error:
            self._camera.close()
            raise _failed(model, error) from error
        self._model, self._seq = model, 0
        self._set: dict[str, Number] = {}
        self.description = f"{model} {self._size[0]}×{self._size[1]} {capture.fps} fps"
        log.info("%s", self.description)

    def _start(self) -> None:
        # libcamera's "RGB888" lies in memory as B, G, R.
        period_us = round(1e6 / self._asked.fps)
        wanted = self._camera.create_video_configuration(
            main={"size": (self._asked.width, self._asked.height), "format": "RGB888"},
            controls={"FrameDurationLimits": (period_us, period_us)},
            buffer_count=_BUFFERS,
        )
        self._camera.configure(wanted)
        width, height = self._camera.camera_configuration()["main"]["size"]
        self._size = (int(width), int(height))
        self._camera.start()

    def read(self) -> Frame:
        """Return the next picture, codec bgr, stamped by the sensor. Raises `Disconnected`."""
        with self._door.reading() as is_open:
            if not is_open:
                raise Disconnected(f"{self._model} was closed")
            try:
                return self._next()
            except TimeoutError as error:
                raise Disconnected(f"no picture for {QUIET_S:.0f} s", _CABLE) from error
            except (RuntimeError, OSError) as error:
                raise _failed(self._model, error) from error

    def _next(self) -> Frame:
        request = self._camera.capture_request(wait=QUIET_S)
        try:
            # A copy: the request's memory goes back to the camera.
            image = np.array(request.make_array("main")[:, :, :3], dtype=np.uint8)
            stamp_ns = request.get_metadata().get("SensorTimestamp")
        finally:
            request.release()
        seq, self._seq = self._seq, self._seq + 1
        return make_frame(image, "bgr", self._size, seq, self._asked, _monotonic_s(stamp_ns))

    def controls(self) -> Sequence[Control]:
        """Return libcamera's own settings with names in V4L2's style: `ExposureTime` is `exposure_time`, in µs."""
        listed = [_control(name, *limits) for name, limits in sorted(self._camera.camera_controls.items())]
        return [msgspec.structs.replace(c, value=self._set.get(c.title)) for c in listed if c is not None]

    def set_control(self, control: Control, value: Number) -> None:
        """Set one; it holds from one of the next pictures on. Raises `OSError`."""
        given = bool(value) if control.kind == "boolean" else value
        try:
            self._camera.set_controls({control.title: given})
        except Exception as error:  # whatever libcamera raises
            raise OSError(" ".join(str(error).split())) from error
        self._set[control.title] = value

    def close(self) -> None:
        """Give the camera back; a thread that waits in `read` does so itself when it returns. Never waits."""
        self._door.close()

    def _release(self) -> None:
        with contextlib.suppress(RuntimeError, OSError):
            self._camera.stop()
        with contextlib.suppress(RuntimeError, OSError):
            self._camera.close()


def _control(title: str, low: object, high: object, default: object) -> Control | None:
    """Return one of libcamera's settings, if a number can set it (rectangles and gains in pairs it cannot)."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", title).lower()
    if title in _OURS or not (isinstance(low, (int, float)) and isinstance(high, (int, float))):
        return None
    start = default if isinstance(default, (int, float)) else low
    low, high, start = (each if isinstance(high, float) else int(each) for each in (low, high, start))
    kind: Literal["boolean", "float", "integer"] = (
        "boolean" if isinstance(high, bool) else "float" if isinstance(high, float) else "integer"
    )
    step = 0.001 if kind == "float" else 1
    return Control(name, title, kind, low, high, step, start)


def _picamera2() -> Any:
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise Unavailable(
            "picamera2 is not installed",
            system_package("python3-picamera2"),
        ) from error
    return Picamera2


def _first(kind: Any) -> tuple[int, str]:
    # libcamera lists USB webcams too; those are better read by the `camera` source.
    for camera in kind.global_camera_info():
        if "/usb" not in str(camera.get("Id", "")):
            return int(camera.get("Num", 0)), str(camera.get("Model", "camera"))
    raise Disconnected("no camera is connected to the Pi's camera port", _CABLE)


def _failed(model: str, error: Exception) -> Disconnected:
    words = " ".join(str(error).split()) or type(error).__name__
    busy = any(word in words.lower() for word in ("busy", "in use", "acquire"))
    return Disconnected(f"{model}: {words}", "end the other program that uses it" if busy else _CABLE)


def _monotonic_s(boottime_ns: object) -> float | None:
    # libcamera stamps on CLOCK_BOOTTIME, which also counts while the machine sleeps.
    if not isinstance(boottime_ns, int) or boottime_ns <= 0:
        return None
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - boottime_ns / 1e9
    return time.monotonic() - age_s if 0 <= age_s < 10 else None
