"""Vendor packages cost megabytes and seconds: what nobody asked for is not imported."""

from __future__ import annotations

import ast
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


def imported_at_once(path: Path) -> Iterator[str]:
    """Yield the modules that are imported as soon as the file is."""
    for statement in ast.parse(path.read_text()).body:
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
        assert not {module.split(".")[0] for module in imported_at_once(PACKAGE / name)} & VENDORS
