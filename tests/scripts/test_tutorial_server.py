"""The tutorial about a model server: its commands as written, against the real servers that scripts/test-remote has."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from makers import until

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs/tutorial-server.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", TUTORIAL.read_text("utf-8"), re.DOTALL)
SERVERS = {"triton": (0, 8000), "mlserver": (1, 8082)}
"""Which block is whose, and the port of its HTTP."""


def environment(name: str) -> Path:
    """Return the environment of a server that scripts/test-remote made, or was told of."""
    venv = Path(os.environ.get("PICAM_VENV", ROOT / ".venv"))
    folder = Path(os.environ.get(f"PICAM_VENV_{name.upper()}", f"{venv}-{name}"))
    if not (folder / "bin/python").exists():
        pytest.skip(f"needs {name} from PyPI: scripts/test-remote {name} quick makes its environment")
    return folder


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    running: list[subprocess.Popen[bytes]] = []
    yield running
    for process in running:
        os.killpg(process.pid, 9)
        process.wait()


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/digits/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.parametrize("name", SERVERS)
def test_the_commands_run_as_written(name: str, tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """Only the folder is another, and what is installed already is not installed again."""
    block, port = SERVERS[name]
    (tmp_path / "server").symlink_to(environment(name))
    with socket.socket() as probe:
        if any(probe.connect_ex(("127.0.0.1", taken)) == 0 for taken in (port, port - 1, port + 1)):
            pytest.skip("the tutorial's ports are taken on this machine")
    commands = BLOCKS[block].replace("/tmp/", f"{tmp_path}/").splitlines()
    assert 5 <= len(commands) < 10
    installs = [command for command in commands if "pip install" in command]
    paths = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": paths, "PYTHONPATH": str(ROOT)}
    said = ""
    for command in commands:
        if command in installs:
            continue
        if command.endswith("&"):
            started.append(subprocess.Popen(command.removesuffix("&"), shell=True, cwd=ROOT, env=variables,
                                            start_new_session=True, stderr=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL))  # fmt: skip
            until(lambda: ready(port), 90)
            continue
        done = subprocess.run(
            command, shell=True, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        said += done.stdout
    assert "model digits is ready" in said
    differ = re.search(r"differ from the CPU's by up to (\d\.\d+)", said)
    assert differ and float(differ[1]) < 0.01, said
    results = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    if name == "triton":
        assert len(results) == 20 and {result["engine"] for result in results} == {"remote:127.0.0.1/digits"}


def test_the_tutorial_names_files_that_are_there() -> None:
    named = set(re.findall(r"docs/examples/[\w./-]+", TUTORIAL.read_text("utf-8")))
    assert named and all((ROOT / path).exists() for path in named)
