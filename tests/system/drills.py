"""Fault drills on an installed virtual Pi: breaks something, mends it, and prints how the service came through.

Needs a running virtual Pi with picam-infer installed and its camera looking at a digit (see scripts/test-system).
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from appliance import LAB, STATUS, WHOLE, Facts, Failed, facts, files, main_pid, shows, ssh, until, vm, write_config

MEMORY_MB = 25.0
"""How much more memory than before is still the same: OpenVINO and OpenCV keep some after a reopening."""


@dataclass(frozen=True)
class Drill:
    """Something that goes wrong, and its end."""

    name: str
    strike: Callable[[], object]
    notice: str = ""
    """What the service's status must say meanwhile; empty: nothing needs to be said."""
    mend: Callable[[], object] = lambda: None
    harmless: bool = False
    """Whether the right label must be on the monitor before anything is mended, too."""
    light: bool = True
    """Whether it may be mixed with others at random."""


def status_has(text: str) -> Callable[[], bool]:
    """Return a question: does the status say this?"""
    return lambda: text in facts().status


def monitor(state: str) -> None:
    """Plug the monitor in or out."""
    ssh(f"echo {state} | sudo tee {STATUS} >/dev/null" + ("; echo detect | sudo tee " + STATUS + " >/dev/null"
                                                          if state == "on" else ""))  # fmt: skip


def monitor_out() -> None:
    """Unplug the monitor: the service must say so."""

    def said() -> int:
        return int(ssh("sudo journalctl -b -u picam-infer -o cat | grep -c 'no display now' || true"))

    before = said()
    monitor("off")
    until("it says that the monitor is gone", lambda: said() > before)


elsewhere: list[subprocess.Popen[bytes]] = []
"""The camera's cable while it is plugged in at another port."""


def other_port() -> None:
    """Unplug the camera and plug it in at another port of the hub (where the lab's second stick would be)."""
    vm("camera", "unplug")
    until("the camera is lost", status_has("camera lost"))
    command = [sys.executable, "-B", LAB / "usbcam.py", files() / "stick2.sock", files() / "camera.json"]
    elsewhere.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))


def first_port() -> None:
    """Bring the camera back to its own port."""
    while elsewhere:
        cable = elsewhere.pop()
        cable.terminate()
        cable.wait()
    vm("camera", "plug")


def other_number() -> None:
    """Let the camera come back under another number: somebody still holds the old node."""
    ssh("nohup sh -c 'exec 3</dev/video0; sleep 40' >/dev/null 2>&1 & sleep 1")
    vm("camera", "unplug")
    time.sleep(3)
    vm("camera", "plug")


def broken_reload() -> None:
    """Break the configuration and reload it: the service must refuse it."""
    write_config("source: [camera\n")
    ssh("sudo systemctl reload picam-infer", check=False)


def good_reload() -> None:
    """Repair the configuration and reload it."""
    write_config(WHOLE)
    ssh("sudo systemctl reload-or-restart picam-infer")


def broken_restart() -> None:
    """Break the configuration and restart: the service must stay up and say what is wrong."""
    write_config("sorce: camera\n")
    ssh("sudo systemctl restart picam-infer", check=False)
    until("it says what is wrong", lambda: facts().status.startswith("wrong configuration"))
    if facts().active != "active":
        raise Failed(f"with a wrong configuration it is {facts().active}, not active")


def good_restart() -> None:
    """Repair the configuration: the service follows the file by itself."""
    write_config(WHOLE)


def model_gone() -> None:
    """Run from a model of one's own, and take it away."""
    ssh("m=/var/lib/picam-infer/models; sudo cp -r $(ls -d /opt/picam-infer/current/lib/python3*/site-packages/"
        "picam_infer/models/digits) $m/drill; sudo mv $m/drill $m/away")  # fmt: skip
    write_config(WHOLE + "model: drill\n")
    ssh("sudo systemctl restart --no-block picam-infer")


def model_back() -> None:
    """Bring the model back; the service finds it by itself."""
    ssh("sudo mv /var/lib/picam-infer/models/away /var/lib/picam-infer/models/drill")
    until("runs from the model", lambda: facts().status.startswith("sees"))
    good_reload()
    ssh("sudo rm -rf /var/lib/picam-infer/models/drill")


def crash_in_write() -> None:
    """Cut the power while the configuration is being written over and over."""
    ssh("sudo -u picam-infer nohup /opt/picam-infer/current/bin/python -c '"
        "from pathlib import Path; from picam_infer import config\n"
        "i = 0\n"
        "while True: i += 1; config.save(Path(\"/etc/picam-infer/config.yaml\"), {\"decide.hold\": 1 + i % 2})' "
        ">/dev/null 2>&1 & sleep 6")  # fmt: skip
    vm("crash")


def late_camera() -> None:
    """Boot without a camera, and plug it in later."""
    vm("camera", "unplug")
    vm("reboot")
    until("it says that there is no camera", lambda: "camera lost" in facts().status and facts().active == "active")
    time.sleep(30)


DRILLS = (
    Drill("camera unplugged and back", lambda: vm("camera", "unplug"), "camera lost", lambda: vm("camera", "plug")),
    Drill("camera moved to another port and back", other_port, mend=first_port, harmless=True, light=False),
    Drill("camera back under another number", other_number, light=False),
    Drill("camera frozen", lambda: vm("camera", "freeze"), "no picture", lambda: vm("camera", "thaw")),
    Drill("reboot with the camera plugged in", lambda: vm("reboot"), light=False),
    Drill("camera plugged in 30 s after boot", late_camera, mend=lambda: vm("camera", "plug"), light=False),
    Drill("monitor unplugged and back", monitor_out, mend=lambda: monitor("on")),
    Drill("kill -9", lambda: ssh("sudo systemctl kill -s KILL picam-infer")),
    Drill("SIGSTOP: the watchdog acts", lambda: ssh("sudo systemctl kill -s STOP picam-infer; sleep 45"), light=False),
    Drill("disk full", lambda: ssh("sudo fallocate -l $(($(df --output=avail -B1 / | tail -1) - 4096)) /full; "
                                   "sudo systemctl restart picam-infer", check=False),
          mend=lambda: ssh("sudo rm -f /full"), harmless=True, light=False),
    Drill("clock jumps a day ahead and back", lambda: ssh("sudo date -s '+1 day'"),
          mend=lambda: ssh("sudo date -s '-1 day'"), harmless=True),
    Drill("wrong configuration, reloaded", broken_reload, mend=good_reload, harmless=True),
    Drill("wrong configuration, restarted", broken_restart, mend=good_restart, light=False),
    Drill("model folder removed", model_gone, "cannot start", model_back, light=False),
    Drill("q on the attached keyboard", lambda: vm("key", "q")),
    Drill("power cut while the configuration is written", crash_in_write, light=False),
)  # fmt: skip


def make_whole() -> None:
    """Mend all there is to mend, so that the next drill begins on a whole machine."""
    first_port()
    vm("camera", "thaw")
    monitor("on")
    ssh("sudo rm -f /full; sudo systemctl kill -s CONT picam-infer", check=False)
    good_reload()


def settled(label: str, shots: Path) -> Facts:
    """Wait until the right label is on the monitor, and return the service's facts then."""
    found: list[Facts] = []

    def well() -> bool:
        if not shows(label, shots):
            return False
        found[:] = [facts()]
        return found[0].active == "active" and found[0].rss_mb > 0 and shows(label, shots)

    until(f"the monitor shows {label}", well)
    return found[0]


def run(drill: Drill, label: str, shots: Path, usual: Facts) -> str:
    """Do one drill; returns its line of the table. Raises `Failed`."""
    before = main_pid()
    began_s = time.monotonic()
    drill.strike()
    if drill.notice:
        until(f"the status says {drill.notice!r}", status_has(drill.notice))
    if drill.harmless:
        settled(label, shots)
    noticed_s = time.monotonic() - began_s
    drill.mend()
    mended_s = time.monotonic()
    after = settled(label, shots)
    return line(drill.name, noticed_s, time.monotonic() - mended_s, usual, before, after)


@dataclass(frozen=True)
class Mixture:
    """Two or three drills at once, mended in another order; with each the pause after it in seconds."""

    strikes: list[tuple[Drill, float]]
    mends: list[tuple[Drill, float]]

    @property
    def name(self) -> str:
        """Its drills, in the order they strike."""
        return " + ".join(drill.name for drill, _ in self.strikes)


def mixtures(seed: int, count: int) -> list[Mixture]:
    """Draw as many as wanted, all beforehand: a failed one leaves the others as they are."""
    chance = random.Random(seed)
    light = [drill for drill in DRILLS if drill.light]

    def shuffled(drills: list[Drill], size: int) -> list[tuple[Drill, float]]:
        return [(drill, chance.uniform(0, 2)) for drill in chance.sample(drills, size)]

    drawn = []
    for _ in range(count):
        strikes = shuffled(light, chance.choice((2, 2, 3)))
        drawn.append(Mixture(strikes, shuffled([drill for drill, _ in strikes], len(strikes))))
    return drawn


def mixed(mixture: Mixture, label: str, shots: Path, usual: Facts) -> str:
    """Do one mixture; returns its line of the table. Raises `Failed`."""
    before = main_pid()
    for drill, pause_s in mixture.strikes:
        drill.strike()
        time.sleep(pause_s)
    for drill, pause_s in mixture.mends:
        drill.mend()
        time.sleep(pause_s)
    mended_s = time.monotonic()
    after = settled(label, shots)
    return line(mixture.name, 0.0, time.monotonic() - mended_s, usual, before, after)


def line(name: str, noticed_s: float, back_s: float, usual: Facts, before: int, after: Facts) -> str:
    """Return a line of the table. Raises `Failed` when something leaks."""
    new = after.pid != before
    grown_mb = after.rss_mb - usual.rss_mb
    text = (f"{name:<60} {noticed_s:7.1f} {back_s:7.1f} {'new' if new else 'same':>8} {after.rss_mb:7.0f} "
            f"{after.files:6} {after.threads:8}")  # fmt: skip
    if grown_mb > MEMORY_MB or after.files > usual.files + 2 or after.threads > usual.threads + 1:
        raise Failed(f"{text}  LEAK: usual {usual.rss_mb:.0f} MB, {usual.files} files, {usual.threads} threads")
    return text + "  ok"


def select(words: Sequence[str]) -> list[Drill]:
    """Return the drills whose names contain any of the words; all without words."""
    return [drill for drill in DRILLS if not words or any(word in drill.name for word in words)]


def main() -> int:
    """Print the table; returns 1 when a drill failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only drills whose names contain one of these")
    parser.add_argument("--label", default="7", help="what the camera looks at")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="then N random combinations")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="leave the first N of these out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only-random", action="store_true")
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        shots = Path(folder)
        ssh("sudo timedatectl set-ntp 0")  # or the network sets the clock right while a drill has it wrong
        good_reload()
        usual = settled(args.label, shots)
        print(f"{'drill':<60} {'noticed':>7} {'back s':>7} {'process':>8} {'RSS MB':>7} {'files':>6} {'threads':>8}")
        work: list[tuple[str, Callable[[], str]]] = []
        if not args.only_random:
            work += [(drill.name, partial(run, drill, args.label, shots, usual)) for drill in select(args.words)]
        work += [(mixture.name, partial(mixed, mixture, args.label, shots, usual))
                 for mixture in mixtures(args.seed, args.random)[args.skip :]]  # fmt: skip
        for name, step in work:
            try:
                print(step(), flush=True)
            except Failed as error:
                failed += 1
                print(f"FAILED {name}: {error}", flush=True)
                make_whole()
    print(f"{len(work) - failed} of {len(work)} passed")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
