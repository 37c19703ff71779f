"""Checks of outlets for `picam-infer check`, without sending an event; each finding has its remedy."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from picam_infer import config
from picam_infer.config.instance import Instance
from picam_infer.core import Finding
from picam_infer.outputs.events.outlet import DeliveryError
from picam_infer.outputs.events.reasons import remedy
from picam_infer.platform import disk, secret_file
from picam_infer.platform.secret_file import SecretError

PROBE_S = 3.0
_HEAD_BYTES = 256
_ELF = b"\x7fELF"


def findings(
    settings: Sequence[config.Event], instance: Instance, picture_bytes: int | None = None
) -> Iterator[Finding]:
    """Yield the findings about each outlet. `picture_bytes`: of a picture as the source gives it, if it is known."""
    files: set[Path] = set()
    for outlet in settings:
        if isinstance(outlet, config.Jsonl):
            yield from jsonl(outlet, files)
        elif isinstance(outlet, config.Webhook):
            yield from webhook(outlet)
        elif isinstance(outlet, config.Command):
            yield from command(outlet)
        elif isinstance(outlet, config.Notify):
            yield from notify(outlet)
    brokers = [outlet for outlet in settings if isinstance(outlet, config.Mqtt)]
    if brokers:
        from picam_infer.outputs.events import mqtt_checks

        yield from mqtt_checks.findings(brokers, instance, picture_bytes)


# -- files ---------------------------------------------------------------------


def jsonl(settings: config.Jsonl, others: set[Path]) -> Iterator[Finding]:
    """Look at the file and its folder."""
    if settings.path == "-":
        yield Finding("ok", "jsonl: stdout")
        return
    path = Path(settings.path)
    name = f"jsonl: {path}"
    if path.absolute() in others:
        yield Finding(
            "error", f"{name} is written by two outlets, which rotate it under each other", "give each a path"
        )
        return
    others.add(path.absolute())
    try:
        if path.is_dir():
            yield Finding("error", f"{name} is a folder", f"name a file in it, for example {path / 'events.jsonl'}")
            return
        if path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC))
        if not path.exists() or stat.S_ISREG(path.stat().st_mode):
            disk.try_writing(path.parent)
        yield from _room(name, path, settings.max_mb * settings.files)
    except OSError as error:
        yield Finding("error", f"{name}: cannot be written ({error.strerror})", disk.remedy(error, path.parent))


def _room(name: str, path: Path, most_mb: float) -> Iterator[Finding]:
    taken_mb = sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*") if one.is_file()) / 1e6
    free_mb = disk.free_mb(path.parent)
    if most_mb - taken_mb > free_mb:
        yield Finding(
            "note",
            f"{name} may take {most_mb:g} MB, and {free_mb:.0f} MB are free",
            "lower max_mb or files, or make room",
        )
    else:
        yield Finding("ok", f"{name} can be written")


# -- programs --------------------------------------------------------------------


def command(settings: config.Command) -> Iterator[Finding]:
    """Check the program as the system does when it starts it."""
    given = settings.argv[0]
    name = f"command: {given}"
    found = given if "/" in given else shutil.which(given)
    if found is None:
        yield Finding("error", f"{name}: no such program in PATH", "give its whole path; if it is there: chmod +x")
        return
    path = Path(found)
    try:
        if path.is_dir():
            yield Finding("error", f"{name} is a folder", "name the program in it")
        elif not path.exists():
            yield Finding(
                "error", f"{name}: no such file", "correct argv, whose first word is the program's whole path"
            )
        elif not os.access(path, os.X_OK):
            yield Finding("error", f"{name} is not executable", f"chmod +x {path}")
        else:
            yield _first_line(name, path)
    except OSError as error:
        yield Finding("error", f"{name}: {error.strerror}", "let the service's user read and run it")


def _first_line(name: str, path: Path) -> Finding:
    """Check the interpreter that the system starts a script with."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except PermissionError:
        return Finding("ok", f"{name} can be run")  # a program need not be readable
    if not head:
        return Finding("error", f"{name} is empty", "put the program there")
    if not head.startswith(b"#!"):
        if head.startswith(_ELF) or b"\0" in head:
            return Finding("ok", f"{name} can be run")
        return Finding("error", f"{name} does not say which program runs it", "begin it with a line like #!/bin/sh")
    line = head.split(b"\n", 1)[0]
    if line.endswith(b"\r"):
        return Finding("error", f"{name} has Windows line endings", f"sed -i 's/\\r$//' {path}")
    words = line[2:].split()
    interpreter = os.fsdecode(words[0]) if words else ""
    if not interpreter or not os.access(interpreter, os.X_OK):
        return Finding(
            "error", f"{name} needs {interpreter or 'nothing'}, which does not exist", "correct its first line"
        )
    return Finding("ok", f"{name} can be run")


# -- the network -------------------------------------------------------------------


def webhook(settings: config.Webhook) -> Iterator[Finding]:
    """Ask the receiver what it would take (OPTIONS), which changes nothing there."""
    from picam_infer.outputs.events.webhook import Hook

    hook = Hook(settings)
    name = f"webhook: {hook.name}"
    if settings.secret_file:
        yield from secret(f"{name}: secret_file", settings.secret_file)
    try:
        answer = hook.request("OPTIONS", None, {})
    except DeliveryError as error:
        cause = error.__cause__ or error
        yield Finding("error", f"{name}: {error.reason}", _web_remedy(settings, cause))
        return
    if answer.status // 100 == 3:
        yield Finding("error", f"{name}: answers {answer.status}", answer.redirect)
    elif answer.status == 400 and not settings.url.startswith("https:") and speaks_tls(*_door(settings.url)):
        yield Finding("error", f"{name}: it speaks TLS", "write https:// in url")
    elif answer.status in (404, 410):
        yield Finding("note", f"{name}: answers {answer.status} to OPTIONS at that path", "check the path of url")
    elif answer.status in (401, 403, 407) or answer.status // 100 == 5:
        yield Finding(
            "note", f"{name}: answers {answer.status} to OPTIONS", "check its log, and the access it asks for"
        )
    else:
        yield Finding("ok", f"{name} answers")


def _door(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _web_remedy(settings: config.Webhook, cause: BaseException) -> str:
    if settings.url.startswith("https:") and no_tls_there(cause):
        return "write http:// in url, or the port where it speaks TLS"
    if not settings.url.startswith("https:") and speaks_tls(*_door(settings.url)):
        return "it speaks TLS: write https:// in url"
    return remedy(cause, settings.ca_file)


def speaks_tls(host: str, port: int) -> bool:
    """Whether a port answers TLS's greeting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), PROBE_S) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def no_tls_there(error: BaseException | None) -> bool:
    """Whether a TLS connection failed because the other side speaks something else."""
    if isinstance(error, ssl.SSLError):
        return not isinstance(error, ssl.SSLCertVerificationError) and error.reason != "NO_CERTIFICATE_OR_CRL_FOUND"
    return isinstance(error, ConnectionResetError)


def answers(host: str, port: int) -> bool:
    """Whether something listens on a port."""
    try:
        socket.create_connection((host, port), PROBE_S).close()
    except OSError:
        return False
    return True


def secret(what: str, place: str) -> Iterator[Finding]:
    """Look at a secret; yields nothing when it is good."""
    try:
        if not secret_file.read(place):
            yield Finding("error", f"{what}: {place} is empty", "write the secret into it")
    except SecretError as error:
        yield Finding("error", f"{what}: {error.message}", error.hint)
    if problem := secret_file.exposed(place):
        yield Finding("note", f"{what}: {problem.message}", problem.hint)


def notify(settings: config.Notify) -> Iterator[Finding]:
    """Look at the addresses; none of them is shown, and nothing is sent."""
    from picam_infer.outputs.events import notify as messages

    place = settings.urls_file
    told = list(secret("notify: urls_file", place))
    yield from told
    if any(grade == "error" for grade, _, _ in told):
        return
    try:
        services = messages.services(messages.read_addresses(place), place, settings.timeout_s)
    except DeliveryError as error:
        yield Finding("error", f"notify: {error.reason}", error.hint)
        return
    kinds = ", ".join(re.sub(r"[^\w .+-]", "", str(one.service_name)) for _, one in services)
    yield Finding("ok", f"notify: {kinds}")
