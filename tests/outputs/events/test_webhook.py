"""Events as POSTs, to a real server that fails, hangs and trickles."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from pathlib import Path

import pytest
from event_samples import change, state, until
from socket_server import Caller, SocketServer
from webhook_receiver import Receiver

from picam_infer import config
from picam_infer.outputs.events import Events
from picam_infer.outputs.events.outlet import DeliveryError, Event
from picam_infer.outputs.events.webhook import Hook
from picam_infer.runtime.state import Change


def post(receiver: Receiver, **settings: object) -> None:
    hook = Hook(config.Webhook(url=receiver.url, **settings))  # type: ignore[arg-type]
    hook.deliver(Event(change("one")), lambda s: True)


def test_signed_json_with_a_picture(receiver: Receiver, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("\ufeffvery secret\r\n")
    post(receiver, secret_file=str(secret), snapshot=True)
    headers, body = receiver.got[0]
    plain = json.loads(body)
    assert plain["label"] == "one" and headers["content-type"] == "application/json"
    assert base64.b64decode(plain["snapshot"]["base64"])[:2] == b"\xff\xd8"
    assert headers["x-picam-event"] == plain["id"]
    signed = headers["x-picam-timestamp"].encode() + b"." + body
    assert headers["x-picam-signature-256"] == "sha256=" + hmac.new(b"very secret", signed, hashlib.sha256).hexdigest()
    assert abs(int(headers["x-picam-timestamp"]) - time.time()) < 60


def test_no_picture_unless_asked(receiver: Receiver) -> None:
    post(receiver)
    assert "snapshot" not in json.loads(receiver.got[0][1])


LATER = (408, 425, 429, 500, 502, 503, 504)
NEVER = (301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 413, 422)


@pytest.mark.parametrize(("status", "final"), [(one, False) for one in LATER] + [(one, True) for one in NEVER])
def test_which_answers_are_worth_another_try(receiver: Receiver, status: int, final: bool) -> None:
    receiver.plan = [status]
    with pytest.raises(DeliveryError, match=str(status)) as error:
        post(receiver)
    assert error.value.final is final and len(receiver.got) == 1


def test_a_redirect_says_where_to_but_not_the_path(receiver: Receiver) -> None:
    receiver.plan = [301]
    with pytest.raises(DeliveryError, match="answered 301") as error:
        post(receiver)
    assert "give http://127.0.0.1:9/… as url" in error.value.hint
    assert "elsewhere" not in error.value.reason + error.value.hint


def test_a_receiver_says_when_to_come_again(receiver: Receiver) -> None:
    receiver.plan, receiver.headers = [429], {"Retry-After": "7"}
    with pytest.raises(DeliveryError) as error:
        post(receiver)
    assert error.value.after_s == 7


def test_a_picture_that_is_too_large_is_left_out_and_that_is_said_once(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.largest = 1000
    run = state()
    with Events([config.Webhook(url=receiver.url, snapshot=True)], run) as events:
        for _ in range(3):
            run.announce(change("one"))
        until(lambda: events.report()[0].sent == 3)
        until(lambda: "left out" in caplog.text)
    assert [len(body) > 1000 for _, body in receiver.got] == [True, False, False, False]
    assert "set snapshot: false" in events.report()[0].note and events.report()[0].failed == 0
    assert caplog.text.count("left out") == 1


def test_a_receiver_with_a_higher_limit_gets_pictures_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.largest = 1000
    hook = Hook(config.Webhook(url=receiver.url, snapshot=True))
    hook.deliver(Event(change("one")), lambda s: True)
    assert hook.note
    receiver.largest = 100_000
    monkeypatch.setattr("picam_infer.outputs.events.webhook.AGAIN_S", 0.0)
    hook.deliver(Event(change("one")), lambda s: True)
    assert "snapshot" in json.loads(receiver.got[-1][1]) and not hook.note


@pytest.mark.parametrize("status", [301, 404])
def test_it_works_again_only_after_a_delivery(
    receiver: Receiver, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    receiver.plan = [status]
    run = state()
    with Events([config.Webhook(url=receiver.url)], run) as events:
        assert events.report()[0].ok is None
        for count in (1, 2):
            run.announce(change("one"))
            until(lambda count=count: events.report()[0].failed == count)
        receiver.plan = [200]
        run.announce(change("one"))
        until(lambda: events.report()[0].ok is True)
    said = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert len(said) == 2 and f"answered {status}" in said[0] and said[1].endswith("works again"), said


@pytest.mark.parametrize("step", ["hang", "trickle"])
def test_a_server_that_keeps_us_waiting_is_left_in_time(receiver: Receiver, step: str) -> None:
    receiver.plan = [step]
    with pytest.raises(DeliveryError, match=r"no answer within 0\.4 s"):
        post(receiver, timeout_s=0.4)


def test_letters_of_any_alphabet_in_the_address(receiver: Receiver) -> None:
    Hook(config.Webhook(url=f"{receiver.url}/tür%201?wer=größer")).deliver(Event(change("one")), lambda s: True)
    assert len(receiver.got) == 1


def test_nobody_there() -> None:
    with pytest.raises(DeliveryError, match="refused"):
        Hook(config.Webhook(url="http://127.0.0.1:9/")).deliver(Event(change("one")), lambda s: True)


def test_a_missing_secret_is_said_and_used_up_no_try(receiver: Receiver, tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="there is no") as error:
        post(receiver, secret_file=str(tmp_path / "missing"))
    assert not error.value.counts and not receiver.got


def test_an_empty_secret_signs_nothing(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(DeliveryError, match="is empty"):
        post(receiver, secret_file=str(tmp_path / "empty"))
    assert not receiver.got


def test_fails_then_works_in_order_with_the_same_identity(receiver: Receiver) -> None:
    receiver.plan = [500, 500, 200]
    run = state()
    with Events([config.Webhook(url=receiver.url)], run) as events:
        run.announce(change("one"))
        until(lambda: events.report()[0].reason)
        assert run.as_json()["events"][0]["reason"].startswith("answered 500")
        run.announce(change("zero"))
        until(lambda: events.report()[0].sent == 2)
    bodies = [json.loads(body) for _, body in receiver.got]
    assert [b["label"] for b in bodies] == ["one", "one", "one", "zero"]
    assert len({b["id"] for b in bodies}) == 2 and events.report()[0].ok


def test_gives_up_after_the_retries(receiver: Receiver) -> None:
    receiver.plan = [500]
    run = state()
    with Events([config.Webhook(url=receiver.url, retries=1)], run) as events:
        run.announce(change("one"))
        until(lambda: events.report()[0].failed == 1)
    assert len(receiver.got) == 2


def test_passwords_in_the_address_are_sent_but_not_shown(receiver: Receiver) -> None:
    hook = Hook(config.Webhook(url=f"http://me:hidden@127.0.0.1:{receiver.server_port}/x"))
    hook.deliver(Event(change("one")), lambda s: True)
    assert hook.name == f"127.0.0.1:{receiver.server_port}", "nor the path, which may be a secret too"
    assert receiver.got[0][0]["authorization"] == "Basic " + base64.b64encode(b"me:hidden").decode()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\xff" * 100 + b"\r\n\r\n", "its answer is not HTTP"),
        (b"HTTP/1.1 \x1b[31m\r\n\r\n", "its answer is not HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "its answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "its answer is not HTTP"),
        (b"H" * 70_000, "its answer is not HTTP"),
        (b"", "it hung up without an answer"),
    ],
)
def test_an_answer_that_is_not_http_is_reported_with_a_remedy(answer: bytes, said: str) -> None:
    def serve(caller: Caller) -> None:
        caller.body(caller.request())  # left unread it would make the kernel reset the connection
        caller.send(answer)

    with SocketServer(serve) as server:
        hook = Hook(config.Webhook(url=f"http://127.0.0.1:{server.port}/"))
        with pytest.raises(DeliveryError) as error:
            hook.deliver(Event(change("one")), lambda s: True)
    assert error.value.reason == said
    assert error.value.hint == "check the port, and whether it is http or https there"


def test_a_connection_that_is_reset_is_hung_up_too() -> None:
    def serve(caller: Caller) -> None:
        caller.body(caller.request())
        caller.reset()

    with SocketServer(serve) as server:
        hook = Hook(config.Webhook(url=f"http://127.0.0.1:{server.port}/"))
        with pytest.raises(DeliveryError) as error:
            hook.deliver(Event(change("one")), lambda s: True)
    assert error.value.reason == "it hung up without an answer"
    assert error.value.hint == "check the port, and whether it is http or https there"


def test_the_line_in_the_journal_ends_with_the_remedy(caplog: pytest.LogCaptureFixture) -> None:
    run = state()
    with Events([config.Webhook(url="http://127.0.0.1:9/", retries=0)], run) as events:
        run.announce(change("one"))
        until(lambda: events.report()[0].failed)
        problem = run.health.problems[0]
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert lines == [f"events: 127.0.0.1:9: {problem.what}; is the server running there, and is that its port?"]
    assert problem.remedy == "is the server running there, and is that its port?"


def test_a_file_name_that_is_not_utf8_arrives(receiver: Receiver) -> None:
    hook, name = Hook(config.Webhook(url=receiver.url)), os.fsdecode(b"pictures/caf\xe9.jpg")
    lost = Change("lost", 0, part="camera", reason=f"there is no file or folder {name}")
    hook.deliver(Event(lost), lambda s: True)
    assert receiver.messages[0]["reason"] == f"there is no file or folder {name}"
