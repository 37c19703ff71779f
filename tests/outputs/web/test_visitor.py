"""Which names are this machine's, and who asks through a proxy."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from picam_infer.config import Web as Settings
from picam_infer.config import parse
from picam_infer.core import ConfigError
from picam_infer.outputs.web.visitor import Names, Proxies, Visitor, WrongPrefix, canonical


@pytest.fixture
def hostname(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(socket, "gethostname", lambda: "RaspberryPi")
    return "RaspberryPi"


@pytest.mark.parametrize(
    "host",
    ["raspberrypi", "raspberrypi:8080", "RASPBERRYPI.local", "raspberrypi.local.", "raspberrypi.local.:8080",
     "raspberrypi-2.local", "raspberrypi-17.local:80", "raspberrypi.lan", "raspberrypi.home.arpa",
     "RaspberryPi.Fritz.Box:8080", "raspberrypi-2.fritz.box", "raspberrypi-2", "localhost", "LocalHost.:1",
     "127.0.0.1", "192.168.1.5:8080", "192.168.1.5.", "[::1]", "[::1]:8080", "[FE80::1%25eth0]:8080", "[fe80::1%eth0]"],
)  # fmt: skip
def test_names_and_addresses_that_work_without_configuration(hostname: str, host: str) -> None:
    assert Names().has(host)


@pytest.mark.parametrize(
    "host",
    ["", ".", ":8080", "evil.example", "raspberrypi.evil.example", "raspberrypi.local.evil.example",
     "raspberrypi-x.local",
     "raspberrypi2.local", "xraspberrypi.local", "raspberrypi-2-3.local", "raspberrypi-.lan", "other.local", "local",
     "raspberrypi.com", "127.0.0.1.nip.io", "localhost.evil.example", "evil.localhost.example", "[evil.example]",
     "127.0.0.1@evil.example", "0x7f.1", "raspberrypi.fritz.box.example", "xn--raspberrypi-.local",
     "[::1", "raspberrypi..local"],
)  # fmt: skip
def test_foreign_names_stay_out(hostname: str, host: str) -> None:
    assert not Names().has(host)


@pytest.mark.parametrize(
    ("configured", "host"),
    [
        ("Cam.Example.ORG.", "cam.example.org:443"),
        ("https://cam.example.org:8443/x", "CAM.example.org"),
        ("küche.local", "xn--kche-0ra.local"),
        ("xn--kche-0ra.local", "k\u00fcche.LOCAL"),
        ("KÜCHE.local", "küche.local"),
        ("[2001:db8::1]", "[2001:DB8::1]:80"),
    ],
)
def test_configured_names_however_they_are_written(hostname: str, configured: str, host: str) -> None:
    assert Names((configured,)).has(host)


def test_a_host_that_is_renamed_is_known_by_its_new_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names()
    monkeypatch.setattr(socket, "gethostname", lambda: "küche.example.org")
    assert names.has("xn--kche-0ra.local") and names.has("xn--kche-0ra.example.org") and not names.has("raspberrypi")
    monkeypatch.setattr(socket, "gethostname", lambda: "")
    assert not names.has("-2.local") and not names.has(".local")


def test_malformed_names_match_nothing() -> None:
    assert canonical("\ud800x.local") == "" and canonical("a" * 70 + "ü.local") == ""


# -- proxies --------------------------------------------------------------

PROXY, STRANGER = "10.0.0.2", "203.0.113.9"


def proxies(**settings: Any) -> Proxies:
    return Proxies(Settings(proxies=("10.0.0.0/24", "::1"), **settings))


def test_a_trusted_proxy_tells_the_visitor_and_the_path_they_see() -> None:
    headers = {
        "Host": "127.0.0.1:8080",
        "X-Forwarded-Prefix": "/cam/",
        "X-Forwarded-Host": "Pi.example.org:8443",
        "X-Forwarded-For": f"198.51.100.1, {STRANGER}, 10.0.0.7",
        "X-Forwarded-Proto": "https",
    }
    who = proxies().visitor(PROXY, "/", headers, False)
    assert who == Visitor(STRANGER, "Pi.example.org:8443", "/cam", True)


def test_headers_from_anybody_else_are_ignored() -> None:
    headers = {
        "Host": "pi",
        "X-Forwarded-Prefix": "/cam",
        "X-Forwarded-Host": "evil",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "https",
    }
    assert proxies().visitor(STRANGER, "/", headers, False) == Visitor(STRANGER, "pi")


@pytest.mark.parametrize(
    ("chain", "address"),
    [("", PROXY), (f"{STRANGER}:4711", STRANGER), ("[2001:db8::7]:80", "2001:db8::7"), ("2001:db8::7", "2001:db8::7"),
     ("unknown", PROXY), (f"{STRANGER}, unknown", PROXY), ("10.0.0.9, ::1", PROXY), ("1.2.3.4, evil\u00e9", PROXY)],
)  # fmt: skip
def test_the_visitor_is_the_last_address_that_is_not_a_proxys(chain: str, address: str) -> None:
    assert proxies().visitor(PROXY, "/", {"X-Forwarded-For": chain}, False).address == address


@pytest.mark.parametrize(
    "prefix",
    ["cam", "//evil.example", "/cam/../x", "/..", "/cam//x", "/cam;Domain=evil", "/a, /b", '/"><script>', "/\\evil",
     "/a b",
     "/a%0d%0aSet-Cookie: x", "/ca\u00fc", "/" + "x" * 300, "https://evil.example/"],
)  # fmt: skip
def test_a_prefix_that_is_not_a_plain_path_is_refused(prefix: str) -> None:
    with pytest.raises(WrongPrefix):
        proxies().visitor(PROXY, "/", {"X-Forwarded-Prefix": prefix}, False)


@pytest.mark.parametrize(
    ("base", "path", "inner", "seen"),
    [("/cam", "/cam/api/state", "/api/state", "/cam"), ("cam/", "/cam/", "/", "/cam"), ("/cam", "/cam", "/", "/cam"),
     ("/a/b", "/a/b/x", "/x", "/a/b"), ("/cam", "/camera", "/camera", ""), ("/cam", "/", "/", ""), ("", "/x", "/x", ""),
     ("/", "/x", "/x", "")],
)  # fmt: skip
def test_a_base_is_stripped_where_the_proxy_left_it(base: str, path: str, inner: str, seen: str) -> None:
    found = Proxies(Settings(base=base))
    assert found.inner(path) == inner and found.visitor("192.0.2.1", path, {"Host": "pi"}, False).base == seen


def test_a_proxy_that_strips_the_base_is_known_by_the_header_it_adds() -> None:
    found = Proxies(Settings(base="/cam"))
    assert found.visitor("192.0.2.1", "/", {"X-Forwarded-For": "192.0.2.9"}, False).base == "/cam"
    assert proxies(base="/cam").visitor(PROXY, "/", {}, False).base == "/cam"


@pytest.mark.parametrize("base", ["/cam/../x", "a b", "/cam?x", "//cam", "/cam\n", "/ü", "/a;b", "..", "/./"])
def test_a_base_that_is_not_a_plain_path_is_a_configuration_error(base: str) -> None:
    with pytest.raises(ConfigError, match=r"web\.base.*for example /cam"):
        parse(f"web: {{base: {base!r}}}")


def test_a_proxy_that_is_not_an_address_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="'nginx' is not an address, such as"):
        parse("web: {proxies: [nginx]}")
    assert parse("web: {proxies: [127.0.0.1, '::1', 10.0.0.1/8]}")
