"""What every test starts from."""

from __future__ import annotations

from pathlib import Path

import bootstrapped as bootstrapped
import pytest
import stick_lab
from makers import make_bundle

from picam_infer.models.bundle import Bundle


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No test sees this machine's caches, service manager or desktop."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "CACHE_DIRECTORY",
                 "STATE_DIRECTORY", "DISPLAY", "WAYLAND_DISPLAY"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    if request.node.get_closest_marker("counted") is None:
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture
def tiny(tmp_path: Path) -> Bundle:
    """A photo model with the classes dark and bright."""
    return make_bundle(tmp_path / "tiny")


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the stand-in libmvnc.so and its firmware."""
    return stick_lab.build(tmp_path_factory.mktemp("libmvnc"))


@pytest.fixture
def sticks(stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> stick_lab.StickLab:
    """A USB bus without sticks, which libmvnc's stand-in and every child process see."""
    lab = stick_lab.StickLab(tmp_path / "bus")
    for name, value in lab.environment(stand_in).items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(stick_lab.SOURCE))
    monkeypatch.setattr("picam_infer.inference.engines.ncs.engine.failed_sticks", set())
    monkeypatch.setattr("picam_infer.inference.engines.ncs.engine.slowness", {"import": 1.0})
    return lab
