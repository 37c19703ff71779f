"""Why the model says what it says, asked by the page and in it."""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import Browser
from makers import make_bundle
from visitors import Run, ask_json, until

from picam_infer.inference import explanation
from picam_infer.models.bundle import Photo
from picam_infer.outputs.web.server import Web


@pytest.fixture
def run(run: Run, tmp_path: Path) -> Run:
    """One that has a model, which looks at the middle."""
    run.state.bundle = make_bundle(tmp_path / "m", chain=Photo(scale=1 / 255, offset=0.0), shape=(1, 12, 12, 3))
    run.state.tune(preprocess=Photo(scale=1 / 255, offset=0.0, roi=0.5))
    return run


def unpacked(png: str) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_COLOR)


def test_the_newest_picture_is_explained_with_the_settings_in_force(web: Web) -> None:
    status, answer = ask_json(web, "/api/explain", "POST", {})
    assert status == 200 and answer["model"] == "m"
    assert answer["picture"] == {"width": 320, "height": 240} and answer["box"]["width"] == 120
    assert {output["label"] for output in answer["outputs"]} == {"dark", "bright"}
    assert unpacked(answer["input_png"]).shape == unpacked(answer["heat_png"]).shape == (12, 12, 3)


def test_without_picture_or_model_it_says_so(run: Run, web: Web) -> None:
    bundle, run.state.bundle = run.state.bundle, None
    assert ask_json(web, "/api/explain", "POST", {})[1]["error"] == "no model yet"
    run.state.bundle = bundle
    run.pull()
    run.state.frames.clear()
    status, answer = ask_json(web, "/api/explain", "POST", {})
    assert status == 503 and answer["error"].startswith("camera lost: ") and answer["hint"]
    run.state.pause.set(True, "page")
    answer = ask_json(web, "/api/explain", "POST", {})[1]
    assert (answer["error"], answer["hint"]) == ("watching is paused", "resume watching first")


def test_one_at_a_time_and_the_page_goes_on(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, leave = threading.Event(), threading.Event()

    class Slow(explanation.Explainer):
        def __call__(self, *given: Any, **more: Any) -> explanation.Explanation:
            entered.set()
            assert leave.wait(20)
            return super().__call__(*given, **more)

    monkeypatch.setattr(explanation, "Explainer", Slow)
    answers: list[tuple[int, Any]] = []
    first = threading.Thread(target=lambda: answers.append(ask_json(web, "/api/explain", "POST", {})))
    first.start()
    assert entered.wait(10)
    assert ask_json(web, "/api/explain", "POST", {})[0] == 503
    assert ask_json(web, "/healthz")[0] == 200
    leave.set()
    first.join(10)
    assert [(status, body["model"]) for status, body in answers] == [(200, "m")]
    assert ask_json(web, "/api/explain", "POST", {})[0] == 200


def test_the_page_shows_it_below_the_picture(browser: Browser, web: Web) -> None:
    browser.size(1280, 800)
    browser.open(f"http://127.0.0.1:{web.port}/")
    until(lambda: browser.js("return document.getElementById('why') !== null"))
    browser.js("document.getElementById('why').click()")
    until(lambda: browser.js("return document.querySelectorAll('#explained tbody tr').length") == 2)
    until(
        lambda: browser.js(
            "return [...document.querySelectorAll('#explained img')].every((i) => i.naturalWidth === 12)"
        )
    )
    said = browser.js("return document.getElementById('explained').textContent")
    assert "120×120 of it" in said and "pixel × 0.00392;" not in said and "+ 0" not in said, "short numbers"
    assert "pixel × 0.00392" in said and "covering" in said
    top = browser.js("return document.getElementById('explained').getBoundingClientRect().top")
    assert top < 700, "the page was scrolled to it"
    heights = "return ['view', 'seen'].map((id) => document.getElementById(id).offsetHeight)"
    assert max(browser.js(heights)) < 800, "picture and label stay as they were"
    browser.js("document.getElementById('why').click()")
    assert browser.js("return document.getElementById('explained').hidden")
