"""Opening the page to the network: what is stored, when it ends, and one-time logins."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from makers import until
from small_disk import SmallDisk

from picam_infer import config as configs
from picam_infer.config import Config, Web
from picam_infer.core import ConfigError
from picam_infer.platform import addresses
from picam_infer.runtime import page_address, share
from picam_infer.runtime.share import Opening, Share


class Clock:
    """Two clocks that a test turns."""

    def __init__(self) -> None:
        self.now, self.uptime = 1_790_000_000.0, 500.0

    def pass_s(self, seconds: float) -> None:
        self.now += seconds
        self.uptime += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def started(path: Path, clock: Clock) -> Share:
    """Return the switch of a service that starts with that file."""
    made = Share(path, clock=lambda: clock.now, monotonic=lambda: clock.uptime)
    made.follow(configs.load(path).web)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "config.yaml"
    made.write_text("# mine\nweb:\n  listen: 127.0.0.1:8080  # here\n")
    return made


def test_it_stays_open_over_restarts_until_it_is_closed(path: Path, clock: Clock) -> None:
    started(path, clock).open()
    assert "# mine\nweb:\n  listen: 127.0.0.1:8080  # here\n" in path.read_text(), "comments stay"
    clock.pass_s(10 * 86400)
    again = started(path, clock)
    assert again.now == Opening(None)
    heard: list[bool] = []
    again.listen(lambda: heard.append(again.now is not None))
    again.close()
    assert heard == [False] and started(path, clock).now is None


def test_opening_it_again_is_logged_only_if_it_stays_open_longer(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    one = started(path, clock)
    clock.pass_s(60 - clock.now % 60)
    heard: list[Opening | None] = []
    one.listen(lambda: heard.append(one.now))
    for later_s in (0, 1, 1):
        clock.pass_s(later_s)
        one.open(3600)
    assert len(caplog.records) == 1 and len(set(heard)) == 3, "it does stay open for the seconds"
    one.open(7200)
    one.open()
    one.open()
    assert len(caplog.records) == 3


def test_a_limited_time_ends_by_itself_and_across_restarts(path: Path, clock: Clock) -> None:
    one = started(path, clock)
    one.open(3600)
    clock.pass_s(1800)
    after_boot = started(path, clock)
    assert after_boot.now is not None
    clock.pass_s(1799)
    one.tick()
    after_boot.tick()
    assert one.now is not None and after_boot.now is not None
    clock.pass_s(1)
    one.tick()
    after_boot.tick()
    assert one.now is None and after_boot.now is None
    assert started(path, clock).now is None, "nor does a start open it again"


def test_setting_the_clock_back_does_not_prolong_it(path: Path, clock: Clock) -> None:
    one = started(path, clock)
    one.open(3600)
    clock.now -= 86400
    clock.pass_s(3600)
    one.tick()
    assert one.now is None


@pytest.mark.parametrize("text", ["", "web: on\n", "web: {listen: '127.0.0.1:9000'}\n"])
def test_it_is_stored_in_files_of_every_form(tmp_path: Path, clock: Clock, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    started(path, clock).open(60)
    assert started(path, clock).now is not None
    assert isinstance(configs.load(path).web, Web)


def test_the_reason_for_not_opening_or_closing_is_told(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("web: off\n")
    with pytest.raises(ConfigError, match="switched off"):
        started(path, clock).open()
    path.write_text("web: {listen: '0.0.0.0:80'}\n")
    one = started(path, clock)
    one.open()
    assert path.read_text() == "web: {listen: '0.0.0.0:80'}\n", "it is open already"
    with pytest.raises(ConfigError, match=r"web\.listen"):
        one.close()


@pytest.mark.parametrize("value", ["tomorrow", '"2026-02-30T10:00:00Z"', "3"])
def test_an_invalid_time_is_refused_with_an_example(tmp_path: Path, value: str) -> None:
    (tmp_path / "c.yaml").write_text(f"web:\n  share: {value}\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:[12].*share") as refused:
        configs.load(tmp_path / "c.yaml")
    assert "\n" not in str(refused.value)


def test_a_one_time_login_works_once_and_expires(clock: Clock) -> None:
    one = Share(clock=lambda: clock.now, monotonic=lambda: clock.uptime)
    one.follow(True)
    one.open()
    first, late = one.invite().code, one.invite().code
    assert not one.redeem("") and not one.redeem(first[:-1])
    assert one.redeem(first) and not one.redeem(first)
    clock.pass_s(share.INVITATION_S + 1)
    assert not one.redeem(late)
    fresh = one.invite().code
    one.close()
    assert not one.redeem(fresh), "closed is closed"


def test_the_monitors_login_goes_when_it_is_used_or_hidden(clock: Clock) -> None:
    one = Share(clock=lambda: clock.now, monotonic=lambda: clock.uptime)
    one.present()
    shown = one.presenting()
    assert shown is not None and one.redeem(shown.code) and one.presenting() is None
    one.present()
    hidden = one.presenting()
    one.dismiss()
    assert hidden is not None and one.presenting() is None and not one.redeem(hidden.code)
    one.present()
    clock.pass_s(share.INVITATION_S + 1)
    assert one.presenting() is None


def test_a_login_made_elsewhere_is_known_by_its_digest(tmp_path: Path, clock: Clock) -> None:
    word, one = tmp_path / "invitation.json", Share(clock=lambda: clock.now, monotonic=lambda: clock.uptime)
    before = os.umask(0o077)
    try:
        share.leave_word(word, "the code", clock.now)
    finally:
        os.umask(before)
    assert "the code" not in word.read_text(), "nobody can make the code of what lies on the disk"
    assert stat.S_IMODE(word.stat().st_mode) & 0o044 == 0o044, "another user's service reads it"
    assert one.expect(word) and not word.exists() and one.redeem("the code")
    assert not one.expect(word)
    share.leave_word(word, "old", clock.now - share.INVITATION_S)
    assert not one.expect(word) and not one.redeem("old")
    for damaged in ("", "[]", '{"sha256": 3, "until": "x"}', '{"sha256": "ab", "until": 1e999}', "\0" * 9999):
        word.write_text(damaged)
        assert not one.expect(word)


def test_a_change_of_sharing_alone_is_recognised() -> None:
    opened = Config(web=Web(share=True))
    assert share.only_sharing(Config(), opened) and share.only_sharing(Config(web=True), opened)
    assert not share.only_sharing(Config(), Config(web=Web(share=True, fps=3.0)))
    assert not share.only_sharing(Config(), Config(source="demo"))


def test_only_addresses_that_lead_somewhere_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "own", lambda: ["192.0.2.7", "2001:db8::7"])
    monkeypatch.setattr(addresses, "host_name", lambda: "shelf.local")
    everywhere = ["http://192.0.2.7:8080/", "http://[2001:db8::7]:8080/", "http://shelf.local:8080/"]
    assert page_address.reachable(Web(listen=":8080"), 8080) == everywhere
    assert page_address.reachable(Web(listen="0.0.0.0:8080"), 8080) == [everywhere[0], everywhere[2]]
    assert page_address.reachable(Web(listen="[::]:8080"), 8080) == everywhere[1:]
    assert page_address.reachable(Web(listen="0.0.0.0:8080"), 8080, shared=True) == everywhere
    assert page_address.reachable(Web(), 8080) == ["http://127.0.0.1:8080/"]
    assert page_address.reachable(Web(), 8080, shared=True) == everywhere
    assert page_address.reachable(Web(listen="192.0.2.9:443", tls_cert="x"), 443) == ["https://192.0.2.9/"]
    monkeypatch.setattr(addresses, "own", list)
    assert page_address.from_elsewhere(Web(), 8080, shared=True) == [], "a name without a network leads nowhere"
    assert page_address.reachable(Web(listen="0.0.0.0:8080"), 8080) == ["http://127.0.0.1:8080/"]


def test_this_machines_own_addresses_are_not_loopback() -> None:
    assert not [one for one in addresses.own() if one.startswith(("127.", "::1", "fe80", "0."))]


def test_it_is_stored_in_the_form_that_the_file_has_by_then(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("web: on\n")
    switch = started(path, clock)
    path.write_text("web: {listen: '127.0.0.1:8090'}\n")  # by hand, and not read again yet
    switch.open()
    web = configs.load(path).web
    assert isinstance(web, Web) and web.share is True and web.listen == "127.0.0.1:8090"
    path.write_text("web: off\n")
    switch.close()
    assert configs.load(path).web is False


def test_a_full_disk_says_what_holds_until_a_restart(path: Path, clock: Clock, small_disk: SmallDisk) -> None:
    switch = started(path, clock)
    small_disk.fill()
    with pytest.raises(ConfigError) as error:  # as picam-infer share: no service has heard of it
        switch.open()
    assert error.value.hint == "make room on that disk"
    switch.listen(lambda: None)
    with pytest.raises(ConfigError) as error:
        switch.close()
    assert error.value.hint == "make room on that disk; the page is closed until a restart"


def test_a_login_does_not_wait_for_the_file(path: Path, clock: Clock) -> None:
    switch = started(path, clock)
    code = switch.invite().code
    opening, logins = threading.Thread(target=switch.open), list[bool]()
    login = threading.Thread(target=lambda: logins.append(switch.redeem(code)))
    with configs.changing(path):
        opening.start()
        until(lambda: switch.now is not None)
        login.start()
        login.join(5)
        assert logins == [True] and opening.is_alive()
    opening.join(20)
    web = configs.load(path).web
    assert isinstance(web, Web) and web.share is True
