"""The page in a real browser."""

from __future__ import annotations

import contextlib
import http.server
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from browser import Browser, shown, text
from makers import jpeg_frame
from visitors import Run, ask_json, own_address, scene, serving, until

from picam_infer import config
from picam_infer.config import Web as Settings
from picam_infer.core import Frame, Prediction, Result, four_digits, percent
from picam_infer.models.bundle import Input, Photo
from picam_infer.outputs.dataset import Collector
from picam_infer.outputs.web import token
from picam_infer.outputs.web.server import Web
from picam_infer.runtime.camera_controls import Control, Report
from picam_infer.runtime.settings import RuntimeSettings


@pytest.fixture
def frame_size() -> tuple[int, int]:
    return 640, 480


@pytest.fixture
def settings(run: Run, tmp_path: Path) -> RuntimeSettings:
    path = tmp_path / "c.yaml"
    path.write_text("decide:\n  threshold: 0.6  # mine\n")
    return RuntimeSettings(run.state, path)


@pytest.fixture
def web(run: Run, settings: RuntimeSettings) -> Iterator[Web]:
    with serving(run, runtime_settings=settings) as made:
        yield made


def complaints(browser: Browser) -> list[str]:
    """Return the page's errors, except that the previous test's server is gone."""
    return [said for said in browser.complaints() if "ERR_CONNECTION_REFUSED" not in said]


def visit(browser: Browser, web: Web | Network, width: int = 1280, height: int = 800, theme: str = "light") -> None:
    browser.size(width, height)
    browser.theme(theme)
    browser.open(f"http://127.0.0.1:{web.port}/")
    until(lambda: browser.js("return Number(document.getElementById('picture').dataset.pictures) > 2"))
    until(lambda: browser.js("return document.querySelectorAll('.slider').length > 0"))


def pixel(browser: Browser, x: float, y: float) -> list[int]:
    """Return RGB at shares of the picture's width and height."""
    code = """const c = document.getElementById('picture');
    return [...c.getContext('2d').getImageData(arguments[0] * c.width, arguments[1] * c.height, 1, 1).data]"""
    return [int(value) for value in browser.js(code, x, y)][:3]


def test_the_picture_moves_and_the_label_follows(browser: Browser, web: Web, run: Run) -> None:
    visit(browser, web)
    greys = set()
    until(lambda: greys.add(pixel(browser, 0.9, 0.9)[0]) or len(greys) > 5)
    assert text(browser, "#label") == "one" and text(browser, "#health") == "live"
    assert text(browser, "#bars li:first-child").split() == ["one", "90", "%"]
    run.label = "two"
    until(lambda: text(browser, "#label") == "two" and browser.js("return document.title").startswith("two"))
    run.label = None
    until(lambda: text(browser, "#label") == "unknown")
    assert "two\u2069 · 90 %" in until(lambda: text(browser, "#changes"))
    until(lambda: text(browser, "#said") == "unknown")
    assert not shown(browser, "#advice")
    run.state.advice = "hold it closer: fill the box"
    until(lambda: shown(browser, "#advice") and text(browser, "#advice") == "hold it closer: fill the box")
    run.label = "two"
    until(lambda: not shown(browser, "#advice"))
    assert "640 × 480" in text(browser, "#numbers")
    assert complaints(browser) == [], "no script error, and nothing that the policy refuses"


def test_the_page_writes_every_probability_as_the_program_does(browser: Browser, web: Web) -> None:
    visit(browser, web)
    shares = [at / 3000 for at in range(3001)] + [0.98996, 0.99996, 0.9989, 0.29]
    code = "return import(new URL('page/text.js', location)).then(({ percent }) => arguments[0].map(percent))"
    assert browser.js(code, [four_digits(share) for share in shares]) == [percent(share) for share in shares]


def test_values_and_several_classes_at_once_are_shown(browser: Browser, web: Web, run: Run) -> None:
    run.top, run.label = (Prediction("angle", 2.0, "°"), Prediction("speed", -0.5, "")), "angle"
    visit(browser, web)
    until(lambda: text(browser, "#label").translate({0x2068: None, 0x2069: None}) == "angle: 2.00 °")
    assert text(browser, "#bars").split() == ["angle", "2.00", "°", "speed", "-0.50"]
    assert "%" not in text(browser, "#label") + text(browser, "#bars") and "angle: 2.00 °" in text(browser, "#changes")
    both = (Prediction("one", 0.9, named=True), Prediction("two", 0.8, named=True), Prediction("x", 0.1, named=False))
    run.top, run.label = both, "one, two"
    until(lambda: text(browser, "#label") == "one, two")
    until(lambda: text(browser, "#bars").split() == ["one", "90", "%", "two", "80", "%", "x", "10", "%"])
    until(lambda: "one 90 %, two 80 %" in text(browser, "#changes"))
    assert complaints(browser) == []


def test_the_box_has_the_aspect_ratio_of_the_region(browser: Browser, web: Web, run: Run) -> None:
    run.state.network = Input((1, 50, 100, 3))
    run.state.tune(preprocess=Photo(roi=0.25))
    visit(browser, web)

    def size() -> list[float]:
        return [browser.js(f"return document.getElementById('region').offset{side}") for side in ("Width", "Height")]

    until(lambda: size()[1] > 10 and abs(size()[0] / size()[1] - 2) < 0.1)
    run.state.tune(preprocess=Photo(roi=0.25, fit="squash"))
    until(lambda: abs(size()[0] / size()[1] - 4 / 3) < 0.1)


def test_nothing_comes_from_elsewhere(browser: Browser, web: Web) -> None:
    visit(browser, web)
    names = browser.js("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert names and all(name.startswith(f"http://127.0.0.1:{web.port}/") for name in names)


def test_the_box_is_where_the_network_looks(browser: Browser, web: Web) -> None:
    visit(browser, web)
    middle, side = 320, 0.4 * 480

    def edge() -> list[int]:
        return pixel(browser, (middle - side / 2) / 640, 0.6)

    until(lambda: edge()[1] > edge()[0] + 40)  # green
    browser.js("document.getElementById('boxes').click()")
    until(lambda: max(edge()) - min(edge()) < 30)  # the scene's grey


@pytest.mark.parametrize(
    ("rotate", "flip", "at"), [(90, "none", (0.97, 0.03)), (180, "none", (0.97, 0.97)), (0, "horizontal", (0.97, 0.03))]
)
def test_a_turned_camera_is_upright(browser: Browser, web: Web, run: Run, rotate: int, flip: str, at: Any) -> None:
    run.more = {"rotate": rotate, "flip": flip}
    until(lambda: run.state.frames.peek()[1].rotate == rotate)
    visit(browser, web)
    until(lambda: pixel(browser, *at)[0] > 200 and pixel(browser, *at)[2] < 90)  # the red mark
    assert browser.js("return document.getElementById('picture').width") == (480 if rotate == 90 else 640)


def test_sliders_act_at_once_by_keyboard_are_kept_and_undone(
    browser: Browser, web: Web, run: Run, tmp_path: Path
) -> None:
    visit(browser, web)
    browser.js("document.querySelector('[data-key=\"decide.threshold\"]').focus()")
    browser.keys("\ue014" * 5)  # arrow right
    until(lambda: run.state.tuning.decide.threshold == 0.65)
    browser.js("document.querySelector('[data-key=\"preprocess.canny.0\"]').focus()")
    browser.keys("\ue012" * 2)  # arrow left
    until(lambda: run.state.tuning.preprocess.canny == (80.0, 30.0))  # type: ignore[union-attr]
    until(lambda: browser.js("return document.querySelectorAll('.slider.changed').length") == 2)
    browser.js("document.getElementById('keep').click()")
    until(lambda: "threshold: 0.65  # mine" in (tmp_path / "c.yaml").read_text())
    until(lambda: browser.js("return document.querySelectorAll('.slider.changed').length") == 0)
    assert text(browser, "#kept-note") == "saved"
    browser.js("document.getElementById('undo').click()")
    until(lambda: run.state.tuning.preprocess.canny == (90.0, 30.0))  # type: ignore[union-attr]
    until(lambda: browser.js("return document.querySelector('[data-key=\"preprocess.canny.0\"]').value") == "90")


def test_without_a_configuration_file_the_page_says_that_settings_are_not_saved(browser: Browser, run: Run) -> None:
    with serving(run) as web:
        visit(browser, web, 390, 844)
        until(lambda: "last until the program ends" in text(browser, "#unsaved"))
        assert browser.js("return document.getElementById('keep').ariaDisabled") == "true"
        assert text(browser, "#keep") == "Save settings", "kept are pictures"


def slider(browser: Browser, key: str) -> tuple[str, str, str]:
    """Return its value, what is written beside it, and what a screen reader says."""
    found = browser.js(
        """const input = document.querySelector(`[data-key="${arguments[0]}"]`);
        return [input.value, input.closest('.slider').querySelector('.value').innerText,
                input.getAttribute('aria-valuetext')]""",
        key,
    )
    return found[0], found[1].removesuffix(" •"), found[2]


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("preprocess.canny.0", 92, ("92", "92", "92")),
        ("preprocess.canny.1", 31, ("31", "31", "31")),
        ("decide.smooth", 0.99, ("0.99", "99 %", "99 %")),
        ("decide.threshold", 0.333, ("0.333", "33.3 %", "33.3 %")),
        ("preprocess.roi.size", 0.02, ("0.02", "2 %", "2 %")),
        ("preprocess.canny.0", 777.5, ("777.5", "777.5", "777.5")),
    ],
)
def test_sliders_show_the_servers_value_whatever_their_steps(
    browser: Browser, web: Web, run: Run, key: str, value: float, shown: tuple[str, ...]
) -> None:
    visit(browser, web)
    assert ask_json(web, "/api/config", "PATCH", {key: value})[0] == 200
    until(lambda: slider(browser, key) == shown)
    before = run.state.tuning
    browser.js(f"document.querySelector('[data-key=\"{key}\"]').focus()")
    browser.keys("\ue004")  # Tab: looking at it changes nothing
    until(lambda: slider(browser, key) == shown)
    assert run.state.tuning == before


def test_a_slow_drag_is_one_entry_that_undo_takes_back_alone(browser: Browser, web: Web, run: Run) -> None:
    visit(browser, web)
    told: list[str] = []
    run.state.listen(lambda change: told.append(change.part) if change.kind == "tuning" else None)
    browser.drag("[data-key='decide.threshold']", [(0.6, 0.5), (0.5, 0.5), (0.4, 0.5), (0.3, 0.5)], pause_ms=800)
    until(lambda: 0.2 < run.state.tuning.decide.threshold < 0.4)
    browser.js("document.querySelector('[data-key=\"preprocess.canny.0\"]').focus()")
    browser.keys("\ue014")
    until(lambda: run.state.tuning.preprocess.canny == (95.0, 30.0))  # type: ignore[union-attr]
    until(lambda: len(told) >= 2)
    assert told == ["decide.threshold", "preprocess.canny.0"]
    until(lambda: text(browser, "#changes").count("changed") == 2)
    until(lambda: text(browser, "#undo") == "Undo canny")
    browser.js("document.getElementById('undo').click()")
    until(lambda: run.state.tuning.preprocess.canny == (90.0, 30.0))  # type: ignore[union-attr]
    assert run.state.tuning.decide.threshold != 0.6, "the other change stays"
    until(lambda: text(browser, "#undo") == "Undo threshold")
    browser.js("document.getElementById('undo').click()")
    until(lambda: run.state.tuning.decide.threshold == 0.6)
    until(lambda: browser.js("return document.getElementById('undo').getAttribute('aria-disabled')") == "true")


def test_two_settings_moved_during_one_request_are_two_entries(browser: Browser, web: Web, run: Run) -> None:
    visit(browser, web)
    told: list[str] = []
    run.state.listen(lambda change: told.append(change.part) if change.kind == "tuning" else None)
    browser.js("""const real = window.fetch, gate = new Promise((open) => { window.open_gate = open; });
        window.fetch = async (...asked) => {
            if (asked[1]?.method === 'PATCH') await gate;
            return real(...asked);
        }""")
    for key in ("decide.threshold", "decide.threshold", "preprocess.canny.0"):
        browser.js("document.querySelector(`[data-key='${arguments[0]}']`).focus()", key)
        browser.keys("\ue014" * 2)
    browser.js("window.open_gate()")
    until(lambda: run.state.tuning.preprocess.canny == (100.0, 30.0))  # type: ignore[union-attr]
    until(lambda: len(told) >= 2)
    assert told == ["decide.threshold", "preprocess.canny.0"] and run.state.tuning.decide.threshold == 0.64
    until(lambda: text(browser, "#undo") == "Undo canny")
    browser.js("document.getElementById('undo').click()")
    until(lambda: run.state.tuning.preprocess.canny == (90.0, 30.0))  # type: ignore[union-attr]
    assert run.state.tuning.decide.threshold == 0.64


def test_a_key_at_the_monitor_shows_on_the_page_and_its_undo_leaves_the_pages_change(
    browser: Browser, web: Web, run: Run, settings: RuntimeSettings
) -> None:
    visit(browser, web)
    browser.js("document.querySelector('[data-key=\"decide.threshold\"]').focus()")
    browser.keys("\ue014")
    until(lambda: run.state.tuning.decide.threshold == 0.61)
    settings.change({"preprocess.canny.1": 35})  # what the key d does
    until(lambda: slider(browser, "preprocess.canny.1")[0] == "35")
    browser.js("document.querySelector('[data-key=\"preprocess.canny.0\"]').focus()")
    browser.keys("\ue014")
    until(lambda: run.state.tuning.preprocess.canny == (95.0, 35.0))  # type: ignore[union-attr]
    settings.undo()
    until(lambda: slider(browser, "preprocess.canny.0")[0] == "90")
    assert run.state.tuning.decide.threshold == 0.61


def test_a_setting_changed_elsewhere_shows(browser: Browser, web: Web, run: Run) -> None:
    from picam_infer.config import Decide

    visit(browser, web)
    run.state.tune(decide=Decide(threshold=0.42))
    until(lambda: browser.js("return document.querySelector('[data-key=\"decide.threshold\"]').value") == "0.42")


def test_loss_and_return_of_the_camera(browser: Browser, web: Web, run: Run) -> None:
    visit(browser, web)
    assert not shown(browser, "#status-screen")
    run.pull()
    until(lambda: shown(browser, "#status-screen") and "camera lost" in text(browser, "#status-screen"))
    card = text(browser, "#status-screen")
    assert "has been unplugged" in card and "plug it in again" in card and "still looking" in card
    assert text(browser, "#health") == "camera lost" and text(browser, "#label") == "–"
    run.plug()
    until(lambda: not shown(browser, "#status-screen") and text(browser, "#label") == "one")
    assert "camera is back" in text(browser, "#changes")
    run.state.health.mark_down("model", "no model called 'x'", "bring one")
    until(lambda: "resumes by itself once that is fixed" in text(browser, "#status-screen"))
    run.state.health.mark_up("model")


def test_the_pi_goes_away_and_comes_back(browser: Browser, run: Run) -> None:
    with serving(run) as web:
        port = web.port
        visit(browser, web)
    until(lambda: "no connection to the Pi" in text(browser, "#status-screen"))
    with serving(run, Settings(listen=f"127.0.0.1:{port}")):
        until(lambda: not shown(browser, "#status-screen"))
        before = browser.js("return Number(document.getElementById('picture').dataset.pictures)")
        until(lambda: browser.js("return Number(document.getElementById('picture').dataset.pictures)") > before + 3)
    browser.complaints()


_NO_SUCH_WORKER = """const Real = SharedWorker;
window.SharedWorker = class extends Real { constructor() { super('/page/no-such-worker.js'); } };"""


@pytest.mark.parametrize("missing", ["delete window.SharedWorker", _NO_SUCH_WORKER])
def test_a_browser_without_shared_workers_has_connections_of_its_own(
    browser: Browser, web: Web, run: Run, missing: str
) -> None:
    script = browser.devtools("Page.addScriptToEvaluateOnNewDocument", source=missing)["identifier"]
    try:
        visit(browser, web)
        until(lambda: text(browser, "#label") == "one" and text(browser, "#health") == "live")
        browser.js("document.getElementById('freeze').click()")
        until(lambda: web.clients()["raw"] == 0 and web.clients()["events"] == 1)
        browser.js("document.getElementById('freeze').click()")
        run.pull()
        until(lambda: "camera lost" in text(browser, "#status-screen"))
    finally:
        browser.devtools("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    browser.complaints()


@pytest.fixture
def network(web: Web) -> Iterator[Network]:
    made = Network(web.port)
    yield made
    made.close()


class Network:
    """A network between browser and server: it forwards bytes, or falls silent with all connections open."""

    def __init__(self, port: int) -> None:
        self.carries = threading.Event()
        self.carries.set()
        self._to = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._admit, daemon=True).start()

    def close(self) -> None:
        self.carries.set()
        for end in (self._door, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _admit(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, far = self._door.accept()[0], socket.create_connection(("127.0.0.1", self._to))
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                self.carries.wait()
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


def test_a_network_that_falls_silent_is_noticed(browser: Browser, network: Network) -> None:
    visit(browser, network)
    network.carries.clear()
    # Instead of waiting seven seconds, the clock is put forward.
    browser.js("const old = performance.now.bind(performance); performance.now = () => old() + 7000")
    until(lambda: "no connection to the Pi" in text(browser, "#status-screen") and text(browser, "#label") == "–")
    before = browser.js("return Number(document.getElementById('picture').dataset.pictures)")
    network.carries.set()
    until(lambda: not shown(browser, "#status-screen") and text(browser, "#label") == "one")
    until(lambda: browser.js("return Number(document.getElementById('picture').dataset.pictures)") > before + 3)
    browser.complaints()


def test_right_to_left_names_do_not_reorder_the_text_around_them(browser: Browser, web: Web, run: Run) -> None:
    visit(browser, web)
    run.label = "قطة"
    until(lambda: "\u2068قطة\u2069 · 90 %" in text(browser, "#changes"))
    assert browser.js("return getComputedStyle(document.getElementById('label')).direction") == "rtl"


def test_freezing_by_keyboard_ends_the_stream(browser: Browser, web: Web) -> None:
    visit(browser, web)
    browser.js("document.activeElement.blur()")
    browser.keys(" ")
    until(lambda: web.clients()["raw"] == 0)
    assert browser.js("return document.getElementById('freeze').getAttribute('aria-pressed')") == "true"
    browser.keys(" ")
    until(lambda: web.clients()["raw"] == 1)


_STILL = """return [document.getElementById('picture').toDataURL(), document.getElementById('label').innerText,
    document.getElementById('bars').innerText, document.getElementById('health').innerText, document.title,
    document.getElementById('status-screen').checkVisibility()]"""


def _another() -> Frame:
    """Return a picture that the page has not seen yet."""
    return jpeg_frame(scene(9002, 640, 480), 9002)


def _show(run: Run, browser: Browser, seq: int) -> Frame:
    """Deliver one more picture, without a result, and wait until the page shows it."""
    count = "return Number(document.getElementById('picture').dataset.pictures)"
    before = browser.js(count)
    frame = jpeg_frame(scene(seq, 640, 480), seq)
    run.state.frames.put(frame)
    until(lambda: browser.js(count) > before)
    return frame


def _judge(run: Run, frame: Frame, label: str) -> None:
    run.state.results.put(Result(frame.seq, frame.captured, frame.monotonic_s, label, 0.9, (Prediction(label, 0.9),),
                                 "openvino:CPU", 3.2, 21, frame=frame))  # fmt: skip


@pytest.mark.parametrize("frozen", [False, True])
def test_a_picture_gets_the_name_that_belongs_to_it(browser: Browser, web: Web, run: Run, frozen: bool) -> None:
    """A result comes after its picture: with a picture every ten seconds the label cannot wait for the next one."""
    visit(browser, web)
    run.hold()
    until(lambda: browser.js("return document.getElementById('rate').innerText") == "0 pictures a second")
    frame = _show(run, browser, 9001)
    if frozen:
        browser.js("document.getElementById('freeze').click()")
    drawn = browser.js(_STILL)
    assert drawn[1] == "one"
    _judge(run, frame, "two")
    until(lambda: text(browser, "#label") == "two")
    assert browser.js(_STILL)[0] != drawn[0], "the name at the box follows"
    if frozen:
        _judge(run, _another(), "zero")
        browser.js("document.getElementById('freeze').click()")
        until(lambda: text(browser, "#label") == "zero")


def test_one_picture_is_singular(browser: Browser, web: Web) -> None:
    words = """const { perSecond } = await import(new URL("text.js", document.querySelector("script[src]").src));
    return [0, 0.4, 1, 2.4, 30].map(perSecond)"""
    visit(browser, web)
    assert browser.js(f"return (async () => {{ {words} }})()") == [
        "0 pictures a second",
        "less than 1 picture a second",
        "1 picture a second",
        "2 pictures a second",
        "30 pictures a second",
    ]


def test_a_rate_below_one_is_not_shown_as_zero(browser: Browser, web: Web) -> None:
    words = """const { rate } = await import(new URL("text.js", document.querySelector("script[src]").src));
    return [0, 0.04, 0.58, 0.97, 1, 29.7].map(rate)"""
    visit(browser, web)
    assert browser.js(f"return (async () => {{ {words} }})()") == ["0", "0.04", "0.6", "1", "1", "30"]


def test_with_a_frozen_picture_all_that_belongs_to_it_stands_still(browser: Browser, web: Web, run: Run) -> None:
    visit(browser, web)
    until(lambda: text(browser, "#label") == "one")
    browser.js("document.getElementById('freeze').click()")
    frozen = browser.js(_STILL)
    assert frozen[1] == "one" and frozen[3] == "frozen" and frozen[4].startswith("one")
    ask_json(web, "/api/config", "PATCH", {"decide.threshold": 0.3, "preprocess.roi": 0.7})
    run.label = "two"
    until(lambda: "two" in text(browser, "#changes"))
    assert browser.js(_STILL) == frozen
    run.pull()
    until(lambda: "camera lost" in text(browser, "#changes"))
    assert browser.js(_STILL) == frozen, "even when the camera is lost"
    run.plug()
    first = browser.tab
    browser.new_tab()
    browser.close_tab(first)
    assert browser.js(_STILL) == frozen, "another tab was looked at meanwhile"
    browser.js("document.getElementById('freeze').click()")
    until(lambda: text(browser, "#label") == "two" and text(browser, "#health") == "live")


def test_saving_saves_the_picture_that_is_shown(browser: Browser, web: Web, run: Run, tmp_path: Path) -> None:
    browser.devtools("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    run.label = "\u05d7\u05ea\u05d5\u05dc a/b"
    visit(browser, web)
    until(lambda: "a/b" in text(browser, "#label"))
    browser.js("document.getElementById('boxes').click(); document.getElementById('freeze').click()")
    run.label = "two"
    until(lambda: "two" in text(browser, "#changes"))
    shown_grey = pixel(browser, 0.9, 0.9)[0]
    browser.js("document.getElementById('save').click()")
    [saved] = until(lambda: list(tmp_path.glob("*.jpg")))
    assert re.fullmatch(r"\d{8}-\d{6}-\d{3}_\u05d7\u05ea\u05d5\u05dc a-b\.jpg", saved.name)
    picture = cv2.imread(str(saved))
    assert picture is not None and picture.shape == (480, 640, 3)
    assert abs(int(picture[432, 576, 0]) - shown_grey) <= 2, "the frozen one, not the newest"


def test_watching_is_paused_and_resumed(browser: Browser, web: Web, run: Run) -> None:
    visit(browser, web)
    until(lambda: text(browser, "#watching") == "Pause watching")
    browser.js("document.getElementById('watching').click()")
    until(lambda: run.state.pause.now and run.state.pause.now.by == "page")
    until(lambda: text(browser, "#health") == "paused" and "by the page" in text(browser, "#status-screen"))
    assert text(browser, "#watching") == "Resume watching" and "looking for it" not in text(browser, "#status-screen")
    until(lambda: "paused by page" in text(browser, "#changes"))
    assert browser.js("const why = document.getElementById('why'); why.click(); return why.ariaDisabled") == "true"
    assert browser.js("return document.getElementById('explained').hidden"), "there is nothing to explain"
    browser.js("document.getElementById('watching').click()")
    until(lambda: run.state.pause.now is None and text(browser, "#health") == "live")
    assert browser.js("return document.getElementById('why').ariaDisabled") == "false"


def test_screen_readers_find_names_for_everything(browser: Browser, web: Web) -> None:
    visit(browser, web)
    nodes = browser.devtools("Accessibility.getFullAXTree")["nodes"]
    wanted = ("slider", "button", "link", "checkbox", "combobox", "image")
    named = [(n.get("role", {}).get("value"), n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]
    controls = [(role, name) for role, name in named if role in wanted]
    assert len(controls) > 12 and all(name for _, name in controls), controls
    assert {name for role, name in controls if role == "slider"} >= {"Threshold", "Smoothing"}
    headings = [node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == "heading"]
    assert headings[0].strip() == "picam-infer" and "settings" in map(str.lower, headings)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(browser: Browser, web: Web, theme: str) -> None:
    visit(browser, web, 360, 740, theme)
    assert browser.js("return document.documentElement.scrollWidth") <= 360
    background = browser.js("return getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(243, 245, 247)" if theme == "light" else "rgb(14, 19, 24)")
    small = browser.js("""return [...document.querySelectorAll('button, a.button, select')]
        .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 40).length""")
    assert small == 0, "fingers need room"


def test_without_a_session_there_is_no_log_out(browser: Browser, web: Web) -> None:
    visit(browser, web)
    assert not shown(browser, "#logout")


def test_kept_pictures_are_shown(browser: Browser, run: Run, tmp_path: Path) -> None:
    run.label = None
    with Collector(config.Keep(folder=str(tmp_path / "kept"), every_s=0.1, reserve_mb=0), run.state) as collector:
        until(lambda: collector.report().pictures >= 3)
        run.label = "one"
        with serving(run, collection=collector) as web:
            visit(browser, web)
            until(lambda: browser.js("return document.querySelectorAll('#gallery img').length >= 3"))
            browser.js("document.querySelector('#gallery').scrollIntoView()")
            until(lambda: browser.js("return document.querySelector('#gallery img').naturalWidth") == 320)
            assert shown(browser, "#zip") and text(browser, "#gallery li span span") == "unknown"


def test_login_with_the_token(browser: Browser, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "token"
    token.make(path)
    # As from another machine: there a browser does not say what a request is for.
    host = own_address() or "127.0.0.1"
    with serving(run, Settings(listen="0.0.0.0:0", token="always", token_file=str(path))) as web:
        browser.open(f"http://{host}:{web.port}/login")
        until(lambda: text(browser, "#where").endswith(f"cat {path}"))
        assert "computer that runs picam-infer" in text(browser, "#where")
        enter = "document.getElementById('token').value = arguments[0]; document.forms[0].submit()"
        browser.js(enter, "not the token")
        until(lambda: "Wrong token" in text(browser, ".login main"))
        browser.js(enter, path.read_text().strip())
        until(lambda: browser.js("return Number(document.getElementById('picture')?.dataset.pictures) > 2"))
        assert browser.js("return document.cookie") == "", "scripts cannot read it"
        path.write_text("a-new-token-that-is-long-enough\n")
        until(lambda: browser.js("return document.getElementById('token') !== null"), 20)
        assert "Wrong token" not in text(browser, ".login main"), "nobody has tried one"
    browser.complaints()


_EVIL = """const [url] = arguments;
const send = (path, init) => fetch(url + path, init).then((r) => r.text(), () => 'refused');
const image = new Image();
const loaded = new Promise((done) => {
  image.onload = () => done('loaded');
  image.onerror = () => done('refused');
});
image.src = url + '/snapshot.jpg';
const change = (type) => ({method: 'PATCH', headers: {'Content-Type': type}, body: '{"decide.threshold": 0.1}'});
return Promise.all([loaded, send('/api/config', change('text/plain')), send('/api/config', change('application/json')),
                    send('/api/config/undo', {method: 'POST', mode: 'no-cors', body: '{}'}), send('/api/state')])"""


def test_another_sites_page_gets_nothing(browser: Browser, web: Web, run: Run) -> None:
    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<!doctype html><body>evil")

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        browser.open(f"http://localhost:{server.server_port}/")
        before = run.state.tuning
        done = browser.js(_EVIL, f"http://127.0.0.1:{web.port}")
        assert done == ["refused"] * 5
        assert run.state.tuning is before
    finally:
        server.shutdown()
        server.server_close()
    browser.complaints()


def test_a_hidden_page_costs_little(browser: Browser, web: Web) -> None:
    visit(browser, web)
    until(lambda: web.clients()["raw"] == 1)
    browser.js(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    until(lambda: web.clients()["raw"] == 0)


def region(run: Run) -> tuple[float, float, float]:
    roi = run.state.tuning.preprocess.roi
    return (0.5, 0.5, roi) if isinstance(roi, float | int) else (roi.x, roi.y, roi.size)


@pytest.mark.parametrize("touch", [False, True])
def test_the_region_is_dragged_and_that_is_one_change(browser: Browser, web: Web, run: Run, touch: bool) -> None:
    visit(browser, web, 390 if touch else 1280)
    told: list[str] = []
    run.state.listen(lambda change: told.append(change.part) if change.kind == "tuning" else None)
    until(lambda: shown(browser, "#region"))
    browser.drag("#region", [(0.5, 0.5), (0.7, 0.6), (1.0, 1.0)], pause_ms=100, touch=touch)
    until(lambda: region(run)[0] > 0.6)
    x, y, size = region(run)
    assert x == pytest.approx(0.5 + 0.2 * 480 / 640, abs=0.02) and y == pytest.approx(0.7, abs=0.02) and size == 0.4
    until(lambda: pixel(browser, x - size * 480 / 640 / 2, 0.7)[1] > pixel(browser, x - 0.2, 0.7)[0] + 40)  # the box
    assert len(told) == 1
    browser.drag("#region", [(0.97, 0.97), (1.2, 1.2)], touch=touch)
    until(lambda: region(run)[2] == pytest.approx(0.48, abs=0.02))
    assert region(run)[0] - region(run)[2] * 3 / 8 == pytest.approx(x - 0.4 * 3 / 8, abs=0.02), "its corner stays"
    browser.js("const undo = document.getElementById('undo'); undo.click(); undo.click()")
    until(lambda: run.state.tuning.preprocess.roi == 0.4)


def test_the_region_is_moved_by_keys_and_stays_inside(browser: Browser, web: Web, run: Run) -> None:
    visit(browser, web)
    until(lambda: shown(browser, "#region"))
    browser.js("document.getElementById('region').focus()")
    browser.keys("\ue014\ue014\ue015+-+")  # right, right, down
    until(lambda: region(run) == (0.53, 0.52, 0.42))
    spoken = "return document.getElementById('region').getAttribute('aria-valuetext')"
    assert browser.js(spoken) == "42 % of the height, middle at 53 %, 52 %"
    browser.keys("\ue013" * 40)  # up
    until(lambda: region(run)[1] == pytest.approx(0.21))
    browser.keys("+" * 40)
    until(lambda: region(run)[2] == 1.0)
    browser.keys("\ue011")  # Home
    until(lambda: run.state.tuning.preprocess.roi == 1.0)
    assert not text(browser, "#kept-note")


def test_the_cameras_settings_are_changed_and_undone(browser: Browser, web: Web, run: Run) -> None:
    menu = Control("auto_exposure", "Auto Exposure", "menu", 0, 3, 1, 3, 3, {1: "Manual Mode", 3: "Aperture Priority"})
    gain = Control("gain", "Gain", "integer", 0, 255, 1, 64, 65)
    dark = Control("exposure_time_absolute", "Exposure Time, Absolute", "integer", 3, 2047, 1, 250, 250, inactive=True)
    light = Control("white_balance_automatic", "White Balance, Automatic", "boolean", 0, 1, 1, 1, 1)
    run.state.camera.tell(Report("C920", (menu, gain, dark, light)))
    visit(browser, web)
    until(lambda: shown(browser, "#camera"))
    browser.js("document.querySelector('#camera details').open = true")
    assert (
        "65" in text(browser, "#controls")
        and browser.js("return document.getElementById('control-gain').value") == "65"
    )
    assert browser.js("return document.getElementById('control-exposure_time_absolute').disabled") is True
    browser.js("document.getElementById('control-gain').focus()")
    browser.keys("\ue014" * 3)
    until(lambda: run.state.tuning.controls == {"gain": 68})
    browser.js(
        "const menu = document.getElementById('control-auto_exposure'); menu.value = '1';"
        "menu.dispatchEvent(new Event('change')); document.getElementById('control-white_balance_automatic').click()"
    )
    until(lambda: run.state.tuning.controls == {"gain": 68, "auto_exposure": 1, "white_balance_automatic": 0})
    until(lambda: text(browser, "#undo") == "Undo camera")
    browser.js("document.getElementById('keep').click()")
    until(lambda: text(browser, "#kept-note") == "saved")
