"""Install → reboot → the right digit on the monitor, nobody logged in; then upgrade, roll-back, uninstall."""

import os
import shutil
from pathlib import Path

import pytest
from appliance import LAB, facts, read_label, screenshot, ssh, until, vm

from picam_infer.core import Prediction, Result
from picam_infer.outputs import annotate

WANTED = os.environ.get("PICAM_SYSTEM") == "1"
ready = pytest.mark.skipif(not WANTED, reason="needs a virtual Pi: scripts/test-system")
pytestmark = pytest.mark.timeout(3600)


def test_a_label_is_read_from_a_screen() -> None:
    import numpy as np

    for label in ("7", "3", None):
        top = (Prediction(label or "?", 0.93),)
        result = Result(1, 0.0, 0.0, label, 0.93, top, "openvino:CPU", 1.0, 1.0)
        screen = annotate.draw(np.full((720, 1280, 3), 120, np.uint8), result, annotate.Annotation(foot="12 fps"))
        assert read_label(screen) == label
    assert read_label(annotate.status_screen(1280, 720, "7", "camera lost")) is None


@ready
def test_the_lab_is_there() -> None:
    assert (LAB / "vm").exists(), f"set PICAM_LAB; {LAB} is not the lab"


@ready
def test_after_a_reboot_the_digit_is_on_the_monitor(tmp_path: Path) -> None:
    vm("reboot")
    until("the digit is on the monitor", lambda: read_label(screenshot(tmp_path / "screen.png")) == "7")
    kept = os.environ.get("PICAM_SHOTS")
    if kept:
        shutil.copy(tmp_path / "screen.png", Path(kept) / "after-boot.png")
    until("systemd counts it as started: the page is open, too", lambda: facts().active == "active")
    assert "pi" not in ssh("loginctl list-sessions --no-legend | grep seat0 || true")


@ready
def test_the_sandbox_is_tight() -> None:
    told = ssh("systemd-analyze security --no-pager picam-infer | tail -1")
    assert float(told.split(":")[1].split()[0]) <= 2.0


@ready
def test_upgrade_keeps_settings_and_a_bad_version_is_rolled_back() -> None:
    before = ssh("readlink /opt/picam-infer/current").strip()
    ssh("echo 'log: {level: debug}' | sudo tee /etc/picam-infer/config.yaml")
    ssh("sudo ~/picam/scripts/install.sh --wheels ~/wheels")
    now = ssh("readlink /opt/picam-infer/current").strip()
    assert now != before
    assert "debug" in ssh("cat /etc/picam-infer/config.yaml")
    assert "threshold" in ssh("cat /etc/picam-infer/config.yaml.dist")
    # A version that does not run: its network is damaged.
    ssh("rm -rf ~/bad && cp -r ~/wheels ~/bad && cd ~/bad && python3 -m zipfile -e picam_infer-*.whl x && "
        "echo rubbish >x/picam_infer/models/digits/model.xml && rm picam_infer-*.whl && cd x && "
        "python3 -m zipfile -c ../picam_infer-9.9-py3-none-any.whl *")  # fmt: skip
    told = ssh("sudo ~/picam/scripts/install.sh --wheels ~/bad 2>&1", check=False)
    assert "continues unchanged" in told, told
    assert ssh("readlink /opt/picam-infer/current").strip() == now
    until("it runs again", lambda: facts().status.startswith("sees"))


@ready
def test_uninstall_leaves_nothing() -> None:
    ssh("sudo ~/picam/scripts/uninstall.sh")
    assert "config.yaml" in ssh("ls /etc/picam-infer")
    ssh("sudo ~/picam/scripts/uninstall.sh --purge")
    places = "/etc /opt /usr /run /var/lib /var/cache"
    left = ssh(f"sudo find {places} -xdev -iname '*picam-infer*'; id picam-infer 2>/dev/null || true")
    assert left.strip() == ""
