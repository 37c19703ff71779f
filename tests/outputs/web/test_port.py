"""Who has the page's port, and what to do about it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from picam_infer.config import Web
from picam_infer.outputs.web import port
from picam_infer.platform import procfs
from picam_infer.platform.procfs import Process

TAKEN = OSError(errno.EADDRINUSE, "Address already in use")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that is listened on by nobody who can be seen: by this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_what_runs_beside_the_service_is_told_to_have_settings_of_its_own(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "812").mkdir()
    (tmp_path / "812/comm").write_text("picam-infer\n")
    (tmp_path / "812/cgroup").write_text("0::/system.slice/picam-infer.service\n")
    (tmp_path / "812/cmdline").write_text("picam-infer\0run\0")
    monkeypatch.setattr(procfs, "others", lambda *_: [Process(tmp_path / "812")])
    what, remedy = port.trouble(TAKEN, f"127.0.0.1:{taken}")
    assert what == f"port {taken} is used, most likely by picam-infer (PID 812)"
    assert remedy.startswith("stop that service, or give this picam-infer a settings file of its own (-c FILE) with ")


def test_a_port_of_somebody_unknown_is_not_put_on_the_service(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "others", lambda *_: [])
    what, remedy = port.trouble(TAKEN, f"127.0.0.1:{taken}")
    assert what == f"port {taken} is used"
    assert remedy.startswith("end that program, or set web.listen: 127.0.0.1:") and not remedy.endswith(f":{taken}")


def test_a_low_port_gets_a_higher_one() -> None:
    what, remedy = port.trouble(PermissionError(errno.EACCES, "Permission denied"), "0.0.0.0:80")
    assert "port 80 needs a privilege" in what and remedy == "set web.listen: 0.0.0.0:8080"


@pytest.fixture
def without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that has no IPv6 and whose C library lists its addresses all the same."""
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("0.0.0.0", 0)),
    ]
    make = socket.socket

    def only_ipv4(family: int = socket.AF_INET, *more: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return make(family, *more)

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "socket", only_ipv4)


@pytest.mark.usefixtures("without_ipv6")
def test_a_kernel_without_ipv6_is_no_fault_where_ipv4_does(monkeypatch: pytest.MonkeyPatch) -> None:
    (listener,) = port.bound(socket.getaddrinfo(None, 0))
    listener.close()
    assert port.finding(Web(listen=":0"), "") is None
    only = socket.getaddrinfo(None, 0)[:1]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: only)
    found = port.finding(Web(listen="[::]:0"), "")
    assert found is not None and "cannot listen on [::]:0: Address family not supported" in found.what
