"""The window on a real X server (Xvfb): what a person sees and presses."""

from __future__ import annotations

import functools
import getpass
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from makers import make_bundle

from picam_infer import config
from picam_infer.core import Disconnected
from picam_infer.models.bundle import Edges
from picam_infer.outputs import annotate
from picam_infer.outputs.display.window import Window
from picam_infer.platform import x11
from picam_infer.platform.x11_client import Client

pytestmark = pytest.mark.skipif(
    not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool (Debian: xvfb, xdotool)"
)


class Desktop:
    """An X server without a monitor, whose screen can be read and whose keys can be pressed."""

    def __init__(self, folder: Path) -> None:
        read_end, write_end = os.pipe()
        self._server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write_end), "-noreset", "-screen", "0", "800x600x24", "-fbdir", str(folder)],
            pass_fds=[write_end],
            stderr=subprocess.DEVNULL,
        )
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            number = pipe.readline().strip()
        self.environment = {**os.environ, "DISPLAY": f":{number}"}
        self._screen = folder / "Xvfb_screen0"

    def picture(self) -> np.ndarray:
        """Return the screen as BGR (600, 800, 3), read from the server's own memory (X Window Dump format)."""
        raw = self._screen.read_bytes()
        header = np.frombuffer(raw[:100], ">u4")
        size, width, height, stride, colours = (int(header[i]) for i in (0, 4, 5, 12, 19))
        pixels = np.frombuffer(raw, np.uint8, stride * height, size + colours * 12)
        return pixels.reshape(height, stride // 4, 4)[:, :width, :3]

    def press(self, key: str) -> None:
        # Without a window manager the keys go to the window under the pointer.
        subprocess.run(["xdotool", "mousemove", "100", "100", "key", key], env=self.environment, check=True, timeout=20)

    def map_again(self) -> None:
        """Do what a window manager does to each new window; without one Qt may miss that its window can be seen."""
        chain = ["search", "--name", "picam-infer", "windowunmap", "%1", "windowmap", "%1"]
        subprocess.run(["xdotool", *chain], env=self.environment, check=False, timeout=20, capture_output=True)

    def close(self) -> None:
        self._server.terminate()
        self._server.wait(10)


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[Desktop]:
    (tmp_path / "screen").mkdir()
    made = Desktop(tmp_path / "screen")
    yield made
    made.close()


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.1)


def wait_for_colour(desktop: Desktop, colour: tuple[int, int, int], pixels: int, what: str) -> None:
    """Wait until more than so many pixels of the screen are (nearly) of that colour."""
    mapped_s = time.monotonic()

    def there() -> bool:
        nonlocal mapped_s
        if time.monotonic() - mapped_s > 4:
            desktop.map_again()
            mapped_s = time.monotonic()
        return colours(desktop, colour) > pixels

    wait_for(there, what)


def colours(desktop: Desktop, colour: tuple[int, int, int]) -> int:
    """Return how many pixels of the screen are (nearly) of that colour."""
    return int((np.abs(desktop.picture().astype(int) - colour).sum(2) < 30).sum())


@pytest.fixture
def running(desktop: Desktop, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "picam_infer", "run", "--display", "window", *map(str, words)],
            stderr=subprocess.PIPE,
            text=True,
            env={**desktop.environment, "HOME": str(tmp_path)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_label_the_box_and_the_keys(
    desktop: Desktop, running: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    make_bundle(tmp_path / "m", chain=Edges(), shape=(1, 28, 28, 1))
    settings = tmp_path / "c.yaml"
    settings.write_text(f"source: demo\nmodel: {tmp_path / 'm'}   # tiny\n")
    process = running("-c", settings)
    wait_for_colour(desktop, annotate.KNOWN, 200, "the label and the box in green")
    assert desktop.picture()[10, 200].max() < 30, "the bar above the picture is black"

    def kept() -> bool:
        # A window that has just come up may not take keys yet: press until it does.
        for key in ("w", "Left", "p"):
            desktop.press(key)
        kept = config.load(settings).preprocess
        canny, roi = kept.get("canny", [0, 0]), kept.get("roi", {"x": 1})
        return canny[0] > 90 and canny[1] == 30 and roi["x"] < 0.5

    wait_for(kept, "the threshold and the region in the file")
    assert "# tiny" in settings.read_text()
    desktop.press("q")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "Traceback" not in err


@pytest.fixture
def window(desktop: Desktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    monkeypatch.setenv("DISPLAY", desktop.environment["DISPLAY"])
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    opened = Window(config.DisplaySettings())
    yield opened
    opened.close()


def shown(desktop: Desktop, window: Window, picture: np.ndarray) -> np.ndarray:
    """Show a picture until the screen has it in its middle, and return the screen."""

    def there() -> bool:
        window.keys()
        window.show(picture)
        middle = desktop.picture()[300, 400]
        return bool((np.abs(middle.astype(int) - picture[picture.shape[0] // 2, picture.shape[1] // 2]) < 4).all())

    wait_for(there, "the picture")
    return desktop.picture()


def test_pictures_are_fitted_with_black_bars(desktop: Desktop, window: Window) -> None:
    wide = np.full((360, 640, 3), (30, 160, 240), np.uint8)
    wide[:, :160] = (200, 40, 10)
    screen = shown(desktop, window, wide)
    assert (screen[:70] == 0).all() and (screen[530:] == 0).all()
    assert np.abs(screen[300, 10].astype(int) - (200, 40, 10)).max() < 4
    assert np.abs(screen[300, 790].astype(int) - (30, 160, 240)).max() < 4
    tall = np.full((600, 300, 3), (0, 255, 0), np.uint8)
    screen = shown(desktop, window, tall)
    assert (screen[300, :240] == 0).all(), "no rest of the picture before"


def test_another_size_and_back_is_remembered(desktop: Desktop, window: Window, tmp_path: Path) -> None:
    picture = np.full((360, 640, 3), 255, np.uint8)
    shown(desktop, window, picture)
    assert (desktop.picture()[300, 0] == 255).all()

    def toggled() -> bool:
        desktop.press("f")
        keys = window.keys()
        window.show(picture)
        return "f" in keys

    wait_for(toggled, "the key")
    shown(desktop, window, picture)
    wait_for(lambda: window.keys() is not None and (shown(desktop, window, picture)[300, 2] == 0).all(), "a window")
    again = Window(config.DisplaySettings(fullscreen=True))
    try:
        assert "false" in (tmp_path / "state/window.json").read_text()
    finally:
        again.close()


def test_keys_have_the_same_names_as_without_a_desktop(desktop: Desktop, window: Window) -> None:
    shown(desktop, window, np.zeros((90, 160, 3), np.uint8))
    heard: list[str] = []
    for key, name in (("w", "w"), ("W", "w"), ("Left", "left"), ("Prior", "pageup"), ("space", "space"), ("7", "7"),
                      ("Escape", "esc"), ("KP_Enter", "enter")):  # fmt: skip
        desktop.press(key)
        wait_for(lambda: heard.extend(window.keys()) or heard, f"the key {key}")
        assert heard == [name]
        heard.clear()


def test_a_key_is_held_until_it_is_let_go(desktop: Desktop, window: Window) -> None:
    shown(desktop, window, np.zeros((90, 160, 3), np.uint8))
    subprocess.run(
        ["xdotool", "mousemove", "100", "100", "keydown", "3"], env=desktop.environment, check=True, timeout=20
    )
    heard: list[str] = []
    wait_for(lambda: heard.extend(window.keys()) or heard.count("3") > 2, "the keyboard's own repeats")
    assert window.held() == {"3"}
    subprocess.run(["xdotool", "keyup", "3"], env=desktop.environment, check=True, timeout=20)
    window.keys()
    wait_for(lambda: not window.held(), "its release")


def test_f_is_a_letter_while_text_is_typed(desktop: Desktop, window: Window) -> None:
    shown(desktop, window, np.zeros((90, 160, 3), np.uint8))
    window.typing, before = True, window.size
    desktop.press("f")
    wait_for(lambda: "f" in window.keys(), "the letter")
    window.keys()
    assert window.size == before


def test_closing_it_with_the_mouse_is_a_key(desktop: Desktop, window: Window) -> None:
    shown(desktop, window, np.zeros((90, 160, 3), np.uint8))
    answered = x11.try_connect(desktop.environment["DISPLAY"], "")
    assert answered is not None
    manager = Client(answered.link, answered.setup)
    protocols, delete = manager.atom("WM_PROTOCOLS"), manager.atom("WM_DELETE_WINDOW")
    number = number_of_the_window(desktop)
    event = struct.pack("<BBHIIIIIII", 33, 32, 0, number, protocols, delete, 0, 0, 0, 0)
    manager.send(25, 0, struct.pack("<II", number, 0) + event)
    wait_for(lambda: "close" in window.keys(), "the message of a window manager")
    manager.close()


def test_it_comes_to_the_front_as_by_a_persons_click(desktop: Desktop, window: Window) -> None:
    answered = x11.try_connect(desktop.environment["DISPLAY"], "")
    assert answered is not None
    manager = Client(answered.link, answered.setup)
    manager.send(2, 0, struct.pack("<III", manager.screen.root, 1 << 11, 1 << 19))
    assert manager.settle()
    window.to_front()
    heard: list[bytes] = []

    def asked() -> bool:
        window.keys()
        heard.extend(event for event in manager.events() if event[0] & 0x7F == 33)
        return bool(heard)

    wait_for(asked, "the request")
    kind, source = struct.unpack_from("<II", heard[0], 8)
    assert kind == manager.atom("_NET_ACTIVE_WINDOW") and source == 2
    manager.close()


def test_a_desktop_that_ends_is_a_loss_and_not_our_end(desktop: Desktop, window: Window) -> None:
    shown(desktop, window, np.zeros((90, 160, 3), np.uint8))
    desktop.close()

    def lost() -> bool:
        try:
            window.show(np.zeros((90, 160, 3), np.uint8))
            window.keys()
        except Disconnected as loss:
            return "X server has ended" in loss.message
        return False

    wait_for(lost, "the loss")
    window.close()


def test_a_server_that_shares_no_memory_gets_its_pictures_through_the_connection(
    desktop: Desktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", desktop.environment["DISPLAY"])
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(Client, "extension", lambda self, name: None)
    opened = Window(config.DisplaySettings())
    picture = np.full((480, 640, 3), (1, 120, 250), np.uint8)
    try:
        wait_for(
            lambda: (np.abs(shown(desktop, opened, picture).astype(int) - (1, 120, 250)).max(2) < 4).mean() > 0.99,
            "the whole picture",
        )
    finally:
        opened.close()


def number_of_the_window(desktop: Desktop) -> int:
    asked = [shutil.which("xdotool") or "", "search", "--class", "^picam-infer$"]
    found = subprocess.run(asked, env=desktop.environment, capture_output=True, text=True, timeout=20, check=True)
    return int(found.stdout.split()[0])


def has_focus(client: Client, desktop: Desktop) -> bool:
    (focus,) = struct.unpack_from("<I", client.ask(43), 8)
    return bool(focus == number_of_the_window(desktop))


class Manager(Client):
    """Another program on that desktop; with `manage`, one that tells of windows as a window manager does.

    It gives each new window the focus and forgets the state that it was opened with, as labwc does.
    """

    def __init__(self, desktop: Desktop) -> None:
        answered = x11.try_connect(desktop.environment["DISPLAY"], "")
        assert answered is not None
        super().__init__(answered.link, answered.setup)
        self.heard: list[bytes] = []
        self.other = self.a_window()

    def a_window(self) -> int:
        number = self.new_id()
        head = struct.pack("<IIhhHHHHII", number, self.screen.root, 0, 0, 9, 9, 0, 1, 0, 0)
        self.send(1, 0, head)
        return number

    def set(self, window: int, name: str, *words: int) -> None:
        head = struct.pack("<IIIBxxxI", window, self.atom(name), 4, 32, len(words))
        self.send(18, 0, head + struct.pack(f"<{len(words)}I", *words))
        assert self.settle()

    def manage(self) -> None:
        """Begin to manage windows. The other one has the focus."""
        root, check = self.screen.root, self.a_window()
        names = ("_NET_WM_STATE_FULLSCREEN", "_NET_CLIENT_LIST", "_NET_ACTIVE_WINDOW")
        for window in (root, check):
            self.set(window, "_NET_SUPPORTING_WM_CHECK", check)
        self.set(root, "_NET_SUPPORTED", *map(self.atom, names))
        self.set(root, "_NET_CLIENT_LIST", self.other)
        self.set(root, "_NET_ACTIVE_WINDOW", self.other)
        self.send(2, 0, struct.pack("<III", root, 1 << 11, 1 << 19))  # messages about windows
        assert self.settle()

    def admit(self, desktop: Desktop) -> int:
        """Take the new window in, and give it the focus; return its number."""
        window = number_of_the_window(desktop)
        self.set(window, "_NET_WM_STATE")
        self.send(42, 1, struct.pack("<II", window, 0))  # SetInputFocus
        self.set(self.screen.root, "_NET_CLIENT_LIST", self.other, window)
        return window

    def asked(self) -> list[tuple[str, int, tuple[int, ...]]]:
        """Return what was asked so far: the message's name, its window, its words."""
        self.heard += [event for event in self.events() if event[0] & 0x7F == 33]
        return [
            (self.name_of(struct.unpack_from("<I", event, 8)[0]), struct.unpack_from("<I", event, 4)[0],
             struct.unpack_from("<5I", event, 12))
            for event in self.heard
        ]  # fmt: skip

    def press(self, number: int) -> None:
        """Press a key as the keyboard does; xdotool would switch the layout for it."""
        test = self.extension("XTEST")
        assert test is not None
        for kind in (2, 3):
            self.send(test.opcode, 2, struct.pack("<BBHIIIIhhIHBB", kind, number, *([0] * 11)))
        assert self.settle()

    def choose_layout(self, layout: int) -> None:
        keyboards = self.extension("XKEYBOARD")
        assert keyboards is not None and self.ask(keyboards.opcode, 0, struct.pack("<HH", 1, 0))
        self.send(keyboards.opcode, 5, struct.pack("<HBBBBBBxBh", 0x100, 0, 0, 1, layout, 0, 0, 0, 0))
        assert self.settle()

    def name_of(self, atom: int) -> str:
        answer = self.ask(17, 0, struct.pack("<I", atom))
        return answer[32 : 32 + int(struct.unpack_from("<H", answer, 8)[0])].decode()


@pytest.fixture
def manager(desktop: Desktop) -> Iterator[Manager]:
    made = Manager(desktop)
    yield made
    made.close()


@pytest.fixture
def managed(manager: Manager, desktop: Desktop, request: pytest.FixtureRequest) -> tuple[Manager, Window, int]:
    """A window that a window manager has, which gave it the focus although nobody asked for that."""
    manager.manage()
    window = request.getfixturevalue("window")
    number = manager.admit(desktop)
    window.keys()
    return manager, window, number


def test_a_part_that_has_to_be_drawn_again_while_the_picture_is_read(window: Window, manager: Manager) -> None:
    """The server's word that it has read the picture may come behind that, and must not be waited for then."""
    root_window = struct.pack("<II", manager.screen.root, 0)
    tree = manager.ask(15, 0, root_window[:4])
    (count,) = struct.unpack_from("<H", tree, 16)
    clear = [struct.pack("<IhhHH", number, 0, 0, 0, 0) for number in struct.unpack_from(f"<{count}I", tree, 32)]
    picture = np.zeros((600, 800, 3), np.uint8)
    ends_s = time.monotonic() + 3
    while time.monotonic() < ends_s:
        for body in clear * 4:
            manager.send(61, 1, body)  # ClearArea, whose owner is told to draw
        window.show(picture)
        window.keys()


def test_full_screen_is_asked_for_once_the_window_is_known(managed: tuple[Manager, Window, int]) -> None:
    manager, window, number = managed
    full = manager.atom("_NET_WM_STATE_FULLSCREEN")
    assert ("_NET_WM_STATE", number, (1, full, 0, 1, 0)) in manager.asked()
    assert window.size != (800, 600), "which a window manager would take for maximised"


def test_a_focus_that_nobody_gave_is_returned_and_its_keys_are_not_heeded(
    managed: tuple[Manager, Window, int], desktop: Desktop
) -> None:
    manager, window, _ = managed
    wait_for(lambda: window.keys() or True, "the focus")
    wait_for(lambda: [one for one in manager.asked() if one[0] == "_NET_ACTIVE_WINDOW"], "giving it back")
    assert ("_NET_ACTIVE_WINDOW", manager.other, (2, 0, 0, 0, 0)) in manager.asked()
    desktop.press("q")
    manager.settle()
    assert list(window.keys()) == []
    # Somebody who has not typed for a while means this window.
    time.sleep(3.1)
    desktop.press("w")
    wait_for(lambda: "w" in window.keys(), "the key")


def test_after_a_click_keys_are_heeded_at_once(managed: tuple[Manager, Window, int], desktop: Desktop) -> None:
    _, window, _ = managed
    subprocess.run(
        ["xdotool", "mousemove", "400", "300", "click", "1"], env=desktop.environment, check=True, timeout=20
    )
    desktop.press("w")
    wait_for(lambda: "w" in window.keys(), "the key")


def test_a_window_that_was_asked_for_comes_to_the_front_once_it_is_known(
    manager: Manager, desktop: Desktop, request: pytest.FixtureRequest
) -> None:
    manager.manage()
    window = request.getfixturevalue("window")
    window.to_front()
    window.keys()
    assert not manager.asked(), "it would not be heeded yet"
    number = manager.admit(desktop)
    wait_for(lambda: window.keys() is not None and len(manager.asked()) > 1, "the request")
    assert [one[:2] for one in manager.asked()] == [("_NET_WM_STATE", number), ("_NET_ACTIVE_WINDOW", number)]
    desktop.press("w")
    wait_for(lambda: "w" in window.keys(), "a key at once")


def test_full_screen_by_the_window_managers_own_menu_is_followed_and_remembered(
    managed: tuple[Manager, Window, int], tmp_path: Path
) -> None:
    manager, window, number = managed
    full, memory = manager.atom("_NET_WM_STATE_FULLSCREEN"), tmp_path / "state/window.json"
    manager.set(number, "_NET_WM_STATE", full)
    window.keys()
    manager.set(number, "_NET_WM_STATE")
    wait_for(lambda: window.keys() is not None and memory.exists(), "the choice")
    assert "false" in memory.read_text()
    manager.set(number, "_NET_WM_STATE", full)
    wait_for(lambda: window.keys() is not None and "true" in memory.read_text(), "the other choice")
    manager.send(19, 0, struct.pack("<II", number, manager.atom("_NET_WM_STATE")))  # as one does that ends
    assert manager.settle()
    window.keys()
    assert "true" in memory.read_text()


def test_a_window_manager_that_overlooks_the_window_is_asked_again(
    manager: Manager, request: pytest.FixtureRequest
) -> None:
    manager.send(2, 0, struct.pack("<III", manager.screen.root, 1 << 11, 1 << 20))  # it decides what appears
    assert manager.settle()
    window = request.getfixturevalue("window")
    requests: list[bytes] = []

    def asked_twice() -> bool:
        window.show(np.zeros((90, 160, 3), np.uint8))
        requests.extend(event for event in manager.events() if event[0] & 0x7F == 20)
        return len(requests) > 1

    wait_for(asked_twice, "the second request")
    manager.send(8, 0, requests[0][8:12])  # MapWindow
    assert manager.settle()
    window.keys()
    requests.clear()
    window.show(np.zeros((90, 160, 3), np.uint8))
    manager.settle()
    assert not [event for event in manager.events() if event[0] & 0x7F == 20]


def test_a_minimised_window_is_not_drawn(managed: tuple[Manager, Window, int], desktop: Desktop) -> None:
    manager, window, number = managed
    shown(desktop, window, np.full((360, 640, 3), 200, np.uint8))
    manager.set(number, "_NET_WM_STATE", manager.atom("_NET_WM_STATE_HIDDEN"))
    window.keys()
    for _ in range(3):
        window.show(np.full((360, 640, 3), 90, np.uint8))
    manager.settle()
    assert desktop.picture()[300, 400, 0] == 200
    manager.set(number, "_NET_WM_STATE")
    shown(desktop, window, np.full((360, 640, 3), 90, np.uint8))


def test_without_a_window_manager_it_fills_one_monitor(
    manager: Manager, desktop: Desktop, request: pytest.FixtureRequest
) -> None:
    randr = manager.extension("RANDR")
    assert randr is not None
    manager.ask(randr.opcode, 0, struct.pack("<II", 1, 5))
    for name, primary, left in (("left", 0, 0), ("right", 1, 400)):
        monitor = struct.pack("<IBBHhhHHII", manager.atom(name), primary, 0, 0, left, 0, 400, 600, 100, 150)
        manager.send(randr.opcode, 43, struct.pack("<I", manager.screen.root) + monitor)
    assert manager.settle()
    window = request.getfixturevalue("window")
    wait_for(lambda: window.keys() is not None and window.size == (400, 600), "the size of a monitor")
    window.show(np.full((600, 400, 3), 200, np.uint8))
    wait_for(lambda: (desktop.picture()[:, 400:] == 200).all(), "the picture on the primary monitor")
    assert (desktop.picture()[:, :400] == 0).all()


def test_a_shortcut_is_no_key(desktop: Desktop, window: Window) -> None:
    shown(desktop, window, np.zeros((90, 160, 3), np.uint8))
    for chord in ("ctrl+q", "alt+q", "super+q"):
        desktop.press(chord)
    desktop.press("w")
    heard: list[str] = []
    wait_for(lambda: heard.extend(window.keys()) or heard, "the key")
    assert heard == ["w"]


@pytest.mark.skipif(not shutil.which("setxkbmap"), reason="needs setxkbmap (Debian: x11-xkb-utils)")
def test_another_layout_is_followed_and_so_is_the_second_one(
    desktop: Desktop, window: Window, manager: Manager
) -> None:
    def layout(*words: str) -> None:
        subprocess.run(["setxkbmap", *words], env=desktop.environment, check=True, timeout=20)

    def heard(number: int = 38) -> list[str]:
        found: list[str] = []
        manager.press(number)
        wait_for(lambda: found.extend(window.keys()) or found, f"the key {number}")
        return found

    shown(desktop, window, np.zeros((90, 160, 3), np.uint8))
    subprocess.run(["xdotool", "mousemove", "100", "100"], env=desktop.environment, check=True, timeout=20)
    assert heard() == ["a"]
    layout("fr")
    assert heard() == ["q"], "the same key on a French keyboard"
    layout("us,fr")
    assert heard() == ["a"]
    manager.choose_layout(1)
    assert heard() == ["q"], "the second one"
    layout("us,ru")
    manager.choose_layout(1)
    assert heard() == ["a"], "a layout without Latin letters: what the first has there"


@pytest.mark.parametrize("command", ["openbox", "mutter --x11"])
def test_full_screen_and_a_window_under_a_real_window_manager(
    desktop: Desktop, command: str, manager: Manager, request: pytest.FixtureRequest
) -> None:
    """It gets no focus that another window has, and is a window of the picture's shape, not a maximised one."""
    words = command.split()
    if not shutil.which(words[0]):
        pytest.skip(f"needs {words[0]}")
    bus = ["dbus-run-session", "--"] if shutil.which("dbus-run-session") else []
    folder = request.getfixturevalue("tmp_path") / "home"
    folder.mkdir()
    environment = {**desktop.environment, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    with subprocess.Popen(
        [*bus, *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            root = manager.screen.root
            # Its list, even an empty one, is the last that it tells of when it starts.
            body = struct.pack("<IIIII", root, manager.atom("_NET_CLIENT_LIST"), 0, 0, 1)
            wait_for(lambda: manager.ask(20, 0, body)[8:12] != bytes(4), "the window manager")
            window = request.getfixturevalue("window")
            picture = np.full((600, 600, 3), (1, 120, 250), np.uint8)

            def has(size: tuple[int, int]) -> bool:
                window.keys()
                window.show(picture)
                return window.size == size

            wait_for(lambda: has((800, 600)), "full screen")
            assert not has_focus(manager, desktop), "nobody gave it the focus"
            window.to_front()
            wait_for(lambda: has((800, 600)) and has_focus(manager, desktop), "the front")
            for size in ((480, 480), (800, 600)):
                subprocess.run(["xdotool", "key", "f"], env=desktop.environment, check=True, timeout=20)
                wait_for(functools.partial(has, size), f"{size}")
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def refusal(display: str) -> str | None:
    """Return why a desktop does not let us in (empty: it does), and leave it again."""
    answered = x11.try_connect(display, "")
    if answered is None:
        return None
    answered.link.close()
    return answered.refusal


def test_a_desktop_lets_the_service_in_for_as_long_as_it_lasts(tmp_path: Path) -> None:
    """The server forgets whom it let in when its last program leaves: the one that asked must stay."""
    key = tmp_path / "authority"
    fields = (b"", b"", b"MIT-MAGIC-COOKIE-1", b"0123456789abcdef")
    key.write_bytes(b"\xff\xff" + b"".join(len(f).to_bytes(2, "big") + f for f in fields))
    read_end, write_end = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write_end), "-auth", str(key)], pass_fds=[write_end], stderr=subprocess.DEVNULL
    )
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        display = f":{pipe.readline().strip()}"
    try:
        assert refusal(display)  # a reason: nobody is let in without the key
        environment = {**os.environ, "DISPLAY": display, "XAUTHORITY": str(key), "HOME": str(tmp_path)}
        command = [sys.executable, "-m", "picam_infer.platform.x11_access"]
        wrong = subprocess.run([*command, "no such user"], env=environment, text=True, capture_output=True, timeout=60)
        assert wrong.returncode == 1 and wrong.stderr.count("\n") == 1 and "no such user" in wrong.stderr
        with subprocess.Popen([*command, getpass.getuser()], env=environment) as staying:
            wait_for(lambda: refusal(display) == "", "being let in")
            assert [refusal(display) for _ in range(3)] == ["", "", ""]
            staying.terminate()
        wait_for(lambda: refusal(display), "being forgotten")
    finally:
        server.terminate()
        server.wait(10)


def test_a_lost_camera_is_a_status_screen(
    desktop: Desktop, running: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    make_bundle(tmp_path / "m")
    process = running("--source", "camera:none such", "--model", tmp_path / "m")
    wait_for_colour(desktop, annotate.LOST, 50, "the status screen's red")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err


@pytest.mark.parametrize(
    "display", ["localhost:" + "9" * 5000, "localhost:99999", "localhost:x", ".." * 40 + ":0", ":\0"]
)
def test_a_name_that_no_display_can_have_is_not_there(display: str) -> None:
    assert x11.try_connect(display, "") is None
