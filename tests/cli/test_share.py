"""`picam-infer share`, against a systemctl that answers like the real one, and with a real service."""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from makers import make_bundle, until

from picam_infer import config as configs
from picam_infer.cli import main
from picam_infer.cli.share import duration_s
from picam_infer.config import Web
from picam_infer.platform import addresses
from picam_infer.runtime import share


@pytest.fixture
def machine(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with an address, whose service says that the page is open once it has reloaded."""
    (machine / "bin/says").write_text("sees 7; the page is open to the network until it is closed")
    (machine / "etc/config.yaml").write_text("# mine\nsource: demo\n")
    monkeypatch.setattr(addresses, "own", lambda: ["192.0.2.7"])
    return machine


def web_of(machine: Path) -> Web:
    web = configs.load(machine / "etc/config.yaml").web
    return web if isinstance(web, Web) else Web()


def test_it_opens_tells_and_closes(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["share"]) == 0
    out = capsys.readouterr().out
    code = re.search(r"http://192\.0\.2\.7:8080/join#(\S{20,})", out)
    assert code and f"{socket.gethostname().partition('.')[0]}.local:8080/join#{code[1]}" in out
    assert "share --stop" in out and web_of(machine).share is True
    assert (machine / "etc/config.yaml").read_text().startswith("# mine\nsource: demo\n")
    word = (machine / "var/invitation-config.json").read_text()
    assert share.digest(code[1]) in word and code[1] not in word
    assert main(["share", "--stop"]) == 0
    assert web_of(machine).share is False and "only this machine" in capsys.readouterr().out
    calls = (machine / "bin/calls").read_text()
    assert calls.count("reload-or-restart picam-infer.service") == 2
    assert main(["share", "--stop"]) == 0
    assert (machine / "bin/calls").read_text() == calls, "what is closed already disturbs nobody"


def test_for_a_time(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["share", "--for", "90m", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["open"] and told["links"][0].startswith("http://192.0.2.7:8080/join#")
    opening = share.opening(web_of(machine).share, 0)
    assert opening is not None and opening.until == pytest.approx(told["until"], abs=2)


def test_times() -> None:
    assert [duration_s(text) for text in ("90s", "30m", "45min", "1h", "1h30m", "2d")] == [
        90, 1800, 2700, 3600, 5400, 172800]  # fmt: skip
    for wrong in ("", "h", "1", "1x", "-1h", "0m", "1h x", "400d"):
        with pytest.raises(argparse.ArgumentTypeError, match="30m"):
            duration_s(wrong)


def test_what_cannot_be_done_is_said_in_a_line(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "etc/bench.yaml").write_text("web: off\n")
    (machine / "etc/open.yaml").write_text("web: {listen: '0.0.0.0:80'}\n")
    for words, code, said in (
        (["--instance", "nope"], 69, "there is no service"),
        (["--instance", "bench"], 78, "the page is switched off"),
        (["--instance", "open", "--stop"], 78, "web.listen"),
    ):
        assert main(["share", *words]) == code, words
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1, err
    (machine / "bin/says").write_text("sees 7; the page cannot be opened to the network: Address already in use")
    assert main(["share"]) == 1
    assert "Address already in use" in capsys.readouterr().err


def test_without_a_network_it_says_so(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "own", list)
    assert main(["share"]) == 0
    assert "in no network" in capsys.readouterr().out


def test_the_code_in_the_terminal_can_be_scanned(machine: Path) -> None:
    program = ("import sys; from pathlib import Path; from picam_infer import cli;"
               "from picam_infer.models import bundle; from picam_infer.platform import addresses, service_manager;"
               "addresses.own = lambda: ['192.0.2.7'];"
               f"service_manager.SETTINGS = Path({str(machine / 'etc')!r});"
               f"bundle.INSTALLED = Path({str(machine / 'var/models')!r}); sys.exit(cli.main(['share']))")  # fmt: skip
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-c", program], {**os.environ, "LANG": "C.UTF-8", "PYTHONUTF8": "1"})
    seen = b""
    while True:
        try:
            block = os.read(terminal, 65536)
        except OSError:
            break
        if not block:
            break
        seen += block
    assert os.waitpid(pid, 0)[1] == 0, seen
    text = seen.decode()
    link = re.search(r"^http://192\.0\.2\.7:8080/join#\S+", text, re.MULTILINE)
    assert link
    # As a terminal with characters of 1:2 draws it.
    cells = {" ": (1, 1), "▀": (0, 1), "▄": (1, 0), "█": (0, 0)}
    rows = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip("\r") for line in text.split("\n") if "\x1b[30;107m" in line]
    assert max(map(len, rows)) <= 60, "fits into 80 columns"
    picture = np.array([[cells[one][half] for one in row] for row in rows for half in (0, 1)], np.uint8) * 255
    big = cv2.resize(picture, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
    assert cv2.QRCodeDetectorAruco().detectAndDecode(big)[0] == link[0]


def test_a_running_service_opens_without_a_new_round(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    make_bundle(machine / "m")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = machine / "etc/config.yaml"
    settings.write_text(f"source: demo\nmodel: {machine / 'm'}\ndisplay: {{kind: none}}\nweb:\n"
                        f"  listen: 127.0.0.1:{port}\n  token_file: {machine / 'token'}\n")  # fmt: skip
    log = machine / "log"
    with log.open("w") as file:
        service = subprocess.Popen([sys.executable, "-m", "picam_infer", "run", "-c", settings], stderr=file,
                                   env={**os.environ, "STATE_DIRECTORY": str(machine / "var")})  # fmt: skip
    try:
        until(lambda: "web: http://127.0.0.1" in log.read_text())
        opening = share.Share(settings)
        opening.follow(configs.load(settings).web)
        opening.open()
        share.leave_word(machine / "var/invitation-config.json", "code-of-a-test", __import__("time").time())
        service.send_signal(signal.SIGHUP)
        until(lambda: "the page is open to the network" in log.read_text())
        until(lambda: not (machine / "var/invitation-config.json").exists())
        opening.close()
        service.send_signal(signal.SIGHUP)
        until(lambda: "closed to the network" in log.read_text())
        assert "configuration read again" not in log.read_text(), "neither camera nor model was opened again"
        assert "code-of-a-test" not in log.read_text()
    finally:
        service.terminate()
        assert service.wait(20) == 0
