"""Cameras that give one picture at a time."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from socket_server import Caller, Serve, SocketServer

from picam_infer.config import Capture, SourceLogin
from picam_infer.core import BadFrame, Disconnected, Frame, NotYet, PacedSource
from picam_infer.sources import open_source

pytestmark = pytest.mark.usefixtures("impatient")

NOISE = np.random.default_rng(6)


def coded(suffix: str = ".jpg") -> bytes:
    return cv2.imencode(suffix, NOISE.integers(0, 255, (48, 64, 3)).astype(np.uint8))[1].tobytes()


PICTURES = [coded() for _ in range(3)]


def one_each(pictures: list[bytes], kind: str = "image/jpeg", *, length: bool = True) -> Serve:
    left = iter(pictures)

    def serve(caller: Caller) -> None:
        caller.request()
        body = next(left)
        caller.http(kind, body, **({"Content_Length": str(len(body))} if length else {}))

    return serve


def patient(source: object) -> Frame:
    while True:
        try:
            return source.read()  # type: ignore[attr-defined]
        except NotYet:
            continue


def test_a_length_of_thousands_of_digits_is_none() -> None:
    def serve(caller: Caller) -> None:
        caller.request()
        caller.http("image/jpeg", PICTURES[0], Content_Length="9" * 5000)

    with SocketServer(serve) as server:
        source = open_source(f"http://127.0.0.1:{server.port}/shot.jpg", Capture(every_s=0.1))
        assert patient(source).data.tobytes() == PICTURES[0]
        source.close()


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("kind", ["image/jpeg", "image/jpg", "application/octet-stream", ""])
def test_a_single_picture_is_recognised_and_asked_for_again(kind: str, length: bool) -> None:
    if not length and not kind.startswith("image/"):
        pytest.skip("might be a stream")
    with SocketServer(one_each(PICTURES, kind, length=length)) as server:
        source = open_source(f"http://127.0.0.1:{server.port}/shot.jpg", Capture(every_s=0.1, flip="both"))
        frames = [patient(source) for _ in range(3)]
        assert [f.data.tobytes() for f in frames] == PICTURES and server.callers == 3
        assert [(f.seq, f.codec, f.width, f.flip) for f in frames] == [(n, "jpeg", 64, "both") for n in range(3)]
        assert frames[2].monotonic_s - frames[0].monotonic_s > 0.15
        assert source.live and isinstance(source, PacedSource)
        assert source.description.endswith("/shot.jpg 64×48 JPEG every 0.1 s")
        source.close()


def test_other_kinds_of_pictures() -> None:
    with SocketServer(one_each([coded(".png"), coded(".webp")], "image/png")) as server:
        source = open_source(f"http://127.0.0.1:{server.port}/shot", Capture(every_s=0.1))
        assert [(f.codec, f.data.shape) for f in (patient(source), patient(source))] == [("bgr", (48, 64, 3))] * 2
        source.close()


def test_what_has_not_changed_is_not_sent_again_and_still_counts() -> None:
    asked: list[str] = []

    def serve(caller: Caller) -> None:
        request = caller.request()
        asked.append(request)
        if 'If-None-Match: "one"' in request and len(asked) < 4:
            caller.http(status="304 Not Modified")
        else:
            caller.http(
                "image/jpeg", PICTURES[len(asked) > 1], ETag='"one"', Last_Modified="Thu, 01 Jan 2026 00:00:00 GMT"
            )

    with SocketServer(serve) as server:
        source = open_source(f"http://127.0.0.1:{server.port}/shot.jpg", Capture(every_s=0.1))
        assert [patient(source).data.tobytes() for _ in range(4)] == [PICTURES[0]] * 3 + [PICTURES[1]]
        assert "If-None-Match" not in asked[0] and "If-Modified-Since: Thu, 01 Jan 2026" in asked[1]
        source.close()


def test_damaged_pictures_are_skipped_and_the_next_one_is_wanted_whole() -> None:
    asked: list[str] = []

    def serve(caller: Caller) -> None:
        asked.append(caller.request())
        body = PICTURES[0] if len(asked) == 2 else PICTURES[0][:500]
        caller.http("image/jpeg", body, Content_Length=str(len(PICTURES[0])), ETag='"x"')

    with SocketServer(serve) as server:
        source = open_source(f"http://127.0.0.1:{server.port}/shot.jpg", Capture(every_s=0.1))
        with pytest.raises(BadFrame, match="not a whole JPEG"):
            patient(source)
        assert patient(source).seq == 1 and "If-None-Match" not in asked[1]
        source.close()


def test_digest_is_answered_once_and_then_beforehand(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("s3cret")
    (tmp_path / "p").chmod(0o600)
    counts: list[str] = []

    def serve(caller: Caller) -> None:
        request = caller.request()
        count = re.search(r"nc=(\w+)", request)
        if count is None:
            challenge = 'Basic realm="x", Digest realm="cam", qop="auth,auth-int", nonce="n"'
            caller.http(status="401 Unauthorized", WWW_Authenticate=challenge)
            return
        counts.append(count[1])
        caller.http("image/jpeg", PICTURES[0])

    with SocketServer(serve) as server:
        login = SourceLogin(user="anna", password_file=str(tmp_path / "p"))
        source = open_source(f"http://127.0.0.1:{server.port}/shot.jpg", Capture(every_s=0.1), login)
        for _ in range(3):
            patient(source)
        assert counts == ["00000001", "00000002", "00000003"] and server.callers == 4
        source.close()


def test_a_camera_that_goes_is_lost_with_the_cause() -> None:
    with SocketServer(one_each(PICTURES), most=1) as server:
        source = open_source(f"http://127.0.0.1:{server.port}/shot.jpg", Capture(every_s=0.1))
        patient(source)
        with pytest.raises(Disconnected, match="connection refused"):
            patient(source)
        source.close()


def test_waiting_is_told_and_closing_ends_it() -> None:
    with SocketServer(one_each(PICTURES)) as server:
        source = open_source(f"http://127.0.0.1:{server.port}/shot.jpg", Capture(every_s=3600))
        patient(source)
        with pytest.raises(NotYet):
            source.read()
        threading.Timer(0.1, source.close).start()
        with pytest.raises(Disconnected, match="was closed"):
            patient(source)


def test_a_picture_without_an_end_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picam_infer.sources.snapshot.MAX_PART", 100_000)

    def serve(caller: Caller) -> None:
        caller.request()
        caller.http("image/jpeg")
        while not caller.over.is_set():
            caller.send(PICTURES[0])

    with SocketServer(serve) as server:
        source = open_source(f"http://127.0.0.1:{server.port}/shot.jpg", Capture(every_s=0.1))
        with pytest.raises(Disconnected, match="has no end"):
            patient(source)
        source.close()
