"""What can be wrong with an HTTP camera: each has its own sentence, and none costs memory or a second connection."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from makers import until
from socket_server import Caller, Serve, SocketServer

from picam_infer.config import Capture, SourceLogin
from picam_infer.core import BadFrame, Disconnected, Frame, Source
from picam_infer.sources import network, open_source

pytestmark = pytest.mark.usefixtures("impatient")

NOISE = np.random.default_rng(3)
PICTURES = [cv2.imencode(".jpg", NOISE.integers(0, 255, (48, 64, 3)).astype(np.uint8))[1].tobytes() for _ in range(4)]
MULTIPART = "multipart/x-mixed-replace; boundary=f"


def part(data: bytes, length: int | None = None, boundary: str = "f") -> bytes:
    size = "" if length == -1 else f"Content-Length: {len(data) if length is None else length}\r\n"
    return f"--{boundary}\r\nContent-Type: image/jpeg\r\n{size}\r\n".encode() + data + b"\r\n"


def camera(server: SocketServer, path: str = "/video", scheme: str = "http", **login: str) -> Source:
    return open_source(f"{scheme}://127.0.0.1:{server.port}{path}", Capture(), SourceLogin(**login))


def why(server: SocketServer, **more: str) -> str:
    with pytest.raises(Disconnected) as lost:
        camera(server, **more)
    assert lost.value.hint and "plug" not in str(lost.value)
    return str(lost.value)


def says(*pieces: bytes | str, wait: bool = False) -> Serve:
    def serve(caller: Caller) -> None:
        caller.request()
        caller.send(*pieces)
        if wait:
            caller.over.wait(20)

    return serve


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", "refuses access (401)"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "refuses access (403)"),
        ("HTTP/1.1 404 Not Found\r\n\r\n", "answers 404 Not Found"),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "answers 503"),
        ("HTTP/1.1 302 Found\r\nLocation: /video\r\n\r\n", "in a loop"),
        ("HTTP/1.1 302 Found\r\nLocation: ftp://h/\r\n\r\n", "redirects to a ftp:// address"),
        ("HTTP/1.1 302 Found\r\nLocation: http://:0\r\n\r\n", "redirects to an invalid address"),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/live?key=k\r\n\r\n",
            "(it redirects to http://127.0.0.1:1/live) cannot be reached (connection refused)",
        ),
        ("RTSP/1.0 400 Bad Request\r\n\r\n", "does not speak HTTP"),
        ("SSH-2.0-OpenSSH_9\r\n", "does not speak HTTP"),
        ("", "hung up without an answer"),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "is a page (text/html)"),
        ("HTTP/1.1 200 OK\r\n\r\n<!doctype html><html>", "is a page"),
        ("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}", "is a page (application/json)"),
        ("HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 0\r\n\r\n", "answers with nothing"),
        ("HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n" + "no video at all " * 99, "cannot be played"),
    ],
)
def test_an_answer_that_is_no_stream(answer: str, words: str) -> None:
    with SocketServer(says(answer)) as server:
        assert words in why(server)


def test_a_server_that_accepts_and_never_answers_is_not_waited_for() -> None:
    with SocketServer(lambda caller: caller.over.wait(20) and None) as server:
        assert "does not answer" in why(server)


@pytest.mark.parametrize("at", ["head", "body"])
def test_a_trickle_is_no_answer(at: str) -> None:
    def serve(caller: Caller) -> None:
        caller.request()
        caller.send("HTTP/1.1 200 OK\r\n" if at == "head" else f"HTTP/1.1 200 OK\r\nContent-Type: {MULTIPART}\r\n\r\n")
        while not caller.over.wait(0.05):
            caller.send("X")

    with SocketServer(serve) as server:
        if at == "head":
            assert "does not answer" in why(server)
        else:
            source = camera(server)
            with pytest.raises(Disconnected, match="sends no"):
                source.read()


def test_hosts_that_do_not_exist() -> None:
    for host in ("no.such.invalid", "a..b", "x" * 70 + ".de"):
        with pytest.raises(Disconnected, match="no such host"):
            open_source(f"http://{host}/x", Capture())


# -- TLS ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    path = tmp_path_factory.mktemp("tls") / "cam.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=cam",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path.with_suffix(".key"), "-out", path],
                   check=True, capture_output=True)  # fmt: skip
    return path


def test_a_cameras_own_certificate(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))

    def serve(caller: Caller) -> None:
        caller.request()
        caller.http(MULTIPART, part(PICTURES[0]))
        caller.over.wait(20)

    with SocketServer(serve, context=context) as server:
        assert "its certificate is not trusted" in why(server, scheme="https")
        assert "source_login.ca_file" in why(server, scheme="https")
        assert "source_login.ca_file" in why(server, scheme="https", ca_file="/etc/hostname")
        source = camera(server, scheme="https", ca_file=str(certificate))
        assert source.read().data.tobytes() == PICTURES[0]
        source.close()


def test_plain_http_where_tls_is_expected() -> None:
    with SocketServer(lambda caller: caller.send("HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        assert "does not speak TLS" in why(server, scheme="https")


# -- who may look ---------------------------------------------------------------


@pytest.mark.parametrize("qop", ['qop="auth", ', ""])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "MD5-sess"])
def test_digest(qop: str, algorithm: str, tmp_path: Path) -> None:
    user, password = 'an"na', "s3c:r@t /€"
    (tmp_path / "p").write_text(password + "\n")
    (tmp_path / "p").chmod(0o600)
    asked: list[str] = []

    def serve(caller: Caller) -> None:
        request = caller.request()
        asked.append(request)
        given = dict(re.findall(r'(\w+)="?((?:[^",\\]|\\.)*)"?', request.partition("Authorization: Digest ")[2]))
        if not given:
            challenge = f'Digest realm="ca,m", {qop}nonce="n1", algorithm={algorithm}, opaque="o"'
            caller.http(status="401 Unauthorized", WWW_Authenticate=challenge)
            return

        def digest(text: str) -> str:
            return hashlib.new("sha256" if "256" in algorithm else "md5", text.encode()).hexdigest()

        first = digest(f"{user}:ca,m:{password}")
        if "sess" in algorithm:
            first = digest(f"{first}:n1:{given.get('cnonce', '')}")
        middle = f"n1:{given.get('nc')}:{given.get('cnonce')}:auth" if qop else "n1"
        right = digest(f"{first}:{middle}:{digest('GET:/video?a=1')}")
        caller.http(MULTIPART, part(PICTURES[1])) if given["response"] == right else caller.http(status="401 No")

    if algorithm == "MD5-sess" and not qop:
        pytest.skip("a session's key needs the client's nonce")
    with SocketServer(serve) as server:
        source = camera(server, "/video?a=1", user=user, password_file=str(tmp_path / "p"))
        assert source.read().data.tobytes() == PICTURES[1]
        assert len(asked) == 2, "a camera that counts wrong passwords locks its user out"
        (tmp_path / "p").write_text("wrong")
        assert "refuses access (401)" in why(server, path="/video?a=1", user=user, password_file=str(tmp_path / "p"))
        assert len(asked) == 4


def test_a_password_goes_nowhere_else() -> None:
    with SocketServer(says("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\n\r\n")) as thief:

        def serve(caller: Caller) -> None:
            caller.request()
            caller.http(status="302 Found", Location=f"http://127.0.0.1:{thief.port}/x")

        with SocketServer(serve) as server:
            assert "refuses access" in why(server, user="anna")
        assert thief.callers == 1


def test_a_password_file_is_looked_at_before_it_is_used(tmp_path: Path) -> None:
    with SocketServer(says("HTTP/1.1 404 Not Found\r\n\r\n")) as server:
        assert "there is no" in why(server, user="anna", password_file=str(tmp_path / "p"))
        (tmp_path / "p").write_text("s3cret")
        (tmp_path / "p").chmod(0o644)
        said = why(server, user="anna", password_file=str(tmp_path / "p"))
        assert "everyone on this machine can read" in said and "chmod 600" in said and "s3cret" not in said
        assert server.callers == 0


# -- one connection --------------------------------------------------------------


def test_motion_jpeg_of_a_wrong_type_is_played_over_its_only_connection() -> None:
    def serve(caller: Caller) -> None:
        caller.request()
        caller.http("application/octet-stream")
        for picture in PICTURES:
            caller.send(part(picture))
        caller.over.wait(20)

    with SocketServer(serve, most=1) as server:
        source = camera(server)
        assert source.read().data.tobytes() in PICTURES
        assert source.live and server.callers == 1
        source.close()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg (apt install ffmpeg)")
@pytest.mark.parametrize("form", ["mpjpeg", "mpegts"])
def test_ffmpeg_that_serves_one_connection_only(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "OPEN_S", 10.0)
    monkeypatch.setattr(network, "QUIET_S", 10.0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    codec = ["-c:v", "mjpeg"] if form == "mpjpeg" else ["-c:v", "mpeg2video", "-g", "5"]
    process = subprocess.Popen(["ffmpeg", "-v", "quiet", "-re", "-f", "lavfi", "-i", "testsrc=s=160x120:r=20", "-t",
                                "30", *codec, "-f", form, "-listen", "1", f"http://127.0.0.1:{port}/"])  # fmt: skip
    try:

        def opened() -> Source | None:
            try:
                return open_source(f"http://127.0.0.1:{port}/", Capture())
            except Disconnected as lost:  # it is still starting
                assert "refused" in str(lost), lost
                return None

        source = until(opened)
        assert [(source.read().width, source.read().height) for _ in range(3)] == [(160, 120)] * 3
        source.close()
    finally:
        process.kill()
        process.wait()


# -- what cameras do wrong ----------------------------------------------------------


def frames(source: Source, count: int) -> list[Frame]:
    got: list[Frame] = []
    bad = 0
    while len(got) < count:
        try:
            got.append(source.read())
        except BadFrame:
            bad += 1
            assert bad < 3
    return got


@pytest.mark.parametrize("wrong", [2, 100, -100, 1000, 5], ids=lambda n: f"{n:+d}")
def test_a_wrong_content_length_is_seen_through(wrong: int) -> None:
    step = threading.Semaphore(0)

    def serve(caller: Caller) -> None:
        caller.request()
        caller.http(MULTIPART)
        for number in range(40):
            data = PICTURES[number % 4]
            caller.send(part(data, len(data) + wrong))
            if number > 5:
                step.acquire(timeout=5)
        caller.over.wait(20)

    with SocketServer(serve) as server:
        source = camera(server)
        for _ in range(8):
            assert frames(source, 1)[0].data.tobytes().rstrip(b"\r\n") in PICTURES
            step.release()
        source.close()


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ('multipart/x-mixed-replace; boundary="f"', "f"),
        ("multipart/x-mixed-replace;boundary=--f", "f"),
        ("multipart/x-mixed-replace; boundary=other", "f"),
        ("multipart/x-mixed-replace", "f"),
        ("multipart/x-mixed-replace; boundary=--f", "--f"),
        ("multipart/mixed; boundary=a b", "a b"),
        ("MULTIPART/X-MIXED-REPLACE; BOUNDARY=f", "f"),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_boundaries_as_cameras_write_them(kind: str, boundary: str, chunked: bool) -> None:
    def serve(caller: Caller) -> None:
        caller.request()
        caller.http(kind, **({"Transfer_Encoding": "chunked"} if chunked else {}))
        for number in range(20):
            data = part(PICTURES[number % 4], boundary=boundary)
            for at in range(0, len(data), 700):
                piece = data[at : at + 700]
                caller.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if chunked else piece)
        caller.over.wait(20)

    with SocketServer(serve) as server:
        source = camera(server)
        assert frames(source, 1)[0].data.tobytes() in PICTURES
        source.close()


def test_frames_may_change_their_size_and_one_that_is_too_large_is_skipped() -> None:
    small, turn = cv2.imencode(".jpg", np.zeros((32, 32, 3), np.uint8))[1].tobytes(), threading.Semaphore(1)
    liar = bytearray(PICTURES[0])
    at = liar.index(b"\xff\xc0")
    liar[at + 5 : at + 9] = (30000).to_bytes(2, "big") * 2

    def serve(caller: Caller) -> None:
        caller.request()
        caller.http(MULTIPART)
        for data in (PICTURES[0], bytes(liar), small):
            turn.acquire(timeout=5)
            caller.send(part(data))
        caller.over.wait(20)

    with SocketServer(serve) as server:
        source = camera(server)
        assert (source.read().width, source.live) == (64, True)
        turn.release()
        with pytest.raises(BadFrame, match="30000×30000, 900 million pixels"):
            source.read()
        turn.release()
        assert source.read().width == 32
        source.close()


def test_a_slow_stream_is_waited_for_at_its_own_pace() -> None:
    def serve(caller: Caller) -> None:
        caller.request()
        caller.http(MULTIPART)
        for picture in PICTURES[:3]:
            caller.send(part(picture))
            if caller.over.wait(0.8):  # longer than a stream of unknown pace may be silent… once it had one
                return
        caller.over.wait(20)

    with SocketServer(serve) as server:
        source = camera(server)
        assert [source.read().data.tobytes() for _ in range(3)] == PICTURES[:3]
        with pytest.raises(Disconnected, match="sends no pictures"):
            source.read()
        source.close()
