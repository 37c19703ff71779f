"""A headless Chromium, driven through the WebDriver protocol with nothing but sockets."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
          "--disable-component-update", "--no-first-run", "--disable-quic", "--disable-dev-shm-usage",
          "--force-color-profile=srgb", "--hide-scrollbars")  # fmt: skip


class Browser:
    """One browser with one tab."""

    def __init__(self, port: int, profile: str) -> None:
        self._port = port
        options = {"binary": _binary(), "args": [*_FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def open(self, address: str) -> None:
        self.do("POST", "/url", {"url": address})

    def js(self, code: str, *args: Any) -> Any:
        """Run the body of a function, and return what it returns."""
        return self.do("POST", "/execute/sync", {"script": code, "args": args})

    def evaluate(self, script: str) -> None:
        """Run a script in the page, whatever its policy."""
        self.devtools("Runtime.evaluate", expression=script)

    def size(self, width: int, height: int) -> None:
        """Set the page's own size, as a phone of that width would."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def theme(self, name: str) -> None:
        """Prefer light or dark, or force the system's colours (`forced`)."""
        features = {
            "prefers-color-scheme": "light" if name == "forced" else name,
            "forced-colors": "active" if name == "forced" else "none",
        }
        self.devtools(
            "Emulation.setEmulatedMedia", features=[{"name": key, "value": value} for key, value in features.items()]
        )

    def new_tab(self, kind: str = "tab") -> str:
        """Open another tab (or `window`), go there, and return its handle."""
        handle = str(self.do("POST", "/window/new", {"type": kind})["handle"])
        self.switch(handle)
        return handle

    @property
    def tab(self) -> str:
        """The handle of the tab that is shown."""
        return str(self.do("GET", "/window"))

    def switch(self, handle: str) -> None:
        """Go to another tab."""
        self.do("POST", "/window", {"handle": handle})

    def close_tab(self, back_to: str) -> None:
        """Close this tab."""
        self.do("DELETE", "/window")
        self.switch(back_to)

    def drag(self, selector: str, path: list[tuple[float, float]], pause_ms: int = 20, touch: bool = False) -> None:
        """Press at the first point, move along the others, release; points are shares of the element's size."""
        self.js("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
        box = self.js(
            "const r = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [r.x, r.y, r.width, r.height]",
            selector,
        )
        points = [(round(box[0] + x * box[2]), round(box[1] + y * box[3])) for x, y in path]
        steps: list[dict[str, Any]] = [_move(points[0], 0), {"type": "pointerDown", "button": 0}]
        steps += [_move(point, pause_ms) for point in points[1:]]
        steps.append({"type": "pointerUp", "button": 0})
        kind = "touch" if touch else "mouse"
        pointer = {"type": "pointer", "id": kind, "parameters": {"pointerType": kind}, "actions": steps}
        self.do("POST", "/actions", {"actions": [pointer]})

    def devtools(self, command: str, **params: Any) -> Any:
        return self.do("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def screenshot(self, path: Path, whole: bool = True, **more: Any) -> None:
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=whole, **more)
        path.write_bytes(base64.b64decode(shot["data"]))

    def keys(self, text: str) -> None:
        """Press keys where the focus is."""
        steps = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self.do("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": steps}]})

    def forget(self) -> None:
        """Reset the browser: one empty tab, no cookies, default settings."""
        first, *others = self.do("GET", "/window/handles")
        for tab in others:
            self.switch(tab)
            self.close_tab(first)
        self.switch(first)
        self.open("about:blank")
        self.devtools("Network.clearBrowserCookies")
        self.devtools("Emulation.clearDeviceMetricsOverride")
        self.devtools("Emulation.setEmulatedMedia", features=[])
        self.complaints()

    def complaints(self) -> list[str]:
        """Return the browser console's messages since the last call: errors and violations of the page's policy."""
        entries = self.do("POST", "/se/log", {"type": "browser"})
        return [
            entry["message"]
            for entry in entries
            if entry["level"] in ("SEVERE", "WARNING") and "willReadFrequently" not in entry["message"]
        ]  # the tests read pixels, the page does not

    def do(self, method: str, path: str, body: Any = None) -> Any:
        return self._call(method, self._session + path, body)

    def _call(self, method: str, path: str, body: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(f"{answer['error']}: {answer['message'].splitlines()[0]}")
        return answer


def _move(point: tuple[int, int], duration_ms: int) -> dict[str, Any]:
    return {"type": "pointerMove", "duration": duration_ms, "x": point[0], "y": point[1], "origin": "viewport"}


def _binary() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start one, or skip the test."""
    driver = shutil.which("chromedriver")
    if driver is None or _binary() is None:
        pytest.skip("needs Chromium and its driver (Debian packages chromium, chromium-driver)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            end_s = time.monotonic() + 20
            while time.monotonic() < end_s and not _answers(port):
                time.sleep(0.05)
            browser = Browser(port, profile)
            try:
                yield browser
            finally:
                browser.do("DELETE", "")
        finally:
            process.terminate()
            process.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Page(Protocol):
    """A browser that shows a page."""

    def js(self, code: str, *args: Any) -> Any:
        """Run the body of a function, and return what it returns."""


def text(browser: Page, selector: str) -> str:
    """Return an element's visible text; empty: there is no such element."""
    return str(browser.js("return document.querySelector(arguments[0])?.innerText ?? ''", selector))


def shown(browser: Page, selector: str) -> bool:
    """Whether an element is there and visible."""
    return bool(browser.js("return Boolean(document.querySelector(arguments[0])?.checkVisibility())", selector))
