"""What is shown of addresses: whatever people write into them, no secret comes out."""

from __future__ import annotations

import base64
import os

import pytest

from picam_infer.config import Capture
from picam_infer.core import NoInput, PicamError
from picam_infer.sources import address, open_source
from picam_infer.sources.challenge import Login

SECRETS = ["s3cret/word", "s3c#ret", "s3c?ret", "s3c@ret", "s3c:ret", "s3c%ret", "s3c ret", "s3c'ret", 's3c"ret',
           "s3cäret", "s3c\\ret", "s3c&ret=1", "s3c;ret", "1234/ret", "12@34:56/ret",
           "s3c@@//ret", "😀ret", "[s3c]ret"]  # fmt: skip


@pytest.mark.parametrize("scheme", ["rtsp", "http", "https", "RTSP"])
@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("host", ["127.0.0.1:1", "cam.local", "[fe80::1%25eth0]:8554"])
def test_no_password_is_shown_however_it_is_written(scheme: str, secret: str, host: str) -> None:
    text = f"{scheme}://admin:{secret}@{host}/stream1"
    try:
        said = f"{address.parse(text)} {address.parse(text)!r}"
    except NoInput as error:
        said = str(error)
        assert "/ # ? @ as %2F %23 %3F %40" in said
    said += address.shown(text)
    assert not any(part in said for part in ("admin", "s3c", "ret", secret))


@pytest.mark.parametrize("secret", SECRETS)
def test_an_encoded_password_arrives_as_it_is_meant(secret: str) -> None:
    import urllib.parse

    where = address.parse(f"rtsp://ad%40min:{urllib.parse.quote(secret, safe='')}@cam.local/a?b=c#d")
    assert (where.user, where.password, where.host, where.port, where.path) == ("ad@min", secret, "cam.local", 554,
                                                                               "/a?b=c")  # fmt: skip
    again = address.parse(where.full_url)
    assert (again.user, again.password, again.path) == (where.user, where.password, where.path)
    assert where.shown == "rtsp://cam.local/a" and where.plain_url == "rtsp://cam.local:554/a?b=c"


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("", ""), ("/", "/"), ("/video", "/video"), ("/h264/ch1/main/av_stream", "/h264/ch1/main/av_stream"),
        ("/video?token=s3cret", "/video"), ("/live#s3cret", "/live"),
        ("/user=admin_password=s3cret_channel=1.sdp", "/…"), ("/cam/pwd/s3cret", "/…"), ("/a;key=s3cret", "/…"),
        ("/stream%3Fpassword%3Ds3cret", "/…"), ("/stream%253Ftoken%253Ds3cret", "/…"), ("/auth/s3cret/live", "/…"),
        ("/AbCdEf12s3cret99", "/…"), ("/0123456789abcdef0123", "/…"), ("/x/admin:s3cret/y", "/…"),
    ],
)  # fmt: skip
def test_of_a_path_only_plain_words_are_shown(path: str, seen: str) -> None:
    shown = address.shown(f"http://cam:8080{path}")
    assert shown == f"http://cam:8080{seen}" and "s3cret" not in shown


@pytest.mark.parametrize("text", ["http://", "rtsp://:554/x", "http://h:99999/", "rtsp://admin:s3cret@/x",
                                  "http://h:0/", "rtsp://admin:s3cret", "http://u:s3cret@h:port/",
                                  "http://[::1/x", "rtsp://a b/x"])  # fmt: skip
def test_half_an_address_says_so_and_nothing_else(text: str) -> None:
    with pytest.raises(NoInput, match="not a complete address") as refused:
        address.parse(text)
    assert "s3cret" not in str(refused.value) and "admin" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "host", "port", "netloc"),
    [
        ("http://[::1]:8080/x", "::1", 8080, "[::1]:8080"),
        ("https://h/", "h", 443, "h:443"),
        ("rtsps://h", "h", 322, "h:322"),
        ("http://[fe80::1%25eth0]/", "fe80::1%eth0", 80, "[fe80::1%eth0]:80"),
    ],
)
def test_hosts(text: str, host: str, port: int, netloc: str) -> None:
    where = address.parse(text)
    assert (where.host, where.port, where.netloc, where.user) == (host, port, netloc, None)


@pytest.mark.parametrize(
    "text", ["http://192.168.1.5/snap?mail=a@b.c", "http://cam.local/@door/live", "http://localhost:8080/x@y"]
)
def test_an_at_sign_behind_an_undoubted_host_is_part_of_the_path(text: str) -> None:
    where = address.parse(text)
    assert where.user is None and "@" in where.path and where.host in text.split("/")[2]


SLIPS = ["admin:s3cret@192.168.1.5/stream", "rtsp:/admin:s3cret@cam/x", "rtsp:admin:s3cret@cam",
         "rtps://admin:s3cret@cam/x", "rtsp//admin:s3cret@cam/x"]  # fmt: skip


@pytest.mark.parametrize("text", SLIPS)
def test_a_slip_before_the_password_does_not_show_it(text: str) -> None:
    with pytest.raises(PicamError) as refused:
        open_source(text, Capture())
    assert "s3cret" not in str(refused.value) and refused.value.hint


def test_bytes_that_are_not_utf8_go_to_the_camera_as_they_were_given() -> None:
    text = os.fsdecode(b"rtsp://us\xe9r:p\xe4ss@cam.local/caf\xe9")
    where = address.parse(text)
    assert where.path == "/caf%E9" and where.full_url == "rtsp://us%E9r:p%E4ss@cam.local:554/caf%E9"
    login = Login(where.user or "", where.password)
    login.accept(['Basic realm="cam"'])
    pair = base64.b64encode(b"us\xe9r:p\xe4ss").decode()
    assert login.header("GET", where.path) == f"Basic {pair}"
