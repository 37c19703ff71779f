"""Takes the pictures of the tutorial on teaching, with drawn signs and a whole daemon. Needs Chromium."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import cv2
from browser import Browser, chromium
from show_camera import sheet
from teach_lab import Service, service
from visitors import until

SIGNS = ("circle", "cross", "bars")


def main(folder: Path) -> None:
    """Teach three signs on the page and photograph each state."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, chromium() as browser, service(Path(place), sheet("circle")) as pi:
        browser.size(1240, 860)
        browser.theme("light")
        browser.open(f"http://127.0.0.1:{pi.port}/#teach")
        until(lambda: browser.js("return document.getElementById('first')?.checkVisibility()"))
        save(browser, folder / "teach-empty.png")
        for number, sign in enumerate(SIGNS, 1):
            record(browser, pi, number, sign)
            if number == 1:
                save(browser, folder / "teach-one.png")
        save(browser, folder / "teach-three.png")
        browser.size(390, 844)
        save(browser, folder / "teach-phone.png")
        browser.size(1240, 860)
        browser.js("document.getElementById('use').click()")
        until(lambda: browser.js("return document.getElementById('use').textContent") == "In use", 60)
        pi.camera.scene = sheet("cross")
        browser.js("document.getElementById('to-watch').click()")
        until(lambda: browser.js("return document.getElementById('label').textContent") == "cross", 60)
        save(browser, folder / "teach-used.png")
        browser.js("document.getElementById('was-really').click()")
        until(lambda: browser.js("return document.querySelectorAll('#really-classes button').length") == len(SIGNS))
        save(browser, folder / "teach-really.png")


def record(browser: Browser, pi: Service, number: int, sign: str) -> None:
    """Name a sign and hold its button for two seconds."""
    pi.camera.scene = sheet(sign)
    browser.js("document.getElementById(arguments[0]).click()", "first" if number == 1 else "another")
    until(lambda: browser.js("return document.activeElement.className") == "title")
    browser.keys(sign + "\ue006")
    until(lambda: browser.js("return document.activeElement.className") == "record")
    browser.drag(f".thing:nth-child({number}) .record", [(0.5, 0.5), (0.5, 0.5)], pause_ms=2100)
    until(lambda: browser.js("return document.getElementById('thought-label').textContent") == sign)


def save(browser: Browser, path: Path) -> None:
    """Save what fits on the screen, in as few colours as do not show."""
    time.sleep(1.5)  # until bars and pictures have come to rest
    browser.js("document.activeElement.blur(); window.scrollTo(0, 0); document.getElementById('teach').scrollTo(0, 0)")
    time.sleep(0.3)
    # Each picture of the scene is another one, and a few are not recognised: not in that moment.
    first = "return document.querySelector('#bars .percent')?.textContent ?? '99 %'"
    until(lambda: browser.js(first).startswith(("9", "100")))
    browser.screenshot(path, whole=False)
    image = cv2.imread(str(path))
    assert image is not None, f"{path} is empty"
    cv2.imwrite(str(path.with_suffix(".jpg")), image, [cv2.IMWRITE_JPEG_QUALITY, 82])
    path.unlink()
    print(path.with_suffix(".jpg"), path.with_suffix(".jpg").stat().st_size // 1024, "KiB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
