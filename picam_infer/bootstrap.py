"""How a process is set up before the large libraries are imported. Every program calls this first."""

from __future__ import annotations

import os
import sys
from typing import Any

from picam_infer.imaging.limits import MAX_PIXELS


def bootstrap() -> None:
    """Set up the process. To be called before OpenCV or OpenVINO is imported; a second call does nothing more."""
    # OpenVINO's converter of other frameworks' models is loaded with it, and is used nowhere here: 7 MB. It also
    # reports its use to its maker, from a process that it forks when it is imported, which hangs for good when another
    # thread holds a lock at that moment, and with it the end of this program. OpenVINO does without either of the two.
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino.tools.ovc", None)
    modules.setdefault("openvino_telemetry", None)
    # OpenCV reads it when it is imported: its decoders measure a picture themselves before they take memory for it.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
