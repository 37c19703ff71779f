"""Opening the page to the network and letting a phone in, over real sockets and in a real browser."""

from __future__ import annotations

import http.client
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import cv2
import pytest
from browser import Browser
from visitors import Run, ask_json, own_address, serving, until, watching

from picam_infer.config import Web as Settings
from picam_infer.outputs.web.server import Web
from picam_infer.runtime.share import Share
from picam_infer.runtime.state import State

ADDRESS = own_address()
pytestmark = pytest.mark.skipif(not ADDRESS, reason="this machine has no address but loopback")


@pytest.fixture
def web(run: Run, tmp_path: Path) -> Iterator[Web]:
    settings = Settings(listen="127.0.0.1:0", token_file=str(tmp_path / "token"))
    run.state.share.follow(settings)
    with serving(run, settings) as made:
        yield made


def outside(
    port: int, path: str, method: str = "GET", body: str | None = None, **headers: str
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=10)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    return connection.getresponse()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((ADDRESS, port)) == 0


def scanned(browser: Browser, path: Path) -> str:
    """Return what a phone reads from the screen, held before the code."""
    browser.js("document.getElementById('share-qr').scrollIntoView()")
    place = "const r = document.getElementById('share-modules').getBoundingClientRect();"
    x, y, width, height = map(int, browser.js(f"{place} return [r.x, r.y, r.width, r.height]"))
    browser.screenshot(path, whole=False)
    code = cv2.imread(str(path))[max(0, y) : y + height, max(0, x) : x + width]
    return cv2.QRCodeDetectorAruco().detectAndDecode(code)[0] if code.size else ""


def opened(state: State, port: int) -> None:
    state.share.open()
    until(lambda: answers(port))


def test_opening_and_closing_disturbs_no_local_visitor(web: Web, run: Run, tmp_path: Path) -> None:
    port = web.port
    assert not answers(port)
    with watching(web) as at_home:
        next(at_home)
        opened(run.state, port)
        for _ in range(3):
            next(at_home)
        assert (tmp_path / "token").exists(), "a token for visitors is made"
        assert outside(port, "/api/state").status == 401
        token = (tmp_path / "token").read_text().strip()
        stream = outside(port, "/stream.mjpg", Authorization=f"Bearer {token}")
        assert stream.status == 200 and stream.readline()
        run.state.share.close()
        until(lambda: not answers(port))
        with pytest.raises((ConnectionError, http.client.IncompleteRead)):
            while stream.read(1 << 16):  # who watched from there is hung up on
                pass
            raise ConnectionError("ended")
        for _ in range(3):
            next(at_home)
    assert web.port == port


def test_a_phone_logs_in_once(web: Web, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    status, told = ask_json(web, "/api/share/invitation", "POST", {})
    assert status == 409 and "not open" in told["error"]
    assert ask_json(web, "/api/share", "POST", {"open": True, "for_s": 3600})[1]["shared"]
    until(lambda: answers(web.port))
    told = ask_json(web, "/api/share/invitation", "POST", {})[1]
    assert told["links"][0].startswith(f"http://{ADDRESS}:{web.port}/join#"), "an address that always works comes first"
    code = told["links"][0].partition("#")[2]
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    assert outside(web.port, "/join").status == 200, "the form needs no token"
    answer = outside(web.port, "/join", "POST", urlencode({"code": code}), **form)
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    assert answer.status == 303 and answer.headers["Location"] == "./"
    assert outside(web.port, "/api/state", Cookie=cookie).status == 200
    refused = outside(web.port, "/join", "POST", urlencode({"code": code}), **form)
    assert refused.status == 401 and b"has been used" in refused.read()
    assert code not in caplog.text, "the journal never has it"
    assert ask_json(web, "/api/share", "POST", {"open": False})[1]["open"] is False


def test_guessing_gets_slower(web: Web, run: Run) -> None:
    opened(run.state, web.port)
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    statuses = [outside(web.port, "/join", "POST", "code=guess", **form).status for _ in range(7)]
    assert statuses[0] == 401 and statuses[-1] == 429


@pytest.mark.parametrize("wish", [{}, [], {"open": 1}, {"open": True, "for_s": 0}, {"open": True, "for_s": True},
                                  {"open": True, "for_s": float("nan")}, {"open": True, "x": 1}])  # fmt: skip
def test_invalid_requests_change_nothing(web: Web, run: Run, wish: object) -> None:
    assert ask_json(web, "/api/share", "POST", wish)[0] == 422
    assert run.state.share.now is None


def test_a_port_that_another_program_uses_on_another_address_is_waited_for(
    web: Web, run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("picam_infer.outputs.web.server.RETRY_S", 0.1)
    with socket.create_server((ADDRESS, web.port)):
        run.state.share.open()
        until(lambda: run.state.share.fault)
        assert ask_json(web, "/api/share")[1]["fault"] == "Address already in use", "here it goes on"
    until(lambda: not run.state.share.fault)
    until(lambda: outside(web.port, "/healthz").status == 401)
    assert caplog.text.count("cannot be opened to the network") == 1


def test_the_journal_says_where_it_is_and_that_there_is_no_token(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with serving(run, Settings(listen="0.0.0.0:0", token_file=str(tmp_path / "token"))) as web:
        assert f"web: http://{ADDRESS}:{web.port}/" in caplog.text and "0.0.0.0" not in caplog.text
        until(lambda: "there is no token in" in caplog.text)
        assert caplog.text.count("there is no token in") == 1 and "picam-infer check" in caplog.text


def test_from_the_button_to_the_phone(browser: Browser, web: Web, run: Run, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("# mine\n")
    run.state.share.path = config
    browser.size(1280, 900)
    browser.open(f"http://127.0.0.1:{web.port}/")
    until(lambda: browser.js("return document.getElementById('share-text').textContent.includes('Only the Pi')"))
    browser.js("document.getElementById('share-open').click()")
    until(lambda: browser.js("return !document.getElementById('share-qr').hidden"))
    assert config.read_text().startswith("# mine\n") and "share: " in config.read_text()
    link = until(lambda: scanned(browser, tmp_path / "page.png"))
    assert link.startswith(f"http://{ADDRESS}:{web.port}/join#")
    browser.size(390, 844)  # the phone
    browser.open(link)
    until(lambda: browser.js("return Number(document.getElementById('picture')?.dataset.pictures) > 2"))
    assert browser.js("return location.href") == f"http://{ADDRESS}:{web.port}/"
    browser.open(link)
    until(lambda: "has been used" in browser.js("return document.body.textContent"))
    assert "#" not in browser.js("return location.href")
    browser.complaints()


def test_sharing_outlives_a_round(run: Run, tmp_path: Path) -> None:
    settings = Settings(listen="127.0.0.1:0", token_file=str(tmp_path / "token"), share=True)
    share = Share()
    share.follow(settings)
    run.state.share = share
    with serving(run, settings) as web:
        until(lambda: answers(web.port))
        told = ask_json(web, "/api/state")[1]["share"]
        assert told["open"] and told["shared"] and told["until"] is None and not told["fault"]
