"""Vendor packages cost megabytes and seconds: what nobody asked for is not imported."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import picam_infer

PACKAGE = Path(picam_infer.__file__).parent
VENDORS = {"openvino", "mvnc", "tensorflow", "keras", "picamera2", "paho", "aiohttp", "prometheus_client", "nncf",
           "av", "tritonclient", "grpc", "gevent"}  # fmt: skip
# These parts are themselves imported only when the configuration or the command asks for them.
LAZY_PARTS = ("outputs/web/", "outputs/events/", "convert/", "sources/ffmpeg.py")


def files() -> list[str]:
    return [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))]


@functools.cache
def parsed(name: str) -> ast.Module:
    return ast.parse((PACKAGE / name).read_text())


def imported_at_once(name: str) -> Iterator[str]:
    """Yield the modules that are imported as soon as the file is."""
    for statement in parsed(name).body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.If)):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield node.module
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("name", files())
def test_vendor_packages_are_imported_only_when_used(name: str) -> None:
    if not name.startswith(LAZY_PARTS):
        assert not {module.split(".")[0] for module in imported_at_once(name)} & VENDORS


# One thread imports the library for the engine, slowly, as a Pi does; another one needs the converter's half of it.
_AT_ONCE = """
import importlib.abc, sys, threading, time

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.startswith("openvino."):
            begun.set()
            time.sleep(0.02)

begun = threading.Event()
sys.meta_path.insert(0, Slow())
failed = []

def engine():
    try:
        import openvino
    except ImportError as error:
        failed.append(error)

thread = threading.Thread(target=engine)
thread.start()
begun.wait(30)
import {module}
thread.join()
sys.exit(str(failed) if failed else 0)
"""


@pytest.mark.parametrize("module", ["picam_infer.training.teach.lesson", "picam_infer.convert.augmentation"])
def test_openvino_may_be_needed_by_two_threads_at_once(module: str) -> None:
    command = [sys.executable, "-c", _AT_ONCE.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-600:]


@pytest.mark.parametrize("name", files())
def test_parts_of_openvino_are_imported_from_it_as_a_whole(name: str) -> None:
    """`import openvino.opset13` does not wait for a thread that imports `openvino`; `from openvino import …` does."""
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("openvino."), name
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("openvino.") for alias in node.names), name
