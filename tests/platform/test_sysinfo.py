import os
from pathlib import Path

import pytest

from picam_infer.platform import sysinfo
from picam_infer.platform.sysinfo import Machine


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def firmware(root: Path, bits: str, soc: str = "soc") -> None:
    put(root, **{f"devices__platform__{soc}__{soc}:firmware__get_throttled": bits})


def test_a_machine_without_sensors(tmp_path: Path) -> None:
    found = sysinfo.read(tmp_path, tmp_path)
    assert found == Machine()
    assert str(found) == ""
    assert found.problems == ()


def test_the_processor_is_preferred_to_other_zones(tmp_path: Path) -> None:
    put(tmp_path, class__thermal__thermal_zone0__type="acpitz", class__thermal__thermal_zone0__temp="27800\n")
    put(tmp_path, class__thermal__thermal_zone1__type="cpu-thermal", class__thermal__thermal_zone1__temp="61234\n")
    assert sysinfo.read(tmp_path).temperature_c == pytest.approx(61.234)
    assert str(sysinfo.read(tmp_path)) == "61 °C"


@pytest.mark.parametrize("nonsense", ["0", "-273000", "", "a lot", "999999999"])
def test_a_dead_zone_is_passed_over_for_hwmon(tmp_path: Path, nonsense: str) -> None:
    put(tmp_path, class__thermal__thermal_zone0__type="cpu-thermal", class__thermal__thermal_zone0__temp=nonsense)
    put(tmp_path, class__hwmon__hwmon0__name="nvme", class__hwmon__hwmon0__temp1_input="30000")
    put(tmp_path, class__hwmon__hwmon1__name="cpu_thermal", class__hwmon__hwmon1__temp1_input="48500")
    assert sysinfo.read(tmp_path).temperature_c == 48.5


@pytest.mark.parametrize("soc", ["soc", "soc@107c000000"])
def test_firmware_flags_now_and_since_boot(tmp_path: Path, soc: str) -> None:
    firmware(tmp_path, "50005\n", soc)
    found = sysinfo.read(tmp_path)
    assert (found.under_voltage, found.throttled) == (True, True)
    assert (found.under_voltage_since_boot, found.throttled_since_boot) == (True, True)
    assert str(found) == "under-voltage · throttled"
    assert [problem.what for problem in found.problems] == [
        "the supply voltage is too low now",
        "the processor is slowed down now",
    ]


def test_flags_of_the_past_do_not_alarm_the_screen(tmp_path: Path) -> None:
    firmware(tmp_path, "0x90000")
    found = sysinfo.read(tmp_path)
    assert (found.under_voltage, found.throttled) == (False, False)
    assert str(found) == ""
    assert all("since boot" in problem.what for problem in found.problems)
    assert len(found.problems) == 2


def test_volt_alarm_alone(tmp_path: Path) -> None:
    put(tmp_path, class__hwmon__hwmon0__name="rpi_volt\n", class__hwmon__hwmon0__in0_lcrit_alarm="1\n")
    assert sysinfo.read(tmp_path).under_voltage is True
    assert sysinfo.read(tmp_path).throttled is None


def test_heat_is_a_finding_before_it_throttles() -> None:
    assert Machine(temperature_c=79.9).problems == ()
    assert "hot (83 °C)" in Machine(temperature_c=83.0).problems[0].what


def test_memory_of_this_process(tmp_path: Path) -> None:
    put(tmp_path, self__statm="9000 1000 300 1 0 500 0\n")
    assert sysinfo.read(tmp_path, tmp_path).memory_mb == pytest.approx(1000 * os.sysconf("SC_PAGE_SIZE") / 1e6)
    own = sysinfo.read().memory_mb
    assert own is not None
    assert own > 5


MEMINFO = "MemTotal:         425984 kB\nMemFree:           12000 kB\nMemAvailable:     303712 kB\n"
SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


@pytest.mark.parametrize(
    ("swaps", "to_disk", "words"),
    [
        ("", False, "no swap"),
        ("/dev/zram0                              partition\t425980\t\t1024\t\t100\n", False, "in memory (zram)"),
        ("/var/swap                               file\t\t102396\t\t0\t\t-2\n", True, "on /var/swap"),
        ("/dev/zram0 partition 1 0 100\n/dev/mmcblk0p3 partition 1 0 -2\n", True, "on /dev/zram0, /dev/mmcblk0p3"),
    ],
)
def test_memory_tells_whether_swapping_wears_the_card(tmp_path: Path, swaps: str, to_disk: bool, words: str) -> None:
    put(tmp_path, meminfo=MEMINFO, swaps=SWAPS + swaps)
    found = sysinfo.memory(tmp_path)
    assert found is not None
    assert (round(found.total_mb), round(found.available_mb), found.swaps_to_disk) == (436, 311, to_disk)
    assert str(found) == f"436 MB, 311 MB available, {words if words == 'no swap' else f'swap {words}'}"


def test_memory_that_the_kernel_does_not_tell(tmp_path: Path) -> None:
    assert sysinfo.memory(tmp_path) is None
    put(tmp_path, meminfo="MemTotal:\n")
    assert sysinfo.memory(tmp_path) is None
