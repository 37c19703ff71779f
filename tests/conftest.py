"""What every test starts from."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import bootstrapped as bootstrapped
import pytest
import stick_lab
from makers import make_bundle
from small_disk import SmallDisk

from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle
from picam_infer.platform import atomic_file, service_manager

if TYPE_CHECKING:
    from mqtt_lab import Broker, Listener


def pytest_configure() -> None:
    """Take the signals that whoever started the tests ignores (nohup, a shell's `&`): programs would inherit that."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


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
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of installed models, beside one for services' settings; both empty."""
    made = tmp_path / "var/models"
    made.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    monkeypatch.setattr(bundles, "INSTALLED", made)
    monkeypatch.setattr(service_manager, "SETTINGS", tmp_path / "etc")
    return made


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A running mosquitto."""
    from mqtt_lab import Broker

    made = Broker(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    """Someone who hears everything that it is told."""
    from mqtt_lab import Listener

    made = Listener(broker.port)
    yield made
    made.close()


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


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> SmallDisk:
    """The disk that everything is written to; there is space on it until the test fills it."""
    disk = SmallDisk()
    monkeypatch.setattr(atomic_file, "replacing", disk.replacing)
    monkeypatch.setattr(atomic_file, "create", disk.create)
    return disk
