"""The window on a real X server (Xvfb): what a person sees and presses."""

from __future__ import annotations

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
    asked = [shutil.which("xdotool") or "", "search", "--class", "picam-infer"]
    found = subprocess.run(asked, env=desktop.environment, capture_output=True, text=True, timeout=20, check=True)
    answered = x11.try_connect(desktop.environment["DISPLAY"], "")
    assert answered is not None
    manager = Client(answered.link, answered.setup)
    protocols, delete = manager.atom("WM_PROTOCOLS"), manager.atom("WM_DELETE_WINDOW")
    number = int(found.stdout.split()[0])
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
    wait_for(lambda: heard.extend(e for e in manager.events() if e[0] & 0x7F == 33) or heard, "the request")
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
