import base64
import contextlib
import http.server
import logging
import socket
import threading
import time

import cv2
import numpy as np
import pytest

from picam_infer.config import Capture
from picam_infer.core import BadFrame, Disconnected, NoInput, Source
from picam_infer.sources import address as addresses
from picam_infer.sources import http_client, network, open_source
from picam_infer.sources.http_client import Endpoint
from picam_infer.sources.mjpeg import MAX_PART, Parts, TooLong


def jpeg(shade, size=(64, 48)):
    return cv2.imencode(".jpg", np.full((size[1], size[0], 3), shade, np.uint8))[1].tobytes()


def part(data, *, length=True):
    size = f"Content-Length: {len(data)}\r\n" if length else ""
    return f"--frame\r\nContent-Type: image/jpeg\r\n{size}\r\n".encode() + data + b"\r\n"


class Server:
    """An HTTP server on the loopback whose answers a test writes: `script(handler)` after the headers."""

    def __init__(self, script, kind="multipart/x-mixed-replace; boundary=frame", secret="", status=200):
        outer = self
        self.let_go = threading.Event()
        self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.seen.append(self.path)
                wanted = "Basic " + base64.b64encode(secret.encode()).decode()
                if secret and self.headers.get("Authorization") != wanted:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="cam"')
                    self.end_headers()
                    return
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()
                with contextlib.suppress(OSError):
                    script(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        self.port = self.server.server_port

    def url(self, user="", path="/video?token=geheim"):
        return f"http://{user}127.0.0.1:{self.port}{path}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.let_go.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def sends(*chunks, then=None):
    def script(handler):
        for chunk in chunks:
            handler.wfile.write(chunk)
        if then is not None:
            then.wait(20)

    return script


@pytest.mark.parametrize("length", [True, False], ids=["with lengths", "without"])
def test_motion_jpeg_over_http_arrives_byte_for_byte(length):
    pictures = [jpeg(s) for s in (10, 90, 170)]
    gate = threading.Semaphore(1)

    def script(handler):
        for picture in pictures:
            gate.acquire(timeout=10)
            handler.wfile.write(part(picture, length=length) + (b"" if length else b"--frame\r\n"))

    with Server(script) as server:
        source = open_source(server.url(), Capture(flip="vertical"))
        assert isinstance(source, Source) and source.live
        for number, picture in enumerate(pictures):
            frame = source.read()
            gate.release()
            assert frame.data.tobytes() == picture and frame.codec == "jpeg" and frame.seq == number
            assert (frame.width, frame.height, frame.flip) == (64, 48, "vertical")
        assert source.description == f"http://127.0.0.1:{server.port}/video 64×48 MJPG"
        with pytest.raises(Disconnected, match="has stopped"):
            source.read()
        source.close()
        source.close()


def test_the_reader_of_a_picture_is_woken_when_all_of_it_is_there():
    go = threading.Event()

    def script(handler):
        handler.wfile.write(b"head")
        go.wait(10)
        for _ in range(20):
            handler.wfile.write(bytes(500))
            time.sleep(0.002)
        handler.wfile.write(b"the end")

    with Server(script) as server:
        camera = Endpoint(addresses.parse(server.url()), None, "", 5.0, 5.0)
        reply = http_client.ask(camera)
        try:
            assert reply.read(10.0) == b"head"
            go.set()
            data = reply.read(10.0, needed=10_000)
            assert len(data) >= 10_000, "in one piece"
            while more := reply.read(10.0, needed=10**6):
                data += more
            assert data == bytes(10_000) + b"the end", "the end wakes it, too"
        finally:
            reply.close()


def test_what_a_part_lacks_is_known_from_its_length():
    parts = Parts(b"frame")
    data = part(b"x" * 1000)
    assert parts.feed(data[:200]) == [] and parts.lacks == len(data) - 2 - 200
    assert parts.feed(data[200:]) == [b"x" * 1000] and parts.lacks == 1
    unknown = Parts(b"frame")
    assert unknown.feed(part(b"x" * 1000, length=False)[:200]) == [] and unknown.lacks == 1


def test_of_several_that_wait_the_newest_counts():
    hold = threading.Event()
    with Server(sends(b"".join(part(jpeg(s)) for s in (10, 90, 170)), then=hold)) as server:
        source = open_source(server.url(), Capture())
        while (frame := source.read()).data.tobytes() != jpeg(170):
            assert frame.seq < 2
        hold.set()
        source.close()


def test_a_stream_that_stalls_is_lost(monkeypatch):
    monkeypatch.setattr(network, "OPEN_S", 0.3)
    monkeypatch.setattr(network, "QUIET_S", 0.3)
    hold = threading.Event()
    with Server(sends(part(jpeg(9)), part(jpeg(9))[:200], then=hold)) as server:
        source = open_source(server.url(), Capture())
        source.read()
        with pytest.raises(Disconnected, match="sends no pictures"):
            source.read()
        hold.set()
        source.close()


def test_a_stream_that_dribbles_is_lost(monkeypatch):
    monkeypatch.setattr(network, "QUIET_S", 0.3)
    done = threading.Event()

    def script(handler):
        handler.wfile.write(b"--frame\r\nContent-Length: 90000\r\n\r\n")
        while not done.wait(0.02):
            handler.wfile.write(b"x")

    with Server(script) as server:
        source = open_source(server.url(), Capture())
        with pytest.raises(Disconnected, match="sends no pictures"):
            source.read()
        done.set()
        source.close()


def test_closing_wakes_a_waiting_reader(monkeypatch):
    monkeypatch.setattr(network, "QUIET_S", 3600.0)
    hold = threading.Event()
    with Server(sends(part(jpeg(9)), then=hold)) as server:
        source = open_source(server.url(), Capture())
        source.read()
        threading.Timer(0.1, source.close).start()
        with pytest.raises(Disconnected, match="has stopped"):
            source.read()
        hold.set()


def test_a_damaged_picture_is_skipped_and_the_next_one_comes():
    broken = jpeg(9)[:-300]
    gate = threading.Event()

    def script(handler):
        handler.wfile.write(b"garbage before\r\n" + part(broken))
        gate.wait(10)
        handler.wfile.write(part(jpeg(50)))

    with Server(script) as server:
        source = open_source(server.url(), Capture())
        with pytest.raises(BadFrame):
            source.read()
        gate.set()
        assert source.read().data.tobytes() == jpeg(50)
        source.close()


def test_credentials_are_used_but_never_shown(caplog):
    caplog.set_level(logging.DEBUG)
    with Server(sends(part(jpeg(5))), secret="anna:so+geheim") as server:
        source = open_source(server.url("anna:so%2Bgeheim@"), Capture())
        assert source.read().width == 64
        source.close()
        with pytest.raises(Disconnected, match=r"refuses access \(401\)") as lost:
            open_source(server.url("anna:falsch@"), Capture())
    said = caplog.text + source.description + str(lost.value)
    assert not any(word in said for word in ("geheim", "falsch", "anna"))


@pytest.mark.parametrize("url", ["rtsp://u:p@h:554/a?x=1#y", "http://u:p%40@h/a", "http://u@ser:p@h/a?k", "rtsp://h/a"])
def test_names_carry_no_secrets(url):
    assert addresses.shown(url) in ("rtsp://h:554/a", "http://h/a", "rtsp://h/a")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"status": 404}, "answers 404"),
        ({"status": 503}, "answers 503"),
        ({"kind": "text/html"}, "is a page"),
    ],
)
def test_answers_that_are_no_stream(more, words):
    with Server(sends(b"<html>"), **more) as server, pytest.raises(Disconnected, match=words):
        open_source(server.url(), Capture())


def test_nobody_there_and_nobody_answering(monkeypatch):
    monkeypatch.setattr(network, "OPEN_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Disconnected, match="does not answer"):
            open_source(f"http://127.0.0.1:{port}/x", Capture())
    with pytest.raises(Disconnected, match="cannot be reached"):
        open_source(f"http://127.0.0.1:{port}/x", Capture())
    with pytest.raises(Disconnected, match=r"cannot be reached \(connection refused\)"):
        open_source(f"rtsp://anna:geheim@127.0.0.1:{port}/x", Capture())


@pytest.mark.parametrize("url", ["http://", "rtsp://:554/x", "http://h:99999/"])
def test_half_an_address(url):
    with pytest.raises(NoInput, match="not a complete address"):
        open_source(url, Capture())


def test_a_video_over_http_goes_through_ffmpeg(tmp_path):
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (320, 240))
    for shade in range(0, 200, 10):
        writer.write(np.full((240, 320, 3), shade, np.uint8))
    writer.release()
    with Server(lambda handler: handler.wfile.write(path.read_bytes()), kind="video/x-msvideo") as server:
        source = open_source(server.url(path="/a.avi"), Capture())
        frame = source.read()
        assert source.live and frame.codec == "bgr" and frame.data.shape == (240, 320, 3)
        with pytest.raises(Disconnected, match="has stopped"):
            for _ in range(30):
                source.read()
        source.close()


def rtsp_server(listener, packets, done):
    """One client, RTSP 1.0 (RFC 2326) with MPEG transport stream over interleaved TCP (RFC 2250, payload type 33)."""
    client, _ = listener.accept()
    lines = client.makefile("rb")
    sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track0\r\n"
    while not done.is_set():
        request = lines.readline().decode().split()
        if not request:
            break
        headers = {}
        while (line := lines.readline().decode().strip()) != "":
            key, _, value = line.partition(":")
            headers[key.lower()] = value.strip()
        answer = {
            "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n",
            "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}",
            "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n\r\n",
        }.get(request[0], "Session: 1\r\n\r\n")
        client.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n{answer}".encode())
        if request[0] == "PLAY":
            for number, data in enumerate(packets):
                head = bytes((0x80, 33)) + number.to_bytes(2, "big") + (number * 3000).to_bytes(4, "big") + b"\0\0\0\1"
                client.sendall(b"$\0" + (len(data) + 12).to_bytes(2, "big") + head + data)
            done.wait(20)
    client.close()


def test_rtsp(tmp_path, monkeypatch):
    path = tmp_path / "a.ts"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mpg2"), 25, (320, 240))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no MPEG-2")
    for shade in range(250):
        writer.write(np.full((240, 320, 3), shade, np.uint8))
    writer.release()
    data, done = path.read_bytes(), threading.Event()
    packets = [data[at : at + 1316] for at in range(0, len(data), 1316)]
    monkeypatch.setattr(network, "QUIET_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=rtsp_server, args=(listener, packets, done), daemon=True)
        server.start()
        source = open_source(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/cam", Capture())
        frames = [source.read() for _ in range(20)]
        assert source.live and frames[-1].seq == 19 and frames[0].data.shape == (240, 320, 3)
        with pytest.raises(Disconnected, match="has stopped"):  # the server falls silent
            for _ in range(300):
                source.read()
        source.close()
        done.set()
        server.join(5)


# -- the parser alone ----------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 5000])
@pytest.mark.parametrize("length", [True, False])
def test_parts_do_not_depend_on_the_pieces_they_come_in(step, length):
    pictures = [jpeg(s) for s in (0, 128, 255)]
    data = b"junk\r\n" + b"".join(part(p, length=length) for p in pictures) + b"--frame--\r\n"
    parts, found = Parts(b"frame"), []
    for at in range(0, len(data), step):
        found += parts.feed(data[at : at + step])
    assert found == pictures


def test_a_delimiter_inside_a_picture_of_known_length_is_no_end():
    body = b"\xff\xd8--frame\r\n\r\n--frame\xff\xd9"
    assert Parts(b"frame").feed(part(body) + part(body)) == [body, body]


def test_bare_line_feeds_are_understood():
    data = b"--frame\nContent-length:3\n\nabc\n--frame\nContent-Length: 2\n\nde"
    assert Parts(b"frame").feed(data) == [b"abc", b"de"]


def test_endless_things_end():
    with pytest.raises(TooLong):
        Parts(b"frame").feed(b"--frame\r\nContent-Length: 99999999999\r\n\r\n")
    with pytest.raises(TooLong):
        Parts(b"frame").feed(b"--frame\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")
    parts = Parts(b"frame")
    parts.feed(b"--frame\r\n\r\n")
    with pytest.raises(TooLong):
        for _ in range(MAX_PART // 2**20 + 2):
            parts.feed(b"x" * 2**20)
    garbage = Parts(b"frame")
    for _ in range(50):
        assert garbage.feed(b"y" * 100_000) == []
    assert garbage.pending < 100
    headless = Parts(b"frame")
    for _ in range(10):
        assert headless.feed(b"--frame" + b"z" * 20_000) == []
    assert headless.pending < 60_000
