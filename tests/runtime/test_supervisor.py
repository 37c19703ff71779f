"""The main loop as its users meet it: a process, its signals, its screen, its service manager."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import stick_lab
from makers import jpeg_frame, make_bundle, picture, until
from visitors import ask, ask_json, watching

from picam_infer import config
from picam_infer.config import Capture, Config, Decide, DisplaySettings
from picam_infer.core import Disconnected, Frame, Overlay, Pixels, Prediction, Result, Unavailable
from picam_infer.imaging import decode, region
from picam_infer.imaging.letterbox import laid_over
from picam_infer.imaging.region import Region
from picam_infer.inference.classifier import Classifier
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Edges, Photo
from picam_infer.outputs import annotate, display
from picam_infer.outputs.annotator import StreamAnnotator
from picam_infer.outputs.display import screen as screens
from picam_infer.outputs.display.screen import ClosedWindow, Screen
from picam_infer.outputs.web.server import Web
from picam_infer.platform import udev, x11
from picam_infer.platform.systemd import Notifier
from picam_infer.runtime import parts
from picam_infer.runtime.health import Health
from picam_infer.runtime.options import Options
from picam_infer.runtime.settings import RuntimeSettings
from picam_infer.runtime.state import State, Tuning
from picam_infer.runtime.status_text import fresh_result, status_text
from picam_infer.runtime.supervisor import Supervisor
from picam_infer.runtime.viewer import Viewer
from picam_infer.sources.frames import make_frame

Start = Callable[..., subprocess.Popen[str]]
pytestmark = pytest.mark.counted
PATIENCE_S = 300 if "PICAM_EMULATED" in os.environ else 60
"""How long a started program may take to do what it does in a second or two."""


def rewrite(path: Path, text: str) -> None:
    """Write a file as a whole, as editors do: a service that looks at it in the middle would take an empty one."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `picam-infer WORDS…` as a real process; what is left at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def begin(*words: object, stderr: Any = subprocess.PIPE, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "picam_infer", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "HOME": str(tmp_path), **environment},
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for i, value in enumerate((0, 255, 0)):
        cv2.imwrite(str(folder / f"{i}.png"), picture(value))
    return folder


class Manager:
    """systemd's end of the notification socket."""

    def __init__(self, folder: Path) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(folder / "notify"))
        self.said: list[str] = []
        self.environment = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "1000000"}

    def hears(self, text: str, timeout_s: float = PATIENCE_S) -> str:
        """Wait for a message that holds the text, and return it."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            self._sock.settimeout(max(0.01, deadline_s - time.monotonic()))
            try:
                message = self._sock.recv(4096).decode()
            except TimeoutError:
                raise AssertionError(f"never heard {text!r}, only {self.said}") from None
            self.said.append(f"{time.monotonic():.2f} {message}")
            if text in message:
                return message

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


def test_the_watchdog_waits_for_the_first_answer_even_if_the_camera_comes_late(
    start: Start, tmp_path: Path, manager: Manager
) -> None:
    """Meanwhile it is known why there are no results: that says nothing about how long the model takes to load."""
    make_bundle(tmp_path / "m")
    start("run", "--source", "http://127.0.0.1:9/", "--model", tmp_path / "m", "--display", "none",
          **manager.environment)  # fmt: skip
    manager.hears("WATCHDOG_USEC=300000000")
    for _ in range(3):
        assert manager.hears("WATCHDOG") == "WATCHDOG=1"


def test_the_watchdog_waits_no_longer_than_usual_once_there_are_answers(
    start: Start, tmp_path: Path, manager: Manager
) -> None:
    make_bundle(tmp_path / "m")
    start("run", "--source", "demo", "--model", tmp_path / "m", "--display", "none", **manager.environment)
    manager.hears("WATCHDOG_USEC=300000000")
    manager.hears("WATCHDOG_USEC=1000000\nWATCHDOG=1")


def test_a_folder_of_pictures_is_named_in_full(start: Start, tmp_path: Path, album: Path) -> None:
    make_bundle(tmp_path / "m")
    process = start("run", "--source", album, "--model", tmp_path / "m", "--display", "none", "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    results = [json.loads(line) for line in out.splitlines()]
    assert [r["label"] for r in results] == ["dark", "bright", "dark"]
    assert set(results[0]) == {"seq", "captured", "label", "score", "top", "engine", "infer_ms", "age_ms", "image"}
    assert [Path(r["image"]) for r in results] == sorted(album.iterdir())
    assert results[0]["engine"] == "openvino:CPU"
    assert "Traceback" not in err
    assert [line for line in err.splitlines() if line.endswith("the end: 3 pictures: dark 2, bright 1")]


def test_the_demo_prints_as_many_results_as_asked(start: Start, tmp_path: Path) -> None:
    make_bundle(tmp_path / "m")
    process = start("run", "--source", "demo", "--model", tmp_path / "m", "--display", "none", "--frames", 10, "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(out.splitlines()) == 10


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--model", "nope", "--source", "demo"], 66, "no model called 'nope'"),
        (["--source", "/no/such/file.mp4"], 66, "/no/such/file.mp4"),
        (["-c", "/no/such.yaml"], 78, "no such file"),
        (["--frames", "0"], 2, "must be 1 or more"),
        (["--engine", "gpu"], 2, "invalid choice"),
    ],
)
def test_mistakes_are_one_line_and_an_exit_code(
    start: Start, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    make_bundle(tmp_path / "m")
    model = [] if "--model" in words else ["--model", str(tmp_path / "m")]
    process = start("run", "--display", "none", *model, *words)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err


def test_an_error_that_comes_while_the_page_opens_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bundle(tmp_path / "m")
    opening = threading.Event()

    def refuse(*_: object) -> Classifier:
        assert opening.wait(PATIENCE_S)
        raise Unavailable("this device is not here", "set engine.device")

    def opened_late(page: Web) -> Web:
        opening.set()
        for thread in threading.enumerate():
            if thread.name == "infer":
                thread.join(PATIENCE_S)
        return page

    monkeypatch.setattr(parts, "classifier_opener", lambda *_: refuse)
    monkeypatch.setattr(Web, "__enter__", opened_late)
    settings = Config(source="demo", model=str(tmp_path / "m"), display=DisplaySettings(kind="none"))
    with pytest.raises(Unavailable, match="this device is not here"):
        Supervisor(settings, Options(None), Notifier()).run()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_in_time(start: Start, tmp_path: Path, number: int) -> None:
    make_bundle(tmp_path / "m")
    process = start("run", "--source", "demo", "--model", tmp_path / "m", "--display", "none", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "Traceback" not in err


def test_a_source_that_hangs_does_not_hold_up_the_end(start: Start, tmp_path: Path) -> None:
    make_bundle(tmp_path / "m")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/stream"
        process = start("run", "--source", address, "--model", tmp_path / "m", "--display", "none")
        server.settimeout(30)
        visitor, _ = server.accept()  # and never an answer
        with visitor:
            process.terminate()
            _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "Traceback" not in err


@pytest.mark.skipif(not stick_lab.COMPILER, reason="needs a C compiler for the stand-in libmvnc")
def test_a_stick_comes_goes_and_hangs(start: Start, sticks: stick_lab.StickLab, tmp_path: Path) -> None:
    """Against a libmvnc whose sticks are not on the kernel's list: all that the service knows, it has from there."""
    stick_lab.twin(tmp_path / "twin")
    settings = {
        "source": "demo",
        "model": str(tmp_path / "twin"),
        "display": {"kind": "none"},
        "capture": {"width": 640, "height": 480},
        "engine": {"deadline_s": 0.5},
    }
    (tmp_path / "c.yaml").write_text(json.dumps(settings))
    sticks.plug()
    process = start("run", "-c", tmp_path / "c.yaml", "--json")

    def until(name: str) -> None:
        """Wait for a result from this engine."""
        assert process.stdout
        assert any(json.loads(line)["engine"] == name for line in process.stdout), "it ended"

    until("ncs:2-ma2450")
    sticks.unplug()
    until("openvino:CPU")
    sticks.plug()
    until("ncs:2-ma2450")
    sticks.set("2", hang="")
    until("openvino:CPU")
    process.terminate()
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "Traceback" not in err


def test_a_reader_that_leaves_ends_it_quietly(start: Start, tmp_path: Path) -> None:
    make_bundle(tmp_path / "m")
    process = start("run", "--source", "demo", "--model", tmp_path / "m", "--display", "none", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    assert "Traceback" not in err


def service_file(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "c.yaml"
    rewrite(path, json.dumps({"source": "demo", "model": str(tmp_path / "m"), "display": {"kind": "none"}, **changes}))
    return path


def test_ready_comes_after_the_first_answer_and_the_watchdog_is_fed(
    start: Start, manager: Manager, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "m")
    process = start("run", "-c", service_file(tmp_path), **manager.environment)
    manager.hears("READY=1")
    manager.hears("WATCHDOG=1")
    manager.hears("STATUS=sees")
    process.terminate()
    manager.hears("STOPPING=1")
    assert process.wait(10) == 0


def test_a_service_that_begins_gives_its_first_answer_before_its_page_and_is_ready_with_both(
    start: Start, manager: Manager, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "m")
    path, log = service_file(tmp_path, web={"listen": "127.0.0.1:0"}), tmp_path / "log"
    with log.open("w") as out:
        process = start("run", "-c", path, stderr=out, **manager.environment)
        manager.hears("READY=1")
        assert ask(served(process, log), "/")[0] == 200
        process.terminate()
        assert process.wait(10) == 0
    assert re.search(r"sees (dark|bright).*web: http", log.read_text(), re.DOTALL), (
        "the label does not wait for the page"
    )


def test_a_service_without_a_camera_has_its_page(start: Start, manager: Manager, tmp_path: Path) -> None:
    make_bundle(tmp_path / "m")
    path = service_file(tmp_path, web={"listen": "127.0.0.1:0"}, source="camera:no such camera")
    log = tmp_path / "log"
    with log.open("w") as out:
        process = start("run", "-c", path, stderr=out, **manager.environment)
        manager.hears("READY=1")
        assert ask_json(served(process, log), "/api/state")[1]["lost"][0]["part"] == "camera"
        process.terminate()
        assert process.wait(10) == 0


def test_a_driver_that_never_answers_does_not_feed_the_watchdog(manager: Manager, tmp_path: Path) -> None:
    make_bundle(tmp_path / "m")
    code = (
        "import sys; from picam_infer import cli; from picam_infer.runtime import pipeline; "
        "from picam_infer.sources import network\n"
        "pipeline.STUCK_S, network.OPEN_S = 0.3, 300.0; sys.exit(cli.main(sys.argv[1:]))"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes the call and says nothing
        file = service_file(tmp_path, source=f"http://127.0.0.1:{server.getsockname()[1]}/stream")
        process = subprocess.Popen(
            [sys.executable, "-c", code, "run", "-c", str(file)],
            stderr=subprocess.PIPE,
            env={**os.environ, **manager.environment},
        )
        try:
            manager.hears("STATUS=camera lost: its driver has not answered")
            with pytest.raises(AssertionError, match="never heard"):
                manager.hears("WATCHDOG=1", 2)
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)


def test_a_missing_camera_is_waited_for(start: Start, manager: Manager, tmp_path: Path) -> None:
    make_bundle(tmp_path / "m")
    process = start("run", "-c", service_file(tmp_path, source="camera:no such camera"), **manager.environment)
    manager.hears("READY=1")
    assert "camera lost" in manager.hears("STATUS=camera")
    manager.hears("WATCHDOG=1")
    process.terminate()
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert err.count("camera lost") == 1, "one line a loss"


def served(process: subprocess.Popen[str], log: Path) -> SimpleNamespace:
    """Wait for the page of a process that logs into a file."""
    port = until(lambda: re.search(r"web: http://127\.0\.0\.1:(\d+)/", log.read_text()), PATIENCE_S)[1]
    return SimpleNamespace(port=int(port))


def test_a_missing_model_is_waited_for_with_the_page_up(start: Start, manager: Manager, tmp_path: Path) -> None:
    path, log = service_file(tmp_path, web={"listen": "127.0.0.1:0"}), tmp_path / "log"
    with log.open("w") as out:
        process = start("run", "-c", path, stderr=out, **manager.environment)
        manager.hears("READY=1")
        assert "there is no model folder" in manager.hears("STATUS=cannot start")
        web = served(process, log)
        state = ask_json(web, "/api/state")[1]
        assert [(loss["part"], loss["title"]) for loss in state["lost"]] == [("model", "cannot start")]
        assert state["model"] == str(tmp_path / "m")
        assert ask_json(web, "/healthz")[1]["reason"].startswith("cannot start: there is no model folder")
        assert ask(web, "/snapshot.jpg")[2][:2] == b"\xff\xd8"
        assert ask(web, "/")[0] == 200
        for _ in range(3):
            manager.hears("WATCHDOG=1")
        (tmp_path / "m").mkdir()
        manager.hears("STATUS=cannot start: " + str(tmp_path / "m") + " is not a model folder")
        make_bundle(tmp_path / "m")
        manager.hears("STATUS=sees")
        process.terminate()
        assert process.wait(10) == 0
    lines = log.read_text().splitlines()
    assert sum("cannot start: there is no model folder" in line for line in lines) == 1, "one line a reason"
    assert sum("cannot start" in line for line in lines) == 2 and "Traceback" not in log.read_text()


def test_a_broken_model_is_waited_for_until_it_has_changed(start: Start, manager: Manager, tmp_path: Path) -> None:
    """As a folder is that is still being copied: first its labels are too few, then the network is cut off."""
    make_bundle(tmp_path / "whole")
    make_bundle(tmp_path / "m")
    network = (tmp_path / "m" / "model.xml").read_bytes()
    (tmp_path / "m" / "model.xml").write_bytes(network[:200])
    process = start("run", "-c", service_file(tmp_path), **manager.environment)
    manager.hears("STATUS=cannot start")
    for _ in range(4):
        manager.hears("WATCHDOG=1")
    (tmp_path / "m" / "labels.txt").write_text("one\n")
    (tmp_path / "m" / "model.xml").write_bytes(network)
    manager.hears("labels")
    (tmp_path / "m" / "labels.txt").write_text("dark\nbright\n")
    manager.hears("STATUS=sees")
    process.terminate()
    _, err = process.communicate(timeout=10)
    said = [line for line in err.splitlines() if "cannot start" in line]
    assert len(said) == len(set(said)) and process.returncode == 0


def test_a_missing_file_is_waited_for_by_a_service(start: Start, manager: Manager, tmp_path: Path) -> None:
    make_bundle(tmp_path / "m")
    process = start("run", "-c", service_file(tmp_path, source=str(tmp_path / "a.png")), **manager.environment)
    manager.hears("READY=1")
    manager.hears(f"there is no file or folder {tmp_path}/a.png")
    manager.hears("WATCHDOG=1")
    cv2.imwrite(str(tmp_path / "b.png"), picture(255))
    (tmp_path / "b.png").rename(tmp_path / "a.png")
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, "played in full"
    assert err.count("there is no") == 1 and "sees bright" in err


def test_a_broken_configuration_is_waited_for(start: Start, manager: Manager, tmp_path: Path) -> None:
    make_bundle(tmp_path / "m")
    path = service_file(tmp_path)
    good = path.read_text()
    rewrite(path, "source: demo\ncaptur: {}\n")
    process = start("run", "-c", path, **manager.environment)
    manager.hears("READY=1")
    assert f"{path}:2: captur: no such key; did you mean capture?" in manager.hears("STATUS=wrong configuration")
    rewrite(path, "display: {kind: none}\nlog: {level: loud}\n")
    assert f"{path}:2: log.level" in manager.hears("STATUS=wrong configuration")
    manager.hears("WATCHDOG=1")
    process.send_signal(signal.SIGHUP)
    manager.hears("RELOADING=1")
    manager.hears("READY=1")
    rewrite(path, good)
    manager.hears("STATUS=sees")
    process.terminate()
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert err.count(":2: captur: no such key") == 1 and err.count("log.level") == 1, "one line a change"


def test_settings_that_do_not_fit_the_model_are_waited_for(start: Start, manager: Manager, tmp_path: Path) -> None:
    make_bundle(tmp_path / "m")
    path = service_file(tmp_path)
    good = path.read_text()
    service_file(tmp_path, preprocess={"canny": [90, 30]})
    process = start("run", "-c", path, **manager.environment)
    assert "canny" in manager.hears("STATUS=wrong configuration")
    rewrite(path, good)
    manager.hears("STATUS=sees")
    process.terminate()
    assert process.wait(10) == 0


def test_a_refused_reload_stays_in_the_status_until_it_is_mended(
    start: Start, manager: Manager, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "m")
    path = service_file(tmp_path)
    good = path.read_text()
    process = start("run", "-c", path, **manager.environment)
    manager.hears("STATUS=sees")
    rewrite(path, "captur: {}\n")
    process.send_signal(signal.SIGHUP)
    said = manager.hears("STATUS=the new configuration is refused")
    assert f"{path}:1: captur" in said and "with the one before: " in said
    rewrite(path, good)
    process.send_signal(signal.SIGHUP)
    manager.hears("STATUS=sees")
    process.terminate()
    assert process.wait(10) == 0


def test_reload_takes_a_good_file_and_refuses_a_bad_one(start: Start, manager: Manager, tmp_path: Path) -> None:
    make_bundle(tmp_path / "m")
    make_bundle(tmp_path / "other", labels=("x", "y"))
    path = service_file(tmp_path)
    process = start("run", "-c", path, **manager.environment)
    manager.hears("STATUS=sees")
    rewrite(path, "source: demo\nmodle: x\n")
    process.send_signal(signal.SIGHUP)
    manager.hears("RELOADING=1")
    assert "is refused" in manager.hears("READY=1"), "the old line would pass for the new settings' own"
    service_file(tmp_path, model=str(tmp_path / "missing"))
    process.send_signal(signal.SIGHUP)
    manager.hears("RELOADING=1")
    manager.hears("READY=1")
    service_file(tmp_path, model=str(tmp_path / "other"), decide={"threshold": 0.01})
    process.send_signal(signal.SIGHUP)
    manager.hears("RELOADING=1")
    assert manager.hears("READY=1").startswith(("STATUS=sees x", "STATUS=sees y"))
    assert manager.hears("STATUS=sees").startswith(("STATUS=sees x", "STATUS=sees y"))
    process.terminate()
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0
    refused = [line for line in err.splitlines() if "the old one stays" in line]
    assert len(refused) == 2
    assert "did you mean model?" in refused[0]


def test_a_model_that_looks_elsewhere_leaves_the_visitors_of_a_demo_alone(
    start: Start, manager: Manager, tmp_path: Path
) -> None:
    place = Region(0.2, 0.5, 0.3)
    make_bundle(tmp_path / "m", chain=Edges(), shape=(1, 28, 28, 1))
    make_bundle(tmp_path / "other", chain=Edges(roi=place), shape=(1, 28, 28, 1))
    path, log = service_file(tmp_path, web={"listen": "127.0.0.1:0"}), tmp_path / "log"
    with log.open("w") as out:
        process = start("run", "-c", path, stderr=out, **manager.environment)
        manager.hears("READY=1")
        page: Any = served(process, log)
        with watching(page, "/stream.mjpg?raw=1") as pictures:
            next(pictures)
            service_file(tmp_path, web={"listen": "127.0.0.1:0"}, model=str(tmp_path / "other"))
            process.send_signal(signal.SIGHUP)
            manager.hears("RELOADING=1")
            manager.hears("READY=1")
            assert ask_json(page, "/api/state")[1]["model"] == "other"
            until(lambda: np.ptp(decode.grey_square(coded(next(pictures)[1]), place, 10_000).astype(int)) > 80)
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def coded(jpeg: bytes) -> Frame:
    return make_frame(np.frombuffer(jpeg, np.uint8), "jpeg", (1280, 720), 0, Capture())


COUNTING = """
import sys
def hear(event, args):
    if event == "open" and str(args[0]).endswith("model.yaml"):
        print("CARD", file=sys.stderr, flush=True)
sys.addaudithook(hear)
from picam_infer.__main__ import main
sys.exit(main())
"""
"""Says each time that a model's card is opened."""


@pytest.mark.parametrize(
    "change",
    [{"decide": {"threshold": 0.01}}, {"capture": {"fps": 20}}, {}],
    ids=["the round goes on", "another round", "nothing is new"],
)
def test_a_reload_reads_the_models_card_once(manager: Manager, tmp_path: Path, change: dict[str, Any]) -> None:
    make_bundle(tmp_path / "m")
    path, told = service_file(tmp_path), tmp_path / "told"
    with told.open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", COUNTING, "run", "-c", str(path)],
            stderr=err,
            env={**os.environ, "HOME": str(tmp_path), **manager.environment},
        )
    try:
        manager.hears("STATUS=sees")
        before = told.read_text().count("CARD")
        service_file(tmp_path, **change)
        process.send_signal(signal.SIGHUP)
        manager.hears("RELOADING=1")
        manager.hears("READY=1")
        assert told.read_text().count("CARD") - before == 1
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def test_signals_pause_and_resume_and_a_reload_keeps_the_pause(start: Start, manager: Manager, tmp_path: Path) -> None:
    make_bundle(tmp_path / "m")
    path = service_file(tmp_path)
    process = start("run", "-c", path, **manager.environment)
    manager.hears("STATUS=sees")
    process.send_signal(signal.SIGUSR1)
    manager.hears("STATUS=paused by a signal")
    manager.hears("WATCHDOG=1")
    process.send_signal(signal.SIGHUP)
    manager.hears("RELOADING=1")
    manager.hears("READY=1")
    manager.hears("WATCHDOG=1")
    assert not any("STATUS=sees" in said for said in manager.said[-3:])
    process.send_signal(signal.SIGUSR2)
    manager.hears("STATUS=sees")
    process.terminate()
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0
    told = [line for line in err.splitlines() if "paused" in line or "watching again" in line]
    assert told == ["picam-infer: paused by a signal", "picam-infer: watching again, by a signal"]


def test_outside_its_hours_a_service_starts_paused_and_a_reload_takes_new_hours(
    start: Start, manager: Manager, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "m")
    soon = time.localtime(time.time() + 7200)  # an hour that is not now
    hours = f"{soon.tm_hour:02d}:00-{soon.tm_hour:02d}:59"
    path = service_file(tmp_path, schedule=[{"hours": hours}], source="camera:no such camera")
    process = start("run", "-c", path, **manager.environment)
    manager.hears("READY=1")
    assert manager.hears("STATUS=paused by the schedule until").endswith(f"{soon.tm_hour:02d}:00")
    manager.hears("WATCHDOG=1")
    service_file(tmp_path)
    process.send_signal(signal.SIGHUP)
    manager.hears("STATUS=sees")
    process.terminate()
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0 and "no such camera" not in err  # it was never asked for


# -- the screen ------------------------------------------------------------


class Monitor:
    """A display that remembers what it showed."""

    name = "monitor"
    size = (640, 480)

    def __init__(self) -> None:
        self.shown: list[Pixels] = []
        self.pressed: list[str] = []
        self.unplugged = False

    def show(self, image: Pixels, over: Sequence[Overlay] = ()) -> None:
        if self.unplugged:
            raise Disconnected("the monitor was unplugged", "plug it in")
        self.shown.append(laid_over(image, over))

    def keys(self) -> list[str]:
        pressed, self.pressed = self.pressed, []
        return pressed

    def close(self) -> None:
        pass


class Watching:
    """A viewer of a state that a test fills by hand."""

    def __init__(self, tmp_path: Path, path: Path | None = None, chain: Edges | Photo | None = None) -> None:
        self.monitor = Monitor()
        chain = chain or Edges()
        model = make_bundle(tmp_path / "m", chain=chain, shape=(1, 28, 28, 1))
        self.state = State(Tuning(chain, Decide()), model.name, model.labels)
        self.screen = Screen(Config(display=DisplaySettings(kind="none")), patient=True)
        self.screen.use(self.monitor)
        self.settings = RuntimeSettings(self.state, path)
        self.viewer = Viewer(self.screen, self.state, self.settings)
        self.seq = 0

    def frame(self, value: int = 90, label: str | None = "dark") -> None:

        self.seq += 1
        frame = jpeg_frame(picture(value, 640, 480), self.seq)
        self.state.frames.put(frame)
        self.state.results.put(Result(self.seq, frame.captured, frame.monotonic_s, label, 0.9,
                                      (Prediction(label or "x", 0.9),), "openvino:CPU", 1, 2,
                                      np.zeros((28, 28, 1), np.uint8)))  # fmt: skip

    def press(self, *keys: str) -> None:
        self.monitor.pressed += keys
        self.frame()
        self.viewer.step()


def test_the_monitor_gets_no_more_pictures_than_asked_for_and_keys_go_on(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    screen = Screen(Config(display=DisplaySettings(kind="none", fps=0.01)), patient=True)
    screen.use(watching.monitor)
    viewer = Viewer(screen, watching.state, watching.settings)
    for _ in range(4):
        watching.frame()
        viewer.step()
    assert len(watching.monitor.shown) == 1
    watching.monitor.pressed.append("q")
    viewer.step()
    assert viewer.quit


def test_before_the_first_picture_the_monitor_says_what_is_waited_for(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    assert not watching.viewer.step(), "a service is not ready because it waits"
    (waiting,) = watching.monitor.shown
    assert waiting.any() and not (waiting == waiting[0, 0]).all()
    watching.frame()
    watching.viewer.step()
    assert len(watching.monitor.shown) == 2


def test_a_monitor_that_udev_is_still_setting_up_is_not_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    there: list[Monitor] = []

    def open_display(config: Config) -> Monitor:
        if not there:
            raise Disconnected("this machine has no graphics card", "dtoverlay=vc4-kms-v3d")
        return there[0]

    monkeypatch.setattr(display, "open_display", open_display)
    monkeypatch.setattr(screens, "RETRY_S", 0.0)
    monkeypatch.setattr(udev, "RUN", tmp_path)
    (tmp_path / "queue").touch()
    screen = Screen(Config(), patient=True)
    assert not screen.there() and "no display now" not in caplog.text
    there.append(Monitor())
    assert screen.there()
    there.clear()
    screen.close()
    (tmp_path / "queue").unlink()
    os.utime(tmp_path, (0, 0))
    assert not screen.there() and "no display now: this machine has no graphics card" in caplog.text


def test_every_frame_is_shown_once_with_its_overlay(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    watching.frame()
    watching.viewer.step()
    watching.viewer.step()
    assert len(watching.monitor.shown) == 1
    assert watching.monitor.shown[0].shape == (480, 640, 3)
    assert not (watching.monitor.shown[0] == 90).all()


def test_keys_move_the_thresholds_and_only_p_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    rewrite(path, "# mine\nmodel: m   # the tiny one\npreprocess: {}\n")
    before = path.read_text()
    watching = Watching(tmp_path, path)
    watching.press("w", "w", "d", "a", "a", "s")
    chain = watching.state.tuning.preprocess
    assert isinstance(chain, Edges)
    assert chain.canny == (95.0, 25.0)
    assert path.read_text() == before
    watching.press("p")
    assert config.load(path).preprocess == {"canny": [95, 25]}
    assert path.read_text().startswith("# mine\nmodel: m   # the tiny one\n")


def test_keys_and_the_page_change_undo_and_save_the_same_settings(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    rewrite(path, "decide: {threshold: 0.6}\n")
    watching = Watching(tmp_path, path)
    page = watching.settings
    page.change({"decide.threshold": 0.7}, gesture="slider")
    mine = page.as_json()["undo"]["id"]
    watching.press("w")
    assert page.as_json()["undo"]["keys"] == ["preprocess.canny.0"] and len(page.as_json()["changed"]) == 2
    page.undo(mine)
    assert watching.state.tuning == Tuning(Edges(canny=(95.0, 30.0)), Decide())
    watching.press("p")
    assert page.as_json()["changed"] == [], "the page hears that the key saved them"
    assert config.load(path).preprocess == {"canny": [95, 30]}


@pytest.mark.parametrize("chain", [Edges(), Photo(roi=0.4)])
def test_arrows_move_the_region_and_p_writes_it(tmp_path: Path, chain: Edges | Photo) -> None:
    path = tmp_path / "c.yaml"
    rewrite(path, "preprocess: {}   # none yet\n")
    watching = Watching(tmp_path, path, chain)
    watching.press("x", *["left"] * 3, "up", "pageup")
    roi = watching.state.tuning.preprocess.roi
    assert roi == Region(round(0.5 - 0.06 * 480 / 640, 4), 0.48, 0.42)
    watching.press("p")
    assert config.load(path).preprocess == {"roi": {"x": 0.455, "y": 0.48, "size": 0.42}}
    assert "# none yet" in path.read_text()
    shown = watching.monitor.shown[-1]
    x, y, width, height = region.box(roi, 640, 480)
    line = [shown[y + height // 2, at] for at in (x, x + width - 1)]
    assert all((pixel != 90).any() for pixel in line), "the box is drawn there"
    watching.press("home", "p")
    assert config.load(path).preprocess == {"roi": 0.42}


def test_the_pages_stream_shows_its_own_rate_and_has_results_carry_the_networks_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = Watching(tmp_path)
    looks: list[annotate.Annotation] = []
    layer = annotate.layer
    monkeypatch.setattr(annotate, "layer", lambda *given: looks.append(given[-1]) or layer(*given))
    annotator = StreamAnnotator(watching.state, DisplaySettings(kind="none"), Capture())
    assert not watching.state.input_wanted
    watching.frame()
    newest = watching.state.frames.peek()
    assert newest is not None
    for _ in range(20):
        annotator(newest[1])
    assert watching.state.input_wanted and not looks[-1].foot.startswith("0 fps")
    assert watching.state.stats.shown.total == 0, "no monitor has shown anything"


def test_thresholds_stay_in_range(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    watching.press(*["a"] * 20)
    chain = watching.state.tuning.preprocess
    assert isinstance(chain, Edges)
    assert chain.canny == (90.0, 0.0)


def test_saving_without_a_file_or_with_another_chain_only_says_so(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    watching.press("w", "p")
    assert not (tmp_path / "c.yaml").exists()
    photo = Watching(tmp_path / "photo", chain=Photo())
    photo.press("w", "p")
    assert photo.state.tuning.preprocess == Photo()


def test_q_and_escape_quit(tmp_path: Path) -> None:
    for key in ("q", "esc"):
        watching = Watching(tmp_path / key)
        watching.press(key)
        assert watching.viewer.quit


@pytest.mark.parametrize("size", [(800, 480), (1920, 1080), (480, 800), (640, 480)])
def test_a_key_offers_the_page_to_a_phone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr("picam_infer.platform.addresses.own", lambda: ["192.168.178.123", "2001:db8:1:2:3:4:5:6"])
    path = tmp_path / "c.yaml"
    rewrite(path, "# mine\n")
    watching = Watching(tmp_path)
    watching.monitor.size = size
    share = watching.state.share
    share.path, share.port = path, 8080
    watching.press("n")
    assert share.now is not None and "share: true" in path.read_text()
    read = cv2.QRCodeDetectorAruco().detectAndDecode(watching.monitor.shown[-1])[0]
    assert read.startswith("http://192.168.178.123:8080/join#")
    watching.press("esc")
    assert not watching.viewer.quit, "it hides what is shown"
    assert share.presenting() is None and not share.redeem(read.partition("#")[2]) and share.now is not None
    watching.press("n")
    read = cv2.QRCodeDetectorAruco().detectAndDecode(watching.monitor.shown[-1])[0]
    assert share.redeem(read.partition("#")[2])
    watching.press()
    assert not cv2.QRCodeDetectorAruco().detectAndDecode(watching.monitor.shown[-1])[0], "used: the picture is back"
    watching.press("n")
    watching.press("x")
    assert share.now is None and "share: false" in path.read_text()
    watching.press("q")
    assert watching.viewer.quit


def test_without_a_network_the_monitor_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picam_infer.platform.addresses.own", list)
    watching = Watching(tmp_path)
    watching.state.share.port = 8080
    watching.press("n")
    assert watching.monitor.shown[-1].mean() < 60 and watching.monitor.shown[-1].max() > 150, "words, no code"


def test_space_freezes_the_picture_with_its_label_and_says_so(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    watching.press("x")
    live = watching.monitor.shown[-1]
    watching.press("space")
    watching.frame(value=200, label="another")
    watching.viewer.step()
    frozen = watching.monitor.shown[-1]
    assert abs(int(np.median(frozen)) - int(np.median(live))) < 3, "not the new picture"
    label, below = slice(0, 60), slice(60, 110)
    assert np.array_equal(frozen[label, :320], live[label, :320]), "the label is the picture's own"
    assert not np.array_equal(frozen[below, :320], live[below, :320]), "it says that it is frozen"
    shown = watching.state.stats.shown.total
    watching.press("h")
    until(lambda: watching.viewer.step() and not np.array_equal(watching.monitor.shown[-1], frozen))
    assert watching.state.stats.shown.total == shown, "it is no picture of the camera"
    watching.press("space")
    watching.frame(value=200, label="another")
    watching.viewer.step()
    assert np.median(watching.monitor.shown[-1]) > 150


def test_a_loss_becomes_a_status_screen_and_the_picture_comes_back(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    watching.frame(value=200)
    watching.viewer.step()
    watching.state.health.mark_down("camera", "it was unplugged", "plug it in")
    watching.viewer.step()
    status_screen = watching.monitor.shown[-1]
    assert np.median(status_screen) < 60
    watching.state.health.mark_up("camera")
    watching.frame(value=200)
    watching.viewer.step()
    assert np.median(watching.monitor.shown[-1]) > 150


def test_a_monitor_that_goes_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(tmp_path)
    watching.monitor.unplugged = True
    watching.frame()
    watching.viewer.step()
    assert not watching.screen.name
    back = Monitor()
    monkeypatch.setattr(display, "open_display", lambda config: back)
    monkeypatch.setattr(screens, "RETRY_S", 0.0)

    def shown() -> list[np.ndarray]:
        watching.frame()
        watching.viewer.step()
        return back.shown

    until(shown)
    assert watching.screen.name == "monitor"
    assert watching.state.health.problems == () and watching.state.health.losses == {"display": 1}
    assert [change.kind for change in watching.state.history] == ["lost", "found"]


def test_recognition_goes_on_without_the_monitor_and_the_status_says_that_it_is_gone(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    watching.monitor.unplugged = True
    watching.frame()
    watching.viewer.step()
    (problem,) = watching.state.health.problems
    assert (problem.part, problem.what, problem.remedy) == ("display", "the monitor was unplugged", "plug it in")
    assert watching.state.health.blocking is None and watching.state.watching
    status = status_text(watching.state)
    assert status.startswith("sees dark (90 %)")
    assert status.endswith("; display lost: the monitor was unplugged; plug it in")


def test_alternating_reasons_are_logged_once_each(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reasons = itertools.cycle(["no X server yet", "it refuses"])

    def open_display(config: Config) -> Monitor:
        raise Disconnected(next(reasons))

    monkeypatch.setattr(display, "open_display", open_display)
    monkeypatch.setattr(screens, "RETRY_S", 0.0)
    monkeypatch.setattr(udev, "working", lambda run=None: False)
    caplog.set_level("INFO")
    screen = Screen(Config(), patient=True)
    assert not any(screen.there() for _ in range(6))
    assert [caplog.text.count(reason) for reason in ("no X server yet", "it refuses")] == [1, 1]


@pytest.mark.parametrize("kind", ["auto", "window"])
def test_a_monitor_is_missed_when_it_was_asked_for_or_has_been_there(
    monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    there = [Monitor(), None]

    def open_display(config: Config) -> Monitor:
        found = there.pop(0) if there else None
        if found is None:
            raise Disconnected("no monitor is connected", "plug one in")
        return found

    monkeypatch.setattr(display, "open_display", open_display)
    monkeypatch.setattr(screens, "RETRY_S", 0.0)
    there.insert(0, None)
    screen, health = Screen(Config(display=DisplaySettings(kind=kind)), patient=True), Health()
    screen.report_to(health)
    assert health.down("display") == (kind == "window"), "a machine without a monitor is nothing to tell of"
    assert screen.there() and not health.problems
    assert screen.show(np.zeros((4, 4, 3), np.uint8))
    screen.close()
    assert not screen.there()
    assert health.down("display") and health.problems[0].what == "no monitor is connected"


def test_a_refused_window_is_reported_and_a_missing_desktop_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses: list[Disconnected] = [
        Disconnected("no desktop session is running", "log in"),
        x11.Refused("the desktop (labwc) has not let user picam-infer in yet", "add the line to its autostart"),
    ]

    def open_display(config: Config) -> Monitor:
        raise losses.pop(0)

    monkeypatch.setattr(display, "open_display", open_display)
    monkeypatch.setattr(udev, "working", lambda run=None: False)
    monkeypatch.setattr(screens, "RETRY_S", 0.0)
    screen, health = Screen(Config(), patient=True), Health()
    screen.report_to(health)
    assert not health.problems
    assert not screen.there()
    told = health.problems[0]
    assert (told.part, told.remedy) == ("display", "add the line to its autostart") and not told.blocking


def test_a_display_forced_by_name_that_is_not_there_is_an_error_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(config: Config) -> None:
        raise Disconnected("no desktop is running", "start one")

    monkeypatch.setattr(display, "open_display", none)
    with pytest.raises(Disconnected):
        Screen(Config(display=DisplaySettings(kind="window")), patient=False)


def test_an_old_result_does_not_count(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    watching.frame()
    assert fresh_result(watching.state) is not None
    newest = watching.state.results.peek()
    assert newest is not None
    from dataclasses import replace

    old = replace(newest[1], monotonic_s=newest[1].monotonic_s - 10)
    watching.state.results.put(old)
    assert fresh_result(watching.state) is None
    # A model that takes 6 s a picture: 10 s old is what its newest result is before the next one comes.
    watching.state.results.put(replace(old, age_ms=6000.0))
    assert fresh_result(watching.state) is not None


def test_the_status_says_what_is_wrong_first(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    watching.frame()
    assert status_text(watching.state).startswith("sees dark (90 %)")
    watching.state.health.mark_down("camera", "it was unplugged", "plug it in")
    assert status_text(watching.state) == "camera lost: it was unplugged; plug it in"


def test_a_pause_is_on_the_screen(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    watching.frame()
    watching.state.pause.set(True, "page")
    watching.viewer.step()
    assert (watching.monitor.shown[-1] != 90).mean() > 0.9, "a status screen, not the picture"
    watching.state.pause.set(False, "page")
    watching.frame()
    watching.viewer.step()
    assert np.median(watching.monitor.shown[-1]) == 90


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    rewrite(path, "source: camera\nengine: {threads: 3}\n")
    options = Options(path, source="demo", engine="openvino", display="none")
    read = options.config()
    assert (read.source, read.engine.kind, read.engine.threads, read.display.kind) == ("demo", "openvino", 3, "none")
    assert bundles.BUILT_IN.name == "models"


class Desk:
    """A window of a desktop that a person may close."""

    name, desktop = "window on :0", True

    def __init__(self) -> None:
        self.pressed: list[str] = []
        self.closed = False
        self.fronts = 0

    size = (640, 480)

    def show(self, image: Pixels, over: Sequence[Overlay] = ()) -> None: ...

    def keys(self) -> list[str]:
        pressed, self.pressed = self.pressed, []
        return pressed

    def to_front(self) -> None:
        self.fronts += 1

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("key", ["q", "esc", "close"])
def test_a_closed_window_stays_closed_until_it_is_requested_or_the_next_login(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    login, opened = ["3"], list[Desk]()

    def open_display(config: Config) -> Desk:
        opened.append(Desk())
        return opened[-1]

    monkeypatch.setattr(display, "open_display", open_display)
    closed = ClosedWindow(lambda: login[0])
    screen = Screen(Config(), patient=True, closed=closed)
    assert screen.there()
    opened[0].pressed = [key]
    assert screen.keys() == [], "the service goes on"
    assert opened[0].closed and not screen.there() and "picam-infer show" in screen.name
    again = Screen(Config(), patient=True, closed=closed)  # a reload is not a wish for the window
    assert not again.there()
    login[0] = ""  # a console has the screen
    assert closed
    login[0] = "4"
    assert not closed, "the next login"
    opened[0].pressed = [key]
    closed.remember()
    closed.ask_for()
    assert Screen(Config(), patient=True, closed=closed).there()
    assert [desk.fronts for desk in opened] == [0, 1], "only what a person asks for comes to the front"


def test_an_open_window_comes_to_the_front_when_it_is_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, closed = Desk(), ClosedWindow(lambda: "3")
    monkeypatch.setattr(display, "open_display", lambda config: desk)
    screen = Screen(Config(), patient=True, closed=closed)
    assert screen.there() and desk.fronts == 0
    closed.ask_for()
    assert screen.there() and screen.there() and desk.fronts == 1


def test_the_status_says_that_the_window_was_closed_and_what_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk()
    monkeypatch.setattr(display, "open_display", lambda config: desk)
    screen = Screen(Config(), patient=True, closed=ClosedWindow(lambda: "3"))
    watching = Watching(tmp_path)
    state, viewer = watching.state, Viewer(screen, watching.state, watching.settings)
    desk.pressed = ["q"]
    viewer.step()
    assert "the window was closed; picam-infer show opens it again" in status_text(state)


def test_closing_the_window_of_a_program_run_by_hand_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    monkeypatch.setattr(display, "open_display", lambda config: desk)
    screen = Screen(Config(), patient=True)
    desk.pressed = ["close"]
    assert screen.keys() == ["q"]
