"""Power cuts on an installed virtual Pi, at random moments of what writes to its card; prints a line a cut.

After each cut the service must come back by itself with a label on the monitor, its settings be those before or after
(never a mixture), and what was under way must be repeatable. Needs a running virtual Pi with picam-infer installed and
its camera looking at a digit (see scripts/test-system).

  power_cuts.py --count 5 --seed 1 --package picam-infer.deb --model converted_keras.zip [WORD…]
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance import Failed, facts, read_label, screenshot, ssh, until, vm

SETTINGS = "/etc/picam-infer/config.yaml"


@dataclass(frozen=True)
class Work:
    """Something that writes to the card."""

    name: str
    command: str
    """Run in the guest, in the background; the power goes at a random moment of its `seconds`."""
    seconds: float
    repeat: str
    """What a person does afterwards; must succeed."""
    settings: Callable[[str], bool]
    """Whether these settings may be found afterwards."""
    check: str = ""
    """Run in the guest when it is back, and after the repeating; prints how much there is, which never gets less."""


def works(package: str, model: str, before: str) -> list[Work]:
    """Return what is cut short."""
    found = []
    if package:
        install = f"sudo DEBIAN_FRONTEND=noninteractive apt-get install -y --reinstall /var/tmp/{Path(package).name}"
        again = f"sudo dpkg --configure -a && {install}"
        found.append(Work("package", install, 240, again, lambda text: text == before))
    if model:
        use = "picam-infer use /home/pi/model.zip --name cut"
        found.append(Work("use", use, 90, "picam-infer use digits", lambda text: _without_model(text, before)))
    teach = "python3 /home/pi/teach_guest.py"
    found.append(
        Work("teaching", teach, 60, f"{teach} && picam-infer use digits", lambda text: _without_model(text, before),
             check=f"{teach} --check")
    )  # fmt: skip
    return found


def _without_model(text: str, before: str) -> bool:
    """Whether settings are the same but for the model that they name."""

    def rest(settings: str) -> list[str]:
        return [line for line in settings.splitlines() if not line.lstrip("# ").startswith("model:")]

    return rest(text) == rest(before)


def cut(work: Work, at_s: float, label: str, shots: Path, had: int) -> tuple[str, int]:
    """Begin, cut the power, wait for the service, repeat; returns the line for the table and how much there is then.

    `had`: how much there was before. Raises `Failed`.
    """
    ssh(f"nohup sh -c '{work.command}' >/tmp/cut.log 2>&1 & sleep 0.1")
    time.sleep(at_s)
    began_s = time.monotonic()
    vm("crash")
    until("the service is up and sees something", lambda: facts().status.startswith("sees"), 600)
    back_s = time.monotonic() - began_s
    shown = read_label(screenshot(shots / "screen.png"))
    settings = ssh(f"cat {SETTINGS}")
    if not work.settings(settings):
        raise Failed(f"the settings are neither those before nor those after: {settings!r}")
    if left := ssh("ls -A /etc/picam-infer | grep -v -e '^config.yaml' -e '\\.dist$' || true").strip():
        raise Failed(f"left behind in /etc/picam-infer: {left}")
    if (has := _amount(work)) < had:
        raise Failed(f"{had} pictures before, {has} now")
    ssh(work.repeat, timeout_s=1800)
    until("it sees the digit again", lambda: read_label(screenshot(shots / "screen.png")) == label, 600)
    return f"{work.name:<10} {at_s:>8.1f} {back_s:>8.0f} {shown or '-':>6}  ok", _amount(work)


def _amount(work: Work) -> int:
    return int(ssh(work.check).split()[-1]) if work.check else 0


def main() -> int:
    """Cut as often as was asked for; returns 1 when anything did not come back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only these: package, use, teaching (default: all)")
    parser.add_argument("--count", type=int, default=5, help="cuts of each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--package", default="", help="a .deb, installed again and again")
    parser.add_argument("--model", default="", help="a model file, converted and used again and again")
    parser.add_argument("--label", default="7", help="what the camera shows (default: %(default)s)")
    args = parser.parse_args()
    if args.package:
        vm("put", args.package, "/var/tmp/")
    if args.model:
        vm("put", args.model, "/home/pi/model.zip")
    vm("put", str(Path(__file__).with_name("teach_guest.py")), "/home/pi/teach_guest.py")
    chance, failed, before = random.Random(args.seed), 0, ssh(f"cat {SETTINGS}")
    print(f"{'cut':<10} {'after s':>8} {'back s':>8} {'shown':>6}", flush=True)
    with tempfile.TemporaryDirectory() as shots:
        for work in works(args.package, args.model, before):
            if args.words and work.name not in args.words:
                continue
            had = 0
            for _ in range(args.count):
                try:
                    line, had = cut(work, chance.uniform(0, work.seconds), args.label, Path(shots), had)
                    print(line, flush=True)
                except Failed as error:
                    failed += 1
                    print(f"{work.name:<10} FAILED: {error}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
