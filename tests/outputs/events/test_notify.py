"""Messages through Apprise, to a real mail server and a real HTTP server."""

from __future__ import annotations

import base64
import email
import json
import logging
import socket
import sys
from collections.abc import Iterator
from email import policy
from pathlib import Path
from typing import Any

import pytest
from event_samples import change, state, until
from webhook_receiver import Receiver

from picam_infer import config
from picam_infer.outputs.events import Events
from picam_infer.outputs.events.notify import Messages
from picam_infer.outputs.events.outlet import DeliveryError, Event
from picam_infer.runtime.state import Change

pytest.importorskip("apprise", reason="needs Apprise (extra notify)")
SECRET = "s3cr3t-t0ken"


@pytest.fixture
def mail() -> Iterator[tuple[int, list[Any]]]:
    """A mail server's port, and what it got."""
    controller = pytest.importorskip("aiosmtpd.controller", reason="needs aiosmtpd")
    got: list[Any] = []

    class Box:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            got.append(email.message_from_bytes(envelope.content, policy=policy.default))
            return "250 OK"

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = controller.Controller(Box(), "127.0.0.1", port)
    made.start()
    yield port, got
    made.stop()


def address(receiver: Receiver) -> str:
    """Return it as Apprise writes the address of a server that takes JSON."""
    return f"json://user:{SECRET}@127.0.0.1:{receiver.server_port}/{SECRET}"


def addresses(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "addresses"
    path.write_text("\n".join(("# ours", "", *lines)) + "\n")
    path.chmod(0o600)
    return str(path)


def send(tmp_path: Path, *lines: str, event: Event | None = None, **settings: Any) -> None:
    messages = Messages(config.Notify(urls_file=addresses(tmp_path, *lines), **settings))
    messages.deliver(event or Event(change("one")), lambda pause_s: True)


def test_a_message_with_a_picture_by_email(tmp_path: Path, mail: tuple[int, list[Any]]) -> None:
    port, got = mail
    send(tmp_path, f"mailto://127.0.0.1:{port}?from=pi@example.org&to=me@example.org", title="Letter box")
    (message,) = got
    assert message["Subject"] == "Letter box" and message["To"] == "me@example.org"
    (picture,) = (part for part in message.walk() if part.get_content_type() == "image/jpeg")
    assert picture.get_payload(decode=True)[:2] == b"\xff\xd8"
    assert "sees one (90 %)" in next(p for p in message.walk() if p.get_content_type() == "text/plain").get_content()


def test_a_message_with_a_picture_over_http(tmp_path: Path, receiver: Receiver) -> None:
    send(tmp_path, address(receiver))
    (message,) = receiver.messages
    assert message["message"] == "sees one (90 %)" and message["title"] == "picam-infer"
    assert base64.b64decode(message["attachments"][0]["base64"])[:2] == b"\xff\xd8"
    send(tmp_path, address(receiver), snapshot=False)
    assert not receiver.messages[1]["attachments"]


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (Change("lost", 0, part="camera", reason="unplugged", hint="plug it in"), "camera lost: unplugged; plug it in"),
        (Change("found", 0, part="camera"), "camera is back"),
        (change(None), "sees nothing it knows"),
    ],
)
def test_every_event_is_a_sentence(tmp_path: Path, receiver: Receiver, told: Change, text: str) -> None:
    send(tmp_path, address(receiver), event=Event(told))
    assert receiver.messages[0]["message"] == text


@pytest.mark.parametrize(("status", "final"), [(400, True), (401, True), (404, True), (429, False), (503, False)])
def test_which_answers_are_worth_another_try(tmp_path: Path, receiver: Receiver, status: int, final: bool) -> None:
    receiver.plan = [status]
    with pytest.raises(DeliveryError, match=f"answered {status}") as error:
        send(tmp_path, address(receiver))
    assert error.value.final is final and SECRET not in error.value.reason


def test_filters_retries_and_nothing_secret_is_shown(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    logging.getLogger().addHandler(plain := logging.StreamHandler(sys.stderr))
    receiver.plan = [503, 503, 200]
    run = state()
    settings = config.Notify(urls_file=addresses(tmp_path, address(receiver)), labels=("one",))
    try:
        with Events([settings], run) as events:
            for label in ("zero", "one", "zero"):
                run.announce(change(label))
            until(lambda: events.report()[0].sent == 1)
            report = json.dumps(run.as_json())
    finally:
        logging.getLogger().removeHandler(plain)
    assert [one["message"] for one in receiver.messages] == ["sees one (90 %)"] * 3
    shown = capfd.readouterr()
    for text in (report, caplog.text, shown.out, shown.err):
        assert SECRET not in text
    assert "answered 503" in caplog.text and "works again" in caplog.text


def test_who_has_got_it_does_not_get_it_again(tmp_path: Path, receiver: Receiver) -> None:
    with Receiver() as second:
        second.plan = [503, 200]
        messages = Messages(config.Notify(urls_file=addresses(tmp_path, address(receiver), address(second))))
        event = Event(change("one"))
        with pytest.raises(DeliveryError):
            messages.deliver(event, lambda pause_s: True)
        messages.deliver(event, lambda pause_s: True)
        assert (len(receiver.got), len(second.got)) == (1, 2)


def test_a_picture_that_is_too_large_is_left_out(tmp_path: Path, receiver: Receiver) -> None:
    receiver.largest = 700
    messages = Messages(config.Notify(urls_file=addresses(tmp_path, address(receiver))))
    messages.deliver(Event(change("one")), lambda pause_s: True)
    assert [len(one["attachments"]) for one in receiver.messages] == [1, 0] and "set snapshot: false" in messages.note


def test_one_that_hangs_is_left_in_time(tmp_path: Path, receiver: Receiver) -> None:
    receiver.plan = ["hang"]
    messages = Messages(config.Notify(urls_file=addresses(tmp_path, address(receiver)), timeout_s=0.3))
    with pytest.raises(DeliveryError, match=r"no answer|still busy"):
        messages.deliver(Event(change("one")), lambda pause_s: True)


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="connection refused") as error:
        send(tmp_path, "json://127.0.0.1:9/x")
    assert not error.value.final


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"tgramm://{SECRET}/1", "line 3: begins with tgramm:// and is not an address"),
        (SECRET, "line 3: has no scheme"),
        (f"tgram://{SECRET}", "line 3: begins with tgram:// and"),
        ("# nothing", "holds no address"),
    ],
)
def test_what_is_no_address_is_named_by_its_line(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(DeliveryError, match=words) as error:
        send(tmp_path, line)
    assert SECRET not in error.value.reason and not error.value.counts


def test_a_corrected_file_is_read_again(tmp_path: Path, receiver: Receiver) -> None:
    run = state()
    path = tmp_path / "addresses"
    with Events([config.Notify(urls_file=str(path))], run) as events:
        run.announce(change("one"))
        until(lambda: "there is no" in events.report()[0].reason)
        addresses(tmp_path, address(receiver))
        until(lambda: events.report()[0].sent == 1)
        path.chmod(0o644)
        run.announce(change("one"))
        until(lambda: "chmod 600" in events.report()[0].note)


def test_without_the_library_it_says_what_to_install(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(DeliveryError, match="Apprise is not installed") as error:
        send(tmp_path, address(receiver))
    assert "pip install apprise" in error.value.hint


def test_telegram_gets_the_words_and_the_picture(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apprise.plugins.telegram import NotifyTelegram

    monkeypatch.setattr(NotifyTelegram, "notify_url", f"http://127.0.0.1:{receiver.server_port}/bot")
    receiver.answers = {"ok": True, "description": "no", "result": {"message_id": 1}}
    token = "123456789:AAabcdefghijklmnopqrstuvwxyzABCDE12"
    send(tmp_path, f"tgram://{token}/-1001234")
    ((headers, body),) = receiver.got
    assert headers[":path"].endswith("/sendPhoto") and b"sees one" in body and b"\xff\xd8\xff" in body
    receiver.plan, receiver.answers = [401], {"ok": False, "description": "no"}
    with pytest.raises(DeliveryError, match="Telegram: answered 401") as error:
        send(tmp_path, f"tgram://{token}/-1001234")
    assert error.value.final and token not in error.value.reason
