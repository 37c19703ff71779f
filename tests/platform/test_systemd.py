"""sd_notify on a real socket, and the log's ways out."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from picam_infer.platform.systemd import Notifier, journal_handler


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock


def environment(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname(), **more}


def test_messages(manager: socket.socket) -> None:
    notifier = Notifier(environment(manager))
    assert notifier.active
    notifier.ready()
    notifier.status("sees 7")
    notifier.status("sees 7")
    notifier.stopping()
    assert [manager.recv(200).decode() for _ in range(3)] == ["READY=1", "STATUS=sees 7", "STOPPING=1"]
    notifier.ready("sees\n7")
    assert manager.recv(200).startswith(b"STATUS=sees"), "whoever waits for READY reads no line of the time before"
    notifier.reloading()
    assert manager.recv(200).decode().startswith("RELOADING=1\nMONOTONIC_USEC=")


def test_the_line_of_a_reload_that_ended_is_not_the_last_one(manager: socket.socket) -> None:
    notifier = Notifier(environment(manager))
    notifier.status("sees 7")
    notifier.ready("the new configuration is refused")
    notifier.status("sees 7")
    said = [manager.recv(200).decode() for _ in range(3)]
    assert said == ["STATUS=sees 7", "STATUS=the new configuration is refused\nREADY=1", "STATUS=sees 7"]


def test_watchdog_is_fed_but_not_flooded(manager: socket.socket) -> None:
    notifier = Notifier(environment(manager, WATCHDOG_USEC="20000000", WATCHDOG_PID=str(os.getpid())))
    assert notifier.watchdog_s == 20
    for _ in range(100):
        notifier.watchdog_ping()
    assert manager.recv(200) == b"WATCHDOG=1"
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(200)


def test_the_watchdog_waits_for_a_model_that_loads(manager: socket.socket) -> None:
    notifier = Notifier(environment(manager, WATCHDOG_USEC="20000000", WATCHDOG_PID=str(os.getpid())))
    notifier.watchdog_ping()
    notifier.loading()
    notifier.watchdog_ping()
    notifier.watchdog_ping()
    manager.setblocking(False)
    assert [manager.recv(200) for _ in range(3)] == [
        b"WATCHDOG=1", b"WATCHDOG_USEC=300000000", b"WATCHDOG_USEC=20000000\nWATCHDOG=1"]  # fmt: skip
    with pytest.raises(BlockingIOError):
        manager.recv(200)


def test_a_watchdog_meant_for_another_process_is_left_alone(manager: socket.socket) -> None:
    assert Notifier(environment(manager, WATCHDOG_USEC="20000000", WATCHDOG_PID="1")).watchdog_s == 0


def test_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0picam-infer-test-{os.getpid()}")
        sock.settimeout(5)
        Notifier({"NOTIFY_SOCKET": f"@picam-infer-test-{os.getpid()}"}).ready()
        assert sock.recv(100) == b"READY=1"


def test_without_systemd_and_with_a_dead_one_nothing_happens(tmp_path: Path) -> None:
    assert not Notifier({}).active
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_journal_lines_carry_their_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "systemd.journal", None)
    monkeypatch.setitem(__import__("sys").modules, "systemd", None)
    handler = journal_handler({"JOURNAL_STREAM": "8:1"})
    record = logging.LogRecord("x", logging.WARNING, "", 0, "camera\nlost", (), None)
    assert handler.format(record) == "<4>camera\n lost"


def test_terminal_lines_name_the_program() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "sees 7", (), None)
    assert journal_handler({}).format(record) == "picam-infer: sees 7"
