"""The rules: hosts, sites, tokens, patience."""

from __future__ import annotations

import base64
import socket
import time
from pathlib import Path

import pytest
from visitors import make_certificate, own_address

from picam_infer.config import Web as Settings
from picam_infer.core import PicamError
from picam_infer.outputs.web import token
from picam_infer.outputs.web.access import Access, LoginThrottle, Refused
from picam_infer.outputs.web.token import Token

SECRET = "a-token-long-enough-to-be-one"
REMOTE = "192.0.2.7"


def access(tmp_path: Path, secret: str = SECRET, **settings: object) -> Access:
    path = tmp_path / "token"
    if secret:
        path.write_text(secret + "\n")
    return Access(Settings(**settings), Token(path))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost", "LOCALHOST:80", "[::1]:8080", "192.168.1.9:8080", socket.gethostname(),
             "cam.example.org", "cam.example.org.:443"],
)  # fmt: skip
def test_own_names_and_addresses_pass(tmp_path: Path, host: str) -> None:
    access(tmp_path, hosts=("cam.example.org",)).check_host(host)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "", "127.0.0.1.evil.example", "localhost.x"])
def test_foreign_names_do_not(tmp_path: Path, host: str) -> None:
    with pytest.raises(Refused) as refused:
        access(tmp_path).check_host(host)
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("method", "headers", "passes"),
    [
        ("GET", {}, True),
        ("POST", {}, True),
        ("POST", {"Sec-Fetch-Site": "same-origin"}, True),
        ("POST", {"Origin": "http://pi:8080", "Host": "pi:8080"}, True),
        ("POST", {"Origin": "http://evil.example", "Host": "pi:8080"}, False),
        ("POST", {"Origin": "null", "Host": "pi:8080"}, False),
        ("POST", {"Origin": "http://pi:9999", "Host": "pi:8080"}, False),
        ("PATCH", {"Sec-Fetch-Site": "cross-site"}, False),
        ("POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, False),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, False),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, False),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, True),
    ],
)
def test_other_sites(method: str, headers: dict[str, str], passes: bool) -> None:
    if passes:
        Access.check_site(method, headers)
    else:
        with pytest.raises(Refused):
            Access.check_site(method, headers)


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.8.8.8", ""])
def test_this_machine_needs_no_token(tmp_path: Path, peer: str) -> None:
    access(tmp_path).check_token(peer, {}, "")


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_behind_a_proxy_nobody_is_local(tmp_path: Path, header: str) -> None:
    with pytest.raises(Refused, match="needs the token"):
        access(tmp_path).check_token("127.0.0.1", {header: "192.0.2.7"}, "")


def test_behind_a_silent_proxy_nobody_is_local_either(tmp_path: Path) -> None:
    for settings in ({"base": "/cam"}, {"proxies": ("127.0.0.0/8",)}):
        with pytest.raises(Refused, match="needs the token"):
            access(tmp_path, **settings).check_token("127.0.0.1", {}, "")
    access(tmp_path, base="/", proxies=("10.0.0.1",)).check_token("127.0.0.1", {}, "")


def test_always_means_this_machine_too(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        access(tmp_path, token="always").check_token("127.0.0.1", {}, "")


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"any:{password}".encode()).decode()


@pytest.mark.parametrize("value", [f"Bearer {SECRET}", f"bearer {SECRET}", basic(SECRET)])
def test_the_token_opens(tmp_path: Path, value: str) -> None:
    access(tmp_path).check_token(REMOTE, {"Authorization": value}, "")


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer x", f"Bearer {SECRET}x", basic("x"), "Basic !!!", "Basic /w==", "x"]
)
def test_anything_else_does_not(tmp_path: Path, value: str) -> None:
    with pytest.raises(Refused) as refused:
        access(tmp_path).check_token(REMOTE, {"Authorization": value}, "")
    assert refused.value.status == 401


@pytest.mark.parametrize("secret", ["", "short"])
def test_without_a_good_token_nobody_gets_in_from_outside(tmp_path: Path, secret: str) -> None:
    with pytest.raises(Refused, match="only this machine") as refused:
        access(tmp_path, secret).check_token(REMOTE, {"Authorization": f"Bearer {secret}"}, "")
    assert refused.value.status == 403 and "picam-infer check" in refused.value.hint


@pytest.mark.parametrize(
    ("configuration", "command"),
    [
        (None, "picam-infer check"),
        (Path("/etc/picam-infer/config.yaml"), "picam-infer check"),
        (Path("/etc/picam-infer/bench.yaml"), "picam-infer check -c /etc/picam-infer/bench.yaml"),
        (Path("/home/pi/my settings.yaml"), "picam-infer check -c '/home/pi/my settings.yaml'"),
    ],
)
def test_the_token_is_made_for_the_configuration_in_use(
    configuration: Path | None, command: str, tmp_path: Path
) -> None:
    refused = Access(Settings(), Token(tmp_path / "token", configuration)).tokenless()
    assert refused.hint == f"make one there with: {command}" and f"sudo {command}\n" in refused.example


def test_cookies_are_valid_for_a_while_and_only_with_the_same_token(tmp_path: Path) -> None:
    rules = access(tmp_path)
    cookie = rules.session(now=1000.0)
    assert rules.session_holds(cookie, now=1001.0)
    assert not rules.session_holds(cookie, now=1000.0 + 31 * 86400)
    ends, _, signature = cookie.partition(".")
    for forged in (f"{int(ends) + 1}.{signature}", f"{ends}.", f"{ends}.{'0' * 64}", "", ".", "é.é", f"-1.{signature}"):
        assert not rules.session_holds(forged, now=1001.0)
    (tmp_path / "token").write_text("another-token-long-enough\n")
    assert not rules.session_holds(cookie, now=1001.0)


def test_an_expired_session_does_not_count_as_a_guess_but_a_forged_one_does(tmp_path: Path) -> None:
    rules = access(tmp_path)
    old = rules.session(now=1000.0)
    for _ in range(20):
        with pytest.raises(Refused, match="needs the token"):
            rules.check_token(REMOTE, {}, old)
    assert rules.throttle.wait_s(REMOTE) == 0
    for _ in range(6):
        with pytest.raises(Refused):
            rules.check_token(REMOTE, {}, old.replace(".", "0."))
    assert rules.throttle.wait_s(REMOTE) > 0


def test_a_session_slides_and_logging_out_ends_all_of_it(tmp_path: Path) -> None:
    rules, day_s, now = access(tmp_path), 86400, time.time()
    first = rules.session(now)
    assert rules.renewed(first, now + day_s / 2) == "", "not at every request"
    second = rules.renewed(first, now + 20 * day_s)
    assert rules.session_holds(second, now + 45 * day_s) and not rules.session_holds(first, now + 45 * day_s)
    assert rules.renewed(first, now + 45 * day_s) == "", "what has ended is not brought back"
    assert rules.renewed(second + "0", now + 45 * day_s) == ""
    other = rules.session(now)
    rules.log_out(second)
    assert not rules.session_holds(first) and not rules.session_holds(second) and rules.renewed(first) == ""
    assert rules.session_holds(other), "another browser stays in"


def test_logged_out_sessions_are_remembered_within_bounds(tmp_path: Path) -> None:
    rules = access(tmp_path)
    cookies = [rules.session() for _ in range(1500)]
    for cookie in cookies:
        rules.log_out(cookie)
        rules.log_out("9999999999." + "0" * 80)
    held = [rules.session_holds(cookie) for cookie in cookies]
    assert sum(held) == 500 and not any(held[500:])


def test_instances_do_not_share_a_cookie(tmp_path: Path) -> None:
    names = {access(tmp_path, listen=f"0.0.0.0:{port}").cookie for port in (8080, 8081)}
    names.add(access(tmp_path, listen="0.0.0.0:8080", token_file="/other").cookie)
    assert len(names) == 3 and access(tmp_path).cookie == access(tmp_path).cookie


def test_wrong_tokens_are_slowed_down_and_the_right_one_resets_that(tmp_path: Path) -> None:
    now = [0.0]
    rules = access(tmp_path)
    rules.throttle = LoginThrottle(lambda: now[0])
    statuses = [try_(rules, "wrong") for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    assert try_(rules, SECRET) == 429, "guessing goes on while waiting"
    now[0] += 1.1
    assert try_(rules, "wrong") == 401
    assert rules.throttle.wait_s(REMOTE) == pytest.approx(2.0)
    assert try_(rules, "wrong", "192.0.2.8") == 401, "others are not punished"
    now[0] += 2.1
    assert try_(rules, SECRET) == 200 and rules.throttle.wait_s(REMOTE) == 0
    for _ in range(20):
        now[0] += 100
        try_(rules, "wrong")
    assert rules.throttle.wait_s(REMOTE) == pytest.approx(LoginThrottle.longest_s)


def test_a_session_is_not_stopped_by_anothers_guesses(tmp_path: Path) -> None:
    rules = access(tmp_path)
    for _ in range(8):
        try_(rules, "wrong")
    rules.check_token(REMOTE, {}, rules.session())


def test_an_ipv6_network_counts_as_one_visitor_and_memory_is_bounded() -> None:
    patience = LoginThrottle(lambda: 0.0)
    for number in range(5):
        patience.wrong(f"2001:db8::{number:x}")
    assert patience.wait_s("2001:db8::ffff") > 0 and patience.wait_s("2001:db8:1::1") == 0
    for number in range(LoginThrottle.remembered):
        patience.wrong(f"10.{number >> 8}.{number & 255}.1")
    assert patience.wait_s("2001:db8::ffff") == 0, "the oldest is forgotten"


def try_(rules: Access, given: str, peer: str = REMOTE) -> int:
    try:
        rules.check_token(peer, {"Authorization": f"Bearer {given}"}, "")
    except Refused as refused:
        return refused.status
    return 200


def test_a_token_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    assert token.make(path) and not token.make(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text().strip()) >= 32
    (tmp_path / "file").touch()
    with pytest.raises(PicamError, match="cannot be written"):
        token.make(tmp_path / "file" / "token")


def test_what_check_reports(tmp_path: Path) -> None:
    path = tmp_path / "token"
    here = list(token.findings(Settings(token_file=str(path)), service=True))
    assert [finding[:2] for finding in here] == [("ok", "http://127.0.0.1:8080/")] and not path.exists()
    assert "picam-infer share" in here[0].remedy
    by_hand = next(token.findings(Settings(token_file=str(path)), service=False))
    assert "picam-infer share" not in by_hand.remedy and "the key n in the window" in by_hand.remedy
    far = list(token.findings(Settings(listen="0.0.0.0:80", token_file=str(path)), service=True))
    assert path.exists() and [grade for grade, *_ in far] == ["ok", "ok", "note"]
    assert "0.0.0.0" not in str(far[0]), "nobody can go there"
    if own_address():
        assert far[0].what == f"http://{own_address()}/"
        assert f"http://{socket.gethostname().partition('.')[0]}.local/" in far[0].remedy
    path.chmod(0o644)
    path.write_text("short")
    bad = list(
        token.findings(Settings(listen=":80", token_file=str(path), tls_cert=str(tmp_path / "none")), service=True)
    )
    assert [grade for grade, *_ in bad].count("error") == 4


def test_check_tries_the_certificate(tmp_path: Path) -> None:
    pair = make_certificate(tmp_path)
    if pair is None:
        pytest.skip("needs openssl")
    mixed = Settings(tls_cert=pair[0], tls_key=pair[0])
    assert [grade for grade, *_ in token.findings(Settings(tls_cert=pair[0], tls_key=pair[1]), service=True)] == ["ok"]
    assert any("not a certificate and its key" in what for _, what, _ in token.findings(mixed, service=True))


def test_the_file_may_change_while_running(tmp_path: Path) -> None:
    rules = access(tmp_path, "")
    assert not rules.token
    (tmp_path / "token").write_text(SECRET)
    assert rules.token.equals(SECRET) and not rules.token.equals("")
    (tmp_path / "token").unlink()
    assert not rules.token and not rules.token.equals("")


@pytest.mark.parametrize("settings", [{"base": "/cam"}, {"proxies": ("127.0.0.1",)}, {"token": "always"}])
def test_check_makes_the_token_that_visitors_through_a_proxy_need(tmp_path: Path, settings: dict[str, object]) -> None:
    path = tmp_path / "token"
    list(token.findings(Settings(token_file=str(path), **settings), service=True))  # type: ignore[arg-type]
    assert len(path.read_text().strip()) >= token.SHORTEST
