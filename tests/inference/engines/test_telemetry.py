"""Nothing reports to anyone: OpenVINO's telemetry forks a process out of a program with threads, which can hang."""

from __future__ import annotations

import subprocess
import sys


def test_openvino_reports_nothing_and_forks_nothing() -> None:
    code = (
        "import sys, os, multiprocessing; from picam_infer.bootstrap import bootstrap; bootstrap();"
        "multiprocessing.Process.start = lambda self: sys.exit('forks');"
        "import openvino;"
        "loaded = {'openvino.tools.ovc', 'openvino_telemetry'} & {n for n, m in sys.modules.items() if m};"
        "openvino.Core();"
        "sys.exit(f'loads {loaded}' if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
