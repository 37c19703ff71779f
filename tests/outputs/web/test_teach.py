"""Teaching over HTTP, against a whole daemon and a camera that shows what is held up to it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from show_camera import sheet
from teach_lab import PATIENCE_S, Service, service
from visitors import ask, ask_json, until, watching

from picam_infer import cli
from picam_infer import config as configs
from picam_infer.config import EngineSettings
from picam_infer.inference.engines.openvino import OpenVino
from picam_infer.models import bundle as bundles

SIGNS = ("circle", "cross", "bars")


@pytest.fixture
def pi(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path, sheet("nothing")) as made:
        yield made


@pytest.fixture(scope="module")
def shared_pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A shared daemon, which tests leave as they found it."""
    with service(tmp_path_factory.mktemp("pi"), sheet("nothing")) as made:
        yield made


def test_three_signs_are_taught_used_corrected_and_known_after_a_restart(pi: Service) -> None:
    assert pi.get("/api/teach")[1]["stage"] == "closed"
    status, opened = pi.post("/api/teach/open")
    assert status == 200 and (opened["name"], opened["base"], opened["classes"]) == ("taught", "digits", [])
    for sign in SIGNS:
        assert pi.teach(sign, sheet(sign)) >= 12
    for sign in SIGNS:
        pi.camera.scene = sheet(sign)
        pi.thinks(sign)
    pi.uses()
    assert "# mine\nmodel: taught\n" in pi.config.read_text()
    for sign in SIGNS:
        pi.camera.scene = sheet(sign)
        pi.sees(sign)
    assert pi.end() < 2
    pi.start()
    pi.sees("bars")
    assert pi.post("/api/teach/open")[1]["name"] == "taught"
    assert list(pi.counts()) == list(SIGNS), "in the order they were made"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/teach/open", [1], 422),
        ("/api/teach/open", {"name": 7}, 422),
        ("/api/teach/open", {"name": "/"}, 422),
        ("/api/teach/open", {"name": "x.before"}, 422),
        ("/api/teach/open", {"base": "nothing like it"}, 422),
        ("/api/teach/classes", {}, 422),
        ("/api/teach/classes", {"add": " \n"}, 422),
        ("/api/teach/classes", {"add": "x" * 61}, 422),
        ("/api/teach/classes", {"rename": "nobody", "to": "x"}, 422),
        ("/api/teach/classes", {"remove": "nobody"}, 422),
        ("/api/teach/record", {"label": "nobody", "hold": "1"}, 422),
        ("/api/teach/pictures", {"label": "x"}, 422),
        ("/api/teach/pictures", {"label": None, "recent": "1"}, 422),
        ("/api/teach/pictures", {"label": "x", "recent": "1"}, 404),
        ("/api/teach/pictures", {"label": "x", "id": "0123456789ab"}, 422),
        ("/api/teach/pictures", {"label": "x", "kept": "../a"}, 404),
        ("/api/teach/use", {}, 422),
        ("/api/teach/back", {}, 422),
        ("/api/teach/undo", {"use": 1}, 422),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(shared_pi: Service, path: str, body: object, status: int) -> None:
    assert shared_pi.post("/api/teach/open")[0] == 200
    before = shared_pi.counts()
    got, answer = shared_pi.post(path, body)
    assert got == status and answer["error"] and "\n" not in answer["error"] + answer["hint"]
    assert shared_pi.counts() == before and shared_pi.config.read_text().count("model: digits") == 1
    assert "Traceback" not in shared_pi.log.read_text()


def test_other_sites_and_strangers_teach_nothing(shared_pi: Service) -> None:
    assert shared_pi.post("/api/teach/open", X_Forwarded_For="192.0.2.7")[0] in (401, 403)
    assert shared_pi.post("/api/teach/open", Origin="http://evil.example")[0] == 403
    assert shared_pi.post("/api/teach/open", Content_Type="text/plain")[0] == 415
    for path in ("/teach/picture/..%2f..%2fetc%2fpasswd", "/teach/thumbnail/x", "/teach/recent/x"):
        assert shared_pi.get(path)[0] == 404


def test_the_zip_is_taught_again_by_the_command_and_another_lesson_is_another_model(
    pi: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi.post("/api/teach/open", {"name": "my signs"})
    for sign in SIGNS[:2]:
        pi.teach(sign, sheet(sign), 8)
    pi.uses()
    assert "model: my-signs\n" in pi.config.read_text()
    (tmp_path / "signs.zip").write_bytes(ask(pi, "/teach.zip")[2])  # type: ignore[arg-type]
    assert cli.main(["teach", "-m", "digits", "-o", str(tmp_path / "again"), str(tmp_path / "signs.zip")]) == 0
    again, taught = (bundles.load(folder) for folder in (tmp_path / "again", pi.models / "my-signs"))
    assert again.card.origin.sha256 == taught.card.origin.sha256 and again.labels == taught.labels
    # Another lesson does not touch it; back and forth.
    pi.post("/api/teach/open", {"name": "others"})
    pi.teach("bars", sheet("bars"), 8)
    pi.uses()
    assert set(pi.get("/api/teach")[1]["lessons"]) == {"my-signs", "others"}
    assert pi.post("/api/teach/back") == (200, {"model": "my-signs"})
    pi.camera.scene = sheet("cross")
    pi.sees("cross")


def test_the_version_before_comes_back_when_a_lesson_was_used_again(pi: Service) -> None:
    pi.post("/api/teach/open")
    pi.teach("circle", sheet("circle"), 8)
    pi.uses()
    pi.teach("bars", sheet("bars"), 8)
    pi.uses()
    assert (pi.models / "taught.before" / "model.yaml").is_file()
    assert pi.post("/api/teach/back")[0] == 200
    until(lambda: pi.get("/api/state")[0] == 200 and pi.get("/api/state")[1]["labels"] == ["circle", "unknown"], 60)
    assert "model: taught.before" in pi.config.read_text()
    pi.uses()
    until(lambda: pi.get("/api/state")[1]["labels"] == ["bars", "circle", "unknown"], 60)


def test_a_power_cut_at_any_moment_leaves_models_pictures_and_settings_whole(pi: Service) -> None:
    rng = random.Random(21)
    pi.post("/api/teach/open")
    pi.teach("circle", sheet("circle"), 6)
    pi.uses()
    for _ in range(4):
        teaching = threading.Thread(target=_teach_on, args=(pi,), daemon=True)
        teaching.start()
        time.sleep(rng.uniform(0.3, 2.5))
        known = sum(pi.counts().values())
        pi.kill()
        teaching.join(30)
        bundle = bundles.load(pi.models / "taught")
        engine = OpenVino(bundle, EngineSettings(kind="openvino", threads=1))
        engine.close()
        assert configs.load(pi.config).model == "taught" and "# mine" in pi.config.read_text()
        pictures = list((pi.models / "taught.pictures").glob("[!.]*/[!.]*.jpg"))
        assert len(pictures) >= known - 11 and all(cv2.imread(str(path)) is not None for path in pictures)
        pi.start()
        status, opened = pi.post("/api/teach/open")
        assert status == 200 and opened["stage"] == "open" and opened["pictures"] == len(pictures)
    assert "Traceback" not in pi.log.read_text()


class Watcher:
    """Somebody who looks at the page's picture all the time."""

    def __init__(self, pi: Service) -> None:
        self.longest_s = 0.0
        self.seen = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(pi,), daemon=True)
        self._thread.start()
        until(lambda: self.seen > 5)

    def _look(self, pi: Service) -> None:
        with watching(pi, "/stream.mjpg?raw=1") as parts:  # type: ignore[arg-type]
            next(parts)
            last_s = time.monotonic()
            for _ in parts:
                now_s = time.monotonic()
                self.longest_s, last_s = max(self.longest_s, now_s - last_s), now_s
                self.seen += 1
                if self._stop.is_set():
                    return

    def end(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


def test_use_correction_undo_and_back_leave_camera_and_picture_alone(pi: Service) -> None:
    pi.post("/api/teach/open")
    pi.teach("circle", sheet("circle"), 8)
    pi.teach("cross", sheet("cross"), 8)
    watcher = Watcher(pi)
    told = pi.get("/api/state")[1]
    pi.camera.longest_s = watcher.longest_s = 0.0
    before, seen = pi.counts(), watcher.seen
    assert pi.post("/api/teach/use")[1]["in_use"], "the answer comes when it runs"
    assert pi.get("/api/state")[1]["labels"] == ["circle", "cross", "unknown"]
    pi.sees("cross")
    pi.camera.scene = sheet("bars")
    pi.sees(None)
    recent = pi.post("/api/teach/pin")[1]["recent"]
    status, answer = pi.post("/api/teach/pictures", {"label": "bars", "recent": recent, "use": True})
    assert status == 200 and answer["used"] and answer["in_use"]
    assert pi.get("/api/state")[1]["labels"] == ["bars", "circle", "cross", "unknown"]
    assert pi.post("/api/teach/undo", {"use": True})[0] == 200 and pi.counts() == before
    assert pi.get("/api/state")[1]["labels"] == ["circle", "cross", "unknown"]
    assert pi.post("/api/teach/back")[0] == 200
    assert pi.get("/api/state")[1]["model"] == "taught" and "model: taught.before" in pi.config.read_text()
    until(lambda: watcher.seen > seen + 20)  # all of that can be over in less than two seconds
    watcher.end()
    after = pi.get("/api/state")[1]
    assert pi.camera.opened == 1 and after["frames"] > told["frames"] and after["uptime_s"] > told["uptime_s"]
    assert watcher.longest_s < pi.camera.longest_s + 0.5, "the picture paused"


WITHOUT_FILE = """
import sys
from pathlib import Path
import picam_infer.config as configs
path, load = Path(sys.argv[-1]), configs.load
del sys.argv[-2:]
configs.load = lambda given=None: load(given or path)
from picam_infer.__main__ import main
sys.exit(main())
"""
"""Runs as without -c, on the test's port and camera."""


def test_without_a_configuration_file_there_is_a_way_back_until_the_program_ends(tmp_path: Path) -> None:
    with service(tmp_path, sheet("nothing"), program=("-c", WITHOUT_FILE)) as pi:
        pi.post("/api/teach/open")
        pi.teach("circle", sheet("circle"), 8)
        told = pi.get("/api/teach")[1]
        assert (told["before"], told["remembers"]) == (None, False)
        began_s = pi.get("/api/state")[1]["uptime_s"]
        pi.uses()
        assert pi.get("/api/teach")[1]["before"] == "digits"
        models = pi.get("/api/models")[1]
        assert (models["before"], models["remembers"]) == ("digits", False)
        assert pi.post("/api/teach/back") == (200, {"model": "digits"})
        until(lambda: pi.get("/api/state")[1]["model"] == "digits", PATIENCE_S)
        os.kill(pi.process.pid, signal.SIGHUP)  # type: ignore[union-attr]
        until(lambda: pi.log.read_text().count("the model is digits now") == 2, PATIENCE_S)
        until(lambda: pi.camera.opened > 1, PATIENCE_S)
        pi.watches()
        assert pi.get("/api/state")[1]["uptime_s"] > began_s, "the program goes on"
        assert "configuration read again" not in pi.log.read_text(), "there is none"
        assert "model: digits" in pi.config.read_text()


def test_taught_pictures_of_every_format_are_shown(pi: Service, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for at, sign in enumerate(SIGNS[:2]):
        (tmp_path / "photos" / sign).mkdir(parents=True)
        for kind in ("png", "webp", "tiff", "bmp"):
            noise = rng.integers(0, 9, (240, 320, 3), np.uint8)
            cv2.imwrite(str(tmp_path / "photos" / sign / f"{at}.{kind}"), sheet(sign)(3) // 9 * 8 + noise[:1, :1])
    assert cli.main(["teach", "-m", "digits", "-o", str(pi.models / "taught"), str(tmp_path / "photos")]) == 0
    pi.post("/api/teach/open")
    taught = pi.get("/api/teach/pictures")[1]["pictures"]
    assert len(taught) == 8
    for one in taught:
        for kind in ("picture", "thumbnail"):
            status, headers, data = ask(pi, f"/teach/{kind}/{one['id']}")  # type: ignore[arg-type]
            assert status == 200 and headers["content-type"] in ("image/jpeg", "image/png", "image/webp")
            assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[1] in (160, *range(300, 2000))


def test_a_moved_region_keeps_what_can_be_undone(pi: Service) -> None:
    pi.post("/api/teach/open")
    pi.teach("circle", sheet("circle"), 8)
    pi.teach("cross", sheet("cross"), 8)
    before = pi.counts()
    assert pi.post("/api/teach/pictures", {"label": None, "id": pi.get("/api/teach/pictures")[1]["pictures"][0]["id"]})
    assert ask_json(pi, "/api/config", "PATCH", {"preprocess.roi.size": 0.55})[0] == 200  # type: ignore[arg-type]
    until(lambda: (now := pi.get("/api/teach")[1])["region"] == 0.55 and now["stage"] == "open", 60)
    pi.thinks("cross")
    assert pi.post("/api/teach/undo")[1]["undone"].startswith("remove ")
    pi.settled()
    assert pi.counts() == before, "and the picture is looked at as the others are now"
    assert pi.post("/api/teach/undo")[1]["undone"].endswith("to cross")
    assert pi.counts() == before | {"cross": 0}


def test_a_picture_that_looks_like_another_class_is_marked(pi: Service) -> None:
    pi.post("/api/teach/open")
    pi.teach("circle", sheet("circle"), 10)
    pi.teach("cross", sheet("cross"), 10)
    wrong = next(one["id"] for one in pi.get("/api/teach/pictures")[1]["pictures"] if one["label"] == "cross")
    assert pi.post("/api/teach/pictures", {"label": "circle", "id": wrong})[0] == 200

    def marked() -> dict[str, str]:
        pi.get("/api/teach")  # somebody looks
        return {one["id"]: one["like"] for one in pi.get("/api/teach/pictures")[1]["pictures"] if "like" in one}

    until(lambda: marked().get(wrong) == "cross", 60)
    pi.post("/api/teach/undo")
    until(lambda: wrong not in marked(), 60)


def _teach_on(pi: Service) -> None:
    """Record, change and use at the same time, until nobody answers."""
    pi.camera.scene = sheet("circle")
    while pi.post("/api/teach/record", {"label": "circle", "hold": str(time.monotonic())})[0] == 200:
        pi.post("/api/teach/classes", {"add": f"thing {time.monotonic_ns()}"})
        pi.post("/api/teach/use")


def test_the_picture_goes_on_and_the_watchdog_is_fed_while_it_is_taught(pi: Service) -> None:
    pi.post("/api/teach/open")
    with watching(pi, "/stream.mjpg?raw=1") as parts:  # type: ignore[arg-type]
        next(parts)
        before = pi.get("/api/state")[1]
        times: list[float] = []
        stop = threading.Event()

        def look() -> None:
            for _ in parts:
                times.append(time.monotonic())
                if stop.is_set():
                    return

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        pi.teach("circle", sheet("circle"), 20)
        stop.set()
        looking.join(10)
        after = pi.get("/api/state")[1]
    assert len(times) > 10 and after["inferences"] > before["inferences"]
    assert pi.get("/healthz")[0] == 200


class Systemd:
    """The other end of a service's notifications, which takes each at once, as systemd does."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self.fed = 0
        """How often the watchdog was pinged."""
        self.environment = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "1000000"}
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while message := self._socket.recv(4096):
            self.fed += b"WATCHDOG=1" in message.split()

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join(PATIENCE_S)
        self._socket.close()


class Held:
    """A service under systemd's eyes, one of whose steps can be held up; and a model that it taught and uses."""

    def __init__(self, pi: Service, hold: Path, systemd: Systemd) -> None:
        self.pi, self._hold, self.systemd = pi, hold, systemd
        pi.post("/api/teach/open")
        pi.teach("circle", sheet("circle"), 6)
        pi.uses()
        pi.teach("cross", sheet("cross"), 6)

    def begin(self) -> None:
        """Use what is taught now, and get stuck halfway."""
        self._hold.touch()
        threading.Thread(target=self.pi.post, args=("/api/teach/use",), daemon=True).start()
        until(self._hold.with_name(f"{self._hold.name}.reached").exists)

    def go_on(self) -> None:
        self._hold.unlink()


@pytest.fixture(params=["fit", "save"])
def held(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Held]:
    hold = tmp_path / "hold"
    program = (str(Path(__file__).with_name("held.py")), str(hold), request.param)
    with (
        contextlib.closing(Systemd(tmp_path)) as systemd,
        service(tmp_path, sheet("nothing"), program=program, **systemd.environment) as pi,
    ):
        yield Held(pi, hold, systemd)


def test_the_watchdog_is_fed_while_a_fit_or_a_save_takes_its_time(held: Held) -> None:
    held.begin()
    judged, fed = held.pi.get("/api/state")[1]["inferences"], held.systemd.fed
    until(lambda: held.systemd.fed > fed + 15)  # at most ten times in a period
    assert held.pi.get("/api/state")[1]["inferences"] > judged and held.pi.get("/healthz")[0] == 200
    held.go_on()
    held.pi.in_use()


def test_the_end_in_the_middle_of_a_fit_or_a_save_is_quick_and_leaves_the_model_whole(held: Held) -> None:
    pi = held.pi
    taught, settings = (
        {path.name: path.read_bytes() for path in (pi.models / "taught").iterdir()},
        pi.config.read_text(),
    )
    pictures = sum(pi.counts().values())
    held.begin()
    assert pi.end() < 2
    assert {path.name: path.read_bytes() for path in (pi.models / "taught").iterdir()} == taught
    assert sorted(path.name for path in pi.models.glob("[!.]*")) == ["taught", "taught.pictures"]
    assert pi.config.read_text() == settings and "Traceback" not in pi.log.read_text()
    held.go_on()
    pi.start()
    pi.camera.scene = sheet("circle")
    pi.sees("circle")
    assert pi.post("/api/teach/open")[1]["pictures"] >= pictures
    pi.uses()
