from __future__ import annotations

import errno
import math
import mmap
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from picam_infer.config import Config, DisplaySettings
from picam_infer.core import Disconnected, Display
from picam_infer.imaging.letterbox import Letterbox
from picam_infer.outputs import display
from picam_infer.outputs.display import bare_screen, framebuffer, keyboard, kms, owner, window
from picam_infer.platform import x11, x11_access

# -- who has the screen ------------------------------------------------------


def connector(sys: Path, name: str, status: str, modes: str = "") -> None:
    folder = sys / "class/drm" / name
    folder.mkdir(parents=True)
    (folder / "status").write_text(status + "\n")
    (folder / "modes").write_text(modes)


def test_outlets_the_certain_first_and_no_writeback(tmp_path: Path) -> None:
    connector(tmp_path, "card0-HDMI-A-1", "disconnected")
    connector(tmp_path, "card1-DPI-1", "unknown", "800x480\n")
    connector(tmp_path, "card1-Composite-1", "unknown")
    connector(tmp_path, "card1-HDMI-A-2", "connected", "1920x1080\n")
    connector(tmp_path, "card1-Writeback-1", "unknown", "1920x1080\n")
    found = owner.connectors(tmp_path)
    assert [(o.card, o.name, o.plugged) for o in found] == [
        ("card1", "HDMI-A-2", True),
        ("card1", "DPI-1", True),
        ("card0", "HDMI-A-1", False),
        ("card1", "Composite-1", False),
    ]
    assert not owner.connector("card7", "HDMI-A-1", tmp_path).plugged


def process(proc: Path, pid: int, name: str, *files: str) -> None:
    (proc / str(pid) / "fd").mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(name + "\n")
    for i, file in enumerate(files):
        (proc / str(pid) / "fd" / str(i)).symlink_to(file)


def test_the_holder_is_named(tmp_path: Path) -> None:
    device = Path("/dev/dri/card0")
    process(tmp_path, 9, "bash", "/dev/tty1")
    assert owner.holder(device, tmp_path) is None
    process(tmp_path, 812, "Xorg")
    assert str(owner.holder(device, tmp_path)) == "Xorg (PID 812)"  # its files are hidden from us: the likely one
    process(tmp_path, 77, "picam-infer")  # somebody's check, that looks at the monitor and goes
    assert str(owner.holder(device, tmp_path)) == "Xorg (PID 812)"
    (tmp_path / "77/cmdline").write_bytes(b"python3\0/usr/local/bin/picam-infer\0run\0-c\0c.yaml\0")
    assert str(owner.holder(device, tmp_path)) == "picam-infer (PID 77)"
    process(tmp_path, 500, "systemd-logind", "/dev/dri/card0")
    assert str(owner.holder(device, tmp_path)) == "systemd-logind (PID 500)"
    process(tmp_path, 900, "labwc", "/dev/dri/card0")
    assert str(owner.holder(device, tmp_path)) == "labwc (PID 900)"


def test_own_console_is_the_first_or_where_it_was_started(tmp_path: Path) -> None:
    sys, proc = tmp_path / "sys", tmp_path / "proc"
    assert owner.console_in_use(sys, proc) == ""
    (sys / "class/tty/tty0").mkdir(parents=True)
    (sys / "class/tty/tty0/active").write_text("tty2\n")
    assert owner.console_in_use(sys, proc) == "tty2"
    (proc / "self").mkdir(parents=True)
    (proc / "self/stat").write_text(f"7 (a) b) S 1 7 7 {4 << 8 | 2} 7\n")
    assert owner.console_in_use(sys, proc) == ""


def test_a_desktop_is_expected_only_where_one_starts(tmp_path: Path) -> None:
    units = tmp_path / "systemd/system"
    units.mkdir(parents=True)
    assert not owner.desktop_expected(tmp_path)
    (units / "display-manager.service").symlink_to("/lib/systemd/system/lightdm.service")
    assert owner.desktop_expected(tmp_path)
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    assert not owner.desktop_expected(tmp_path)


# -- the frame buffer --------------------------------------------------------


def screen_info(
    width: int, height: int, bits: int, line: int, red: int = 16, blue: int = 0, y: int = 0
) -> tuple[bytes, bytes]:
    variable = struct.pack("15I", width, height, width, height, 0, y, bits, 0, red, 8, 0, 8, 8, 0, blue).ljust(
        160, b"\0"
    )
    return variable, bytes(48) + struct.pack("I", line).ljust(32, b"\0")


def test_layouts() -> None:
    layout = framebuffer.geometry(*screen_info(320, 240, 32, 1344, y=2))
    assert (layout.width, layout.height, layout.line_bytes, layout.start) == (320, 240, 1344, 2688)
    assert layout.conversion == cv2.COLOR_BGR2BGRA
    assert framebuffer.geometry(*screen_info(1, 1, 32, 4, red=0, blue=16)).conversion == cv2.COLOR_BGR2RGBA
    with pytest.raises(Disconnected, match="8 bits"):
        _ = framebuffer.geometry(*screen_info(1, 1, 8, 1)).conversion


@pytest.mark.parametrize(("bits", "red"), [(16, [0, 0xF8]), (32, [0, 0, 255, 255])])
def test_pixels_land_in_the_file(tmp_path: Path, bits: int, red: list[int]) -> None:
    layout = framebuffer.Geometry(8, 4, 8 * bits // 8 + 12, bits)
    file = tmp_path / "fb0"
    file.write_bytes(b"\xee" * layout.line_bytes * 4)
    with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 0) as memory:
        screen = framebuffer.pixels(memory, layout)
        Letterbox(layout.conversion).draw(np.full((4, 8, 3), (0, 0, 255), np.uint8), screen, clear=True)
        del screen
    data = file.read_bytes()
    size = bits // 8
    assert list(data[:size]) == red
    assert data[8 * size : layout.line_bytes] == b"\xee" * 12
    assert list(data[layout.line_bytes * 3 :][7 * size : 8 * size]) == red


def test_no_frame_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framebuffer, "DEVICE", tmp_path / "fb0")
    monkeypatch.setattr(owner, "connectors", lambda: [])
    monkeypatch.setattr(owner, "require_active_vt", lambda: None)
    with pytest.raises(Disconnected, match="there is no frame buffer"):
        framebuffer.Framebuffer(DisplaySettings())


class NoKeyboard:
    """In place of this machine's keyboards."""

    closed = False

    def keys(self) -> list[str]:
        return ["q"]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A panel of 32×24 pixels, which a file stands for, with a monitor that can be unplugged."""
    device, line = tmp_path / "fb0", 32 * 4 + 16
    device.write_bytes(b"\x11" * line * 24)

    def ioctl(handle: int, request: int, memory: bytearray) -> int:
        memory[:] = screen_info(32, 24, 32, line)[{0x4600: 0, 0x4602: 1}[request]]
        return 0

    monkeypatch.setattr(framebuffer, "DEVICE", device)
    monkeypatch.setattr(framebuffer.fcntl, "ioctl", ioctl)
    monkeypatch.setattr(bare_screen, "Keyboard", NoKeyboard)
    monkeypatch.setattr(owner, "connectors", lambda: [])
    monkeypatch.setattr(owner, "require_active_vt", lambda: None)
    return device


def test_a_panel_shows_pictures_and_is_given_back_as_it_was(panel: Path) -> None:
    before = panel.read_bytes()
    screen = framebuffer.Framebuffer(DisplaySettings())
    assert (screen.name, screen.size, list(screen.keys())) == ("framebuffer 32×24", (32, 24), ["q"])
    screen.show(np.full((24, 32, 3), (10, 20, 30), np.uint8))
    lines = np.frombuffer(panel.read_bytes(), np.uint8).reshape(24, 36, 4)
    assert (lines[:, :32] == (10, 20, 30, 255)).all() and (lines[:, 32:] == 0x11).all()
    screen.show(np.full((24, 16, 3), 90, np.uint8))  # another shape: what the one before left is cleared
    lines = np.frombuffer(panel.read_bytes(), np.uint8).reshape(24, 36, 4)
    assert (lines[:, 8:24, :3] == 90).all() and not lines[:, :8, :3].any()
    screen.close()
    screen.close()
    assert panel.read_bytes() == before and list(screen.keys()) == []
    with pytest.raises(Disconnected, match="given back"):
        screen.show(np.zeros((24, 32, 3), np.uint8))


def test_a_panel_whose_monitor_goes_is_given_back(panel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, now_s = panel.read_bytes(), [0.0]
    monkeypatch.setattr(bare_screen, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    screen = framebuffer.Framebuffer(DisplaySettings())
    monkeypatch.setattr(owner, "connectors", lambda: [owner.Connector("card0", "HDMI-A-1", "disconnected", b"")])
    screen.show(np.full((24, 32, 3), 90, np.uint8))  # it looks once a second
    now_s[0] += 1.5
    with pytest.raises(Disconnected, match="no monitor is plugged in"):
        screen.show(np.full((24, 32, 3), 90, np.uint8))
    assert panel.read_bytes() == before
    with pytest.raises(Disconnected, match="no monitor is plugged in") as refused:
        framebuffer.Framebuffer(DisplaySettings())
    assert "HDMI-A-1" in refused.value.hint


@pytest.mark.parametrize(
    ("error", "said", "remedy"),
    [
        (errno.EACCES, "permission denied", "group video"),
        (errno.EPERM, "permission denied", "group video"),
        (errno.EINVAL, "Invalid argument", "dmesg"),
    ],
)
def test_a_panel_that_cannot_be_opened(
    panel: Path, monkeypatch: pytest.MonkeyPatch, error: int, said: str, remedy: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(error, "refused")

    monkeypatch.setattr(framebuffer.fcntl, "ioctl", refuse)
    with pytest.raises(Disconnected, match=said) as lost:
        framebuffer.Framebuffer(DisplaySettings())
    assert remedy in lost.value.hint


# -- keys --------------------------------------------------------------------


def event(code: int, value: int, kind: int = 1) -> bytes:
    return struct.pack("qqHHi", 0, 0, kind, code, value)


class Pipe(keyboard.Device):
    """A device that a test types on; grabs are remembered."""

    is_keyboard = True
    made: ClassVar[list[Pipe]] = []

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.grabs: list[bool] = []
        self.again: list[tuple[int, int]] = []
        self.made.append(self)

    def _grab(self) -> None:
        self._grabbed = True
        self.grabs.append(True)

    def _press_again(self, code: int, value: int) -> None:
        self.again.append((code, value))


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[keyboard.Keyboard, int, Path]]:
    os.mkfifo(tmp_path / "event0")
    end = os.open(tmp_path / "event0", os.O_RDWR | os.O_NONBLOCK)
    monkeypatch.setattr(keyboard, "Device", Pipe)
    monkeypatch.setattr(keyboard, "SCAN_S", 0.0)
    monkeypatch.setattr(keyboard.fcntl, "ioctl", lambda *_: 0)
    keys = keyboard.Keyboard(tmp_path, tmp_path / "layout")
    keys.keys()
    yield keys, end, tmp_path
    keys.close()
    os.close(end)


def test_names_repeats_and_releases(typed: tuple[keyboard.Keyboard, int, Path]) -> None:
    keys, end, _ = typed
    os.write(
        end, event(16, 1) + event(0, 0, 0) + event(16, 2) + event(16, 0) + event(57, 1) + event(1, 1) + event(700, 1)
    )
    assert keys.keys() == ["q", "q", "space", "esc"]
    assert keys.keys() == []
    os.write(end, b"".join(event(code, 1) for code in (103, 105, 106, 108, 102, 104, 109)))
    assert keys.keys() == ["up", "left", "right", "down", "home", "pageup", "pagedown"]


def test_keys_that_are_held(typed: tuple[keyboard.Keyboard, int, Path]) -> None:
    keys, end, _ = typed
    os.write(end, event(2, 1) + event(80, 1))
    assert keys.keys() == ["1", "2"] and keys.held() == {"1", "2"}
    os.write(end, event(2, 2) + event(80, 0))
    assert keys.keys() == ["1"] and keys.held() == {"1"}, "repeated is still held"
    os.write(end, event(14, 1) + event(14, 0) + event(3, 0, 0))
    assert keys.keys() == ["backspace"] and keys.held() == frozenset(), "events were lost: the kernel says none is down"


def test_keys_with_control_are_not_ours(typed: tuple[keyboard.Keyboard, int, Path]) -> None:
    keys, end, _ = typed
    os.write(end, event(29, 1) + event(16, 1) + event(16, 0) + event(29, 0) + event(17, 1))
    assert keys.keys() == ["w"]


def test_ctrl_alt_chords_go_to_the_console(typed: tuple[keyboard.Keyboard, int, Path]) -> None:
    keys, end, _ = typed
    device = Pipe.made[-1]
    assert device.grabs == [True]
    os.write(end, event(29, 1) + event(56, 1) + event(60, 1) + event(60, 0))
    assert keys.keys() == []
    assert {(29, 1), (56, 1)} <= set(device.again)
    assert device.again[-2:] == [(60, 1), (60, 0)]
    assert len(device.grabs) == 1
    os.write(end, event(29, 0) + event(56, 0) + event(30, 1))
    assert keys.keys() == ["a"]
    os.write(end, event(30, 0))
    keys.keys()
    assert len(device.grabs) == 2  # ours again as soon as nothing is down


def test_an_unplugged_keyboard_and_a_new_one(
    typed: tuple[keyboard.Keyboard, int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, _, folder = typed
    first = Pipe.made[-1]

    def gone() -> Iterator[int]:
        raise OSError(19, "No such device")

    monkeypatch.setattr(first, "pressed", gone)
    (folder / "event0").unlink()
    os.mkfifo(folder / "event7")
    other = os.open(folder / "event7", os.O_RDWR | os.O_NONBLOCK)
    os.write(other, event(25, 1))
    assert keys.keys() == ["p"]
    assert Pipe.made[-1] is not first and keys.keys() == []
    os.close(other)


def test_what_is_printed_on_the_keys(typed: tuple[keyboard.Keyboard, int, Path]) -> None:
    _, end, folder = typed
    for layout, printed in (('XKBMODEL="pc105"\nXKBLAYOUT="fr,us"\n', ["a", "w"]), ("", ["q", "z"])):
        (folder / "layout").write_text(layout)
        keys = keyboard.Keyboard(folder, folder / "layout")
        keys.keys()
        os.write(end, event(16, 1) + event(16, 0) + event(44, 1) + event(44, 0))
        assert keys.keys() == printed
        keys.close()


def test_a_file_is_no_keyboard(tmp_path: Path) -> None:
    (tmp_path / "event0").write_bytes(event(16, 1))
    keys = keyboard.Keyboard(tmp_path)
    assert keys.keys() == [] and keys.keys() == []


# -- a desktop's session -----------------------------------------------------


def authority(number: bytes, key: bytes) -> bytes:
    fields = (b"picam", number, b"MIT-MAGIC-COOKIE-1", key)
    return struct.pack(">H", 256) + b"".join(struct.pack(">H", len(f)) + f for f in fields)


@pytest.fixture(params=["file", "abstract"])
def x_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, list[bytes]]]:
    """An X server on :3 that lets in whoever has the key `sesame`."""
    sockets, seen = tmp_path / "x", list[bytes]()
    sockets.mkdir()
    server = socket.socket(socket.AF_UNIX)
    server.bind(("\0" if request.param == "abstract" else "") + str(sockets / "X3"))
    # The file is how others learn of it; of a Wayland compositor's they may not use more than the name.
    (sockets / "X3").touch()
    server.listen()

    def serve() -> None:
        while True:
            try:
                link, _ = server.accept()
            except OSError:
                return
            with link:
                hello = link.recv(4096)
                seen.append(hello)
                good = b"sesame" in hello
                reason = b"" if good else b"No protocol specified\n"
                padded = reason + bytes(-len(reason) % 4)
                link.sendall(struct.pack("<BBHHH", good, len(reason), 11, 0, len(padded) // 4) + padded)

    thread = threading.Thread(target=serve)
    thread.start()
    yield sockets, seen
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_a_session_is_found_by_its_socket_and_key(
    tmp_path: Path, x_server: tuple[Path, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets, _ = x_server
    monkeypatch.setenv("HOME", str(tmp_path))
    run = tmp_path / "run"
    with pytest.raises(Disconnected, match=r"desktop on :3 refuses user .*No protocol"):
        x11.find({}, sockets, run)
    (tmp_path / ".Xauthority").write_bytes(authority(b"9", b"other!") + authority(b"3", b"sesame"))
    found = x11.find({"DISPLAY": ":8"}, sockets, run)
    assert (found.display, found.authority) == (":3", str(tmp_path / ".Xauthority"))
    assert found.link is not None and found.link.fileno() >= 0  # it keeps the place
    found.link.close()
    assert found.link.fileno() == -1


def test_no_session(tmp_path: Path) -> None:
    (tmp_path / "X0").write_text("a left-over")
    with pytest.raises(Disconnected, match="no desktop session"):
        x11.find({"DISPLAY": "nonsense"}, tmp_path, tmp_path)


@pytest.mark.parametrize("queue", [8, 0], ids=["it takes connections", "its queue is full"])
def test_a_frozen_x_server_is_not_called_missing(queue: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x11, "PATIENCE_S", 0.05)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as waiting:
        server.bind(str(tmp_path / "X3"))
        server.listen(queue)
        if queue == 0:
            waiting.connect(str(tmp_path / "X3"))
        with pytest.raises(x11.Silent, match="X server on :3 does not answer") as silent:
            x11.find({}, tmp_path, tmp_path, tmp_path)
    assert silent.value.hint
    with pytest.raises(Disconnected, match="no desktop session"):
        x11.find({}, tmp_path, tmp_path, tmp_path)


class Login:
    """A machine at which somebody is logged in, in a Wayland desktop; `files` under proc, run and etc."""

    def __init__(self, root: Path, program: str, kind: str = "user") -> None:
        self.proc, self.run, self.etc = root / "proc", root / "run", root / "etc"
        self.write(self.proc / "77/comm", f"{program}\n")
        self.write(self.proc / "77/cgroup", "0::/user.slice/user-1000.slice/session-3.scope\n")
        self.write(self.run / "sessions/3", f"UID=1000\nCLASS={kind}\nTYPE=tty\n")

    @staticmethod
    def write(file: Path, text: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_a_wayland_desktop_is_known_by_its_program_and_the_greeters_own_is_none(tmp_path: Path) -> None:
    person = Login(tmp_path / "a", "labwc")
    assert x11.compositor(person.proc, person.run) == x11.Desktop("labwc", math.inf)
    Login.write(person.proc / "90/comm", "Xwayland\n")
    assert x11.compositor(person.proc, person.run) == x11.Desktop("labwc", math.inf, x_server=True)
    greeter = Login(tmp_path / "b", "labwc", "greeter")
    assert x11.compositor(greeter.proc, greeter.run) is None
    shell = Login(tmp_path / "c", "bash")
    assert x11.compositor(shell.proc, shell.run) is None
    service = Login(tmp_path / "d", "cage")
    service.write(service.proc / "77/cgroup", "0::/system.slice/greetd.service\n")
    assert x11.compositor(service.proc, service.run) is None


def test_a_desktop_without_an_x_server_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x11, "compositor", lambda: x11.Desktop("labwc", 60.0))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(x11.Refused, match=r"labwc.* no X server") as refused:
        x11.find({}, tmp_path, tmp_path)
    assert "install xwayland" in refused.value.hint
    (tmp_path / "Xwayland").touch(0o755)
    with pytest.raises(x11.Refused, match=r"labwc.* has not started its X server") as refused:
        x11.find({}, tmp_path, tmp_path)
    assert "install" not in refused.value.hint


def test_no_remedy_is_given_while_a_desktop_is_still_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, x_server: tuple[Path, list[bytes]]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(x11, "compositor", lambda: x11.Desktop("labwc", 3.0))
    for sockets in (tmp_path, x_server[0]):
        with pytest.raises(x11.Refused, match=r"desktop \(labwc\) is starting") as refused:
            x11.find({"DISPLAY": ":3"}, sockets, tmp_path, tmp_path)
        assert "autostart" not in refused.value.hint and "install" not in refused.value.hint


def test_a_compositors_x_server_is_not_started_by_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, x_server: tuple[Path, list[bytes]]
) -> None:
    sockets, seen = x_server
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(x11, "compositor", lambda: x11.Desktop("labwc", 60.0))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "Xwayland").touch(0o755)
    with pytest.raises(x11.Refused, match=r"desktop \(labwc\) has not let user .* in yet") as refused:
        x11.find({}, sockets, tmp_path, tmp_path)
    assert not seen and "autostart" in refused.value.hint
    with pytest.raises(x11.Refused, match="refuses user"):
        x11.find({"DISPLAY": ":3"}, sockets, tmp_path, tmp_path)
    assert seen, "inside of the desktop it is asked"
    seen.clear()
    monkeypatch.setattr(x11, "compositor", lambda: x11.Desktop("labwc", 60.0, x_server=True))
    with pytest.raises(x11.Refused, match="refuses user"):
        x11.find({}, sockets, tmp_path, tmp_path)
    assert seen, "what runs is asked, too"


def test_at_the_greeter_nothing_is_to_be_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, x_server: tuple[Path, list[bytes]]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Login(tmp_path, "labwc", "greeter")
    Login.write(tmp_path / "run/seats/seat0", "ACTIVE=3\n")
    with pytest.raises(x11.Refused, match="shows the login prompt") as refused:
        x11.find({}, x_server[0], tmp_path, tmp_path / "run")
    assert "xhost" not in refused.value.hint
    Login(tmp_path, "labwc", "user")
    with pytest.raises(x11.Refused, match="refuses user"):
        x11.find({}, x_server[0], tmp_path, tmp_path / "run")


@pytest.mark.parametrize(
    ("desktop", "system_file", "words"),
    [
        ("labwc", None, ["x11_access", " &”", "~/.config/labwc/autostart"]),
        ("labwc", "/usr/bin/lxsession-xdg-autostart\n", ["log in there again", "xhost +SI:localuser:"]),
        ("sway", None, ["“exec ", "x11_access", "~/.config/sway/config"]),
        ("gnome-shell", None, ["log in there again", "xhost"]),
        ("", None, ["log in there again", "xhost"]),
    ],
)
def test_a_desktop_that_starts_nothing_by_itself_is_told_the_line_to_start(
    tmp_path: Path, desktop: str, system_file: str | None, words: list[str]
) -> None:
    if system_file is not None:
        Login.write(tmp_path / "xdg/labwc/autostart", system_file)
    hint = x11.way_in(desktop, tmp_path)
    assert all(word in hint for word in words), hint


def test_a_desktop_that_refuses_is_what_counts_when_it_has_the_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    def window() -> Any:
        raise x11.Refused("the desktop on :0 refuses user picam-infer", "add the line")

    def kms() -> Any:
        raise owner.Held("the monitor is held by labwc (PID 77)", "end that program")

    with pytest.raises(x11.Refused, match="refuses"):
        display.first([window, kms], desktop=False)


def test_a_desktop_that_does_not_answer_is_what_counts_on_a_machine_without_a_graphics_card() -> None:
    def window() -> Display:
        raise x11.Silent("the desktop's X server on :0 does not answer", "log out and in again")

    with pytest.raises(x11.Silent):
        display.first([window, lambda: refusing("no graphics card"), lambda: refusing("no frame buffer")], False)


def test_a_desktop_that_starts_slowly_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter(["down", "down", "up", "down"])
    grant_access = []

    def find() -> x11.Session:
        if next(states, "down") == "down":
            raise Disconnected("no desktop session is running")
        return x11.Session(":0", "")

    monkeypatch.setattr(x11, "find", find)
    monkeypatch.setattr(x11_access, "AGAIN_S", 0.01)
    monkeypatch.setattr(
        x11_access, "grant_access", lambda desktop, user: grant_access.append((desktop.display, user)) or ""
    )
    assert x11_access.main([], gone_s=0.2) == 0
    assert grant_access == [(":0", "picam-infer")]


def test_an_x_server_that_starts_again_slowly_is_waited_for_while_its_compositor_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks, granted = iter(range(50)), []

    def find() -> x11.Session:
        if next(looks, 50) < 49:
            raise x11.Refused("the desktop (labwc) has not started its X server")
        return x11.Session(":0", "")

    monkeypatch.setattr(x11, "find", find)
    monkeypatch.setattr(x11, "compositor", lambda: None if granted else x11.Desktop("labwc", 60.0))
    monkeypatch.setattr(x11_access, "AGAIN_S", 0.001)
    monkeypatch.setattr(x11_access, "grant_access", lambda desktop, user: granted.append(user) or "no such user")
    assert x11_access.main([], gone_s=0.0) == 1
    assert granted == ["picam-infer"]


def test_a_damaged_authority_file_gives_what_it_can() -> None:
    data = authority(b"0", b"key")
    assert [entry[4] for entry in x11.entries(data + data[:9])] == [b"key"]


# -- the door ----------------------------------------------------------------


class Fake:
    name = "fake"


def refusing(message: str) -> Display:
    raise Disconnected(message)


def test_the_first_that_opens() -> None:
    fake: Display = Fake()  # type: ignore[assignment]
    assert display.first([lambda: refusing("a"), lambda: fake, lambda: refusing("b")], False) is fake


def test_the_reason_is_the_one_to_mend() -> None:
    openers = [lambda: refusing("no desktop"), lambda: refusing("no monitor"), lambda: refusing("no frame buffer")]
    with pytest.raises(Disconnected, match="no monitor"):
        display.first(openers, False)
    with pytest.raises(Disconnected, match="no desktop"):
        display.first(openers, True)


def test_the_frame_buffer_is_not_painted_behind_another_programs_picture() -> None:
    def held() -> Display:
        raise owner.Held("the monitor is held by kodi.bin (PID 3)", "end that program")

    with pytest.raises(Disconnected, match="kodi"):
        display.first([held, lambda: pytest.fail("tried the frame buffer")], desktop=False)


def test_auto_waits_for_an_expected_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    for module, name in ((window, "Window"), (kms, "Kms"), (framebuffer, "Framebuffer")):
        kind = name.lower()
        monkeypatch.setattr(module, name, lambda settings, *picture, kind=kind: tried.append(kind) or refusing(kind))
    for expected, kinds in ((True, ["window"]), (False, ["window", "kms", "framebuffer"])):
        tried.clear()
        monkeypatch.setattr(owner, "desktop_expected", lambda expected=expected: expected)
        with pytest.raises(Disconnected):
            display.open_display(Config())
        assert tried == kinds
    tried.clear()
    with pytest.raises(Disconnected):
        display.open_display(Config(display=DisplaySettings(kind="kms")))
    assert tried == ["kms"]
    assert display.open_display(Config(display=DisplaySettings(kind="none"))) is None
