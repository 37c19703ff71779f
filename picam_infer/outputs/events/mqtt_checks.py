"""Checks of MQTT brokers for `picam-infer check`: the login, the permission to publish, the name."""

from __future__ import annotations

import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from picam_infer import config
from picam_infer.config.instance import Instance
from picam_infer.core import Finding, PicamError
from picam_infer.outputs.events.checks import answers, no_tls_there, secret, speaks_tls
from picam_infer.outputs.events.mqtt_link import (
    BAD_LOGIN,
    NOT_AUTHORISED,
    HungUp,
    Link,
    Message,
    Refused,
    TooLarge,
    address_problem,
    port_of,
    refusal_remedy,
)
from picam_infer.outputs.events.mqtt_topics import Presence, Topics
from picam_infer.outputs.events.outlet import DeliveryError
from picam_infer.outputs.events.reasons import remedy

PATIENCE_S = 8.0
LISTEN_S = 1.0
_PLAIN, _TLS = 1883, 8883


def findings(brokers: Sequence[config.Mqtt], instance: Instance, picture_bytes: int | None) -> Iterator[Finding]:
    """Yield the findings about each broker, and about names that are used twice."""
    named = Counter((topics.broker, topics.base) for topics in (Topics.of(one, instance) for one in brokers))
    for (broker, base), count in named.items():
        if count > 1:
            yield Finding(
                "error", f"mqtt: {broker}: {count} outlets are called {base}", "give each a `name` of its own"
            )
    yield from _siblings(brokers, instance)
    for settings in brokers:
        yield from _broker(settings, instance, picture_bytes)


def _siblings(brokers: Sequence[config.Mqtt], instance: Instance) -> Iterator[Finding]:
    """Look at the configurations beside this one: they may be those of other services."""
    if instance.config is None:
        return
    ours = {(topics.broker, topics.base) for topics in (Topics.of(one, instance) for one in brokers)}
    for path in sorted(instance.config.absolute().parent.glob("*.yaml")):
        if path == instance.config.absolute():
            continue
        try:
            others = [one for one in config.load(path).events if isinstance(one, config.Mqtt)]
        except PicamError:
            continue
        for topics in (Topics.of(one, Instance(path)) for one in others):
            if (topics.broker, topics.base) in ours:
                yield Finding(
                    "note",
                    f"mqtt: {topics.broker}: {path} uses the name {topics.node} too",
                    "give one of them a `name` of its own",
                )


def _broker(settings: config.Mqtt, instance: Instance, picture_bytes: int | None) -> Iterator[Finding]:
    topics = Topics.of(settings, instance)
    name = f"mqtt: {topics.broker}"
    problem = address_problem(settings)
    if problem is not None:
        yield Finding("error", f"mqtt: {problem[0]}", problem[1])
        return
    told = list(secret(f"{name}: password_file", settings.password_file)) if settings.password_file else []
    yield from told
    if settings.password_file and not settings.user:
        yield Finding("error", f"{name}: a password without a user is not sent", "set user")
    unreadable = any(grade == "error" for grade, _, _ in told)
    # Without the password there is still something to be found out.
    visitor = msgspec.structs.replace(settings, user="", password_file="") if unreadable else settings
    link = Link(visitor, f"picam-infer-check-{secrets.token_hex(4)}")
    try:
        link.open(_patience())
    except DeliveryError as error:
        if not (unreadable and isinstance(error, Refused) and error.code in (BAD_LOGIN, NOT_AUTHORISED)):
            yield Finding("error", f"{name}: {error.reason}", _entrance_remedy(settings, error))
        return
    found: list[Finding] = []
    try:
        found += _clashes(link, topics, instance, name)
        found += _proofs(link, settings, topics, name, picture_bytes)
    except DeliveryError as error:
        found.append(Finding("error", f"{name}: {error.reason}", "look into the broker's log"))
    finally:
        link.close()
    yield from found
    if not found and not unreadable:
        yield Finding("ok", f"{name} takes messages from {topics.node}")


def _proofs(
    link: Link, settings: config.Mqtt, topics: Topics, name: str, picture_bytes: int | None
) -> Iterator[Finding]:
    """Send what nobody listens to, as small and as large as what will be sent."""
    asked = [(f"{topics.base}/#", topics.own("check"), "")]
    if topics.discovery:
        # Home Assistant passes over an empty message for an entity that it does not know.
        asked.append((f"{topics.discovery}/#", topics.entity("sensor/check"), ", or set discovery: ''"))
    for pattern, topic, otherwise in asked:
        try:
            link.publish(Message(topic, b""), _patience())
        except DeliveryError as error:
            hint = f"allow it in the broker's access list{otherwise}"
            yield Finding("error", f"{name}: publishing to {pattern}: {error.reason}", hint)
            if isinstance(error, HungUp):
                return
    if settings.snapshot and picture_bytes is not None:
        yield from _picture(link, topics, name, picture_bytes)


def _picture(link: Link, topics: Topics, name: str, picture_bytes: int) -> Iterator[Finding]:
    try:
        link.publish(Message(topics.own("check"), bytes(picture_bytes)), _patience())
    except (TooLarge, HungUp) as error:
        hint = "raise the broker's max_packet_size, lower capture.width and height, or set snapshot: false"
        yield Finding("error", f"{name}: it does not take a picture of {picture_bytes} bytes ({error.reason})", hint)


def _clashes(link: Link, topics: Topics, instance: Instance, name: str) -> Iterator[Finding]:
    """Ask who else has the name."""
    heard: dict[str, Presence] = {}
    me = Presence(secrets.token_hex(8), instance.ident, socket.gethostname())

    def hear(message: Message) -> None:
        said = Presence.parse(message.payload)
        if said is not None and said.session != me.session:
            heard[said.session] = said

    link.on_message = hear
    if link.subscribe([topics.own("presence")], _patience()):
        yield Finding(
            "note",
            f"{name}: it does not let us listen to {topics.base}/#",
            "allow it in the broker's access list: else two services of one name are not noticed",
        )
        return
    try:
        link.publish(Message(topics.own("presence"), me.as_bytes()), _patience())
    except HungUp:
        raise
    except DeliveryError:
        return  # what may not be published is found out next
    time.sleep(LISTEN_S)
    others = [one for one in heard.values() if one.instance != instance.ident]
    if others:
        hosts = ", ".join(sorted({one.host for one in others}))
        yield Finding(
            "error",
            f"{name}: another picam-infer, on {hosts}, is called {topics.node} too",
            "give one of them a `name` of its own",
        )
    elif len(heard) > 1:
        yield Finding("error", f"{name}: {len(heard)} services run with this configuration", "end all but one")


def _entrance_remedy(settings: config.Mqtt, error: DeliveryError) -> str:
    """Return what to do when the broker did not let us in."""
    port, cause = port_of(settings), error.__cause__
    if isinstance(error, Refused) or cause is None:
        code = error.code if isinstance(error, Refused) else 0
        if not code and not settings.tls and speaks_tls(settings.host, port):
            return f"port {port} speaks TLS: set tls: true, and ca_file if its certificate is its own"
        return refusal_remedy(settings, code)
    if isinstance(cause, ConnectionRefusedError):
        other = _PLAIN if settings.tls else _TLS
        if port != other and answers(settings.host, other):
            return f"port {other} answers: set tls: {'false' if settings.tls else 'true'}" + (
                f" and port: {other}" if settings.port else ""
            )
    if settings.tls and no_tls_there(cause):
        return "set tls: false, or the port where it speaks TLS (usually 8883)"
    return remedy(cause or error, settings.ca_file)


def _patience() -> Callable[[float], bool]:
    ends_s = time.monotonic() + PATIENCE_S

    def waiting(pause_s: float) -> bool:
        time.sleep(pause_s)
        return time.monotonic() < ends_s

    return waiting
