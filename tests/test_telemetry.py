"""Nothing reports to anyone: OpenVINO's telemetry forks a process out of a program with threads, which can hang."""

from __future__ import annotations

import subprocess
import sys


def test_openvino_reports_nothing_and_forks_nothing() -> None:
    code = (
        "import sys, os, multiprocessing, picam_infer;"
        "multiprocessing.Process.start = lambda self: sys.exit('forks');"
        "import openvino;"
        "from openvino.tools.ovc import telemetry_utils;"
        "sys.exit(0 if 'stub' in telemetry_utils.tm.__name__ else telemetry_utils.tm.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
