"""Taught through the page by a real Chromium, with a camera that shows the hands: how long it takes, and what memory.

Three things of 20 pictures each, named, recorded, used, and named rightly by the service. Memory is the process's own
share (PSS): before, with all pictures taught, and the largest while the model was written and taken up.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOAL_S, GOAL_MB = 60.0, 60.0


def run(model: str, pictures: Path) -> bool:
    """Print the figures; True: the goals are met. `model` is a bundle's folder."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/outputs/web")]
    from browser import chromium
    from show_camera import photos
    from teach_lab import service

    labels = sorted(path.name for path in pictures.iterdir() if path.is_dir())
    scenes = {label: photos(pictures / label) for label in labels}
    with (
        tempfile.TemporaryDirectory() as place, chromium() as browser,
        service(Path(place), scenes[labels[0]], model=model) as pi,
    ):  # fmt: skip
        assert pi.process is not None
        memory = _Memory(pi.process.pid)
        before_mb = memory.settled()
        browser.open(f"http://127.0.0.1:{pi.port}/#teach")
        _shown(browser, "#first")
        began_s = time.monotonic()
        for number, label in enumerate(labels, 1):
            pi.camera.scene = scenes[label]
            _teach(browser, number, label)
        thought_s = time.monotonic() - began_s
        taught_mb = memory.settled()
        pi.camera.scene = scenes[labels[0]]
        with memory.watched():
            browser.js("document.getElementById('use').click()")
            pi.in_use()
            pi.sees(labels[0])
        used_s = time.monotonic() - began_s
    print(f"\nthrough the page: {len(labels)} things of 20 pictures recorded and learnt {thought_s:.1f} s, "
          f"used and named rightly by the service {used_s:.1f} s")  # fmt: skip
    print(f"memory: before {before_mb:.0f} MB, taught {taught_mb - before_mb:+.0f} MB, "
          f"largest while saving and switching models {memory.largest_mb - before_mb:+.0f} MB")  # fmt: skip
    return used_s <= GOAL_S and memory.largest_mb - before_mb <= GOAL_MB


def _teach(browser, number: int, label: str) -> None:  # type: ignore[no-untyped-def]
    from visitors import until

    browser.js("document.getElementById(arguments[0]).click()", "first" if number == 1 else "another")
    until(lambda: browser.js("return document.activeElement.className") == "title")
    browser.keys(label + "\ue006")
    until(lambda: browser.js("return document.activeElement.className") == "record")
    count = "return parseInt(document.querySelectorAll('.thing .count')[arguments[0]].textContent)"
    while browser.js(count, number - 1) < 20:
        browser.drag(f".thing:nth-child({number}) .record", [(0.5, 0.5), (0.5, 0.5)], pause_ms=1000)
    until(lambda: browser.js("return document.getElementById('thought-label').textContent") == label, 60)


def _shown(browser, selector: str) -> None:  # type: ignore[no-untyped-def]
    from visitors import until

    until(lambda: browser.js("return document.querySelector(arguments[0])?.checkVisibility()", selector), 60)


class _Memory:
    """What a process takes of the machine's memory."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/smaps_rollup")
        self._over = threading.Event()
        self.largest_mb = 0.0

    def settled(self) -> float:
        """Return the mean of two seconds, MB."""
        found = []
        for _ in range(10):
            time.sleep(0.2)
            found.append(self.now())
        return sum(found) / len(found)

    def now(self) -> float:
        """Return the proportional set size, MB."""
        lines = self._path.read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024 / 1e6

    def watched(self):  # type: ignore[no-untyped-def]
        """Note the largest until the block ends."""
        import contextlib

        @contextlib.contextmanager
        def watching():  # type: ignore[no-untyped-def]
            def look() -> None:
                while not self._over.wait(0.01):
                    self.largest_mb = max(self.largest_mb, self.now())

            thread = threading.Thread(target=look)
            thread.start()
            try:
                yield
            finally:
                self._over.set()
                thread.join()

        return watching()
