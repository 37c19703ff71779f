"""Pictures that declare more than anybody should take memory for are refused before memory is taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_pictures import HOSTILE

from picam_infer.imaging import limits

SPARE_MB = 100
"""Less than any of them would take."""
OTHERWISE = {
    "gif with a picture larger than its screen": "is damaged",
    "tiff of one large tile": "is damaged",
    "webp with a picture larger than its canvas": "is damaged",
    "tiff of many samples": "is not a picture",
}
"""What is said where the declared size is not the first thing that is wrong."""


def test_no_declared_size_costs_memory(tmp_path: Path) -> None:
    for number, data in enumerate(HOSTILE.values()):
        (tmp_path / f"{number:03}.bin").write_bytes(data)
    # The process cannot have the memory: where it were asked for, something else than the size would be complained of.
    program = """
import json, resource, sys
from pathlib import Path
from picam_infer.core import PicamError
from picam_infer.imaging.pictures import read_picture
taken_kb = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (taken_kb * 1024 + int(sys.argv[2]) * 2**20,) * 2)
for path in sorted(Path(sys.argv[1]).glob("*.bin")):
    said = "was read"
    try:
        read_picture(path)
    except PicamError as error:
        said = str(error)
    print(json.dumps(said))
"""
    run = subprocess.run([sys.executable, "-c", program, tmp_path, str(SPARE_MB)], capture_output=True, text=True,
                         check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    seen = dict(zip(HOSTILE, map(json.loads, run.stdout.splitlines()), strict=True))
    assert run.stderr == ""
    assert {name: said for name, said in seen.items() if OTHERWISE.get(name, "million pixels") not in said} == {}


def test_the_limit_is_said_before_opencv_is_there() -> None:
    name = "OPENCV_IO_MAX_IMAGE_PIXELS"
    program = (
        f"import os, sys; from picam_infer.cli import main; main([]); print('cv2' in sys.modules, os.environ[{name!r}])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                         env={key: value for key, value in os.environ.items() if key != name}
                         | {"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert run.stdout.split()[-2:] == ["False", str(limits.MAX_PIXELS)]


@pytest.mark.parametrize(
    ("size", "copies", "large"), [((8_000, 8_000), 1, False), ((8_000, 8_001), 1, True), ((8_000, 4_001), 2, True)]
)
def test_the_limit(size: tuple[int, int], copies: int, large: bool) -> None:
    assert bool(limits.too_large(*size, copies)) == large
