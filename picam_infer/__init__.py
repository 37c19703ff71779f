"""picam-infer: a Raspberry Pi watches something through a webcam and says what it sees."""

__version__ = "0.1.0"

import os
import sys
from typing import Any

from picam_infer.imaging.limits import MAX_PIXELS

# OpenVINO's converter of other frameworks' models is loaded with it, and is used nowhere here: 7 MB. It also reports
# its use to its maker, from a process that it forks when it is imported, which hangs for good when another thread holds
# a lock at that moment, and with it the end of this program. OpenVINO does without either of the two.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("openvino.tools.ovc", None)
_modules.setdefault("openvino_telemetry", None)

# Read by OpenCV when it is imported: its decoders measure a picture themselves before they take memory for it.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
