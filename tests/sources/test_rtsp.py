"""RTSP cameras: a real server (GStreamer's), and every refusal in words of its own from one that a test scripts."""

from __future__ import annotations

import re
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from socket_server import Caller, Serve, SocketServer

from picam_infer.config import Capture, SourceLogin
from picam_infer.core import Disconnected, PacedSource
from picam_infer.sources import open_source

USER, PASSWORD = "an na", "s3c:r@t/#?%"
PYTHON = "/usr/bin/python3"  # Debian's, which has GStreamer's bindings


class Ports(NamedTuple):
    everyone: int
    few: int


@pytest.fixture(scope="module")
def real() -> Iterator[Ports]:
    program = Path(__file__).with_name("rtsp_server.py")
    try:
        process = subprocess.Popen([PYTHON, program, USER, PASSWORD], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    except OSError:
        pytest.skip(f"needs {PYTHON}")
    assert process.stdin and process.stdout
    with process:
        line = process.stdout.readline()
        if not line:
            pytest.skip("needs apt install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good")
        yield Ports(*map(int, line.split()))
        process.stdin.close()


@pytest.mark.parametrize("path", ["mjpeg", "vp8"])
def test_a_real_stream(real: Ports, path: str) -> None:
    source = open_source(f"rtsp://127.0.0.1:{real.everyone}/{path}", Capture(rotate=90))
    frames = [source.read() for _ in range(3)]
    assert [(f.codec, f.width, f.height, f.rotate) for f in frames] == [("bgr", 160, 120, 90)] * 3
    assert source.live and source.description == f"rtsp://127.0.0.1:{real.everyone}/{path} 160×120 20 fps"
    source.close()
    source.close()


def test_a_real_stream_with_a_login(real: Ports, tmp_path: Path) -> None:
    (tmp_path / "p").write_text(f"{PASSWORD}\n")
    (tmp_path / "p").chmod(0o600)
    place = f"127.0.0.1:{real.few}/mjpeg"
    encoded = ":".join(urllib.parse.quote(part, safe="") for part in (USER, PASSWORD))
    for address, login in (
        (f"rtsp://{encoded}@{place}", SourceLogin()),
        (f"rtsp://{place}", SourceLogin(user=USER, password_file=str(tmp_path / "p"))),
    ):
        source = open_source(address, Capture(), login)
        assert source.read().width == 160 and "s3c" not in source.description
        source.close()
    for address in (f"rtsp://{place}", f"rtsp://an%20na:wrong@{place}"):
        with pytest.raises(Disconnected, match=r"refuses access \(401\)") as lost:
            open_source(address, Capture())
        assert "source_login" in lost.value.hint and "wrong" not in str(lost.value)


@pytest.mark.parametrize(
    ("path", "words"), [("none", "answers 404 Not Found"), ("sound", r"has no video stream \(only audio\)")]
)
def test_what_a_real_server_refuses(real: Ports, path: str, words: str) -> None:
    with pytest.raises(Disconnected, match=words):
        open_source(f"rtsp://127.0.0.1:{real.everyone}/{path}", Capture())


# -- scripted -----------------------------------------------------------------


def sdp(media: str) -> str:
    return f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n{media}"


SOUND = "m=audio 0 RTP/AVP 0\r\na=control:track0\r\n"
H264 = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track0\r\n"
ODD = "m=video 0 RTP/AVP 97\r\na=rtpmap:97 X-SECRETCODEC/90000\r\na=control:track0\r\n"


def answers(media: str = H264, **statuses: str) -> Serve:
    """Return a server that answers with these statuses by method, with 200 to the others."""

    def serve(caller: Caller) -> None:
        while request := caller.request():
            method, number = request.split()[0], re.search(r"CSeq: (\d+)", request)
            status = statuses.get(method, "200 OK")
            body, more = "", "Public: DESCRIBE, SETUP, PLAY\r\n"
            if status.startswith("200"):
                if method == "DESCRIBE":
                    body, more = sdp(media), "Content-Type: application/sdp\r\n"
                elif method == "SETUP":
                    more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 7\r\n"
            caller.send(
                f"RTSP/1.0 {status}\r\nCSeq: {number[1] if number else 0}\r\n{more}"
                f"Content-Length: {len(body)}\r\n\r\n{body}"
            )

    return serve


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("serve", "words", "remedy"),
    [
        (answers(DESCRIBE="401 Unauthorized"), "refuses access (401)", "source_login"),
        (answers(DESCRIBE="403 Forbidden"), "refuses access (403)", "source_login"),
        (answers(DESCRIBE="404 Stream Not Found"), "answers 404", "path"),
        (answers(DESCRIBE="500 Oops"), "answers 500", "address"),
        (answers(DESCRIBE="503 Service Unavailable"), "answers 503 Service Unavailable", "viewers"),
        (answers(SETUP="453 Not Enough Bandwidth"), "answers 453", "viewers"),
        (answers(SETUP="454 Session Not Found"), "answers 454", "opened again"),
        (answers(SETUP="461 Unsupported Transport"), "answers 461 Unsupported Transport", "RTP over TCP"),
        (answers(media=SOUND), "no video stream (only audio)", "another stream"),
        (answers(media=""), "has no video stream", "another stream"),
        (answers(media=ODD), "sends a video codec that cannot be played here (X-SECRETCODEC)", "H.264"),
        (answers(), "sends no pictures", "RTP over TCP"),
        (lambda caller: caller.send("HTTP/1.0 400 Bad Request\r\n\r\n"), "does not speak RTSP", "port"),
        (lambda caller: None, "hung up without an answer", "power"),
        (lambda caller: caller.over.wait(20) and None, "does not answer", "network"),
    ],
)
def test_every_cause_has_its_sentence_and_its_remedy(serve: Serve, words: str, remedy: str) -> None:
    with SocketServer(serve) as server, pytest.raises(Disconnected) as lost:
        open_source(f"rtsp://anna:s3cret@127.0.0.1:{server.port}/h264?token=s3cret", Capture()).read()
    assert words in lost.value.message and remedy in lost.value.hint
    said = f"{lost.value} {lost.value.__cause__!r}"
    assert not any(word in said for word in ("s3cret", "anna", "plug"))


@pytest.mark.usefixtures("impatient")
def test_an_endless_answer_is_not_read_to_its_end() -> None:
    def serve(caller: Caller) -> None:
        caller.request()
        caller.send("RTSP/1.0 401 No\r\n")
        while not caller.over.is_set():
            caller.send("X: " + "y" * 4000 + "\r\n")

    with SocketServer(serve) as server, pytest.raises(Disconnected):
        open_source(f"rtsp://127.0.0.1:{server.port}/", Capture())


def test_a_host_that_does_not_exist() -> None:
    with pytest.raises(Disconnected, match="no such host"):
        open_source("rtsp://no.such.invalid/h", Capture())


def test_a_network_camera_says_itself_what_helps(real: Ports) -> None:
    source = open_source(f"rtsp://127.0.0.1:{real.everyone}/mjpeg", Capture())
    assert isinstance(source, PacedSource)
    assert "plug" not in str(source.silence) + source.other_pictures
    source.close()
