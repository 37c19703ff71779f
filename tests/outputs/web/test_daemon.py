"""The page of a whole daemon, and a daemon without one."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from visitors import ask, ask_json, until, watching


def test_the_daemon_serves_what_it_sees_and_ends_at_once(tmp_path: Path) -> None:
    path, log = tmp_path / "c.yaml", tmp_path / "log"
    path.write_text(
        "source: demo\ncapture: {width: 640, height: 480}\ndisplay: {kind: none}\n"
        f"web: {{listen: '127.0.0.1:0'}}\nevents: [{{kind: jsonl, path: {tmp_path}/e.jsonl}}]\n"
        f"keep: {{when: change, every_s: 0.1, folder: {tmp_path}/kept, reserve_mb: 0}}\n"
    )
    with log.open("wb") as out:
        command = [sys.executable, "-m", "picam_infer", "run", "-c", str(path)]
        daemon = subprocess.Popen(command, stderr=out, stdout=out)
    try:
        port = until(lambda: re.search(r"web: http://127\.0\.0\.1:(\d+)/", log.read_text()), 60)[1]
        web: Any = SimpleNamespace(port=int(port))
        until(lambda: ask_json(web, "/healthz")[0] == 200, 60)
        with watching(web) as drawn, watching(web, "/stream.mjpg?raw=1") as raw:
            assert next(drawn)[1][:2] == next(raw)[1][:2] == b"\xff\xd8"
            state = until(lambda: (now := ask_json(web, "/api/state")[1])["keep"]["pictures"] and now)
            assert state["model"] == "digits" and state["events"][0]["sent"] >= 1 and state["result"]["top"]
            assert b"picam_inferences_total" in ask(web, "/metrics")[2]
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(30) == 0, "with visitors who would go on watching"
    finally:
        daemon.kill()
        daemon.wait()
    assert (tmp_path / "e.jsonl").read_text().count("\n") >= 1


def test_the_timeline_outlives_a_reload(tmp_path: Path) -> None:
    path, log = tmp_path / "c.yaml", tmp_path / "log"

    def write(width: int) -> None:
        path.write_text(
            f"source: demo\ncapture: {{width: {width}, height: 480}}\ndisplay: {{kind: none}}\n"
            "web: {listen: '127.0.0.1:0'}\n"
        )

    def page(number: int) -> Any:
        ports = until(lambda: re.findall(r"web: http://127\.0\.0\.1:(\d+)/", log.read_text())[number:], 60)
        return SimpleNamespace(port=int(ports[0]))

    write(640)
    with log.open("wb") as out:
        daemon = subprocess.Popen([sys.executable, "-m", "picam_infer", "run", "-c", str(path)], stderr=out, stdout=out)
    try:
        first = page(0)
        until(lambda: len(history(first)) > 1, 60)
        before = history(first)
        write(480)
        daemon.send_signal(signal.SIGHUP)
        assert history(page(1))[: len(before)] == before
    finally:
        daemon.kill()
        daemon.wait()


def history(web: Any) -> list[dict[str, Any]]:
    """Return what a page that comes now is told of the past."""
    with urllib.request.urlopen(f"http://127.0.0.1:{web.port}/api/events", timeout=10) as stream:
        for line in stream:
            if line.startswith(b"data: "):
                return list(json.loads(line[6:])["changes"])
    raise AssertionError("nothing was told")


def test_off_imports_nothing_even_while_running(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("source: demo\ncapture: {width: 640, height: 480}\ndisplay: {kind: none}\nweb: off\n")
    code = (
        "import sys; from picam_infer.cli import main;"
        f"code = main(['run', '-c', {str(path)!r}, '--frames', '3']);"
        "bad = {m.split('.')[0] for m in sys.modules} & {'aiohttp', 'paho', 'prometheus_client'};"
        "parts = ('picam_infer.outputs.web', 'picam_infer.outputs.events', 'picam_infer.outputs.dataset');"
        "bad |= {m for m in sys.modules if m.startswith(parts)};"
        "sys.exit(str(bad) if bad or code else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
