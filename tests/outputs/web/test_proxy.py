"""The page below a path behind a real nginx: links, streams, cookie, redirects and login."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urljoin

import pytest
from browser import Browser
from makers import free_port
from visitors import Run, ask, serving, until

from picam_infer.config import Web as Settings
from picam_infer.outputs.web import token

pytestmark = pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx (Debian: nginx-light)")

CONFIG = """
daemon off; pid {folder}/pid; error_log {folder}/errors; worker_processes 1;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    proxy_set_header Host $http_host;
    proxy_http_version 1.1;
    {locations}
  }}
}}
"""


@dataclass(frozen=True)
class Way:
    """How a proxy may be set up, and what is configured here for it."""

    prefix: str
    location: str
    settings: dict[str, object]
    cookie_path: str


TOLD_BY = ("Prefix /a/cam", "For $remote_addr", "Host $http_host")
TOLD = " ".join(f"proxy_set_header X-Forwarded-{name};" for name in TOLD_BY)
WAYS = {
    "it takes the path off and says so": Way(
        "/a/cam", "location /a/cam/ { proxy_pass http://127.0.0.1:WEB/; " + TOLD + " }",
        {"proxies": ("127.0.0.1",)}, "/a/cam",
    ),
    "it leaves the path on": Way("/cam", "location /cam { proxy_pass http://127.0.0.1:WEB; }",
                                 {"base": "/cam", "token": "always"}, "/cam"),
    "it takes the path off": Way("/cam", "location /cam/ { proxy_pass http://127.0.0.1:WEB/; }",
                                 {"base": "/cam", "proxies": ("127.0.0.1",)}, "/cam"),
    "it takes the path off and nobody knows": Way("/cam", "location /cam/ { proxy_pass http://127.0.0.1:WEB/; }",
                                                  {"token": "always"}, "/"),
}  # fmt: skip


@dataclass(frozen=True)
class Site:
    port: int
    prefix: str
    way: Way
    secret: str

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body.encode() or None, names)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def log_in(self) -> str:
        """Return the cookie."""
        status, headers, _ = self.ask(
            f"{self.prefix}/login",
            "POST",
            urlencode({"token": self.secret}),
            Accept="text/html",
            Content_Type="application/x-www-form-urlencoded",
            Origin=f"http://127.0.0.1:{self.port}",
        )
        assert status == 303, headers
        assert urljoin(f"{self.prefix}/login", headers["location"]) == f"{self.prefix}/"
        assert re.search(r"[Pp]ath=([^;]*)", headers["set-cookie"])[1] == self.way.cookie_path  # type: ignore[index]
        return headers["set-cookie"].partition(";")[0]


@contextlib.contextmanager
def nginx(folder: Path, port: int, locations: str) -> Iterator[None]:
    folder.mkdir()
    (folder / "conf").write_text(CONFIG.format(folder=folder, port=port, locations=locations))
    command = ["nginx", "-p", str(folder), "-c", str(folder / "conf"), "-e", str(folder / "errors")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)) or process.poll() is not None)
            assert process.poll() is None, (folder / "errors").read_text()
            yield
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def frame_size() -> tuple[int, int]:
    return 640, 480


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def site(request: pytest.FixtureRequest, run: Run, tmp_path: Path) -> Iterator[Site]:
    way, path, port = request.param, tmp_path / "token", free_port()
    token.make(path)
    settings = Settings(listen="127.0.0.1:0", token_file=str(path), **way.settings)
    with serving(run, settings) as web, nginx(tmp_path / "nginx", port, way.location.replace("WEB", str(web.port))):
        yield Site(port, way.prefix, way, path.read_text().strip())


def test_login_links_and_interface_are_below_the_path(site: Site) -> None:
    status, _, form = site.ask(f"{site.prefix}/kept/nobody.jpg", Accept="text/html")
    assert status == 401 and b"<form" in form
    links = re.findall(rb'(?:href|src|action)="([^"]*)"', form)
    ways = {urljoin(f"{site.prefix}/kept/nobody.jpg", link.decode()) for link in links}
    assert ways == {f"{site.prefix}/page/icon.svg", f"{site.prefix}/page/page.css", f"{site.prefix}/login"}
    assert site.ask(f"{site.prefix}/page/page.css")[0] == 200
    cookie = site.log_in()
    assert site.ask(f"{site.prefix}/", Cookie=cookie)[0] == 200
    state = json.loads(site.ask(f"{site.prefix}/api/state", Cookie=cookie)[2])
    assert state["model"] == "digits"
    servers = json.loads(site.ask(f"{site.prefix}/openapi.json", Cookie=cookie)[2])["servers"]
    assert servers == [{"url": site.way.cookie_path}]
    changed = site.ask(f"{site.prefix}/api/config", "PATCH", '{"decide.threshold": 0.7}', Cookie=cookie,
                       Content_Type="application/json", Origin=f"http://127.0.0.1:{site.port}")  # fmt: skip
    assert changed[0] == 200
    _, headers, _ = site.ask(
        f"{site.prefix}/logout",
        "POST",
        Cookie=cookie,
        Origin=f"http://127.0.0.1:{site.port}",
        Content_Type="application/x-www-form-urlencoded",
    )
    assert urljoin(f"{site.prefix}/logout", headers["location"]) == f"{site.prefix}/"
    assert f"ath={site.way.cookie_path}" in headers["set-cookie"]
    assert site.ask(f"{site.prefix}/api/state", Cookie=cookie)[0] == 401


def test_streams_come_through_picture_by_picture(site: Site, run: Run) -> None:
    cookie = {"Cookie": site.log_in()}
    for path, mark in (
        ("/stream.mjpg?raw=1", b"--frame"),
        ("/stream.mjpg", b"--frame"),
        ("/api/events", b"event: state"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
        connection.request("GET", site.prefix + path, headers=cookie)
        answer = connection.getresponse()
        assert answer.status == 200
        for _ in range(3):
            while mark not in answer.readline():
                pass
        answer.close()
        connection.close()


def test_the_bare_path_leads_to_the_page(site: Site) -> None:
    status, headers, _ = site.ask(site.prefix, Accept="text/html")
    assert status in (301, 308) and urljoin(site.prefix, headers["location"]).endswith(f"{site.prefix}/")


def test_in_a_browser_nothing_is_asked_for_outside_the_path(browser: Browser, site: Site) -> None:
    browser.open(f"http://127.0.0.1:{site.port}{site.prefix}/")
    browser.complaints()  # of the login form's 401
    browser.js("document.getElementById('token').value = arguments[0]", site.secret)
    browser.js("document.querySelector('form').requestSubmit()")
    until(lambda: browser.js("return Number(document.getElementById('picture')?.dataset.pictures) > 2"))
    until(lambda: browser.js("return document.querySelectorAll('.slider').length > 0"))
    names = browser.js("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    root = f"http://127.0.0.1:{site.port}{site.prefix}/"
    links = browser.js("return [...document.querySelectorAll('[href], [src]')].map((e) => e.href || e.src)")
    assert names and all(name.startswith(root) for name in [*names, *links])
    assert browser.complaints() == []


def test_a_visitor_behind_a_proxy_is_never_local_and_is_throttled_separately(run: Run, tmp_path: Path) -> None:
    path, port = tmp_path / "token", free_port()
    token.make(path)
    settings = Settings(listen="127.0.0.1:0", token_file=str(path), proxies=("127.0.0.1",))
    with serving(run, settings) as web:
        # nginx hands on what it was told, as the last of two proxies does.
        way = "location / { proxy_pass http://127.0.0.1:WEB; proxy_set_header X-Forwarded-For $http_x_told; }"
        way = way.replace("WEB", str(web.port))
        with nginx(tmp_path / "nginx", port, way):
            site = Site(port, "", WAYS["it takes the path off"], path.read_text().strip())
            assert site.ask("/api/state")[0] == 401
            for _ in range(6):
                last = site.ask("/api/state", X_Told="203.0.113.9", Authorization="Bearer wrong")[0]
            assert last == 429
            right = {"Authorization": f"Bearer {site.secret}"}
            assert site.ask("/api/state", X_Told="203.0.113.10", **right)[0] == 200
        for prefix in ("//evil.example", "/cam;Domain=evil", '/"><script>'):
            status, headers, body = ask(web, "/", X_Forwarded_Prefix=prefix, Accept="text/html")
            assert status == 400 and b"evil" not in body and b"<script>" not in body and "set-cookie" not in headers
