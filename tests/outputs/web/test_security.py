"""Hostile visitors over real sockets: outsiders, forged hosts, other sites, slow, stuck and oversized ones."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from small_disk import SmallDisk
from visitors import Run, ask, ask_json, make_certificate, own_address, serving, until, watching

from picam_infer import config as configs
from picam_infer.config import Web as Settings
from picam_infer.outputs.web import token
from picam_infer.outputs.web.application import MAX_BODY
from picam_infer.outputs.web.server import Web
from picam_infer.runtime.settings import RuntimeSettings

PRIVATE = ["/", "/stream.mjpg", "/stream.mjpg?raw=1", "/snapshot.jpg", "/api/state", "/api/events", "/api/config",
           "/api/kept", "/kept.zip", "/metrics", "/healthz", "/openapi.json", "/page/page.js"]  # fmt: skip


def from_outside(address: str, port: int, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(address, port, timeout=10)
    connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    try:
        body = b"" if answer.status == 200 and "stream" in path else answer.read()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, body
    finally:
        answer.close()
        connection.close()


def test_outsiders_need_the_token_everywhere(run: Run, tmp_path: Path) -> None:
    address, path = own_address(), tmp_path / "token"
    if not address:
        pytest.skip("this machine has no address but loopback")
    with serving(run, Settings(listen="0.0.0.0:0", token_file=str(path))) as web:
        assert {from_outside(address, web.port, p)[0] for p in PRIVATE} == {403}, "no token yet"
        assert ask(web, "/api/state")[0] == 200, "this machine may look"
        token.make(path)
        secret = path.read_text().strip()
        for page in PRIVATE:
            status, _, body = from_outside(address, web.port, page)
            assert status == 401 and b"\xff\xd8" not in body and b"digits" not in body
        right = {"Authorization": f"Bearer {secret}"}
        assert {from_outside(address, web.port, p, **right)[0] for p in PRIVATE if p != "/api/events"} == {200, 404}
        pair = base64.b64encode(f"pi:{secret}".encode()).decode()
        assert from_outside(address, web.port, "/snapshot.jpg", Authorization=f"Basic {pair}")[0] == 200


def test_the_login_form_gives_a_strict_cookie(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "token"
    token.make(path)
    secret = path.read_text().strip()
    settings = Settings(listen="127.0.0.1:0", token="always", token_file=str(path))
    with serving(run, settings) as web:
        form = {"Content_Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
        status, _, page = ask(web, "/", Accept="text/html")
        assert status == 401 and b'<form method="post" action="./login">' in page
        assert ask(web, "/page/page.css")[0] == 200 and ask(web, "/page/page.js")[0] == 401
        assert f"sudo cat {path}" in page.decode() if os.getuid() < 1000 else f">cat {path}" in page.decode()
        status, headers, _ = ask(web, "/login", Accept="text/html")
        assert status == 303 and headers["location"] == "./", "whoever opens it comes to the form"
        status, _, page = ask(web, "/login", "POST", b"token=wrong", **form)
        assert status == 401 and b"Wrong token" in page
        status, headers, _ = ask(web, "/login", "POST", f"token={secret}".encode(), **form)
        assert status == 303 and headers["location"] == "./"
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and secret not in cookie
        assert ask(web, "/api/state", Cookie=cookie.partition(";")[0])[0] == 200
        assert ask(web, "/api/state", Cookie="picam_session=9999999999." + "0" * 64)[0] == 401
        statuses: list[int] = []  # each wrong one doubles the wait, until even a slow machine comes too early
        until(lambda: statuses.append(ask(web, "/login", "POST", b"token=x", **form)[0]) or statuses[-1] == 429)
        assert 401 in statuses
        assert ask(web, "/api/state", Cookie=cookie.partition(";")[0])[0] == 200, "who is in stays in"


_FORM = {"Content_Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


def log_in(web: Web, path: Path, cookie: str = "") -> str:
    """Return the cookie of a new session."""
    body = f"token={path.read_text().strip()}".encode()
    return ask(web, "/login", "POST", body, Cookie=cookie, **_FORM)[1]["set-cookie"].partition(";")[0]


def test_two_instances_on_one_pi_do_not_log_each_other_out(run: Run, tmp_path: Path) -> None:
    paths = [tmp_path / "one", tmp_path / "two"]
    with contextlib.ExitStack() as both:
        webs = []
        for path in paths:
            token.make(path)
            settings = Settings(listen="127.0.0.1:0", token="always", token_file=str(path))
            webs.append(both.enter_context(serving(run, settings)))
        jar = "; ".join(log_in(web, path) for web, path in zip(webs, paths, strict=True))
        assert jar.count("=") == 2 and len({part.partition("=")[0] for part in jar.split("; ")}) == 2
        assert [ask(web, "/api/state", Cookie=jar)[0] for web in webs] == [200, 200]
        gone = ask(webs[0], "/logout", "POST", b"", Cookie=jar, **_FORM)[1]["set-cookie"]
        assert gone.partition("=")[0] == jar.partition("=")[0] and "Max-Age=0" in gone
        assert [ask(web, "/api/state", Cookie=jar)[0] for web in webs] == [401, 200]


def test_logging_out_ends_the_session_and_its_streams(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("picam_infer.outputs.web.stream_client.ADMITTED_S", 0.1)
    path = tmp_path / "token"
    token.make(path)
    with serving(run, Settings(listen="127.0.0.1:0", token="always", token_file=str(path))) as web:
        mine, other = log_in(web, path), log_in(web, path)
        assert b" data-session " in ask(web, "/", Cookie=mine)[2]
        with watching(web, "/stream.mjpg?raw=1", Cookie=mine) as parts:
            next(parts)
            assert ask(web, "/logout", "POST", b"", Cookie=mine, Origin="http://evil.example", **_FORM)[0] == 403
            status, headers, _ = ask(web, "/logout", "POST", b"", Cookie=mine, **_FORM)
            assert status == 303 and headers["location"] == "./"
            until(lambda: web.clients()["raw"] == 0)
        assert ask(web, "/api/state", Cookie=mine)[0] == 401 and ask(web, "/api/state", Cookie=other)[0] == 200
        assert ask(web, "/logout", "POST", b"", **_FORM)[0] == 303, "without a session too"
        bearer = {"Authorization": f"Bearer {path.read_text().strip()}"}
        assert b" data-session " not in ask(web, "/", **bearer)[2], "nothing to log out of"


def test_a_session_in_use_is_renewed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    token.make(path)
    with serving(run, Settings(listen="127.0.0.1:0", token="always", token_file=str(path))) as web:
        cookie = log_in(web, path)
        assert "set-cookie" not in ask(web, "/api/state", Cookie=cookie)[1], "not at every request"
        later = time.time() + 20 * 86400
        monkeypatch.setattr("picam_infer.outputs.web.access.time.time", lambda: later)
        fresh = ask(web, "/api/config", Cookie=cookie)[1]["set-cookie"]
        assert "HttpOnly" in fresh and "SameSite=Strict" in fresh
        assert int(fresh.partition("=")[2].partition(".")[0]) == int(later) + 30 * 86400
        assert ask(web, "/api/state", Cookie=fresh.partition(";")[0])[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.nip.example"])
def test_a_forged_host_is_refused(web: Web, host: str) -> None:
    assert ask(web, "/snapshot.jpg", Host=host)[0] == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [("PATCH", "/api/config"), ("POST", "/api/config/keep"), ("POST", "/api/config/undo"), ("POST", "/login")],
)
def test_another_sites_page_changes_nothing(web: Web, run: Run, method: str, path: str) -> None:
    before = run.state.tuning
    body = b'{"decide.threshold": 0.1}'
    kind = {"Content_Type": "application/json"}
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}):
        assert ask(web, path, method, body, **kind, **headers)[0] == 403
    if path != "/login":
        for sort in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            assert ask(web, path, method, body, Content_Type=sort)[0] == 415, "a form of another site can send these"
    assert run.state.tuning is before
    assert ask(web, path, "OPTIONS", Origin="http://evil.example", Access_Control_Request_Method=method)[0] >= 400


def test_pictures_are_not_for_other_sites(web: Web) -> None:
    embedded = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}
    assert ask(web, "/snapshot.jpg", **embedded)[0] == 403


@pytest.mark.parametrize("path", ["/", "/snapshot.jpg", "/api/state", "/nope", "/metrics"])
def test_every_response_has_the_headers(web: Web, path: str) -> None:
    headers = ask(web, path)[1]
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin" and headers["cache-control"] == "no-store"
    assert headers["server"] == "picam-infer"


@pytest.mark.parametrize("path", ["/stream.mjpg", "/api/events", "/kept.zip"])
def test_a_head_of_a_stream_takes_no_place(web: Web, path: str) -> None:
    assert ask(web, path, "HEAD")[0] == 405


def test_oversized_bodies_are_refused(web: Web) -> None:
    assert ask(web, "/api/config", "PATCH", b" " * (MAX_BODY + 1), Content_Type="application/json")[0] == 413
    with socket.create_connection(("127.0.0.1", web.port), 10) as sock:
        sock.sendall(
            b"PATCH /api/config HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        sent = 0
        with_chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
        answer = b""
        try:
            while sent < 100 * MAX_BODY and not answer:
                sock.sendall(with_chunk)
                sent += len(with_chunk)
                sock.settimeout(0.05)
                try:
                    answer = sock.recv(100)
                except TimeoutError:
                    sock.settimeout(10)
        except (BrokenPipeError, ConnectionResetError):
            answer = answer or b"HTTP/1.1 413"
    assert answer.startswith(b"HTTP/1.1 413") and sent < 100 * MAX_BODY


@pytest.mark.parametrize(
    "request_line", [b"GET /" + b"a" * 9000, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 9000]
)
def test_oversized_heads_are_refused(web: Web, request_line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", web.port), 10) as sock:
        sock.sendall(request_line + b"\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.0 400") or sock.recv(100) == b""


def until_hung_up(sock: socket.socket, drip: bytes = b"") -> int:
    """Send `drip` now and then until the server hangs up; return how often it had not yet."""
    sock.settimeout(0.1)
    for waited in count():
        try:
            if drip:
                sock.send(drip)
            if sock.recv(1000) == b"":
                return waited
        except TimeoutError:
            continue
        except OSError:
            return waited
    raise AssertionError


@pytest.mark.parametrize(
    ("head", "drip"),
    [(b"", b""), (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"a"), (b"GET /heal", b""),
     (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
     (b"PATCH /api/config HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n",
      b" ")],
)  # fmt: skip
def test_slow_visitors_are_cut_off(run: Run, head: bytes, drip: bytes) -> None:
    with serving(run, patience_s=0.5) as web:
        with socket.create_connection(("127.0.0.1", web.port), 10) as sock:
            sock.sendall(head)
            assert until_hung_up(sock, drip) >= 2, "it has some patience"
        assert ask(web, "/healthz")[0] == 200


def test_many_idle_connections_keep_nobody_out(run: Run) -> None:
    with serving(run, Settings(listen="127.0.0.1:0", max_clients=4)) as web:
        crowd = [socket.create_connection(("127.0.0.1", web.port), 10) for _ in range(120)]
        try:
            assert ask(web, "/healthz")[0] == 200
            assert until(lambda: web.clients()["connections"] <= 40)
        finally:
            for sock in crowd:
                sock.close()


def test_slow_logins_of_one_stranger_take_no_more_than_a_few_places(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "token"
    token.make(path)
    with serving(run, Settings(listen="127.0.0.1:0", token="always", token_file=str(path))) as web:
        head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        crowd = [socket.create_connection(("127.0.0.1", web.port), 10) for _ in range(6)]
        for sock in crowd:
            sock.sendall(head + b"Content-Length: 99\r\n\r\n")
        assert sorted(until(lambda: _first_bytes(crowd, 2))) == [b"HTTP/1.1 503"] * 2
        for sock in crowd:
            sock.close()
        secret = path.read_text().strip().encode()
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        until(lambda: ask(web, "/login", "POST", b"token=" + secret, **form)[0] == 303)


def _first_bytes(socks: list[socket.socket], count: int) -> list[bytes]:
    """Return the answers, once there are that many."""
    found = []
    for sock in socks:
        sock.settimeout(0.05)
        try:
            found.append(sock.recv(12, socket.MSG_PEEK))
        except TimeoutError:
            continue
    return found if len(found) >= count else []


def test_no_more_watchers_than_allowed(run: Run) -> None:
    with serving(run, Settings(listen="127.0.0.1:0", max_clients=2)) as web:
        with watching(web) as one, watching(web, "/stream.mjpg?raw=1") as two:
            next(one), next(two)
            status, headers, _ = ask(web, "/stream.mjpg")
            assert status == 503 and headers["retry-after"]
            assert ask(web, "/healthz")[0] == 200
        until(lambda: web.clients()["raw"] + web.clients()["drawn"] == 0)
        with watching(web) as again:
            next(again)


def test_a_stuck_watcher_is_dropped_and_slows_nobody() -> None:
    run = Run(size=(1280, 720))
    try:
        with serving(run, patience_s=1.0) as web:
            stuck = []
            for path in (b"/stream.mjpg?raw=1", b"/stream.mjpg", b"/api/events"):
                sock = socket.socket()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.connect(("127.0.0.1", web.port))
                sock.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
                stuck.append(sock)
            until(lambda: web.clients()["raw"] and web.clients()["drawn"] and web.clients()["events"])
            with watching(web, "/stream.mjpg?raw=1") as parts:
                next(parts)
                before = run.state.stats.frames.total
                seqs = [int(next(parts)[0]["x-seq"]) for _ in range(20)]
                assert run.state.stats.frames.total - before < 40
                assert run.state.stats.frames.total - seqs[-1] < 20, "of now, not of when the others stuck"
            until(lambda: web.clients()["raw"] + web.clients()["drawn"] == 0)
            for sock in stuck:
                sock.close()
    finally:
        run.close()


def test_a_slow_watcher_gets_fewer_pictures_not_older_ones() -> None:
    run = Run(size=(1280, 720))
    try:
        with serving(run) as web, watching(web, "/stream.mjpg?raw=1") as parts:
            seqs, frames = [], run.state.stats.frames
            for _ in range(12):
                seqs.append(int(next(parts)[0]["x-seq"]))
                until(lambda passed=frames.total: frames.total > passed + 4)
        assert seqs == sorted(set(seqs))
    finally:
        run.close()


def test_tls_from_files(run: Run, tmp_path: Path) -> None:
    pair = make_certificate(tmp_path)
    if pair is None:
        pytest.skip("needs openssl")
    settings = Settings(listen="127.0.0.1:0", tls_cert=pair[0], tls_key=pair[1])
    with serving(run, settings, patience_s=1.0) as web:
        context = ssl.create_default_context(cafile=pair[0])
        connection = http.client.HTTPSConnection("localhost", web.port, timeout=10, context=context)
        connection.request("GET", "/api/state")
        assert connection.getresponse().status == 200
        connection.close()
        with socket.create_connection(("127.0.0.1", web.port), 10) as sock:
            assert until_hung_up(sock) >= 2, "a handshake that never comes"


def test_a_bad_certificate_is_reported_and_waited_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("picam_infer.outputs.web.server.RETRY_S", 0.1)
    cert = tmp_path / "cert.pem"
    with Web(
        Settings(listen="127.0.0.1:0", tls_cert=str(cert), tls_key=str(tmp_path / "key.pem")), run.state, run.render
    ) as web:
        until(lambda: "No such file or directory" in web.report().reason and str(cert) in web.report().reason)
        cert.write_text("nonsense")
        until(lambda: "certificate" in web.report().reason or "No such" in web.report().reason)
        if make_certificate(tmp_path):
            assert web.listening.wait(10)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_refused_by_name(web: Web, method: str) -> None:
    status, headers, _ = ask(web, "/api/config", method)
    assert status == 405 and sorted(headers["allow"].split(",")) == ["GET", "HEAD", "PATCH"]


def request(head: str, body: bytes, kind: str) -> bytes:
    return f"{head} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n".encode() + (
        body if b"\r\n\r\n" in body else b"Content-Length: %d\r\n\r\n" % len(body) + body
    )


@pytest.mark.parametrize(
    "data",
    [
        request("POST /login", b"token=abc", "application/x-www-form-urlencoded; charset=utf-77"),
        request("POST /login", b"token=%ff\xff", "application/x-www-form-urlencoded"),
        request("POST /login", b"--x\nno form", "multipart/form-data; boundary=x"),
        request("POST /login", b"no form", "multipart/form-data"),
        request("PATCH /api/config", b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", "application/json"),
        request("PATCH /api/config", b"\xff{}", "application/json"),
        request("PATCH /api/config", b"[" * 9000, "application/json"),
        request("PATCH /api/config", b'{"decide.threshold": "\\ud800"}', "application/json"),
        request("PATCH /api/config", b'{"preprocess.roi": {"\\ud800": 1}}', "application/json"),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    ],
)
def test_damaged_requests_are_the_visitors_fault_and_fill_no_journal(
    web: Web, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(("127.0.0.1", web.port), 10) as sock:
        sock.sendall(data)
        assert sock.recv(12)[9:10] == b"4"
    assert ask(web, "/healthz")[0] == 200
    assert not caplog.records


@pytest.mark.parametrize("length", ["Content-Length: 999", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize(
    ("line", "kind"),
    [("POST /login", "application/x-www-form-urlencoded"), ("PATCH /api/config", "application/json")],
)
def test_a_visitor_who_hangs_up_within_a_body_fills_no_journal(
    web: Web, line: str, kind: str, length: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(("127.0.0.1", web.port), 10) as sock:
        sock.sendall(f"{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{length}\r\n\r\nff\r\n{{".encode())
        until(lambda: web.clients()["connections"])
    until(lambda: not web.clients()["connections"])
    assert ask(web, "/healthz")[0] == 200
    assert not caplog.records


class Broken(RuntimeSettings):
    def as_json(self) -> dict[str, Any]:
        return {"values": 1 / 0}


def test_errors_reveal_nothing_internal(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    with serving(run, runtime_settings=Broken(run.state)) as web:
        status, _, body = ask(web, "/api/config")
        assert status == 500 and b"Traceback" not in body and b"division" not in body
        assert "no answer to GET /api/config" in caplog.text and "ZeroDivisionError" in caplog.text
        assert ask_json(web, "/healthz")[0] == 200


WRONG = {"Host": "wrong.example:8080"}


def test_under_a_wrong_name_people_get_a_page_with_the_remedy_and_programs_json(web: Web) -> None:
    status, headers, page = ask(web, "/", Accept="text/html,*/*", Sec_Fetch_Mode="navigate", **WRONG)
    assert status == 403 and headers["content-type"].startswith("text/html")
    assert b"hosts: [wrong.example]" in page and b"web.hosts" in page and b"digits" not in page
    status, body = ask_json(web, "/api/state", **WRONG)
    assert status == 403 and body == {"error": "this is not wrong.example", "hint": body["hint"]}
    assert "web.hosts" in body["hint"]
    script = {"Sec_Fetch_Mode": "cors", "Accept": "text/html"}
    assert ask(web, "/api/state", **script, **WRONG)[1]["content-type"].startswith("application/json")
    assert ask(web, "/page/page.css", **WRONG)[0] == 200, "what the page about it wears"
    assert ask(web, "/page/page.js", **WRONG)[0] == ask(web, "/snapshot.jpg", **WRONG)[0] == 403


@pytest.mark.parametrize("host", ["<b>x</b>.example", "x" * 5000 + ".example", "é.example", "evil.example\u202e"])
def test_a_hostile_name_is_shown_harmlessly(web: Web, host: str) -> None:
    with socket.create_connection(("127.0.0.1", web.port), 10) as link:
        link.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while block := link.recv(65536):
            answer += block
    assert b" 403 " in answer.splitlines()[0] and b"<b>" not in answer and len(answer) < 5000


@pytest.mark.parametrize(
    ("text", "fault"),
    [(None, ""), ("short\n", "shorter than 16"), ("\xff" * 30, "not text"), ("\n", "shorter than 16")],
)
def test_without_a_token_people_get_a_page_with_the_remedy(
    run: Run, tmp_path: Path, text: str | None, fault: str
) -> None:
    path = tmp_path / "token"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with serving(run, Settings(listen="127.0.0.1:0", token="always", token_file=str(path))) as web:
        for method, where, body in (("GET", "/", None), ("POST", "/login", b"token=x")):
            form = {"Content_Type": "application/x-www-form-urlencoded"}
            status, headers, page = ask(web, where, method, body, Accept="text/html", **form)
            assert status == 403 and headers["content-type"].startswith("text/html")
            assert b"sudo picam-infer check" in page and str(path).encode() in page and fault.encode() in page
        status, said = ask_json(web, "/api/state")
        assert status == 403 and str(path) in said["error"] and "picam-infer check" in said["hint"]
        path.write_text("\ufeffa-token-long-enough-to-be-one\r\n")  # as an editor of another system saves it
        assert ask(web, "/", Accept="text/html")[0] == 401
        assert ask(web, "/api/state", Authorization="Bearer a-token-long-enough-to-be-one")[0] == 200


def test_people_get_a_page_about_every_refusal(web: Web) -> None:
    status, headers, page = ask(web, "/nothing/here", Accept="text/html")
    assert (
        status == 404 and headers["content-type"].startswith("text/html") and b"There is no /nothing/here here" in page
    )
    assert b'href="../"' in page and ask_json(web, "/nothing/here")[1] == {
        "error": "there is no /nothing/here here", "hint": "/openapi.json lists what there is"
    }  # fmt: skip


def test_a_program_learns_what_an_endpoint_takes(web: Web) -> None:
    assert ask_json(web, "/api/state", "DELETE")[1] == {
        "error": "/api/state does not take DELETE",
        "hint": "it takes GET, HEAD",
    }
    said = ask_json(web, "/api/pause", "POST", {}, Content_Type="text/plain")[1]
    assert said["hint"] == "send it with the header Content-Type: application/json"


HEADERS = ("Host", "Origin", "Referer", "Authorization", "Cookie", "Range", "If-Range", "If-Modified-Since", "Expect",
           "If-None-Match", "Content-Length", "Content-Type", "Transfer-Encoding", "Accept", "Accept-Encoding",
           "User-Agent", "Last-Event-ID", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Forwarded", "X-Forwarded-For",
           "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Real-IP")  # fmt: skip
HOSTILE = (b"http://[", b"http://]", b"http://[::1%", b"[\xff]", b"\xff", b"Bearer \xff", b"Basic \xff", b"Basic /w==",
           "Bearer ж".encode(), b"9" * 5000, b"bytes=" + b"9" * 5000 + b"-", b"-1", b"[", b"\xc2\xb2", b"1.1.1.1.1",
           b"%", b'W/"', b'a=\xff; b="\\777', b"Fri, 31 Dec 99999 25:61:61 GMT", b"application/json; charset=\xff",
           b"multipart/form-data; boundary=", b"text/html;q=9e9999, */*;q=x",
           b"1.1.1.1, [::1", b"//\xed\xa0\x80", b"http://x:99999/")  # fmt: skip


def raw(web: Web, method: bytes, path: bytes, *headers: tuple[bytes, bytes], body: bytes = b"") -> bytes:
    """Send one request of any bytes and return all that is answered; empty: the server hung up."""
    head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    with socket.create_connection(("127.0.0.1", web.port), 10) as link, contextlib.suppress(ConnectionError):
        link.sendall(method + b" " + path + b" HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n" + body)
        return b"".join(iter(lambda: link.recv(65536), b""))
    return b""


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("proxy", [False, True])
def test_no_header_is_an_internal_error(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, header: str, proxy: bool
) -> None:
    path = tmp_path / "token"
    token.make(path)
    more: Any = {"proxies": ("127.0.0.1",), "base": "/cam"} if proxy else {}
    settings = Settings(listen="127.0.0.1:0", token_file=str(path), **more)
    with serving(run, settings, patience_s=0.2) as web:
        for value in HOSTILE:
            for method, page in ((b"GET", b"/page/page.css"), (b"POST", b"/login"), (b"PATCH", b"/api/config")):
                given = {
                    b"Host": b"127.0.0.1",
                    b"Accept": b"text/html",
                    b"Content-Length": b"0",
                    header.encode(): value,
                }
                answer = raw(web, method, page, *given.items())
                assert answer[9:10] in (b"", b"2", b"3", b"4"), (value, method, page, answer[:300])
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


_LOCAL = (b"Host", b"127.0.0.1")


@pytest.mark.parametrize("expect", [b"\xff", b"200-ok"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        (b"GET", b"/api/state"),
        (b"GET", b"/nothing/here"),
        (b"GET", b"/%0a"),
        (b"DELETE", b"/api/state"),
        (b"PUT", b"/"),
    ],
)
def test_what_nobody_expects_is_refused_in_our_words(
    web: Web, caplog: pytest.LogCaptureFixture, method: bytes, path: bytes, expect: bytes
) -> None:
    head, _, body = raw(web, method, path, _LOCAL, (b"Expect", expect)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 417 ") and b"\r\nServer: picam-infer\r\n" in head
    assert json.loads(body)["error"] == "this Expect header is not known"
    assert not [record for record in caplog.records if record.exc_info]


def test_an_upload_that_waits_for_a_go_ahead_gets_it_wherever_it_goes(web: Web) -> None:
    for path, status in ((b"/api/pause", b" 200 "), (b"/nothing/here", b" 404 ")):
        kind = ((b"Content-Type", b"application/json"), (b"Content-Length", b"16"), (b"Expect", b"100-continue"))
        answer = raw(web, b"POST", path, _LOCAL, *kind, body=b'{"paused": true}')
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\n") and status in answer.split(b"\r\n")[2], answer


@pytest.mark.parametrize(
    "request_",
    [
        b"G\xffT / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.1\r\n\r\n",
        b"\x16\x03\x01\x02\r\n\r\n",
        b"GET http://127.0.0.1:99999/ HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: a\r\n" % number for number in range(200)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /api/pause HTTP/1.1\r\nContent-Length: abc\r\n\r\n",
        b"POST /api/pause HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_in_our_words(
    web: Web, caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    """It is not quoted, and neither Python's nor the web library's version is told."""
    with socket.create_connection(("127.0.0.1", web.port), 10) as link:
        link.sendall(request_)
        head, _, body = b"".join(iter(lambda: link.recv(65536), b"")).partition(b"\r\n\r\n")
    assert head[9:13] == b"400 " and b"\r\nX-Content-Type-Options: nosniff\r\n" in head
    assert json.loads(body) == {"error": "this is not a valid HTTP request", "hint": ""}
    assert b"\r\nServer: picam-infer" in head and b"ython" not in head
    assert caplog.records == []


@pytest.mark.parametrize("origin", ["http://[", "http://]", "http://[::1%", "", "\xff"])
def test_what_is_no_origin_is_another_sites(web: Web, origin: str) -> None:
    kind = {"Content_Type": "application/json"}
    assert ask(web, "/api/config", "PATCH", b"{}", Origin=origin, **kind)[0] == 403


@pytest.mark.parametrize(
    "given", [b"Bearer \xff", b"\xff", b"Basic \xff", b"Basic /w==", "Bearer ж".encode(), b"Bearer \xed\xa0\x80"]
)
def test_a_token_of_any_bytes_is_a_wrong_token(run: Run, tmp_path: Path, given: bytes) -> None:
    path = tmp_path / "token"
    token.make(path)
    with serving(run, Settings(listen="127.0.0.1:0", token="always", token_file=str(path))) as web:
        statuses: list[bytes] = []  # each wrong one doubles the wait, until even a slow machine comes too early

        def throttled() -> bool:
            answer = raw(web, b"GET", b"/api/state", (b"Host", b"127.0.0.1"), (b"Authorization", given))
            statuses.append(answer[9:12])
            return statuses[-1] == b"429"

        until(throttled)
        assert statuses[0] == b"401" and set(statuses) == {b"401", b"429"}


def test_a_key_with_thousands_of_digits_is_refused(web: Web) -> None:
    status, told = ask_json(web, "/api/config", "PATCH", {f"preprocess.canny.{'9' * 5000}": 1})
    assert status == 422 and "cannot be changed while running" in told["error"]


def test_a_full_disk_is_no_fault_of_the_request(run: Run, tmp_path: Path, small_disk: SmallDisk) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("source: demo\n")
    run.state.share.path = path
    with serving(run, config_path=path) as web:
        assert ask_json(web, "/api/config", "PATCH", {"decide.threshold": 0.75})[0] == 200
        small_disk.fill()
        status, told = ask_json(web, "/api/config/keep", "POST", {})
        assert status == 507 and "No space left" in told["error"]
        assert told["hint"] == "make room on that disk; the settings stay in force until a restart"
        status, told = ask_json(web, "/api/share", "POST", {"open": True})
        assert status == 507 and told["hint"] == "make room on that disk; the page is open until a restart"
        run.state.share.path = None
        run.state.share.close()


def test_settings_that_another_program_keeps_to_itself_are_for_later(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("picam_infer.config.writer._PATIENCE_S", 0.05)
    path = tmp_path / "c.yaml"
    path.write_text("source: demo\n")
    with serving(run, config_path=path) as web:
        assert ask_json(web, "/api/config", "PATCH", {"decide.threshold": 0.75})[0] == 200
        with configs.changing(path):
            status, told = ask_json(web, "/api/config/keep", "POST", {})
        assert status == 503 and "is changing the settings" in told["error"]
        assert ask_json(web, "/api/config/keep", "POST", {})[0] == 200


def _let_in(web: Web, path: str, wish: dict[str, bool]) -> int:
    """Return the status; while the page is opened to the network its socket is replaced, and people ask again."""
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            return int(ask_json(web, path, "POST", wish)[0])


def test_two_savers_at_once_lose_nothing(run: Run, tmp_path: Path) -> None:
    """What is kept and who may look are saved side by side, as by two people."""
    path = tmp_path / "c.yaml"
    path.write_text("source: demo\nweb: {listen: '127.0.0.1:0'}\n")
    run.state.share.path = path
    with serving(run, config_path=path) as web:
        run.state.share.follow(configs.load(path).web)
        for number in range(10):
            threshold, opened = round(0.1 + number * 0.05, 2), number % 2 == 0
            ask_json(web, "/api/config", "PATCH", {"decide.threshold": threshold})
            wishes = [("/api/config/keep", {}), ("/api/share", {"open": opened})]
            with ThreadPoolExecutor() as people:
                answers = list(people.map(lambda wish: _let_in(web, *wish), wishes))
            assert answers == [200, 200]
            file = configs.load(path)
            shared = configs.chosen(file.web, Settings)
            assert shared is not None and (file.decide.threshold, shared.share) == (threshold, opened)


def test_a_page_for_people_may_quote_what_is_no_text(web: Web) -> None:
    kind = {"Content_Type": "application/json", "Accept": "text/html"}
    status, headers, page = ask(web, "/api/config", "PATCH", b'{"\\ud800": 1}', **kind)
    assert status == 422 and headers["content-type"].startswith("text/html") and b"\\ud800: no such key" in page
