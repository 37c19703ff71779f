"""The Teach view in a real browser, against a whole daemon and a camera that shows what is held up."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import axe
import pytest
from browser import Browser, shown, text
from makers import shared
from show_camera import Scene, photos, sheet
from teach_lab import Service, service
from visitors import until

SIGNS = ("circle", "cross", "bars")
_RETURN, _DELETE = "\ue006", "\ue017"


@pytest.fixture
def pi(tmp_path: Path) -> Iterator[Service]:
    keep = f"keep: {{when: change, every_s: 0.1, folder: {tmp_path}/kept, reserve_mb: 0}}\n"
    with service(tmp_path, sheet("nothing"), keep) as made:
        yield made


def visit(browser: Browser, pi: Service, width: int = 1280, height: int = 900, theme: str = "light") -> None:
    browser.size(width, height)
    browser.theme(theme)
    browser.open(f"http://127.0.0.1:{pi.port}/")
    click(browser, "#to-teach")
    until(lambda: shown(browser, "#first") or shown(browser, ".thing"))
    browser.complaints()


def click(browser: Browser, selector: str) -> None:
    until(lambda: shown(browser, selector))
    browser.js("document.querySelector(arguments[0]).click()", selector)


def focused(browser: Browser) -> str:
    return str(browser.js("return document.activeElement.id || document.activeElement.className"))


def hold(browser: Browser, number: int, seconds: float, touch: bool = False) -> None:
    at = [(0.5, 0.5), (0.5, 0.5)]
    browser.drag(f".thing:nth-child({number}) .record", at, pause_ms=round(seconds * 1000), touch=touch)


def pictures(browser: Browser, number: int) -> int:
    return int(text(browser, f".thing:nth-child({number}) .count").split()[0] or 0)


def teach(browser: Browser, pi: Service, number: int, label: str, scene: Scene, least: int = 12) -> None:
    """Name a thing and hold the button, as a person would."""
    pi.camera.scene = scene
    click(browser, "#first" if number == 1 else "#another")
    until(lambda: focused(browser) == "title" and text(browser, f".thing:nth-child({number}) .count"))
    browser.keys(label + _RETURN)
    until(lambda: focused(browser) == "record")
    while pictures(browser, number) < least:
        hold(browser, number, 1.0)
    until(lambda: browser.js("return document.querySelectorAll('.title')[arguments[0]].value", number - 1) == label)


def thinks(browser: Browser, label: str) -> None:
    until(lambda: text(browser, "#thought-label") == label)


def test_three_things_one_mistake_a_restart_and_still_known(browser: Browser, pi: Service) -> None:
    visit(browser, pi)
    assert text(browser, "#coach").startswith("Draw a sign on paper") and not shown(browser, "#finish")
    for number, sign in enumerate(SIGNS, 1):
        teach(browser, pi, number, sign, sheet(sign))
        thinks(browser, sign)
    # A mistake: crosses recorded as circles, put right by hand, one by one and at once.
    pi.settled()
    before = pi.counts()
    pi.camera.scene = sheet("cross")
    time.sleep(0.4)
    hold(browser, 1, 0.5)
    until(lambda: pi.counts()["circle"] > before["circle"])
    pi.settled()
    until(lambda: browser.js("return document.querySelectorAll('.thing:nth-child(1) .thumb').length"))
    click(browser, ".thing:nth-child(1) .thumb")
    click(browser, "#really-classes button")
    until(lambda: pi.counts()["cross"] == before["cross"] + 1)
    until(lambda: text(browser, "#teach-undo").startswith("Undo: move"))
    click(browser, "#teach-undo")
    until(lambda: pi.counts()["cross"] == before["cross"] and text(browser, "#teach-undo").startswith("Undo: add"))
    until(lambda: browser.js("return document.getElementById('teach-undo').ariaDisabled") == "false")
    click(browser, "#teach-undo")
    until(lambda: pi.counts() == before)
    click(browser, "#use")
    until(lambda: text(browser, "#use") == "In use", 60)
    assert "Done." in text(browser, "#teach-note")
    assert [message for message in browser.complaints() if "net::ERR" not in message] == []
    pi.camera.scene = sheet("bars")
    assert pi.end() < 2
    pi.start()
    pi.sees("bars")
    click(browser, "#to-watch")
    until(lambda: text(browser, "#label") == "bars", 60)
    click(browser, "#to-teach")
    until(lambda: text(browser, "#use") == "In use", 60)


def test_what_the_running_model_gets_wrong_is_put_right_from_the_watch_view(browser: Browser, pi: Service) -> None:
    pi.post("/api/teach/open")
    for sign in SIGNS[:2]:
        pi.teach(sign, sheet(sign))
    pi.uses()
    pi.camera.scene = sheet("bars")
    visit(browser, pi)
    click(browser, "#to-watch")
    until(lambda: text(browser, "#label") == "unknown", 60)
    click(browser, "#was-really")
    until(lambda: browser.js("return document.querySelectorAll('#really-classes button').length") == 2)
    browser.js("document.getElementById('really-name').focus()")
    browser.keys("bars" + _RETURN)
    until(lambda: "Learnt: that was" in text(browser, "#corrected-note"))
    assert pi.counts() | {"bars": 1} == pi.counts()
    pi.in_use()
    click(browser, "#uncorrect")
    until(lambda: "bars" not in pi.counts())
    pi.in_use()
    pi.camera.scene = sheet("circle")
    until(lambda: text(browser, "#label") == "circle", 60)
    # The same from the timeline and from a kept picture.
    for source in ("#changes .really:not([hidden])", "#gallery .really"):
        was = pi.counts()["circle"]
        until(lambda source=source: shown(browser, source), 60)  # type: ignore[misc]
        click(browser, source)
        until(lambda: text(browser, "#really-classes").split() == ["circle", "cross"])
        click(browser, "#really-classes button")
        until(lambda: not browser.js("return document.getElementById('really').open"))
        # The newest kept picture can be the one that the timeline has just taught: it is not taken twice.
        assert pi.counts()["circle"] - was in ((1,) if source.startswith("#changes") else (0, 1))
        pi.in_use()


def test_space_touch_and_a_screen_readers_press_record_too(browser: Browser, pi: Service) -> None:
    visit(browser, pi, 390, 844)
    teach(browser, pi, 1, "cross", sheet("cross"), least=1)
    pi.settled()
    until(lambda: pictures(browser, 1) == pi.counts()["cross"])
    for record in (
        lambda: hold(browser, 1, 0.6, touch=True),
        lambda: browser.js("document.querySelector('.record').click()"),
        lambda: (browser.js("document.activeElement.blur()"), browser.keys(" ")),
    ):
        before = pictures(browser, 1)
        record()
        until(lambda before=before: pictures(browser, 1) > before)  # type: ignore[misc]
        pi.settled()
        until(lambda: pictures(browser, 1) == pi.counts()["cross"])  # the page hears of it a moment later
    before = pi.counts()["cross"]
    newest = f"Picture {before} of cross"  # the list of pictures comes after their number; one can look odd
    until(lambda: browser.js("return document.querySelector('.thumb').title").split(",")[0] == newest)
    browser.js("document.querySelector('.thumb').focus()")
    browser.keys(_DELETE)
    until(lambda: pictures(browser, 1) == before - 1)


def test_things_are_renamed_merged_and_removed_and_all_of_it_undone(browser: Browser, pi: Service) -> None:
    visit(browser, pi)
    for number, sign in enumerate(SIGNS[:2], 1):
        teach(browser, pi, number, sign, sheet(sign), least=3)
    pi.settled()
    before = pi.counts()
    browser.js("document.querySelector('.title').focus(); document.querySelector('.title').select()")
    browser.keys("ring" + _RETURN)
    until(lambda: list(pi.counts()) == ["ring", "cross"])
    until(lambda: browser.js("return document.querySelectorAll('.extra select')[1].options[1]?.value") == "ring")
    browser.js(
        "const into = document.querySelectorAll('.extra select')[1]; into.value = 'ring';"
        "into.dispatchEvent(new Event('change'))"
    )
    until(lambda: pi.counts() == {"ring": sum(before.values())})
    browser.js("document.querySelector('.extra button').click()")
    until(lambda: pi.counts() == {} and shown(browser, "#first"))
    for expected in ({"ring": sum(before.values())}, {"ring": before["circle"], "cross": before["cross"]}, before):
        pi.post("/api/teach/undo")
        until(lambda expected=expected: pi.counts() == expected)  # type: ignore[misc]
    until(lambda: browser.js("return [...document.querySelectorAll('.title')].map((x) => x.value)") == list(before))


def test_a_picture_that_looks_different_is_among_the_few_that_are_shown(browser: Browser, pi: Service) -> None:
    visit(browser, pi)
    for number, sign in enumerate(SIGNS[:2], 1):
        teach(browser, pi, number, sign, sheet(sign))
    pi.settled()
    _, pinned = pi.post("/api/teach/pin")  # one cross: several would keep each other company
    pi.post("/api/teach/pictures", {"label": "circle", "recent": pinned["recent"], "use": False})
    wrong = pi.counts()["circle"]
    pi.camera.scene = sheet("circle")
    time.sleep(0.4)
    while pictures(browser, 1) < wrong + 7:  # newer ones than are shown
        hold(browser, 1, 1.0)
    pi.settled()
    mark = f".thing:nth-child(1) .thumb.odd[title^='Picture {wrong} of circle']"
    until(lambda: shown(browser, mark))
    assert len(browser.js("return [...document.querySelectorAll('.thing:nth-child(1) .thumb')].map(String)")) == 6


def test_a_model_that_was_not_taught_is_not_corrected_and_the_dialog_says_what_happens_instead(
    browser: Browser, pi: Service
) -> None:
    visit(browser, pi)
    click(browser, "#to-watch")
    click(browser, "#was-really")
    until(lambda: text(browser, "#really-lesson"))
    said = text(browser, "#really-lesson")
    assert text(browser, "#really-other label") == "What it was", "there is nothing yet that it could be instead"
    assert "“digits” itself cannot be corrected" in said and "begins a new lesson, “taught”" in said
    browser.js("document.getElementById('really-name').focus()")
    browser.keys("plate" + _RETURN)
    until(lambda: "lesson “taught”" in text(browser, "#corrected-note"))
    click(browser, "#was-really")
    until(lambda: "goes into the lesson “taught”, which knows “plate”" in text(browser, "#really-lesson"))
    assert text(browser, "#really-other label") == "Something else"


def test_more_opens_below_and_the_name_looks_like_a_field(browser: Browser, pi: Service) -> None:
    visit(browser, pi)
    click(browser, "#first")
    until(lambda: shown(browser, ".thing .more"))
    top = "return document.querySelector('.thing .more').getBoundingClientRect().top"
    before = browser.js(top)
    click(browser, ".thing .more")
    assert shown(browser, ".thing .extra") and browser.js(top) == before
    assert browser.js("return document.querySelector('.thing .more').ariaExpanded") == "true"
    sides = "const style = getComputedStyle(document.querySelector('.title'));"
    assert browser.js(f"{sides} return style.borderTopColor === style.borderBottomColor")


def test_while_paused_nothing_can_be_corrected_and_a_failure_offers_no_undo(browser: Browser, pi: Service) -> None:
    visit(browser, pi)
    click(browser, "#to-watch")
    until(lambda: shown(browser, "#was-really"))
    assert pi.post("/api/pause", {"paused": True})[0] == 200
    disabled = "return document.getElementById('was-really').ariaDisabled"
    until(lambda: browser.js(disabled) == "true")
    browser.js("document.getElementById('was-really').click()")
    assert not browser.js("return document.getElementById('really').open")
    # It may have been pressed in the moment before.
    browser.js("const one = document.getElementById('was-really'); one.ariaDisabled = 'false'; one.click()")
    until(lambda: text(browser, "#corrected-note") == "watching is paused; resume watching first")
    assert not shown(browser, "#uncorrect")
    pi.post("/api/pause", {"paused": False})
    until(lambda: browser.js(disabled) == "false")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_teach_view_is_accessible(browser: Browser, pi: Service, width: int) -> None:
    visit(browser, pi, width, 844)
    axe.load(browser)
    assert violations(browser) == []
    teach(browser, pi, 1, "a very long name of a thing, longer than any button is wide", sheet("cross"), least=8)
    thinks(browser, "a very long name of a thing, longer than any button is wide")
    browser.js("document.getElementById('lesson').open = true")
    assert violations(browser) == []
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.js(wide) <= 0
    browser.js("document.querySelector('.more').click()")
    assert violations(browser) == [] and browser.js(wide) <= 0
    browser.js("document.querySelector('.more').click()")
    click(browser, ".thumb")
    until(lambda: browser.js("return document.getElementById('really').open"))
    assert violations(browser) == [] and browser.js(wide) <= 0


def violations(browser: Browser) -> list[str]:
    """Return what axe finds in the light and in the dark page."""
    found = []
    for theme in ("light", "dark"):
        browser.theme(theme)
        found += axe.violations(browser)
    return found


def test_without_a_camera_and_without_room_it_says_so(browser: Browser, tmp_path: Path) -> None:
    with service(tmp_path, sheet("cross"), "") as pi:
        pi.end()
        pi.config.write_text(pi.config.read_text().replace("max_mb: 50", "max_mb: 0.12"))
        pi.start()
        visit(browser, pi)
        teach(browser, pi, 1, "cross", sheet("cross"), least=1)
        hold(browser, 1, 2.0)
        until(lambda: "more than 0.12 MB" in text(browser, "#coach") and "teach.max_mb" in text(browser, "#coach"))
        assert pi.get("/api/teach")[1]["bytes"] <= 120_000 and pi.log.read_text().count("0.12 MB") == 1
        pi.camera.close()
        until(lambda: text(browser, "#coach").startswith("There is no picture now (camera lost)"), 60)
        assert browser.js("return document.querySelector('.record').getAttribute('aria-disabled')") == "true"


def test_hands_are_told_apart(browser: Browser, tmp_path: Path) -> None:
    hands = shared("data", "hands")
    export = shared("models", "ojjsaw__teachable-machine-openvino", "converted_keras.zip")
    from picam_infer.convert import sandbox

    sandbox.convert(export, tmp_path / "plants", {})
    labels = ("paper", "rock", "scissors")
    with service(tmp_path, photos(hands / "paper"), model=f"{tmp_path}/plants") as pi:
        visit(browser, pi)
        assert text(browser, "#coach").startswith("Hold a thing up")
        for number, label in enumerate(labels, 1):
            teach(browser, pi, number, label, photos(hands / label), least=20)
        click(browser, "#use")
        until(lambda: text(browser, "#use") == "In use", 60)
        for label in labels:
            pi.camera.scene = photos(hands / label)
            pi.sees(label)
        card = json.loads(json.dumps(pi.get("/api/state")[1]["labels"]))
        assert card == [*labels, "unknown"]
