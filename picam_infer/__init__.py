"""picam-infer: a Raspberry Pi watches something through a webcam and says what it sees."""

__version__ = "0.1.0"

import sys
from typing import Any

# OpenVINO reports its use to its maker: from a process that it forks when it is imported, which hangs for good when
# another thread holds a lock at that moment, and with it the end of this program. Without that package it does not.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("openvino_telemetry", None)
