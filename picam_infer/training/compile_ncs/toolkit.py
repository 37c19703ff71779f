"""NCSDK's own programs: mvNCCompile, mvNCProfile and mvNCCheck."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

from picam_infer.core import PicamError
from picam_infer.training.compile_ncs.tf1 import Written

SHAVES = 12
"""All of the chip's vector processors."""
FRESH = "graph.new"


def command(program: str, written: Written, folder: Path) -> list[str]:
    """Return the command for one of the programs, to be run in `folder`."""
    network = str(written.meta.relative_to(folder))
    words = [program, network, "-s", str(SHAVES), "-in", written.input, "-on", written.output]
    return [*words, "-o", FRESH] if program == "mvNCCompile" else words


def installed(program: str = "mvNCCompile") -> bool:
    """Whether the program is on the PATH."""
    return shutil.which(program) is not None


def run(program: str, written: Written, folder: Path) -> None:
    """Run it in `folder`, its output going to the terminal. Raises `PicamError`."""
    words = command(program, written, folder)
    done = subprocess.run(words, cwd=folder, check=False)
    if done.returncode:
        raise PicamError(f"{program} failed with code {done.returncode}: {shlex.join(words)}", "see its messages above")


def compile_graph(written: Written, folder: Path) -> Path:
    """Compile, and put the result into `folder` as `graph` in one step. Raises `PicamError`."""
    fresh = folder / FRESH
    fresh.unlink(missing_ok=True)
    run("mvNCCompile", written, folder)
    if not fresh.is_file() or not fresh.stat().st_size:
        raise PicamError("mvNCCompile succeeded but wrote no graph", "see its messages above")
    return fresh.replace(folder / "graph")


def instructions(written: Written, folder: Path) -> list[str]:
    """Return instructions for running it on a machine that has the toolkit."""
    words = command("mvNCCompile", written, folder)
    words[-1] = "graph"
    return [
        "mvNCCompile is not installed here (NCSDK's toolkit runs on Ubuntu 16.04 with Python 3.5). Copy the folder",
        f"  {folder}",
        "to a machine that has it and run there:",
        f"  cd {shlex.quote(folder.name)} && {shlex.join(words)}",
        f"then copy the file graph back into {folder}, beside model.xml.",
    ]
