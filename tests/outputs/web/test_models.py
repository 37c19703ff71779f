"""Models brought to the page by hand: uploaded, converted, tried, used, switched, deleted."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from makers import make_bundle
from small_disk import SmallDisk
from visitors import Run, ask_json, serving, until

from picam_infer import config as configs
from picam_infer.config import Web as Settings
from picam_infer.core import ConfigError
from picam_infer.models import bundle as bundles
from picam_infer.outputs.web.server import Web
from picam_infer.platform import removable, service_manager
from picam_infer.platform.removable import Medium
from picam_infer.runtime import model_trial
from picam_infer.runtime.model_choice import ModelChoice, Switch
from picam_infer.runtime.model_trial import ModelTrial
from picam_infer.runtime.teaching.served_round import ServedRound


class Page:
    """A served run whose models can be changed, and the service's settings."""

    def __init__(self, folder: Path, web: Web, trial: ModelTrial) -> None:
        self.folder, self.web, self.trial = folder, web, trial
        self.models = folder / "var/models"
        self.settings = folder / "etc/config.yaml"

    def get(self) -> dict[str, Any]:
        status, told = ask_json(self.web, "/api/models")
        assert status == 200, told
        return dict(told)

    def post(self, path: str, wish: object) -> tuple[int, Any]:
        return ask_json(self.web, f"/api/models/{path}", "POST", wish)

    def upload(self, name: str, data: bytes, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.web.port, timeout=60)
        try:
            kind = {"Content-Type": "application/octet-stream", **headers}
            connection.request("POST", f"/api/models/upload?name={name}", data, kind)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def stage(self, wanted: str) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            told: dict[str, Any] = ask_json(self.web, "/api/models/trial")[1]
            assert told["stage"] in (wanted, "receiving", "converting", "ready"), told
            return told if told["stage"] == wanted else None

        return dict(until(reached, 90))

    @property
    def names(self) -> list[str]:
        return [one["name"] for one in self.get()["models"]]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    (tmp_path / "var/models").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    settings = tmp_path / "etc/config.yaml"
    settings.write_text("# mine\nmodel: light  # the first\n")
    monkeypatch.setattr(bundles, "INSTALLED", tmp_path / "var/models")
    monkeypatch.setattr(service_manager, "SETTINGS", tmp_path / "etc")
    monkeypatch.setattr(removable, "media", list)
    make_bundle(tmp_path / "var/models/light")
    run = Run(fps=10)

    def switch(wish: Switch) -> None:
        assert not ModelChoice(settings).use(wish.model)
        follow()

    follow: Callable[[], None]
    trial = ModelTrial(switch)
    with contextlib.ExitStack() as following:

        def follow() -> None:
            following.close()
            following.enter_context(trial.following(ServedRound(run.state, lambda: configs.load(settings), settings)))

        follow()
        with serving(run, Settings(listen="127.0.0.1:0"), trial=trial) as web:
            yield Page(tmp_path, web, trial)
        trial.close()
    run.close()


def keras_file(folder: Path) -> bytes:
    """Return a small photo classifier of three classes, as Keras saves it."""
    from small_models import colour_keras

    return colour_keras(folder / "m.h5").read_bytes()


def test_a_file_is_converted_tried_and_used(page: Page, tmp_path: Path) -> None:
    data = keras_file(tmp_path)
    status, told = page.upload("my%20photo%20model.h5", data)
    assert status == 202 and told["stage"] == "converting", told
    ready = page.stage("ready")
    assert len(ready["labels"]) == 3 and ready["name"] == "my-photo-model"
    live = until(lambda: ask_json(page.web, "/api/models/trial")[1]["live"])
    assert live["engine"].startswith("openvino") and len(live["top"]) == 3
    assert "my-photo-model" not in page.names, "it is only tried"
    assert "model: light  # the first" in page.settings.read_text()
    assert page.post("trial/use", {}) == (200, {"name": "my-photo-model"})
    assert "# mine\nmodel: my-photo-model  # the first" in page.settings.read_text()
    told = page.get()
    assert told["trial"]["stage"] == "none" and told["before"] == "light"
    assert [one["name"] for one in told["models"] if one["in_use"]] == ["my-photo-model"]
    assert not (page.models / ".trial").exists()
    assert page.post("use", {"name": "light"})[0] == 200, "and back"
    assert "model: light" in page.settings.read_text()
    assert page.post("delete", {"name": "my-photo-model"})[0] == 200 and page.names == ["digits", "light"]


def test_choosing_one_on_a_full_disk_changes_nothing_and_says_so(page: Page, small_disk: SmallDisk) -> None:
    small_disk.fill()
    status, told = page.post("use", {"name": "digits"})
    assert status == 507 and "cannot be written (No space left on device)" in told["error"]
    assert told["hint"] == "make room on that disk", "nothing lives on: the other model does not run"
    assert configs.load(page.settings).model == "light"


def test_a_model_that_the_settings_name_by_its_path_is_in_use(page: Page) -> None:
    text = page.settings.read_text()
    page.settings.write_text(text.replace("model: light", "model: ../var/models/light"))
    assert [one["name"] for one in page.get()["models"] if one["in_use"]] == ["light"]
    status, told = page.post("delete", {"name": "light"})
    assert status == 422 and "in use" in told["error"]
    assert page.post("use", {"name": "digits"})[0] == 200
    assert page.get()["before"] == "light"


def test_what_may_not_be_deleted_or_used(page: Page) -> None:
    for path, wish, status, said in (
        ("delete", {"name": "light"}, 422, "in use"),
        ("delete", {"name": "digits"}, 422, "built in"),
        ("delete", {"name": "nope"}, 404, "no model"),
        ("delete", {"name": "../etc"}, 422, "not the name of a model"),
        ("use", {"name": "nope"}, 404, "no model"),
        ("use", {"name": "/etc"}, 422, "not the name of a model"),
        ("use", {}, 422, "expected"),
        ("use", [], 422, "expected"),
        ("trial/use", {}, 422, "no model is ready"),
        ("import", {"path": "/etc/passwd"}, 422, "not on any stick"),
    ):
        got, told = page.post(path, wish)
        assert got == status and said in told["error"], (path, wish, got, told)
    assert page.names == ["digits", "light"] and "model: light" in page.settings.read_text()


def test_a_file_that_is_not_a_model_says_why_and_leaves_nothing(page: Page) -> None:
    assert page.upload("holiday.zip", b"PK\x03\x04 not a zip")[0] == 202
    told = page.stage("failed")
    assert told["problem"]["reason"]
    assert page.post("trial/discard", {})[1] == {"stage": "none"}
    assert not (page.models / ".trial").exists()


def test_uploads_that_are_refused(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    assert page.upload("m.h5", b"x", **{"Content-Type": "application/json"})[0] == 415
    assert page.upload("m.h5", b"x", Origin="http://evil.example")[0] == 403
    assert page.upload("m.h5", b"")[0] == 400
    monkeypatch.setattr(model_trial, "MOST_MB", 0.001)
    assert page.upload("m.h5", b"x" * 2000)[0] == 422
    monkeypatch.setattr(model_trial, "MOST_MB", 500)
    monkeypatch.setattr(model_trial, "RESERVE_MB", 1e12)
    status, told = page.upload("m.h5", b"x")
    assert status == 507 and "too little space" in told["error"]


def test_names_do_not_lead_out_of_the_folder(page: Page) -> None:
    assert page.upload("..%2F..%2F..%2Fetc%2Fconfig.yaml", b"model: evil")[0] == 202
    page.stage("failed")
    assert page.settings.read_text() == "# mine\nmodel: light  # the first\n"


@pytest.mark.parametrize("length", [b"Content-Length: 999999", b"Transfer-Encoding: chunked"])
def test_an_upload_that_breaks_off_is_forgotten_and_the_next_one_works(page: Page, length: bytes) -> None:
    with socket.create_connection(("127.0.0.1", page.web.port)) as visitor:
        visitor.sendall(
            b"POST /api/models/upload?name=m.h5 HTTP/1.1\r\nHost: localhost\r\n%b\r\n"
            b"Content-Type: application/octet-stream\r\n\r\nfffff\r\n" % length + b"x" * 5000
        )
        until(lambda: page.get()["trial"]["stage"] == "receiving")
        assert page.upload("other.h5", b"x")[0] == 503, "one at a time"
    until(lambda: ask_json(page.web, "/api/models/trial")[1]["stage"] == "failed")
    assert ask_json(page.web, "/api/models/trial")[1]["problem"]["reason"] == "the upload broke off"
    assert page.upload("again.h5", b"no model")[0] == 202
    page.stage("failed")


def test_the_conversion_can_be_cancelled(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from picam_infer.convert import sandbox

    begun, ended = threading.Event(), threading.Event()

    def endless(path: Path, output: Path, options: object, progress: Callable[[str, float], None]) -> None:
        try:
            while True:
                progress("build", 1.0)
                begun.set()
                threading.Event().wait(0.02)
        finally:
            ended.set()

    monkeypatch.setattr(sandbox, "convert", endless)
    page.upload("m.h5", b"x")
    assert begun.wait(10)
    assert page.post("trial/discard", {})[1] == {"stage": "none"}
    assert ended.wait(10), "the sandbox's process is ended with it"


def test_settings_that_do_not_fit_leave_the_model_in_use_alone(page: Page, tmp_path: Path) -> None:
    page.settings.write_text("model: light\npreprocess: {canny: [90, 30]}\n")
    make_bundle(page.models / "photo")
    with pytest.raises(ConfigError):
        page.trial.switch("photo")
    got, told = page.post("use", {"name": "photo"})
    assert got == 409 and "preprocess" in told["error"]
    assert page.settings.read_text() == "model: light\npreprocess: {canny: [90, 30]}\n"


def test_a_bundle_from_a_stick(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stick = tmp_path / "stick"
    make_bundle(stick / "plants")
    monkeypatch.setattr(removable, "media", lambda: [Medium("sda1", "SanDisk", stick), Medium("sdb1", "Other", None)])
    told = page.get()
    assert [one["name"] for one in told["offers"]] == ["plants"] and "mount -o ro" in told["media"][0]["how"]
    assert page.post("import", {"path": told["offers"][0]["path"]})[0] == 202
    page.stage("ready")
    assert page.post("trial/use", {"name": "my plants"}) == (200, {"name": "my-plants"})
    assert (stick / "plants/model.xml").exists(), "the stick is only read"


def test_in_a_browser_from_a_file_to_the_model_in_use(browser: Browser, page: Page, tmp_path: Path) -> None:
    (tmp_path / "upload").mkdir()
    with zipfile.ZipFile(tmp_path / "upload/three things.zip", "w") as archive:
        archive.writestr("keras_model.h5", keras_file(tmp_path))
        archive.writestr("labels.txt", "cup\nfork\nplate\n")
    browser.size(1280, 1400)
    browser.open(f"http://127.0.0.1:{page.web.port}/")
    browser.js("document.querySelector('#models details').open = true")
    until(lambda: browser.js("return document.querySelectorAll('#model-list li').length") == 2)
    found = browser.do("POST", "/element", {"using": "css selector", "value": "#model-file"})
    element = next(iter(found.values()))
    browser.do("POST", f"/element/{element}/value", {"text": str(tmp_path / "upload/three things.zip")})
    stage = "return document.getElementById('model-stage').textContent"
    until(lambda: "is ready: cup, fork, plate" in browser.js(stage), 90)
    until(lambda: "It sees" in browser.js("return document.getElementById('model-live').textContent"))
    assert not browser.js("return document.getElementById('model-assumed').hidden")
    browser.js("document.getElementById('models').scrollIntoView()")
    browser.screenshot(tmp_path / "ready.png", whole=False)
    browser.js("document.getElementById('model-use').click()")
    until(lambda: "runs three-things now" in browser.js("return document.getElementById('model-note').textContent"))
    assert "model: three-things" in page.settings.read_text()
    current = "return document.querySelector('#model-list .current b')?.textContent"
    until(lambda: browser.js(current) == "three-things")
    delete = "document.querySelector('[aria-label=\"Delete light\"]').click()"
    browser.js(delete)
    assert "light" in page.names, "one press deletes nothing"
    browser.js(delete)
    until(lambda: page.names == ["digits", "three-things"])
    assert browser.complaints() == []


def test_the_page_scrolls_to_the_model_that_is_being_tried(browser: Browser, page: Page) -> None:
    browser.size(1280, 700)
    browser.open(f"http://127.0.0.1:{page.web.port}/")
    browser.js("document.querySelector('#models details').open = true")
    until(lambda: browser.js("return document.querySelectorAll('#model-list li').length") == 2)
    browser.js("window.scrollTo(0, 0)")
    choose = """const files = new DataTransfer(); files.items.add(new File(['no model'], 'notes.h5'));
        const field = document.getElementById('model-file'); field.files = files.files;
        field.dispatchEvent(new Event('change'))"""
    browser.js(choose)
    until(lambda: browser.js("return document.getElementById('model-stage').textContent"))
    seen = "const at = document.getElementById('model-trial').getBoundingClientRect(); return [at.top, at.bottom]"
    until(lambda: browser.js(seen)[0] >= 0 and browser.js(seen)[1] <= 700)
    until(lambda: browser.js("return document.getElementById('model-discard').textContent") == "Close")
    assert browser.js("return document.getElementById('model-assumed').hidden"), (
        "nothing was assumed of what is no model"
    )
