"""The page in Firefox: that it works there too."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import text
from firefox import firefox
from visitors import Run, serving, until


@pytest.fixture
def frame_size() -> tuple[int, int]:
    return 640, 480


def test_the_page_works_in_firefox(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("decide: {threshold: 0.6}\n")
    with firefox() as browser, serving(run, config_path=path) as web:
        browser.size(1280, 900)
        browser.open(f"http://127.0.0.1:{web.port}/")
        until(lambda: browser.js("return Number(document.getElementById('picture').dataset.pictures) > 5"), 30)
        until(lambda: text(browser, "#label") == "one" and text(browser, "#health") == "live")

        browser.js("document.querySelector('[data-key=\"decide.threshold\"]').focus()")
        browser.keys("\ue014" * 5)
        until(lambda: run.state.tuning.decide.threshold == 0.65)
        until(lambda: text(browser, "#undo") == "Undo threshold")
        browser.drag("#region", (60, 30))
        until(lambda: not isinstance(run.state.tuning.preprocess.roi, float))
        browser.js("const undo = document.getElementById('undo'); undo.click(); undo.click()")
        until(lambda: run.state.tuning.preprocess.roi == 0.4 and run.state.tuning.decide.threshold == 0.6)

        browser.js("document.getElementById('freeze').click()")
        run.label = "two"
        until(lambda: "two" in text(browser, "#changes"))
        assert text(browser, "#label") == "one" and text(browser, "#health") == "frozen"
        browser.js("document.getElementById('freeze').click()")
        until(lambda: text(browser, "#label") == "two")
        run.pull()
        until(lambda: "camera lost" in text(browser, "#status-screen"))
        run.plug()
        until(lambda: text(browser, "#health") == "live")
        browser.size(500, 700)  # as narrow as its window gets
        assert browser.js("return document.documentElement.scrollWidth <= innerWidth")
