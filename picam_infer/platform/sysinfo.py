"""The machine's health: temperature, under-voltage, throttling, memory. A few small reads of /sys and /proc."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from picam_infer.core import Problem

# Bits of the firmware (raspberrypi.com/documentation/computers/os.html#get_throttled): now; 16 up, since boot.
_UNDER_VOLTAGE, _CAPPED, _THROTTLED, _SOFT_LIMIT = 0x1, 0x2, 0x4, 0x8
_SINCE_BOOT = 16
_CPU_ZONES = ("cpu", "soc", "x86_pkg", "k10temp", "coretemp")


class Machine(msgspec.Struct, frozen=True):
    """The machine at one moment. None: it has no such sensor."""

    temperature_c: float | None = None
    under_voltage: bool | None = None
    throttled: bool | None = None
    """The processor runs slower than it could, because of heat or voltage."""
    under_voltage_since_boot: bool | None = None
    throttled_since_boot: bool | None = None
    memory_mb: float | None = None
    """Resident memory of this process, in 10⁶ bytes."""

    def __str__(self) -> str:
        """Return the few words that fit a line of stats: `61 °C · under-voltage`; empty when nothing is known."""
        words = [] if self.temperature_c is None else [f"{self.temperature_c:.0f} °C"]
        if self.under_voltage:
            words.append("under-voltage")
        if self.throttled:
            words.append("throttled")
        return " · ".join(words)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What somebody should fix, the worst first."""
        found = []
        supply = "use the supply made for this Pi and a short cable; take power-hungry USB devices to a powered hub"
        cooling = "give it a heat sink, a fan, or air around its case"
        if self.under_voltage:
            found.append(Problem("the supply voltage is too low now", supply))
        elif self.under_voltage_since_boot:
            found.append(Problem("the supply voltage was too low at times since boot", supply))
        hot = f" ({self.temperature_c:.0f} °C)" if self.temperature_c is not None else ""
        if self.throttled:
            found.append(Problem(f"the processor is slowed down now{hot}", cooling))
        elif self.throttled_since_boot:
            found.append(Problem(f"the processor was slowed down at times since boot{hot}", cooling))
        elif self.temperature_c is not None and self.temperature_c >= 80:
            found.append(Problem(f"the processor is hot{hot}; it slows down from 80 °C", cooling))
        return tuple(found)


def read(sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> Machine:
    """Return the machine's health now; takes well under a millisecond and never raises."""
    bits = _firmware_bits(sys)
    volts = _volt_alarm(sys)
    slow = _CAPPED | _THROTTLED | _SOFT_LIMIT
    return Machine(
        temperature_c=_temperature_c(sys),
        under_voltage=volts if bits is None else bool(bits & _UNDER_VOLTAGE or volts),
        throttled=None if bits is None else bool(bits & slow),
        under_voltage_since_boot=None if bits is None else bool(bits >> _SINCE_BOOT & _UNDER_VOLTAGE),
        throttled_since_boot=None if bits is None else bool(bits >> _SINCE_BOOT & slow),
        memory_mb=_memory_mb(proc),
    )


class Memory(msgspec.Struct, frozen=True):
    """The machine's memory, in 10⁶ bytes."""

    total_mb: float
    available_mb: float
    """What programs can still take without swapping."""
    swap: tuple[str, ...] = ()
    """Where it swaps to: device files, or files."""

    @property
    def swaps_to_disk(self) -> bool:
        """Whether swapping writes to a card or a disk; zram keeps it in memory, compressed."""
        return any(not place.startswith("/dev/zram") for place in self.swap)

    def __str__(self) -> str:
        """Return it as people read it: `425 MB, 311 MB available, swap in memory (zram)`."""
        words = f"{self.total_mb:.0f} MB, {self.available_mb:.0f} MB available"
        if not self.swap:
            return f"{words}, no swap"
        return f"{words}, swap {'on ' + ', '.join(self.swap) if self.swaps_to_disk else 'in memory (zram)'}"


def memory(proc: Path = Path("/proc")) -> Memory | None:
    """Return the machine's memory now; None where the kernel does not tell."""
    fields = {line.partition(":")[0]: line.split() for line in (_text(proc / "meminfo") or "").splitlines()}
    try:
        total, available = (int(fields[key][1]) * 1024 / 1e6 for key in ("MemTotal", "MemAvailable"))
    except (KeyError, IndexError, ValueError):
        return None
    places = [line.split()[0] for line in (_text(proc / "swaps") or "").splitlines()[1:] if line.strip()]
    return Memory(total, available, tuple(places))


def _temperature_c(sys: Path) -> float | None:
    zones = sorted((sys / "class/thermal").glob("thermal_zone*"))
    zones.sort(key=lambda zone: not (_text(zone / "type") or "").startswith(_CPU_ZONES))
    sensors = [zone / "temp" for zone in zones]
    sensors += [chip / "temp1_input" for chip in _chips(sys) if (_text(chip / "name") or "").startswith(_CPU_ZONES)]
    for sensor in sensors:
        value = _number(sensor)
        # Zones that are switched off say 0 or nonsense.
        if value is not None and 1_000 <= value <= 150_000:
            return value / 1000
    return None


def _firmware_bits(sys: Path) -> int | None:
    for file in (sys / "devices/platform").glob("soc*/soc*:firmware/get_throttled"):
        value = _number(file, 16)
        if value is not None:
            return value
    return None


def _volt_alarm(sys: Path) -> bool | None:
    for chip in _chips(sys):
        if _text(chip / "name") == "rpi_volt":
            value = _number(chip / "in0_lcrit_alarm")
            return None if value is None else bool(value)
    return None


def _chips(sys: Path) -> list[Path]:
    return sorted((sys / "class/hwmon").glob("hwmon*"))


def _memory_mb(proc: Path) -> float | None:
    fields = (_text(proc / "self/statm") or "").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if len(fields) > 1 else None


def _text(file: Path) -> str | None:
    try:
        return file.read_text("ascii", "replace").strip()
    except OSError:
        return None


def _number(file: Path, base: int = 10) -> int | None:
    try:
        return int(_text(file) or "", base)
    except ValueError:
        return None
