"""The endpoints, over real sockets."""

from __future__ import annotations

import errno
import http.client
import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from visitors import Run, ask, ask_json, serving, until, watching

from picam_infer import config
from picam_infer.config import Web as Settings
from picam_infer.core import outlet_part
from picam_infer.outputs.dataset import Collector
from picam_infer.outputs.web import schemas, server
from picam_infer.outputs.web.server import Web
from picam_infer.runtime.camera_controls import Control, Report
from picam_infer.runtime.reports import OutletReport
from picam_infer.runtime.state import Change, Histogram


def image(data: bytes) -> np.ndarray:
    made = cv2.imdecode(np.frombuffer(data, np.uint8), 1)
    assert made is not None
    return made


def test_the_raw_stream_is_the_cameras_own_bytes(web: Web, run: Run) -> None:
    with watching(web, "/stream.mjpg?raw=1") as parts:
        head, data = next(parts)
        seqs = [int(head["x-seq"]), *(int(next(parts)[0]["x-seq"]) for _ in range(10))]
    assert head["content-type"] == "image/jpeg" and head["x-size"] == "320x240"
    assert seqs == sorted(set(seqs)), "newer each time"
    frame = until(lambda: run.state.frames.peek())[1]
    assert abs(float(head["x-timestamp"]) - frame.captured) < 5
    assert data[:4] == bytes(frame.data[:4])


def test_the_drawn_stream_is_made_once_for_all_and_only_when_watched(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = 0
    render = run.render

    def counted(frame: Any) -> Any:
        nonlocal drawn
        drawn += 1
        return render(frame)

    monkeypatch.setattr(run, "render", counted)
    with serving(run) as web:
        with watching(web) as one, watching(web) as two:
            # Two connections do not begin with the same picture, nor is each as quick to take them.
            seen = [[next(parts)[1] for _ in range(12)] for parts in (one, two)]
            assert len(set(seen[0]) & set(seen[1])) >= 4, "both see the same pictures"
        until(lambda: web.clients()["drawn"] == 0)
        at_rest, passed = drawn, run.state.stats.frames.total
        until(lambda: run.state.stats.frames.total > passed + 10)
        assert at_rest > 0 and drawn <= at_rest + 1


def test_fps_slows_one_watcher_down(web: Web) -> None:
    with watching(web, "/stream.mjpg?raw=1&fps=5") as parts:
        captured = [float(next(parts)[0]["x-timestamp"]) for _ in range(5)]
    assert captured[-1] - captured[0] > 0.6


@pytest.mark.parametrize("query", ["fps=x", "fps=nan"])
def test_invalid_numbers_are_refused_or_clamped(web: Web, query: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=5)
    connection.request("GET", f"/stream.mjpg?{query}")
    assert connection.getresponse().status == (422 if query == "fps=x" else 200)
    connection.close()


def test_pictures_of_a_turned_camera_are_upright(web: Web, run: Run) -> None:
    run.more = {"rotate": 90}
    until(lambda: run.state.frames.peek()[1].rotate == 90)
    for path in ("/snapshot.jpg", "/snapshot.jpg?raw=1"):
        seen = image(ask(web, path)[2])
        assert seen.shape == (320, 240, 3)
        corner = seen[30:50, -30:-10].mean((0, 1))  # the mark, from the top left to the top right
        assert corner[2] > 200 and corner[0] < 60
    with watching(web, "/stream.mjpg?raw=1") as parts:
        head, data = next(parts)
    assert head["x-size"] == "240x320" and image(data).shape == (320, 240, 3)


def test_a_loss_shows_as_a_status_screen_and_ends(web: Web, run: Run) -> None:
    with watching(web) as parts:
        assert "x-seq" in next(parts)[0]
        run.pull()
        status_screen = until(lambda: next((data for head, data in (next(parts),) if "x-seq" not in head), None))
        assert image(status_screen).mean() < 60
        assert ask_json(web, "/healthz") == (503, {"ok": False, "reason": "camera lost: the camera has been unplugged"})
        assert ask(web, "/snapshot.jpg?raw=1")[0] == 503
        assert image(ask(web, "/snapshot.jpg")[2]).mean() < 60
        run.plug()
        until(lambda: "x-seq" in next(parts)[0])
    until(lambda: ask_json(web, "/healthz")[0] == 200)


def test_the_service_is_unhealthy_when_pictures_stop(run: Run) -> None:
    with serving(run, Settings(listen="127.0.0.1:0", stale_s=0.3)) as web:
        until(lambda: ask_json(web, "/healthz")[0] == 200)
        run.hold()
        _, body = until(lambda: (found := ask_json(web, "/healthz"))[0] == 503 and found)
        assert re.match(r"the last picture is \d+ s old", body["reason"])
        run.go_on()


def test_state_has_what_the_page_shows(web: Web) -> None:
    status, body = ask_json(web, "/api/state")
    assert status == 200 and body["result"]["label"] == "one" and body["labels"] == ["zero", "one", "two"]
    assert body["picture"]["box"] == [112, 72, 96, 96] and body["web"]["listening"]
    assert body["machine"]["memory_mb"] > 10 and body["version"]


def test_a_loss_tells_what_happens_meanwhile(web: Web, run: Run) -> None:
    run.state.health.mark_down("engine", "unplugged", "plug it in again")
    run.state.health.mark_down("model", "no model called 'x'", "bring one")
    run.state.health.mark_down(outlet_part("bell.sh"), "ended with 1", "run it by hand")
    lost = {loss["part"]: loss["outlook"] for loss in ask_json(web, "/api/state")[1]["lost"]}
    assert lost["engine"] == "still looking for it" and lost["model"] == "resumes by itself once that is fixed"
    assert lost["events to bell.sh"] == lost["model"], "it is no device that is looked for"


@pytest.mark.parametrize(
    ("path", "wish", "said"),
    [
        ("/api/teach/record", {"label": 7}, "label: expected a string or null, not a number"),
        ("/api/teach/undo", {"use": 1}, "use: expected true or false, not a number"),
        ("/api/teach/pin", {"x": 1}, "expected an object with nothing in it"),
        ("/api/models/use", {"name": True}, "name: expected a string, not true or false"),
        ("/api/models/use", {"name": "x", "y": 1}, "expected an object with name"),
        ("/api/models/use", {}, "expected an object with name"),
        ("/api/share", {"open": True, "for_s": "1h"}, "for_s: expected a number or null, not a string"),
        ("/api/pause", {"paused": True, "by": "x"}, 'expected {"paused": true} or {"paused": false}'),
    ],
)
def test_a_request_with_wrong_keys_is_told_which_are_expected(web: Web, path: str, wish: object, said: str) -> None:
    status, body = ask_json(web, path, "POST", wish)
    assert (status, body["error"]) == (422, said)


class Ear:
    """Hears server-sent events."""

    def __init__(self, web: Web, last: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=10)
        self.connection.request("GET", "/api/events", headers={"Last-Event-ID": last} if last else {})
        self.answer = self.connection.getresponse()
        assert self.answer.getheader("Content-Type") == "text/event-stream"
        self.ident = ""

    def next(self, wanted: str) -> Any:
        kind = ""
        while line := self.answer.readline().decode().rstrip("\n"):
            pass
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if line.startswith("id: "):
                self.ident = line[4:]
            elif line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: ") and kind == wanted:
                return json.loads(line[6:])

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


def test_a_new_listener_is_sent_the_last_changes_however_old_they_are(run: Run) -> None:
    run.state.announce(Change("label", time.time() - 3600, label="hours ago"))
    with serving(run) as web:
        ear = Ear(web)
        assert "hours ago" in [change.get("label") for change in ear.next("history")["changes"]]
        ear.close()


def test_events_for_changes_results_and_the_state(web: Web, run: Run) -> None:
    ear = Ear(web)
    history = ear.next("history")["changes"]
    assert history[-1]["label"] == "one"
    assert ear.next("state")["live"]["values"]["decide.threshold"] == 0.6
    run.label = "two"
    assert ear.next("change") | {"at": 0, "score": 0} == {
        "kind": "label",
        "at": 0,
        "label": "two",
        "previous": "one",
        "score": 0,
    }
    until(lambda: ear.next("result")["result"]["label"] == "two")
    run.pull()
    lost = ear.next("change")
    assert (lost["kind"], lost["part"], lost["hint"]) == ("lost", "camera", "plug it in again")
    ident = ear.ident
    ear.close()
    run.plug()
    again = Ear(web, ident)
    assert again.next("change")["kind"] == "found", "what happened meanwhile is caught up"
    again.close()


def test_sliders_act_at_once_and_are_undone(web: Web, run: Run) -> None:
    status, body = ask_json(web, "/api/config", "PATCH", {"decide.threshold": 0.9, "preprocess.canny": [50, 20]})
    assert status == 200 and body["changed"] == ["decide.threshold", "preprocess.canny"]
    assert run.state.tuning.decide.threshold == 0.9
    assert ask_json(web, "/api/config/undo", "POST", {})[1]["changed"] == []
    assert ask_json(web, "/api/config", "PATCH", {"decide.threshold": 7})[0] == 422
    assert ask_json(web, "/api/config", "PATCH", [1])[0] == 422
    assert ask(web, "/api/config", "PATCH", b"{", Content_Type="application/json")[0] == 400
    assert ask(web, "/api/config", "PATCH", b"[" * 15000, Content_Type="application/json")[0] == 400


def test_a_drag_is_one_entry_of_the_stream_and_undo_names_what_it_takes_back(web: Web, run: Run) -> None:
    ear = Ear(web)
    ear.next("state")
    for value in (0.61, 0.64, 0.7):
        ask_json(web, "/api/config?gesture=drag-1", "PATCH", {"decide.threshold": value})
    body = ask_json(web, "/api/config", "PATCH", {"preprocess.canny.0": 92})[1]
    assert body["values"]["preprocess.canny"] == [92, 30]
    drags = [ear.next("change") for _ in range(2)]
    assert [(change["kind"], change["part"]) for change in drags] == [
        ("tuning", "decide.threshold"),
        ("tuning", "preprocess.canny.0"),
    ]
    ear.close()
    newest = ask_json(web, "/api/config")[1]["undo"]["id"]
    assert ask_json(web, "/api/config/undo", "POST", {"id": 10**9})[0] == 422
    assert ask_json(web, "/api/config/undo", "POST", {"id": "x"})[0] == 422
    drag = next(i for i in range(newest - 1, 0, -1) if ask_json(web, "/api/config/undo", "POST", {"id": i})[0] == 200)
    assert drag and run.state.tuning.decide.threshold == 0.6
    assert ask_json(web, "/api/config")[1]["values"]["preprocess.canny"] == [92, 30]


def test_the_region_is_changed_by_programs_and_the_state_tells_its_box(web: Web, run: Run) -> None:
    roi = {"x": 0.25, "y": 0.75, "size": 0.5}
    status, body = ask_json(web, "/api/config", "PATCH", {"preprocess.roi": roi})
    assert status == 200 and body["values"]["preprocess.roi"] == roi
    until(lambda: ask_json(web, "/api/state")[1]["picture"]["box"] == [20, 120, 120, 120])
    run.more = {"rotate": 90}
    until(lambda: ask_json(web, "/api/state")[1]["picture"]["box"] == [0, 160, 160, 160])
    assert ask_json(web, "/api/config", "PATCH", {"preprocess.roi": 0.4})[1]["values"]["preprocess.roi"] == 0.4
    status, body = ask_json(web, "/api/config", "PATCH", {"preprocess.roi": {"x": 2, "y": 0, "size": 1}})
    assert status == 422 and "preprocess.roi" in body["error"]


def test_the_cameras_settings_are_listed_and_set(web: Web, run: Run) -> None:
    assert ask_json(web, "/api/controls")[1] == {"camera": "", "controls": [], "problems": []}
    assert ask_json(web, "/api/controls", "POST", {"gain": 3})[0] == 422
    menu = Control("auto_exposure", "Auto Exposure", "menu", 0, 3, 1, 3, 3, {1: "Manual Mode", 3: "Aperture Priority"})
    gain = Control("gain", "Gain", "integer", 0, 255, 1, 64, 64)
    run.state.camera.tell(Report("C920", (menu, gain)))
    status, body = ask_json(web, "/api/controls")  # nobody reads the camera here: the last answer, after a while
    assert status == 200 and [c["name"] for c in body["controls"]] == ["auto_exposure", "gain"]
    assert body["controls"][0]["menu"] == [
        {"value": 1, "text": "Manual Mode"},
        {"value": 3, "text": "Aperture Priority"},
    ]
    assert ask_json(web, "/api/controls", "POST", {"gain": 100, "auto_exposure": "manual mode"})[0] == 200
    assert run.state.tuning.controls == {"gain": 100, "auto_exposure": 1}
    for wrong, said in (({"gian": 1}, "did you mean gain?"), ({"gain": 999}, "0 to 255, default 64"), ([1], "")):
        status, body = ask_json(web, "/api/controls", "POST", wrong)
        assert status == 422 and said in body["hint"]
    undone = ask_json(web, "/api/config/undo", "POST", {})[1]
    assert undone["changed"] == [] and run.state.tuning.controls == {"gain": 64, "auto_exposure": 3}


def test_keep_writes_the_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("decide: {threshold: 0.6} # mine\n")
    with serving(run, config_path=path) as web:
        ask_json(web, "/api/config", "PATCH", {"decide.threshold": 0.7})
        status, body = ask_json(web, "/api/config/keep", "POST", {})
    assert status == 200 and body["written"] == ["decide.threshold"]
    assert path.read_text() == "decide: {threshold: 0.7} # mine\n"


def test_metrics_are_what_prometheus_reads(web: Web, run: Run) -> None:
    began_s = run.state.stats.started_s - 0.001
    run.pull()
    run.state.stats.latency["openvino:CPU"] = Histogram()
    run.state.stats.latency["openvino:CPU"].add(0.003)
    outlet = OutletReport("b", "mqtt", False, "away", "", sent=3, failed=0, dropped=1, queued=2)
    run.state.reports.events.serve(lambda: (outlet,))
    status, headers, body = ask(web, "/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    values = {(s.name, *sorted(s.labels.items())): s.value for f in families.values() for s in f.samples}
    assert values["picam_frames_total",] > 0 and 0 < values["picam_uptime_seconds",] < time.monotonic() - began_s
    assert values["picam_lost", ("part", "camera")] == 1 and values["picam_losses_total", ("part", "camera")] == 1
    assert values["picam_lost_seconds_total", ("part", "camera")] > 0
    assert values["picam_inference_seconds_bucket", ("engine", "openvino:CPU"), ("le", "0.005")] == 1
    assert values["picam_inference_seconds_count", ("engine", "openvino:CPU")] == 1
    assert values["picam_events_dropped_total", ("kind", "mqtt"), ("outlet", "b")] == 1
    assert values["picam_web_clients", ("kind", "raw")] == 0
    assert families["picam_inference_seconds"].type == "histogram"
    open_metrics = ask(web, "/metrics", Accept="application/openmetrics-text; version=1.0.0")[2]
    assert open_metrics.endswith(b"# EOF\n")


def test_kept_pictures_are_shown_and_zipped(run: Run, tmp_path: Path) -> None:
    run.label = None
    with Collector(config.Keep(folder=str(tmp_path), every_s=0.1, reserve_mb=0), run.state) as collector:
        until(lambda: collector.report().pictures >= 2)
        with serving(run, collection=collector) as web:
            body = ask_json(web, "/api/kept")[1]
            assert body["on"] and body["pictures"][0]["label"] is None
            name = body["pictures"][0]["name"]
            assert image(ask(web, f"/kept/{name}")[2]).shape == (240, 320, 3)
            assert ask(web, "/kept/..%2f..%2fetc%2fpasswd")[0] == 404
            status, headers, data = ask(web, "/kept.zip")
            assert status == 200 and "digits-kept.zip" in headers["content-disposition"]
            names = zipfile.ZipFile(io.BytesIO(data)).namelist()
            assert len(names) >= 3 and all(n.startswith("unknown/") for n in names if n != "labels.json")


def test_kept_pictures_have_thumbnails_and_are_cached(run: Run, tmp_path: Path) -> None:
    run.label, run.more = None, {"rotate": 90}
    until(lambda: run.state.frames.peek()[1].rotate == 90)
    with Collector(config.Keep(folder=str(tmp_path), every_s=0.1, reserve_mb=0), run.state) as collector:
        until(lambda: collector.report().pictures >= 3)
        with serving(run, collection=collector) as web:
            assert len(ask_json(web, "/api/kept?count=2")[1]["pictures"]) == 2
            name = ask_json(web, "/api/kept")[1]["pictures"][0]["name"]
            whole, small = ask(web, f"/kept/{name}"), ask(web, f"/kept/thumbnail/{name}")
            assert image(small[2]).shape == (320, 240, 3), "upright"
            assert image(small[2])[40, -20, 2] > 200, "the mark, from the top left to the top right"
            for _, headers, _ in (whole, small):
                assert "immutable" in headers["cache-control"] and "private" in headers["cache-control"]
            (tmp_path / name).write_bytes(b"\xff\xd8 no picture")
            assert ask(web, f"/kept/thumbnail/{name}")[0] == 404
            assert ask(web, "/kept/thumbnail/..%2fetc%2fpasswd")[0] == 404


def test_the_networks_input_is_there_on_request_even_without_a_monitor(web: Web, run: Run) -> None:
    assert ask(web, "/input.png")[0] == 204 and run.state.input_wanted
    result = until(lambda: run.state.results.peek())[1]
    input_image = np.zeros((28, 20, 3), np.uint8)
    input_image[:, :, 2] = 200  # red
    for given, colour in ((input_image, [0, 0, 200]), (input_image[:, :, 2:], [200, 200, 200])):
        run.hold()
        run.state.results.put(replace(result, input_image=given, monotonic_s=time.monotonic()))
        status, headers, data = ask(web, "/input.png")
        assert status == 200 and headers["content-type"] == "image/png" and headers["cache-control"] == "no-store"
        assert image(data).shape == (28, 20, 3) and image(data)[5, 5].tolist() == colour
    run.pull()
    assert ask(web, "/input.png")[0] == 204, "what was seen is no longer so"


def test_nothing_is_kept_when_off(web: Web) -> None:
    assert ask_json(web, "/api/kept")[1] == {"on": False, "pictures": []}
    assert ask(web, "/kept.zip")[0] == 404


def test_pausing_from_the_page(run: Run, web: Web) -> None:
    status, body = ask_json(web, "/api/pause", "POST", {"paused": True})
    assert status == 200 and body["paused"]["by"] == "page" and body["paused"]["text"] == "paused by the page"
    assert ask_json(web, "/api/state")[1]["paused"] == body["paused"]
    run.pull()  # no pictures, and nobody expects any
    run.state.frames.clear()
    assert ask_json(web, "/healthz") == (200, {"ok": True, "reason": ""})
    assert image(ask(web, "/snapshot.jpg")[2]).shape == (240, 320, 3)
    assert ask_json(web, "/snapshot.jpg?raw=1")[1]["error"] == "paused by the page"
    assert ask_json(web, "/api/pause", "POST", {"paused": False}) == (200, {"paused": None})
    assert ask_json(web, "/healthz")[0] == 503
    for wrong in ({}, [], {"paused": 1}, {"paused": True, "by": "x"}):
        assert ask_json(web, "/api/pause", "POST", wrong)[0] == 422


def test_the_description_names_every_endpoint(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    make, served = server.application, list[Any]()

    def application(*given: Any) -> Any:
        served.append(make(*given))
        return served[0]

    monkeypatch.setattr(server, "application", application)
    with serving(run) as web:
        described = ask_json(web, "/openapi.json")[1]
        state, live = ask_json(web, "/api/state")[1], ask_json(web, "/api/config")[1]
    paths = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    routes = {(route.method, route.resource.canonical) for route in served[0].router.routes()}
    assert paths == {(method, path) for method, path in routes if method not in ("HEAD", "*")}
    document = (Path(__file__).parents[3] / "docs/http-api.md").read_text("utf-8")
    named = {path.replace("{name}", "NAME").replace("{id}", "ID") for _, path in paths}
    assert [path for path in sorted(named) if not re.search(rf"[`/ ]?{re.escape(path)}(?![\w/-])", document)] == []
    parts = described["components"]["schemas"]
    result = parts["Result"]
    assert set(result["required"]) <= set(state["result"]) <= set(result["properties"])
    assert set(parts["State"]["required"]) <= set(state) <= set(parts["State"]["properties"])
    assert set(live) == set(parts["Live"]["required"])
    for reference in re.findall(r'"#/components/(\w+)/(\w+)"', json.dumps(described)):
        assert reference[1] in described["components"][reference[0]]


def test_the_schemas_are_those_of_the_types() -> None:
    assert schemas.DESCRIPTION.read_text("utf-8") == schemas.written(), "run scripts/openapi"


def test_answers_are_of_the_types_that_describe_them(web: Web, run: Run) -> None:
    run.state.health.mark_down("display", "unplugged", "plug it in")
    ask_json(web, "/api/config", "PATCH", {"decide.threshold": 0.4})
    for path, kind in (
        ("/api/state", schemas.State),
        ("/api/config", schemas.Live),
        ("/healthz", schemas.Health),
        ("/api/controls", schemas.Controls),
        ("/api/share", schemas.Share),
    ):
        msgspec.convert(ask_json(web, path)[1], kind, strict=True)
    refused = ask_json(web, "/api/config", "PATCH", {"decide.threshold": 9})
    assert refused[0] == 422 and msgspec.convert(refused[1], schemas.Problem).error


@pytest.mark.parametrize("host", ["0.0.0.0", "", "[::]"])
def test_every_address_that_is_named_answers(
    host: str, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("picam_infer.platform.addresses.own", lambda: ["127.0.0.1", "::1"])
    monkeypatch.setattr("picam_infer.platform.addresses.host_name", str)
    caplog.set_level(logging.INFO)
    try:
        with socket.socket(socket.AF_INET6) as free:
            free.bind(("::1", 0))
            port = free.getsockname()[1]
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving(run, Settings(listen=f"{host}:{port}")):
        (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("web: http")]
        named = re.findall(r"http://\[?([0-9.:]+?)\]?:(\d+)/", line)
        assert len(named) == {"": 2}.get(host, 1)
        for address, _ in named:
            socket.create_connection((address, port), timeout=5).close()


def test_any_free_port_is_the_same_one_on_all_addresses(run: Run) -> None:
    with serving(run, Settings(listen=":0")) as web:
        for host in ("127.0.0.1", "::1"):
            try:
                socket.create_connection((host, web.port), timeout=5).close()
            except OSError as error:
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # no IPv6 here
                    raise


def test_a_port_in_use_is_waited_for(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "RETRY_S", 0.1)
    tries: list[object] = []
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **more: tries.append(given) or look_up(*given, **more))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Web(Settings(listen=f"127.0.0.1:{port}"), run.state, run.render) as web:
            until(lambda: run.state.as_json()["web"]["reason"] == "Address already in use")
            tried = len(tries)
            until(lambda: len(tries) >= tried + 3)
            assert not web.listening.is_set()
            taken.close()
            assert web.listening.wait(5)
            assert ask(web, "/healthz")[0] == 200 and run.state.as_json()["web"]["reason"] == ""
    (said,) = [record.getMessage() for record in caplog.records if "cannot listen" in record.getMessage()]
    assert f"cannot listen on 127.0.0.1:{port}: port {port} is used" in said
    assert "or set web.listen: 127.0.0.1:" in said and "trying again every" in said
    assert "web" not in run.state.as_json()


def test_closing_hangs_up_on_watchers_at_once(run: Run) -> None:
    with serving(run) as web, watching(web) as drawn, watching(web, "/stream.mjpg?raw=1") as raw:
        ear = Ear(web)
        next(drawn), next(raw), ear.next("state")
        web.close()
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("web")]
    ear.close()


def test_it_opens_again_on_the_same_port(run: Run) -> None:
    with serving(run) as web, watching(web) as parts:
        next(parts)
        port = web.port
    with serving(run, Settings(listen=f"127.0.0.1:{port}")) as again:
        assert ask(again, "/healthz")[0] == 200


def test_ipv6_and_names(run: Run) -> None:
    with serving(run, Settings(listen="localhost:0")) as web:
        assert ask(web, "/healthz", Host=f"localhost:{web.port}")[0] == 200


def test_web_off_imports_nothing_of_it() -> None:
    code = (
        "import sys, picam_infer.runtime.supervisor, picam_infer.cli, picam_infer.cli.check;"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('aiohttp', 'paho', 'prometheus_client', 'asyncio', 'ssl')"
        " or m.startswith(tuple('picam_infer.outputs.' + name for name in ('web.server', 'events', 'dataset')))];"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_loads_only_what_it_needs() -> None:
    code = (
        "import sys, picam_infer.outputs.web.server;"
        "bad = {'prometheus_client', 'openvino'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_server_that_needs_its_client_gets_it(tmp_path: Path) -> None:
    package = tmp_path / "aiohttp"
    package.mkdir()
    (package / "__init__.py").write_text("client = 1\n")
    (package / "web.py").write_text("from aiohttp import client\n")
    code = "import sys, picam_infer.outputs.web; import aiohttp.web; sys.exit(0 if aiohttp.web.client == 1 else 1)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr


def test_slow_handlers_do_not_pile_up_threads(web: Web) -> None:
    before = threading.active_count()
    for _ in range(20):
        assert ask(web, "/snapshot.jpg")[0] == 200
    assert threading.active_count() <= before + 8
