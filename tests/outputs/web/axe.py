"""axe-core in a page: its accessibility problems."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from browser import Browser

_FILE = Path(sys.prefix) / "axe/node_modules/axe-core/axe.min.js"
"""Where `scripts/test` puts it."""
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_RUN = """const done = arguments[arguments.length - 1];
axe.run(document, {runOnly: arguments[0], resultTypes: ['violations']}).then(
    ({violations}) => done(violations.map(({id, help, nodes}) =>
        `${id}: ${help}: ${nodes.slice(0, 3).map(({html}) => html.slice(0, 120)).join(' / ')}`)),
    (error) => done([String(error)]));"""


def load(browser: Browser) -> None:
    """Load axe into the open page, or skip the test."""
    if not _FILE.exists():
        pytest.skip("needs axe-core (scripts/test installs it where npm is)")
    if not browser.js("return window.axe !== undefined"):
        browser.evaluate(_FILE.read_text("utf-8"))


def violations(browser: Browser) -> list[str]:
    """Return what violates WCAG 2.2 AA or good practice in the page's current state."""
    return [str(line) for line in browser.do("POST", "/execute/async", {"script": _RUN, "args": [_RULES]})]
