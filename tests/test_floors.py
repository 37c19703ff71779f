"""The house: a room imports only from lower floors, and has a twin among the tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import picam_infer

PACKAGE = Path(picam_infer.__file__).parent
FLOORS = [
    {"core"},
    {
        "config",
        "bundle",
        "state",
        "systemd",
        "decode",
        "jpeg",
        "pictures",
        "render",
        "strokes",
        "clutter",
        "health",
        "heap",
    },
    {"sources", "preprocess", "engines", "decide", "overlay", "displays", "web", "events", "keep", "pipeline"},
    {"service", "classify", "convert", "train", "compile_ncs", "bench", "doctor", "devices"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
VENDORS = {"openvino", "mvnc", "tensorflow", "keras", "picamera2", "paho", "aiohttp", "prometheus_client", "nncf"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def files() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield (module, whether it is imported as soon as the file is)."""
    tree = ast.parse(path.read_text())
    top = {id(node) for statement in tree.body for node in ast.walk(statement)
           if not isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.If))}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{a.name}" for a in node.names] if node.module == "picam_infer" else [node.module]
            for name in names:
                yield name, id(node) in top
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top


def test_every_room_has_a_floor() -> None:
    assert {room_of(path) for path in files()} <= set(FLOOR)


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_import_only_from_lower_floors(path: Path) -> None:
    room = room_of(path)
    for module, _ in imported(path):
        if not module.startswith("picam_infer."):
            continue
        other = module.split(".")[1]
        if other == "__version__" or other == room:
            continue
        # Programs may use one another's pieces; everywhere else rooms of one floor stay strangers.
        allowed = FLOOR[other] < FLOOR[room] or (FLOOR[other] == FLOOR[room] and FLOOR[room] in (0, 1, 3))
        assert allowed, f"{room} (floor {FLOOR[room]}) imports {other} (floor {FLOOR[other]})"


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_vendors_are_imported_only_when_used(path: Path) -> None:
    eager = {module.split(".")[0] for module, top in imported(path) if top}
    lazy_rooms = {
        "web",
        "events",
        "convert",
    }  # these rooms are themselves imported only when the configuration asks for them
    if room_of(path) not in lazy_rooms:
        assert not eager & VENDORS
