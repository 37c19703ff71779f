"""A service whose camera's address is full of secrets: nothing that leaves the process has one in it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from makers import free_port, make_bundle, until
from socket_server import Caller, SocketServer

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
SECRETS = ("s3cret", "anna", "hidd3n")


def settings(tmp_path: Path, source: str, port: int) -> Path:
    make_bundle(tmp_path / "m")
    outlet = {"kind": "jsonl", "path": str(tmp_path / "events.jsonl"), "about": ["lost", "found"]}
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps({"source": source, "model": str(tmp_path / "m"), "display": {"kind": "none"},
                                "web": {"listen": f"127.0.0.1:{port}"}, "events": [outlet]}))  # fmt: skip
    return path


def fetch(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return bytes(answer.read()).decode("utf-8", "replace")


def listening(port: int) -> bool:
    """Whether the page is open: it comes after the first answer, or the reason why there is none."""
    with socket.socket() as visitor:
        return visitor.connect_ex(("127.0.0.1", port)) == 0


def refuses(caller: Caller) -> None:
    # A server that says what it was sent, which many do.
    request = caller.request()
    caller.send(f"HTTP/1.1 404 {request.split()[1]}\r\nContent-Type: text/plain\r\n\r\n{request}")


@pytest.mark.parametrize(
    "source",
    [
        "http://anna:s3cret@127.0.0.1:{port}/user=anna_password=hidd3n.sdp?token=hidd3n#hidd3n",
        "rtsp://anna:s3cret@127.0.0.1:{port}/live?pwd=hidd3n",
    ],
)
def test_no_secret_leaves_the_service(tmp_path: Path, source: str) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(30)
    port = free_port()
    with SocketServer(refuses) as server:
        config = settings(tmp_path, source.format(port=server.port), port)
        command = [sys.executable, "-m", "picam_infer", "run", "-c", str(config)]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        told = ""
        while "STATUS=camera lost" not in told:
            told += manager.recv(65536).decode()
        until((tmp_path / "events.jsonl").exists)
        until(lambda: listening(port))
        seen = [told, fetch(port, "/api/state"), fetch(port, "/api/config"), fetch(port, "/metrics")]
        process.terminate()
        seen += process.communicate(timeout=20)
        seen += [(tmp_path / "events.jsonl").read_text()]
        check = subprocess.run([*command[:3], "check", "-c", str(config), "--json"], capture_output=True, text=True,
                               timeout=60, env=ENVIRONMENT, check=False)  # fmt: skip
        seen += [check.stdout, check.stderr]
    assert "127.0.0.1" in seen[1] and "127.0.0.1" in seen[-2] and '"lost"' in seen[6]
    assert [text for text in seen if any(secret in text for secret in SECRETS)] == []


@pytest.mark.parametrize(
    "text",
    ["source:rtsp://anna:s3cret@cam/x\n", "source: rtsp://anna:s3cret@cam: x\n", "rtsp://anna:s3cret@cam/x: 1\n",
     "source: [rtsp://anna:s3cret@cam/x]\n", "source: {rtsp://anna:s3cret@cam/x: 1}\n",
     'source: "rtsp://anna:s3cret@cam\n',
     "source: rtsp://anna:s3cret@cam/x\nsource: rtsp://anna:hidd3n@cam/x\n",
     "source: rtsp://anna:s3c#ret@cam/x\nx: 1\n",
     "source: 'rtsp://anna:s3cret@cam/it's'\n", "source: rtsp://anna:s3cret@cam/x\n  more: hidd3n\n",
     "- rtsp://anna:s3cret@cam/x\n", "source: &rtsp://anna:s3cret@cam/x\n", "source: !rtsp://anna:s3cret@cam/x y\n",
     "source: *rtsp://anna:s3cret@cam/x\n", "source_login: {user: anna, passwort: s3cret}\n",
     "source_login: {user: anna, password_file: [s3cret]}\n", "source_login: anna:s3cret\n"],
)  # fmt: skip
def test_no_mistake_in_the_file_shows_a_secret(tmp_path: Path, text: str) -> None:
    from picam_infer.config import load
    from picam_infer.core import ConfigError, PicamError
    from picam_infer.sources import open_source

    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(PicamError) as refused:
        config = load(tmp_path / "c.yaml")
        open_source(config.source, config.capture)
    assert not any(secret in str(refused.value) for secret in (*SECRETS, "s3c")), refused.value
    assert isinstance(refused.value, (ConfigError, PicamError)) and refused.value.hint
