"""The installed service and the screen: in a desktop that comes and goes, beside a program that has the graphics card,
and on another monitor than before. Needs a virtual Pi with picam-infer installed (see scripts/test-system).
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from appliance import WHOLE, screenshot, sees, ssh, until, write_config

ready = pytest.mark.skipif(os.environ.get("PICAM_SYSTEM") != "1", reason="needs a virtual Pi: scripts/test-system")
pytestmark = [ready, pytest.mark.timeout(3600)]

# What the installation tells every desktop to do at its start; here there is no desktop's own start of programs.
LET_IN = 'sh -c "$(sed -n s/^Exec=//p /etc/xdg/autostart/picam-infer.desktop)"'
X11 = f"exec xinit /bin/sh -c '{LET_IN} & exec openbox' -- :0 vt7 -nolisten tcp"
CAGE = f"sudo chvt 7; exec cage -- /bin/sh -c '{LET_IN} & exec sleep 3600'"


def start(script: str) -> None:
    """Run a script as user pi at the seventh console, as a person who logged in there would."""
    ssh("cat >desk", text=script)
    ssh("sudo systemctl reset-failed desk 2>/dev/null; sudo systemd-run -q --unit desk -p User=pi -p PAMName=login "
        "-p TTYPath=/dev/tty7 -p StandardInput=tty -p StandardOutput=journal -p StandardError=journal "
        "-p UtmpIdentifier=tty7 -p UtmpMode=user -p Environment=WLR_RENDERER=pixman "
        "-p Environment=WLR_LIBINPUT_NO_DEVICES=1 /bin/sh /home/pi/desk")  # fmt: skip


def journal(since: str) -> str:
    """Return the service's lines since a moment (`now()`)."""
    return ssh(f"sudo journalctl -u picam-infer --since '{since}' --no-pager -o cat")


def now() -> str:
    return ssh("sleep 1; date '+%F %T'").strip()


def keep(shots: Path, name: str) -> None:
    """Keep the last screenshot for a person to look at."""
    folder = os.environ.get("PICAM_SHOTS")
    if folder:
        (Path(folder) / f"{name}.png").write_bytes((shots / "screen.png").read_bytes())


@pytest.fixture(autouse=True)
def _bare_monitor(tmp_path: Path) -> Iterator[None]:
    """Before and after each test the service shows its picture on the bare monitor."""
    write_config(WHOLE)
    ssh("sudo systemctl reload-or-restart picam-infer")
    until("the digit is on the monitor", lambda: sees("7", tmp_path))
    yield
    ssh("sudo systemctl stop desk 2>/dev/null; sudo chvt 1", check=False)
    until("the digit is on the monitor again", lambda: sees("7", tmp_path))


@pytest.mark.parametrize(("name", "script"), [("x11", X11), ("cage", CAGE)])
def test_a_desktop_gets_the_screen_and_the_service_a_window_in_it(tmp_path: Path, name: str, script: str) -> None:
    began = now()
    start(script)
    until("the service has a window", lambda: "display: window on :" in journal(began))
    until("the digit is in the window", lambda: sees("7", tmp_path))
    keep(tmp_path, name)
    # The service alone ends and comes later: it is still let in.
    began = now()
    ssh("sudo systemctl stop picam-infer; sleep 15; sudo systemctl start picam-infer")
    until("the service has its window again", lambda: "display: window on :" in journal(began))
    # The desktop is restarted: the window comes back, in between with the bare monitor or without.
    began = now()
    ssh("sudo systemctl stop desk; sudo chvt 1")
    until("the digit is on the bare monitor", lambda: sees("7", tmp_path))
    start(script)
    until("the service has a window again", lambda: "display: window on :" in journal(began))
    until("the digit is in the window again", lambda: sees("7", tmp_path))


@pytest.mark.parametrize(("program", "named"), [("mpv", True), ("player", False)])
def test_who_has_the_graphics_card_is_named(program: str, named: bool) -> None:
    """Whoever opens it first is its master. The service sees no other user's files: it names a program it knows."""
    ssh("sudo systemctl stop picam-infer")
    began = now()
    start(f"cd; ln -sf $(command -v python3) {program}; exec ./{program} -c "
          "'import os, time; os.open(\"/dev/dri/card0\", os.O_RDWR); time.sleep(3600)'")  # fmt: skip
    until("it has the card", lambda: ssh("sudo lsof -t /dev/dri/card0 || true").strip() != "")
    holder = f"{program} (PID {ssh('systemctl show desk -p MainPID --value').strip()})"
    ssh("sudo systemctl start picam-infer")
    wanted = f"held by {holder}" if named else "held by another program; `sudo fuser -v /dev/dri/card0` names it"
    until("it says who", lambda: wanted in journal(began))
    # Root sees everybody's.
    assert f"held by {holder}" in ssh("sudo picam-infer check -c /etc/picam-infer/config.yaml", check=False)


def test_another_monitor_gets_its_own_mode(tmp_path: Path) -> None:
    """The graphics card is taken away and comes back with a monitor of 1024×768, which the kernel can pretend."""
    began = now()
    bus = "/sys/bus/virtio/drivers/virtio_gpu"
    device = ssh(f"basename $(ls -d {bus}/virtio*)").strip()
    edid = "/sys/module/drm/parameters/edid_firmware"
    try:
        ssh(f"echo {device} | sudo tee {bus}/unbind; echo edid/1024x768.bin | sudo tee {edid}")
        time.sleep(5)
        ssh(f"echo {device} | sudo tee {bus}/bind")
        until("it has the new mode", lambda: "1024×768" in journal(began))
        until("the digit is on the new monitor", lambda: sees("7", tmp_path))
        assert screenshot(tmp_path / "screen.png").shape == (768, 1024, 3)
        keep(tmp_path, "another-monitor")
    finally:
        ssh(f"echo {device} | sudo tee {bus}/unbind; echo | sudo tee {edid}")
        ssh(f"sleep 1; echo {device} | sudo tee {bus}/bind")
