from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from picam_infer.config import Config, DisplaySettings
from picam_infer.core import Disconnected
from picam_infer.imaging.letterbox import Letterbox, box
from picam_infer.outputs.display import bare_screen, drm, open_display, owner
from picam_infer.outputs.display.kms import Kms
from picam_infer.platform.procfs import Process


def test_events_are_told_apart() -> None:
    vblank = struct.pack("IIQIIII", 1, 32, 7, 0, 0, 0, 0)
    flip = struct.pack("IIQIIII", 2, 32, 7, 0, 0, 0, 0)
    assert drm.event_kinds(vblank + flip) == [1, 2]
    assert drm.event_kinds(flip[:5]) == []
    assert drm.event_kinds(struct.pack("II", 3, 0)) == [3]


def mode(width: int, height: int, kind: int = 0, flags: int = 0, vrefresh: int = 60) -> drm.ModeInfo:
    return drm.ModeInfo(hdisplay=width, vdisplay=height, type=kind, flags=flags, vrefresh=vrefresh)


def test_the_preferred_mode_else_the_first() -> None:
    small, own = mode(800, 600), mode(1920, 1080, 0x48)
    assert drm.choose_mode([small, own]) is own
    assert drm.choose_mode([small, mode(640, 480)]) is small
    assert drm.choose_mode([mode(2560, 1440, 8), small]).hdisplay == 2560


def test_a_4k_screen_is_driven_at_1080p() -> None:
    modes = [mode(3840, 2160, 8), mode(1920, 1200), mode(1920, 1080, flags=0x10), mode(1920, 1080, vrefresh=50),
             mode(1920, 1080), mode(1280, 720)]  # fmt: skip
    assert drm.choose_mode(modes) is modes[4]
    only = [mode(3840, 2160, 8), mode(1024, 768)]
    assert drm.choose_mode(only) is only[0]


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ((1280, 720), (1280, 720)),  # and not 1280×1024 or 1440×900: of another shape
        ((640, 480), (1280, 720)),  # smaller ones make words hard to read
        ((1920, 1080), (1920, 1080)),
        ((1280, 960), (1920, 1080)),
        ((720, 1280), (1920, 1080)),  # no mode holds it: the preferred one
    ],
)
def test_the_smallest_mode_that_holds_the_pictures(picture: tuple[int, int], expected: tuple[int, int]) -> None:
    own = mode(1920, 1080, 0x48)
    modes = [own, mode(1920, 1080, vrefresh=50), mode(1440, 900), mode(1280, 1024), mode(1280, 720, vrefresh=50),
             mode(1280, 720), mode(1280, 720, flags=0x10), mode(1280, 720, vrefresh=30), mode(848, 480),
             mode(1360, 768)]  # fmt: skip
    chosen = drm.choose_mode(modes, picture)
    assert (chosen.hdisplay, chosen.vdisplay, chosen.vrefresh, chosen.flags) == (*expected, 60, 0)
    assert chosen is own or expected == (1280, 720)
    assert drm.choose_mode([own, mode(1360, 768), mode(1280, 1024)], picture) is own  # what is nearly of its shape
    assert drm.choose_mode([mode(800, 480, 8), mode(1280, 720)], picture).hdisplay == 800  # larger than the panel
    assert drm.choose_mode([mode(3840, 2160, 8), *modes], picture).hdisplay == expected[0]
    wished = mode(1600, 900, 0x20)  # the kernel's DRM_MODE_TYPE_USERDEF: video=HDMI-A-1:1600x900
    assert drm.choose_mode([*modes, wished], picture) is wished


def test_pictures_of_4k_are_shown_at_1080p() -> None:
    modes = [mode(3840, 2160, 8), mode(2560, 1440), mode(1920, 1080)]
    assert drm.choose_mode(modes, (3840, 2160)) is modes[2]
    assert drm.choose_mode(modes, (2560, 1440)) is modes[1]


@pytest.mark.parametrize(
    ("picture", "screen", "expected"),
    [
        ((1280, 720), (1280, 720), (0, 0, 1280, 720)),
        ((640, 480), (1920, 1080), (240, 0, 1440, 1080)),
        ((1280, 720), (800, 600), (0, 75, 800, 450)),
        ((1, 1000), (10, 10), (4, 0, 1, 10)),
    ],
)
def test_aspect_is_kept(picture: tuple[int, int], screen: tuple[int, int], expected: tuple[int, ...]) -> None:
    assert box(*picture, *screen) == expected


def test_drawing_goes_into_padded_memory_and_clears_the_bars() -> None:
    memory = np.full((90, 200, 4), 7, np.uint8)
    screen = memory[:, :160]
    resizer = Letterbox()
    resizer.draw(np.full((60, 60, 3), (1, 2, 3), np.uint8), screen, clear=True)
    assert screen[45, 80, :3].tolist() == [1, 2, 3]
    assert screen[45, 10, :3].tolist() == [0, 0, 0]
    assert (memory[:, 160:] == 7).all()
    resizer.draw(np.full((90, 160, 3), 9, np.uint8), screen, clear=False)
    assert (screen[..., :3] == 9).all()


class FakeCard:
    """A card with one monitor; flips are done at once."""

    opened = 0
    busy = False
    made: ClassVar[list[FakeCard]] = []

    def __init__(self, path: Path) -> None:
        self.path, self.master, self.can_draw = path, not FakeCard.busy, True
        self.shown: list[int] = []
        self.width, self.height = 320, 180
        self.error = 0
        FakeCard.opened += 1
        FakeCard.made.append(self)

    def monitors(self) -> list[drm.Monitor]:
        return [drm.Monitor(5, "HDMI-A-1", True, (mode(self.width, self.height, 8),), (1,), 1)]

    def crtc_for(self, monitor: drm.Monitor) -> int:
        return 9

    def crtc(self, crtc_id: int) -> drm.Crtc:
        return drm.Crtc(id=crtc_id, fb_id=77, mode_valid=1)

    def set_crtc(self, crtc_id: int, fb_id: int, mode: drm.ModeInfo, connector_id: int) -> None:
        self.shown.append(fb_id)

    def flip(self, crtc_id: int, fb_id: int) -> None:
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        self.shown.append(fb_id)

    def flipped(self, timeout_s: float) -> bool:
        return True

    def close(self) -> None:
        FakeCard.opened -= 1


class FakeBuffer:
    numbers = iter(range(100, 10_000))

    def __init__(self, card: FakeCard, width: int, height: int) -> None:
        self.fb_id = next(self.numbers)
        self.pixels = np.zeros((height, width, 4), np.uint8)

    def close(self) -> None:
        pass


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    connector = tmp_path / "class/drm/card1-HDMI-A-1"
    connector.mkdir(parents=True)
    (connector / "status").write_text("connected\n")
    (connector / "modes").write_text("320x180\n")
    (connector / "edid").write_bytes(b"one")
    monkeypatch.setattr(owner, "SYS", tmp_path)
    monkeypatch.setattr(owner, "PROC", tmp_path)
    monkeypatch.setattr(drm, "Card", FakeCard)
    monkeypatch.setattr(drm, "Buffer", FakeBuffer)
    monkeypatch.setattr(bare_screen, "LOOK_S", 0.0)
    FakeCard.opened, FakeCard.busy = 0, False
    return connector


PICTURE = np.full((90, 160, 3), 50, np.uint8)


def test_pictures_flip_between_two_buffers_and_the_console_returns(machine: Path) -> None:
    display = Kms(DisplaySettings())
    assert display.name == "kms HDMI-A-1 320×180"
    card = FakeCard.made[-1]
    for _ in range(3):
        display.show(PICTURE)
    first, second, third, fourth = card.shown
    assert (first, second) == (third, fourth)
    display.close()
    display.close()
    assert card.shown[-1] == 77
    assert FakeCard.opened == 0
    with pytest.raises(Disconnected):
        display.show(PICTURE)


def test_the_monitors_mode_follows_the_pictures(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = (mode(1920, 1080, 8), mode(1280, 720))
    monkeypatch.setattr(FakeCard, "monitors", lambda self: [drm.Monitor(5, "HDMI-A-1", True, modes, (1,), 1)])
    for source, name in (("holiday.mp4", "kms HDMI-A-1 1920×1080"), ("camera", "kms HDMI-A-1 1280×720")):
        display = open_display(Config(source=source, display=DisplaySettings(kind="kms")))
        assert display is not None and display.name == name
        display.close()


def test_an_unplugged_monitor_is_lost_and_the_card_given_back(machine: Path) -> None:
    display = Kms(DisplaySettings())
    (machine / "status").write_text("disconnected\n")
    with pytest.raises(Disconnected, match="no monitor is plugged in") as loss:
        display.show(PICTURE)
    assert FakeCard.opened == 0
    with pytest.raises(Disconnected, match="no monitor is plugged in") as later:
        Kms(DisplaySettings())
    assert "HDMI-A-1" in loss.value.hint
    assert loss.value.message == later.value.message  # or the journal would have two lines for one cable


def test_a_second_monitor_takes_the_place_of_one_that_is_unplugged(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    display = Kms(DisplaySettings())
    second = machine.with_name("card1-HDMI-A-2")
    second.mkdir()
    for file, text in (("status", "connected\n"), ("modes", "64x48\n"), ("edid", "two")):
        (second / file).write_text(text)
    monkeypatch.setattr(
        FakeCard, "monitors", lambda self: [drm.Monitor(6, "HDMI-A-2", True, (mode(64, 48, 8),), (1,), 1)]
    )
    display.show(PICTURE)
    assert display.name == "kms HDMI-A-1 320×180"
    (machine / "status").write_text("disconnected\n")
    display.show(PICTURE)
    assert display.name == "kms HDMI-A-2 64×48" and FakeCard.opened == 1
    display.close()


def test_a_replaced_monitor_gets_its_own_mode(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    display = Kms(DisplaySettings())
    monkeypatch.setattr(
        FakeCard, "monitors", lambda self: [drm.Monitor(5, "HDMI-A-1", True, (mode(64, 48, 8),), (1,), 1)]
    )
    (machine / "edid").write_bytes(b"another")
    display.show(PICTURE)
    assert display.name == "kms HDMI-A-1 64×48"
    assert FakeCard.opened == 1
    display.close()


def test_a_person_at_another_console_gets_the_screen(machine: Path) -> None:
    display = Kms(DisplaySettings())
    active = machine.parents[2] / "class/tty/tty0/active"
    active.parent.mkdir(parents=True)
    active.write_text("tty1\n")
    display.show(PICTURE)
    active.write_text("tty2\n")
    with pytest.raises(Disconnected, match="tty2"):
        display.show(PICTURE)
    assert FakeCard.opened == 0


@pytest.mark.parametrize(
    ("name", "command", "said"),
    [
        ("Xorg", "Xorg :0", r"held by Xorg \(PID 812\); end that program"),
        ("picam-infer", "python3 picam-infer run", r"picam-infer \(PID 812\) is showing .* two services, one needs"),
    ],
)
def test_a_held_card_is_named(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, command: str, said: str
) -> None:
    FakeCard.busy = True
    (tmp_path / "812").mkdir()
    (tmp_path / "812/comm").write_text(name)
    (tmp_path / "812/cmdline").write_text(command.replace(" ", "\0"))
    monkeypatch.setattr(owner, "holder", lambda device: Process(tmp_path / "812"))
    with pytest.raises(Disconnected, match=said):
        Kms(DisplaySettings())
    assert FakeCard.opened == 0


def test_a_failing_flip_is_a_loss(machine: Path) -> None:
    display = Kms(DisplaySettings())
    FakeCard.made[-1].error = errno.EINVAL
    with pytest.raises(Disconnected, match="is gone"):
        display.show(PICTURE)
    assert FakeCard.opened == 0


def test_a_machine_without_graphics(machine: Path) -> None:
    for file in machine.iterdir():
        file.unlink()
    machine.rmdir()
    with pytest.raises(Disconnected, match="no graphics card"):
        Kms(DisplaySettings())
