"""The page's layout and accessibility: small screens, many and long labels, a lost part, forced colours, axe."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import axe
import cv2
import numpy as np
import pytest
from browser import Browser
from visitors import Run, serving, until

from picam_infer import config
from picam_infer.outputs.dataset import Collector
from picam_infer.outputs.web import token
from picam_infer.outputs.web.server import Web
from picam_infer.runtime.reports import OutletReport

WIDTHS = {320: 640, 390: 844, 768: 1024, 1440: 900}
CLASSES = tuple(f"class number {number}" for number in range(1, 31))
LONG = (
    "Donaudampfschifffahrtsgesellschaftskapit\u00e4nsm\u00fctzenabzeichen",
    "a " + "long label of many words " * 5,
    "\u0642\u0637\u0629 \u0635\u063a\u064a\u0631\u0629 \u062c\u062f\u0627 " * 6,
    "x" * 120,
)
FILE = "/var/lib/picam-infer/some/where/deep/down/events-of-the-front-door.jsonl"
OUTLET = OutletReport(FILE, "jsonl", True, "", "", sent=12, failed=0, dropped=0, queued=0)
REASON = "the camera usb-046d_HD_Pro_Webcam_C920_4F1C2A5F-video-index0 has been unplugged or does not answer any more"
HINT = "plug it in again, or name another one with: picam-infer run --source camera:usb:046d:0825"


@pytest.fixture
def frame_size() -> tuple[int, int]:
    return 640, 360


@pytest.fixture
def run(run: Run) -> Run:
    """One that tells of its events."""
    run.state.reports.events.serve(lambda: (OUTLET,))
    return run


@pytest.fixture
def web(run: Run, tmp_path: Path) -> Iterator[Web]:
    with Collector(config.Keep(when="every", folder=str(tmp_path), every_s=0.2, reserve_mb=0), run.state) as collector:
        until(lambda: collector.report().pictures >= 3)
        with serving(run, collection=collector, config_path=tmp_path / "c.yaml") as made:
            yield made


def visit(browser: Browser, web: Web, width: int = 1440, height: int = 900, theme: str = "light") -> None:
    browser.size(width, height)
    browser.theme(theme)
    browser.open(f"http://127.0.0.1:{web.port}/")
    browser.complaints()  # of the page before, whose server is gone
    until(lambda: browser.js("return Number(document.getElementById('picture').dataset.pictures) > 2"))
    until(lambda: browser.js("return document.querySelectorAll('.slider').length > 0"))
    until(lambda: browser.js("return document.querySelectorAll('#bars li').length > 0"))


def many(run: Run) -> None:
    run.labels, run.label = CLASSES, CLASSES[0]


def long(run: Run) -> None:
    run.labels, run.label = LONG, LONG[0]


def right_to_left(run: Run) -> None:
    run.labels, run.label = LONG, LONG[2]


def lost(run: Run) -> None:
    run.pull()
    run.state.health.mark_up("camera")
    run.state.health.mark_down("camera", REASON, HINT)


def paused(run: Run) -> None:
    run.state.pause.set(True, "page")


SCENES: dict[str, Callable[[Run], None]] = {
    "plain": lambda run: None,
    "many": many,
    "long": long,
    "right-to-left": right_to_left,
    "lost": lost,
    "paused": paused,
}
STATUS = {"lost": "camera lost", "paused": "paused"}


def come_true(browser: Browser, run: Run, scene: str) -> None:
    """Make a scene, and wait until the page shows it."""
    SCENES[scene](run)
    if scene in STATUS:
        until(lambda: browser.js("return document.getElementById('health').textContent") == STATUS[scene])
    else:
        wanted = [run.label, 1 + len([x for x in run.labels if x != run.label]) if run.labels else 3]
        look = "return [document.getElementById('label').textContent, document.querySelectorAll('#bars li').length]"
        until(lambda: browser.js(look) == wanted)


def shot(browser: Browser, path: Path, name: str) -> Any:
    """Return the whole page as a picture, kept where PICAM_SHOTS says."""
    browser.screenshot(path / "shot.png")
    image = cv2.imread(str(path / "shot.png"))
    assert image is not None
    if "PICAM_SHOTS" in os.environ:
        Path(os.environ["PICAM_SHOTS"]).mkdir(parents=True, exist_ok=True)
        (path / "shot.png").rename(Path(os.environ["PICAM_SHOTS"]) / f"{name}.png")
    return image


_CUT_OFF = """const seen = (e) => e.checkVisibility() && e.getClientRects().length;
const bad = [];
const say = (what, e) => bad.push(`${what}: ${e.outerHTML.slice(0, 90)}`);
for (const e of document.querySelectorAll('main *, header *, footer *')) {
  if (!seen(e) || e.closest('.hidden') || e.matches('option, canvas')) continue;
  const r = e.getBoundingClientRect(), style = getComputedStyle(e);
  const card = e.closest('.card')?.getBoundingClientRect();
  if (r.right > innerWidth + 1 || r.left < -1) say('outside', e);
  if (card && (r.right > card.right + 1 || r.left < card.left - 1)) say('out of its card', e);
  const scrolls = /auto|scroll/.test(style.overflowY) || style.textOverflow === 'ellipsis';
  const clips = !scrolls && style.display !== 'inline' && style.overflowX !== 'visible';
  if (clips && e.scrollWidth > e.clientWidth + 2) say('cut off', e);
}
for (const e of document.querySelectorAll('dd, dt')) if (e.getBoundingClientRect().width < 20) say('thin', e);
const screen = document.getElementById('status-screen');
if (seen(screen)) {
  if (screen.scrollHeight > screen.clientHeight + 1) say('cut off', screen);
  const end = document.getElementById('stage').getBoundingClientRect().bottom + 1;
  for (const e of screen.children) if (seen(e) && e.getBoundingClientRect().bottom > end) say('below', e);
}
return bad"""
"""Elements that reach beyond the screen or their card, are cut off, or squeezed."""


def cut_off(browser: Browser) -> Any:
    """Return those elements; a page takes a moment to lay itself out at another size."""
    with contextlib.suppress(AssertionError):
        until(lambda: browser.js(_CUT_OFF) == [], 5)
    return browser.js(_CUT_OFF)


@pytest.mark.parametrize("scene", SCENES)
def test_nothing_is_cut_off_or_wider_than_the_screen(
    browser: Browser, web: Web, run: Run, scene: str, tmp_path: Path
) -> None:
    visit(browser, web)
    come_true(browser, run, scene)
    for theme, widths in (("light", WIDTHS), ("dark", (390, 1440)), ("forced", (390, 1440))):
        browser.theme(theme)
        for width in widths:
            browser.size(width, WIDTHS[width])
            until(lambda: browser.js("return innerWidth") == width)  # noqa: B023
            assert browser.js("return document.documentElement.scrollWidth") <= width, (scene, width)
            assert cut_off(browser) == [], (scene, width, theme)
            if width == max(widths) or "PICAM_SHOTS" in os.environ:  # a picture of the whole page takes long
                assert np.ptp(shot(browser, tmp_path, f"{scene}-{width}-{theme}")) > 100
    assert browser.complaints() == []


@pytest.mark.parametrize("scene", ["many", "right-to-left", "lost"])
def test_axe_finds_nothing(browser: Browser, web: Web, run: Run, scene: str) -> None:
    visit(browser, web)
    axe.load(browser)
    come_true(browser, run, scene)
    for width, theme in ((320, "dark"), (390, "light"), (768, "dark"), (1440, "light")):
        browser.size(width, WIDTHS[width])
        browser.theme(theme)
        assert axe.violations(browser) == [], (scene, width, theme)


def test_axe_finds_nothing_in_the_login_form(browser: Browser, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "token"
    token.make(path)
    with serving(run, config.Web(listen="127.0.0.1:0", token="always", token_file=str(path))) as web:
        browser.open(f"http://127.0.0.1:{web.port}/")
        axe.load(browser)
        for width, height in WIDTHS.items():
            for theme in ("light", "dark"):
                browser.size(width, height)
                browser.theme(theme)
                assert (
                    axe.violations(browser) == [] and browser.js("return document.documentElement.scrollWidth") <= width
                )
    browser.complaints()


def test_axe_finds_nothing_on_an_error_page(browser: Browser, run: Run) -> None:
    with serving(run) as web:
        browser.open(f"http://127.0.0.1:{web.port}/no/{'such' * 40}/page")
        axe.load(browser)
        for width, theme in ((320, "dark"), (1440, "light")):
            browser.size(width, WIDTHS[width])
            browser.theme(theme)
            assert axe.violations(browser) == []
            assert browser.js("return document.documentElement.scrollWidth") <= width
    browser.complaints()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_a_remedy(browser: Browser, run: Run, tmp_path: Path, theme: str) -> None:
    path = tmp_path / ("a-long-name-" * 12)
    wrong = "http://a-name-that-nobody-has-configured-and-that-is-rather-long.localhost"
    with serving(run, config.Web(listen="127.0.0.1:0", token="always", token_file=str(path))) as made:
        browser.size(320, 640)
        browser.theme(theme)
        for address in (f"{wrong}:{made.port}/", f"http://127.0.0.1:{made.port}/"):
            browser.open(address)
            assert browser.js("return document.querySelector('#example').checkVisibility()")
            assert browser.js("return document.documentElement.scrollWidth") <= 320
            axe.load(browser)
            assert axe.violations(browser) == []
        browser.complaints()


def contrast(one: Any, other: Any) -> float:
    """Return WCAG's contrast of two BGR colours."""

    def luminance(colour: Any) -> float:
        share = [value / 255 for value in colour]
        blue, green, red = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in share)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def end_of_timeline(browser: Browser) -> set[int]:
    """Return the opacity of the last eleven pixels of its upper part, which only labelled bands fill."""
    return set(
        browser.js("""const c = document.getElementById('timeline'), s = c.width / c.clientWidth;
        const row = c.getContext('2d').getImageData(c.width - 12 * s, 4 * s, 11 * s, 1).data;
        return [...row].filter((_, at) => at % 4 === 3)""")
    )


@pytest.mark.parametrize("theme", ["light", "dark", "forced"])
def test_bars_and_timeline_stand_out(browser: Browser, web: Web, run: Run, tmp_path: Path, theme: str) -> None:
    visit(browser, web, theme=theme)
    browser.js(
        "const span = document.getElementById('span'); span.value = '1'; span.dispatchEvent(new Event('change'))"
    )
    for label in ("two", "zero", None, "one"):
        run.label = label
        until(lambda: browser.js("return document.getElementById('label').textContent") == (run.label or "unknown"))
        until(lambda: run.state.history[-1].label == run.label)
        if label is None:
            until(lambda: end_of_timeline(browser) == {0})
    until(lambda: 0 not in end_of_timeline(browser))
    until(lambda: browser.js("return document.querySelector('#bars .percent').textContent") == "90 %")
    until(lambda: browser.js("return document.getAnimations().length") == 0)
    image = shot(browser, tmp_path, f"contrast-{theme}")
    x, y, width, height = browser.js("""const r = document.querySelector('#bars .bar').getBoundingClientRect();
        return [r.x + scrollX, r.y + scrollY, r.width, r.height]""")
    row = image[round(y + height / 2)]
    full, empty, mark = row[round(x + 0.3 * width)], row[round(x + 0.96 * width)], round(x + 0.6 * width)
    assert contrast(full, empty) >= 3
    assert max(contrast(full, colour) for colour in row[mark - 3 : mark + 3]) >= 3
    x, y, width = browser.js("""const r = document.getElementById('timeline').getBoundingClientRect();
        return [r.x + scrollX, r.y + scrollY, r.width]""")
    known, band = image[round(y + 4)], image[round(y + 28)]
    behind = image[round(y + 4), round(x + 2)]
    colours = {tuple(map(int, known[column])) for column in range(round(x), round(x + width))}
    assert max(contrast(colour, behind) for colour in colours) >= 3
    assert contrast(band[round(x + width - 6)], behind) >= 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_labels_colour_stands_out(browser: Browser, web: Web, theme: str) -> None:
    visit(browser, web, theme=theme)
    found = browser.js("""const pen = new OffscreenCanvas(1, 1).getContext('2d');
        const paint = (colour) => { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
            return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).reverse(); };
        const behind = getComputedStyle(document.getElementById('timeline')).backgroundColor;
        return import('/page/timeline.js').then(({ palette }) => {
            const colours = palette(document.getElementById('timeline'));
            return [paint(behind), paint(colours.onLabel), paint(colours.unknown),
                    ...Array.from({ length: 300 }, (_, n) => paint(colours.label('class ' + n)))]; })""")
    behind, ink, unknown, *labels = found
    assert contrast(unknown, behind) >= 3
    assert min(contrast(label, behind) for label in labels) >= 3
    assert min(contrast(label, ink) for label in labels) >= 4.5


@pytest.mark.parametrize(("width", "height"), [(568, 320), (667, 375), (844, 390), (932, 430)])
def test_a_phone_on_its_side_shows_picture_and_label(browser: Browser, web: Web, width: int, height: int) -> None:
    visit(browser, web, width, height)
    for name in ("picture", "label"):
        box = browser.js(
            "const r = document.getElementById(arguments[0]).getBoundingClientRect();"
            "return [r.left, r.top, r.right, r.bottom]",
            name,
        )
        assert box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height, (name, box)
        assert box[3] - box[1] > 25


_STOPS = """const e = document.activeElement;
if (e === document.body) return null;
const r = (e.closest('.card') ?? e).getBoundingClientRect(), own = e.getBoundingClientRect();
return [r.left + scrollX, r.top + scrollY, own.left + scrollX, own.top + scrollY, e.id || e.textContent.slice(0, 20)]"""


def test_there_are_no_bars_beside_the_picture_and_a_closed_card_is_small(browser: Browser, web: Web, run: Run) -> None:
    for width, height in ((1280, 900), (1280, 560), (390, 844), (800, 380)):
        visit(browser, web, width, height)
        until(lambda: browser.js("return Number(document.getElementById('picture').dataset.pictures) > 1"))
        shape = "const one = document.getElementById(arguments[0]); return [one.clientWidth, one.clientHeight]"
        stage, picture = browser.js(shape, "stage"), browser.js(shape, "picture")
        assert stage == picture, (width, height)
        own = browser.js("const { width, height } = document.getElementById('picture'); return width / height")
        assert picture[0] / picture[1] == pytest.approx(own, abs=0.02), (width, height)
    visit(browser, web)
    assert browser.js("return document.getElementById('models').offsetHeight") < 70


@pytest.mark.parametrize("width", WIDTHS)
def test_the_tab_order_is_the_reading_order(browser: Browser, web: Web, width: int) -> None:
    visit(browser, web, width, WIDTHS[width])
    browser.js("document.activeElement.blur(); window.scrollTo(0, 0)")
    stops = []
    for _ in range(40):
        browser.keys("\ue004")
        stop = browser.js(_STOPS)
        if stop is None:
            break
        stops.append(stop)
    cards = [(round(top), round(left)) for left, top, *_ in stops[1:]]  # the first one skips to the settings
    assert len(stops) > 12 and cards == sorted(cards), stops


def test_the_focus_survives_new_pictures_in_the_gallery(browser: Browser, web: Web, run: Run) -> None:
    visit(browser, web)
    until(lambda: browser.js("return document.querySelectorAll('#gallery a').length") >= 3)
    browser.js("document.querySelector('#gallery a').focus()")
    before = browser.js("return [document.activeElement.href, document.querySelectorAll('#gallery a').length]")
    until(lambda: browser.js("return document.querySelectorAll('#gallery a').length") > before[1] + 1)
    assert browser.js("return document.activeElement.href") == before[0]


def test_the_gallery_asks_for_small_pictures_once(browser: Browser, web: Web, run: Run) -> None:
    visit(browser, web)
    browser.js("document.getElementById('gallery').scrollIntoView()")
    look = "return performance.getEntriesByType('resource').map((e) => e.name).filter((n) => n.includes('/kept/'))"
    until(lambda: len(browser.js(look)) > 4)
    asked = browser.js(look)
    assert all("/kept/thumbnail/" in name for name in asked) and len(asked) == len(set(asked))
    visit(browser, web)
    sizes = """return performance.getEntriesByType('resource').filter((e) => e.name === arguments[0])
        .map((e) => e.transferSize)"""
    browser.js("document.getElementById('gallery').scrollIntoView()")
    assert until(lambda: browser.js(sizes, asked[0])) == [0], "out of the browser's cache"


def test_a_screen_reader_is_not_flooded(browser: Browser, web: Web, run: Run) -> None:
    visit(browser, web)
    until(lambda: browser.js("return document.getElementById('said').textContent") == "one")
    browser.js("""window.told = [];
        const live = 'output, [role=status], [role=alert], [role=log], [aria-live]:not([aria-live=off])';
        for (const e of document.querySelectorAll(live))
            new MutationObserver(() => window.told.push(e.id + ': ' + e.textContent))
                .observe(e, { childList: true, characterData: true, subtree: true });""")
    run.fps, began = 30.0, run.state.stats.inferences.total
    while run.state.stats.inferences.total < began + 60:  # two seconds of a label that flickers
        run.label = "two" if run.label == "one" else "one"
        seen = run.state.stats.inferences.total
        until(lambda: run.state.stats.inferences.total > seen + 4)  # noqa: B023
    assert browser.js("return window.told") == []
    run.label = "two"
    run.state.stats.inferences.tick()
    until(lambda: browser.js("return window.told") == ["said: two"])
    run.pull()
    until(lambda: "said: camera lost" in browser.js("return window.told"))
    assert len(browser.js("return window.told")) == 2, "a loss is said once, not by every part of the page"


@pytest.fixture
def tabs(browser: Browser) -> Iterator[Callable[[str, str], None]]:
    """Open further tabs or windows at an address; they are closed again."""
    first = browser.tab

    def open_one(kind: str, address: str) -> None:
        browser.new_tab(kind)
        browser.open(address)
        until(lambda: browser.js("return Number(document.getElementById('picture').dataset.pictures) > 2"))

    yield open_one
    for tab in browser.do("GET", "/window/handles"):
        if tab != first:
            browser.switch(tab)
            browser.close_tab(first)


def test_seven_tabs_load(browser: Browser, web: Web, tabs: Callable[[str, str], None]) -> None:
    visit(browser, web)
    for _ in range(7):
        tabs("tab", f"http://127.0.0.1:{web.port}/")
    until(lambda: web.clients()["raw"] == 1 and web.clients()["events"] == 1)


def test_windows_side_by_side_share_their_connections(
    browser: Browser, web: Web, run: Run, tabs: Callable[[str, str], None]
) -> None:
    visit(browser, web)
    first, address = browser.tab, f"http://127.0.0.1:{web.port}/"
    for _ in range(4):
        tabs("window", address)
        assert browser.js("return document.hidden") is False
    run.label = "two"
    for window in browser.do("GET", "/window/handles"):
        browser.switch(window)
        until(lambda: browser.js("return document.getElementById('label').textContent") == "two")
        until(lambda: browser.js("return document.getElementById('changes').innerText").count("one") == 1)
        moving = browser.js("return Number(document.getElementById('picture').dataset.pictures)")
        until(lambda: browser.js("return Number(document.getElementById('picture').dataset.pictures)") > moving + 3)  # noqa: B023
    assert web.clients()["raw"] == 1 and web.clients()["events"] == 1
    browser.js("document.getElementById('freeze').click()")
    browser.switch(first)
    moving = browser.js("return Number(document.getElementById('picture').dataset.pictures)")
    until(lambda: browser.js("return Number(document.getElementById('picture').dataset.pictures)") > moving + 3)
