"""USB sticks, told from what /sys and /proc say."""

from __future__ import annotations

from pathlib import Path

import pytest

from picam_infer.platform.removable import media


class Machine:
    """Block devices and mounts as the kernel tells of them."""

    def __init__(self, folder: Path) -> None:
        self.sys, self.mounts = folder / "sys", folder / "mountinfo"
        for part in ("dev/block", "block", "class/block"):
            (self.sys / part).mkdir(parents=True)
        self.mounts.write_text("24 1 0:22 / /proc rw - proc proc rw\n")

    def disk(self, name: str, number: str, bus: str, removable: str = "1", parts: int = 1, size: int = 1000) -> None:
        folder = self.sys / "devices" / bus / name
        (folder / "device").mkdir(parents=True)
        (folder / "removable").write_text(f"{removable}\n")
        (folder / "size").write_text(f"{size}\n")
        (folder / "device/vendor").write_text("SanDisk \n")
        (folder / "device/model").write_text("Ultra\n")
        (self.sys / "block" / name).symlink_to(folder)
        (self.sys / "dev/block" / number).symlink_to(folder)
        for part in range(1, parts + 1):
            (folder / f"{name}{part}").mkdir()
            (folder / f"{name}{part}/partition").write_text(f"{part}\n")
            major, _, minor = number.partition(":")
            (self.sys / "dev/block" / f"{major}:{int(minor) + part}").symlink_to(folder / f"{name}{part}")

    def mount(self, number: str, where: Path | str) -> None:
        text = str(where).replace("\\", "\\134").replace(" ", "\\040")
        with self.mounts.open("a") as file:
            file.write(f"30 24 {number} / {text} ro,nosuid shared:1 - vfat /dev/x ro\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.disk("mmcblk0p", "179:0", "platform/mmc0", removable="0", parts=2)
    made.mount("179:2", "/")
    made.mount("179:1", "/boot/firmware")
    return made


def test_the_machines_own_card_is_no_stick(machine: Machine) -> None:
    assert media(machine.mounts, machine.sys) == []


def test_a_mounted_stick_and_one_that_is_not(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "MY STICK").mkdir()
    machine.disk("sda", "8:0", "pci0/usb1/1-1/host0")
    machine.disk("sdb", "8:16", "pci0/usb1/1-2/host1", removable="0")  # as large USB disks say
    machine.disk("sdc", "8:32", "pci0/usb1/1-3/host2", size=0)  # a card reader without a card
    machine.mount("8:1", tmp_path / "MY STICK")
    first, second = media(machine.mounts, machine.sys)
    assert (first.device, first.name, first.folder, first.how) == ("sda1", "SanDisk Ultra", tmp_path / "MY STICK", "")
    assert second.device == "sdb1" and "sudo mount -o ro /dev/sdb1 /mnt" in second.how


def test_a_stick_without_partitions(machine: Machine) -> None:
    machine.disk("sda", "8:0", "pci0/usb1/1-1/host0", parts=0)
    assert [one.device for one in media(machine.mounts, machine.sys)] == ["sda"]


def test_a_system_that_runs_from_usb_is_not_offered(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.disk("sda", "8:0", "pci0/usb1/1-1/host0", removable="0", parts=3)
    machine.mount("8:2", "/")
    machine.mount("8:3", "/home")
    assert media(machine.mounts, machine.sys) == []


def test_nothing_to_read(tmp_path: Path) -> None:
    assert media(tmp_path / "none", tmp_path / "none") == []
