"""`picam-infer check` proves outlets: each finding has a remedy that would help."""

from __future__ import annotations

import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from event_samples import state, until
from mqtt_lab import Broker
from scripted_broker import ScriptedBroker, scripted
from webhook_receiver import Receiver

from picam_infer import config
from picam_infer.config.instance import Instance
from picam_infer.outputs.events import Events, checks

ME = Instance(machine="this one")


@pytest.fixture(autouse=True)
def _nobody_answers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for who is not there."""
    if "clash" not in request.node.name:
        monkeypatch.setattr("picam_infer.outputs.events.mqtt_checks.LISTEN_S", 0.0)


def find(*outlets: config.Event, picture_bytes: int | None = None) -> list[tuple[str, str]]:
    """Return grade and the whole line of each finding; all but good ones have a remedy."""
    found = list(checks.findings(outlets, ME, picture_bytes))
    assert all(hint for grade, _, hint in found if grade != "ok"), found
    return [(grade, f"{text}; {hint}") for grade, text, hint in found]


def only(*outlets: config.Event, **more: Any) -> tuple[str, str]:
    (found,) = find(*outlets, **more)
    return found


# -- brokers -----------------------------------------------------------------------


def mqtt(port: int, **settings: Any) -> config.Mqtt:
    return config.Mqtt(**{"host": "127.0.0.1", "port": port, "name": "pi"} | settings)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signed itself, for 127.0.0.1, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert,
                    "-days", "2", "-subj", "/CN=another.host", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, capture_output=True)  # fmt: skip
    key.chmod(0o644)
    return cert, key


@pytest.fixture
def tls_broker(tmp_path: Path, certificate: tuple[Path, Path]) -> Iterator[Broker]:
    cert, key = certificate
    made = Broker(tmp_path, f"allow_anonymous true\nuser root\ncertfile {cert}\nkeyfile {key}\n")
    yield made
    made.stop()


def test_a_good_broker(broker: Broker) -> None:
    assert only(mqtt(broker.port), picture_bytes=200_000)[0] == "ok"


@pytest.mark.parametrize(
    ("host", "remedy"),
    [
        ("no.such.invalid", "check its spelling"),
        ("mqtt://broker.local", "write host: broker.local"),
        ("mqtts://broker.local:8884", "write host: broker.local, port: 8884, tls: true"),
        ("broker.local:1884", "write host: broker.local, port: 1884"),
        ("mqtt://me:hidden@broker.local", "write host: broker.local, user and password_file"),
        ("broker.local/path", "host: broker.local"),
    ],
)
def test_what_is_no_host(host: str, remedy: str) -> None:
    grade, line = only(config.Mqtt(host=host))
    assert grade == "error" and remedy in line and "hidden" not in line


def test_a_host_with_a_scheme_is_said_by_the_service_too() -> None:
    run = state()
    with Events([config.Mqtt(host="mqtt://me:hidden@broker.local")], run) as events:
        until(lambda: "write host: broker.local" in events.report()[0].reason)
        assert "hidden" not in str(run.as_json())


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        grade, line = only(mqtt(unused.getsockname()[1]))
    assert grade == "error" and "is the server running there" in line


def test_a_port_that_speaks_tls(tls_broker: Broker) -> None:
    grade, line = only(mqtt(tls_broker.port))
    assert grade == "error" and "set tls: true" in line


def test_a_port_that_speaks_no_tls(broker: Broker) -> None:
    grade, line = only(mqtt(broker.port, tls=True))
    assert grade == "error" and "set tls: false" in line


def test_a_certificate_that_nobody_vouches_for(tls_broker: Broker, certificate: tuple[Path, Path]) -> None:
    grade, line = only(mqtt(tls_broker.port, tls=True))
    assert grade == "error" and "as ca_file" in line
    assert only(mqtt(tls_broker.port, tls=True, ca_file=str(certificate[0])))[0] == "ok"


def test_a_certificate_for_another_name(tls_broker: Broker, certificate: tuple[Path, Path]) -> None:
    grade, line = only(mqtt(tls_broker.port, host="localhost", tls=True, ca_file=str(certificate[0])))
    assert grade == "error" and "use the name that its certificate was made for" in line


def test_a_ca_file_that_is_none(tls_broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello\n")
    assert "in PEM" in only(mqtt(tls_broker.port, tls=True, ca_file=str(tmp_path / "ca.pem")))[1]
    grade, line = only(mqtt(tls_broker.port, tls=True, ca_file=str(tmp_path / "missing.pem")))
    assert grade == "error" and "missing.pem: No such file" in line


def test_user_and_password(tmp_path: Path) -> None:
    if not shutil.which("mosquitto_passwd"):
        pytest.skip("needs mosquitto_passwd (Debian package mosquitto)")
    users, password = tmp_path / "users", tmp_path / "password"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "pi", "right"], check=True, capture_output=True)
    users.chmod(0o644)
    broker = Broker(tmp_path, f"allow_anonymous false\nuser root\npassword_file {users}\n")
    try:
        assert "set user and password_file" in only(mqtt(broker.port))[1]
        password.write_text("wrong\n")
        password.chmod(0o640)
        login = mqtt(broker.port, user="pi", password_file=str(password))
        assert "check user and password_file" in only(login)[1]
        password.write_text("\ufeffright\r\n")
        assert only(login)[0] == "ok"
        password.chmod(0o644)
        assert "chmod 600" in find(login)[0][1]
        password.unlink()
        assert "there is no" in only(login)[1]
    finally:
        broker.stop()


def test_a_picture_above_the_limit(tmp_path: Path) -> None:
    broker = Broker(tmp_path, "allow_anonymous true\nmax_packet_size 20000\n")
    try:
        grade, line = only(mqtt(broker.port), picture_bytes=52_000)
        assert grade == "error" and "max_packet_size" in line and "52000" in line
        assert only(mqtt(broker.port, snapshot=False), picture_bytes=52_000)[0] == "ok"
        assert only(mqtt(broker.port), picture_bytes=10_000)[0] == "ok"
    finally:
        broker.stop()


def test_an_old_broker_with_a_limit() -> None:
    from test_mqtt_refusals import hang_up

    with scripted() as broker:
        broker.only_v3, broker.answer = True, hang_up("/check", None, least=20_000)
        grade, line = only(mqtt(broker.port), picture_bytes=52_000)
    assert grade == "error" and "max_packet_size" in line


@pytest.mark.parametrize(
    ("code", "remedy"), [(0x86, "set user"), (0x87, "set user"), (0x97, "broker's log"), (0x8A, "broker's log")]
)
def test_a_broker_that_does_not_let_us_in(code: int, remedy: str) -> None:
    with scripted() as broker:
        broker.connack = code
        grade, line = only(mqtt(broker.port))
    assert grade == "error" and "the broker refuses" in line and remedy in line


def test_access_lists(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite picam-infer/#\n")
    acl.chmod(0o644)
    broker = Broker(tmp_path, f"allow_anonymous true\nuser root\nacl_file {acl}\n")
    try:
        grade, line = only(mqtt(broker.port))
        assert grade == "error" and "homeassistant/#" in line and "set discovery: ''" in line
        grade, line = only(mqtt(broker.port, prefix="other", discovery=""))
        assert grade == "error" and "other/pi/#" in line
    finally:
        broker.stop()


def test_names_that_clash(broker: Broker, tmp_path: Path) -> None:
    outlet = mqtt(broker.port)
    assert any("2 outlets are called picam-infer/pi" in line for _, line in find(outlet, outlet))
    with Events([outlet], state(), ME) as ours:
        until(lambda: ours.report()[0].ok)
        assert only(outlet)[0] == "ok", "the service that this configuration belongs to is not a clash"
        with Events([outlet], state(), Instance(machine="another")) as theirs:
            until(lambda: theirs.report()[0].ok)
            grade, line = only(outlet)
    assert grade == "error" and "is called pi too" in line and "`name` of its own" in line


def test_configurations_beside_each_other(broker: Broker, tmp_path: Path) -> None:
    for name in ("config", "bench"):
        (tmp_path / f"{name}.yaml").write_text(
            f"events: [{{kind: mqtt, host: 127.0.0.1, port: {broker.port}, name: pi}}]\n"
        )
    found = list(checks.findings([mqtt(broker.port)], Instance(tmp_path / "config.yaml")))
    assert found[0][0] == "note" and "bench.yaml uses the name pi too" in found[0][1]


def test_what_is_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picam_infer.outputs.events.mqtt_checks.PATIENCE_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr("picam_infer.outputs.events.checks.PROBE_S", 0.3)
        grade, line = only(mqtt(silent.getsockname()[1]))
    assert grade == "error" and "is that the port of an MQTT broker?" in line


def test_a_web_server_is_no_broker() -> None:
    class Greeter(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greeter) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        grade, line = only(mqtt(server.server_address[1]))
        server.shutdown()
    assert grade == "error" and "is that the port of an MQTT broker?" in line


def test_nothing_is_left_at_the_broker() -> None:
    with scripted() as made:
        broker: ScriptedBroker = made
        assert only(mqtt(broker.port), picture_bytes=1000)[0] == "ok"
        until(lambda: len(broker.got) >= 4)
    assert not any(one.retain for one in broker.got) and not broker.of("/event") and not broker.of("/availability")


# -- webhooks ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "grade", "words"),
    [(200, "ok", ""), (204, "ok", ""), (405, "ok", ""), (301, "error", "give http://127.0.0.1:9/… as url"),
     (404, "note", "check the path"), (401, "note", "check its log"), (503, "note", "check its log")],
)  # fmt: skip
def test_a_webhooks_answer_to_a_question(receiver: Receiver, status: int, grade: str, words: str) -> None:
    receiver.plan = [status]
    found = only(config.Webhook(url=receiver.url))
    assert found[0] == grade and words in found[1] and "to=me" not in found[1]
    assert not receiver.got, "no event was sent"


def test_a_webhook_that_is_not_there(tmp_path: Path) -> None:
    grade, line = only(config.Webhook(url="http://no.such.invalid/hook"))
    assert grade == "error" and "check its spelling" in line
    assert "is the server running" in only(config.Webhook(url="http://127.0.0.1:9/"))[1]
    found = find(config.Webhook(url="http://127.0.0.1:9/", secret_file=str(tmp_path / "missing")))
    assert "there is no" in found[0][1]


def test_a_webhook_with_the_wrong_scheme(receiver: Receiver, tls_broker: Broker) -> None:
    assert "write http://" in only(config.Webhook(url=f"https://127.0.0.1:{receiver.server_port}/"))[1]
    assert "write https://" in only(config.Webhook(url=f"http://127.0.0.1:{tls_broker.port}/"))[1]


# -- files and programs ------------------------------------------------------------


def test_a_file_that_can_be_written_and_none_that_cannot(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "events.jsonl"
    assert only(config.Jsonl(path=str(path)))[0] == "ok"
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    (tmp_path / "file").touch()
    for wrong in ("/proc/nope/e", "/sys/e", str(tmp_path), str(tmp_path / "file" / "e")):
        assert only(config.Jsonl(path=wrong))[0] == "error", wrong


def test_room_and_two_outlets_for_one_file(tmp_path: Path) -> None:
    path = str(tmp_path / "e")
    grade, line = only(config.Jsonl(path=path, max_mb=1e9))
    assert grade == "note" and "MB are free" in line
    assert find(config.Jsonl(path=path), config.Jsonl(path=path))[1][0] == "error"


def script(path: Path, text: str, mode: int = 0o755) -> config.Command:
    path.write_bytes(text.encode())
    path.chmod(mode)
    return config.Command(argv=(str(path),))


def test_programs(tmp_path: Path) -> None:
    assert only(config.Command(argv=("sh", "-c", "true")))[0] == "ok"
    assert only(script(tmp_path / "good", "#!/bin/sh\n"))[0] == "ok"
    for outlet, words in (
        (config.Command(argv=("/not/there",)), "no such file"),
        (config.Command(argv=("no-such-program",)), "no such program"),
        (config.Command(argv=(str(tmp_path),)), "is a folder"),
        (script(tmp_path / "a", "#!/bin/sh\n", 0o644), "chmod +x"),
        (script(tmp_path / "b", "#!/no/such/python3\n"), "/no/such/python3, which does not exist"),
        (script(tmp_path / "c", "#!/bin/sh\r\necho\r\n"), "Windows line endings"),
        (script(tmp_path / "d", "echo hello\n"), "#!/bin/sh"),
        (script(tmp_path / "e", ""), "is empty"),
    ):
        grade, line = only(outlet)
        assert grade == "error" and words in line


def test_addresses_of_messages(tmp_path: Path) -> None:
    pytest.importorskip("apprise", reason="needs Apprise (extra notify)")
    path = tmp_path / "addresses"
    outlet = config.Notify(urls_file=str(path))
    assert "there is no" in only(outlet)[1]
    path.write_text("json://me:hidden@127.0.0.1/x\n")
    path.chmod(0o640)
    assert only(outlet) == ("ok", "notify: JSON; ")
    path.write_text("jsn://me:hidden@127.0.0.1/x\n")
    grade, line = only(outlet)
    assert grade == "error" and "line 1" in line and "hidden" not in line
    path.chmod(0o644)
    assert "chmod 600" in find(outlet)[0][1]
