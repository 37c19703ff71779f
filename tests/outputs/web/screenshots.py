"""Takes the README's pictures of the page: light, dark, on a phone, with a status screen. Needs Chromium."""

from __future__ import annotations

import logging
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from browser import Browser, chromium
from visitors import until

from picam_infer import config
from picam_infer.core import Disconnected
from picam_infer.platform.systemd import Notifier
from picam_infer.runtime.options import Options
from picam_infer.runtime.supervisor import Supervisor
from picam_infer.sources.demo import Demo

_PORT = 18_080


class Pulled(Demo):
    """The demo source with a cable to pull."""

    out = threading.Event()

    def read(self):  # type: ignore[no-untyped-def]
        """Return the next frame, unless the cable is out."""
        if self.out.is_set():
            raise Disconnected("the camera C270 has been unplugged", "plug it in again; it goes on by itself")
        return super().read()


def main(folder: Path) -> None:
    """Run the daemon on the demo source for half a minute and look at its page."""
    from picam_infer import sources

    def open_source(address: str, capture: config.Capture, *more: object) -> Pulled:
        if Pulled.out.is_set():
            raise Disconnected("the camera C270 has been unplugged", "plug it in again; it goes on by itself")
        return Pulled(capture)

    sources.open_source = open_source
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as kept:
        path = Path(kept) / "config.yaml"
        path.write_text(
            f"source: demo\ndisplay: {{kind: none}}\nweb: {{listen: '127.0.0.1:{_PORT}'}}\n"
            f"keep: {{when: change, every_s: 1, folder: {kept}/kept, reserve_mb: 0}}\n"
        )
        options = Options(path)
        service = Supervisor(options.config(), options, Notifier())
        thread = threading.Thread(target=service.run)
        thread.start()
        try:
            time.sleep(25)  # something for the timeline
            with chromium() as browser:
                shoot(browser, folder)
        finally:
            service.on_signal(signal.SIGTERM, None)
            thread.join(20)


def shoot(browser: Browser, folder: Path) -> None:
    """Take the four pictures."""
    browser.size(1240, 800)
    browser.open(f"http://127.0.0.1:{_PORT}/")
    browser.js("const span = document.getElementById('span'); span.value = '1';span.dispatchEvent(new Event('change'))")
    time.sleep(3)  # until the rate is of more than the page's first pictures
    for theme in ("light", "dark"):
        browser.theme(theme)
        wait_for_digit(browser)
        save(browser, folder / f"page-{theme}.png")
    browser.size(390, 844)
    wait_for_digit(browser)
    save(browser, folder / "page-phone.png", whole=False)
    browser.size(1240, 800)
    browser.theme("light")
    Pulled.out.set()
    until(lambda: browser.js("return document.getElementById('status-screen').checkVisibility()"), 20)
    time.sleep(1.5)
    save(browser, folder / "page-status-screen.png", whole=False)


def wait_for_digit(browser: Browser) -> None:
    """Wait until a digit has just come and been seen for a moment: it will stay for another."""
    label = "return document.getElementById('label').textContent"
    before = browser.js(label)
    while True:
        before = until(lambda: (seen := browser.js(label)) != before and seen.isdigit() and seen, 30)  # noqa: B023
        time.sleep(0.7)
        if browser.js(label) == before:
            return


def save(browser: Browser, path: Path, whole: bool = True) -> None:
    """Save a screenshot, in as few colours as do not show."""
    import cv2

    loaded = "return [...document.querySelectorAll('#gallery img')].every((image) => image.complete)"
    until(lambda: browser.js("document.getElementById('gallery').scrollIntoView();" + loaded) or not whole, 10)
    browser.js("window.scrollTo(0, 0)")
    browser.screenshot(path, whole=whole)
    image = cv2.imread(str(path))
    assert image is not None and np.ptp(image) > 100, f"{path} is empty"
    cv2.imwrite(str(path.with_suffix(".jpg")), image, [cv2.IMWRITE_JPEG_QUALITY, 82])
    path.unlink()
    print(path.with_suffix(".jpg"), path.with_suffix(".jpg").stat().st_size // 1024, "KiB")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
