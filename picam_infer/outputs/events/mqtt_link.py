"""One connection to an MQTT broker (MQTT 5, or 3.1.1 if the broker knows nothing newer)."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from picam_infer.config import Mqtt
from picam_infer.outputs.events.outlet import DeliveryError
from picam_infer.outputs.events.reasons import reason, remedy, tls_context
from picam_infer.platform import secret_file
from picam_infer.platform.secret_file import SecretError

ACK_S = 10.0
"""How long the broker may take for an answer."""
_HEAD_BYTES = 24
"""Of a PUBLISH packet beside topic and payload, at most."""
_LOST, _LOG = "the broker hung up", "look into the broker's log"

# Reason codes of MQTT 5 (section 2.4).
UNSUPPORTED_VERSION, BAD_LOGIN, NOT_AUTHORISED, TOO_LARGE = 0x84, 0x86, 0x87, 0x95
_NEVER = frozenset({0x81, 0x82, NOT_AUTHORISED, 0x90, 0x94, TOO_LARGE, 0x99, 0x9A, 0x9B})
"""Malformed, protocol error, not authorised, topic name or alias invalid, too large, payload, retain or QoS refused."""
_WILL_REFUSED = frozenset({0x9A, 0x9B})
"""The broker keeps nothing, or knows QoS 0 only."""
_TOO_MUCH = frozenset({0x93, 0x96, 0x97})
"""Receive maximum, message rate, quota exceeded: another time perhaps, but not forever."""
_BLAMES = _NEVER | {0x80, 0x83}
"""As the reason of a hang-up these are about what was just sent; the others are about the broker or the connection."""

Waiting = Callable[[float], bool]


@dataclass(frozen=True, slots=True)
class Message:
    """What is published."""

    topic: str
    payload: bytes
    retain: bool = False

    @property
    def size(self) -> int:
        """Bytes of its packet, at most."""
        return len(self.topic.encode()) + len(self.payload) + _HEAD_BYTES


class HungUp(DeliveryError):
    """The connection ended before the broker had confirmed a message. `blames`: because of it, as far as is known."""

    def __init__(self, reason: str, blames: bool, final: bool = False, counts: bool = False) -> None:
        super().__init__(reason, final, counts, hint=_LOG)
        self.blames = blames


class TooLarge(DeliveryError):
    """A message is larger than the broker takes."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, final=True)


class Refused(DeliveryError):
    """The broker does not let us in. `code`: its reason code as MQTT 5 counts them."""

    def __init__(self, reason: str, code: int, hint: str = "") -> None:
        super().__init__(reason, counts=False, hint=hint)
        self.code = code


class Link:
    """Opened once; when it is lost, make another. The network runs in paho's thread, all else in the owner's."""

    def __init__(self, settings: Mqtt, client_id: str, will: Message | None = None) -> None:
        self.limit_bytes: int | None = None
        """The largest packet that the broker takes, if it says so."""
        self.on_message: Callable[[Message], None] = lambda message: None
        """Called from paho's thread; `retain`: it was said before we listened."""
        self._settings = settings
        self._client_id = client_id
        self._will = will
        self._client: paho.Client | None = None
        self._up = threading.Event()
        self._end: tuple[str, int | None] | None = None
        """Why it is over: text and the broker's code, if it gave one."""
        self._answers: dict[int, Any] = {}
        self._qos = 1
        self._retains = True

    @property
    def up(self) -> bool:
        """Whether the broker has let us in, and not hung up since."""
        return self._up.is_set()

    def open(self, waiting: Waiting, protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5) -> MQTTProtocolVersion:
        """Connect; return the protocol that the broker speaks. Raises `DeliveryError`, `Refused`."""
        try:
            self._open(waiting, protocol)
        except Refused as error:
            if error.code in _WILL_REFUSED and self._will is not None and self._will.retain:
                self._will = replace(self._will, retain=False)
                self._qos = 0
                return self.open(waiting, protocol)
            if protocol != MQTTProtocolVersion.MQTTv5 or error.code not in (UNSUPPORTED_VERSION, 0):
                raise
            return self.open(waiting, MQTTProtocolVersion.MQTTv311)
        return protocol

    def publish(self, message: Message, waiting: Waiting) -> None:
        """Publish and wait until the broker has it. Raises `DeliveryError`, `HungUp` (then the link is over)."""
        if self.limit_bytes is not None and message.size > self.limit_bytes:
            raise TooLarge(f"{message.size} bytes are more than the {self.limit_bytes} that the broker takes")
        client = self._running()
        told = client.publish(message.topic, message.payload, self._qos, retain=message.retain and self._retains)
        # One that finds the connection gone says so by its code; asked again, it would raise.
        if told.rc != paho.MQTT_ERR_SUCCESS:
            raise self._hung_up()
        self._wait(told.is_published, waiting)
        code = self._answers.pop(told.mid, None)
        if code is not None and code.value == TOO_LARGE:
            raise TooLarge(f"{message.size} bytes are more than the broker takes")
        if code is not None and code.is_failure:
            hint = "allow it in the broker's access list" if code.value == NOT_AUTHORISED else _LOG
            raise DeliveryError(f"the broker refuses it: {str(code).lower()}", final=code.value in _NEVER, hint=hint)

    def say(self, message: Message) -> None:
        """Publish without waiting for an answer; from any thread."""
        client = self._client
        if client is not None and self.up:
            with contextlib.suppress(ValueError, RuntimeError):
                client.publish(message.topic, message.payload, 0, retain=message.retain and self._retains)

    def subscribe(self, topics: Sequence[str], waiting: Waiting) -> list[str]:
        """Ask for what is said on some topics; return those that the broker does not grant. Raises `HungUp`."""
        client = self._running()
        code, number = client.subscribe([(topic, 1) for topic in topics])
        if code != paho.MQTT_ERR_SUCCESS or number is None:
            raise self._hung_up()
        self._wait(lambda: number in self._answers, waiting)
        codes = self._answers.pop(number)
        return [topic for topic, one in zip(topics, codes, strict=False) if one.is_failure]

    def close(self) -> None:
        """Close the connection. May be called more than once."""
        client, self._client = self._client, None
        self._up.clear()
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _open(self, waiting: Waiting, protocol: MQTTProtocolVersion) -> None:
        settings = self._settings
        if problem := address_problem(settings):
            raise DeliveryError(problem[0], counts=False, hint=problem[1])
        client = self._make(protocol)
        self._end = None
        try:
            client.connect(settings.host, port_of(settings), keepalive=30)
        except (OSError, ValueError) as error:
            raise DeliveryError(reason(error), counts=False, hint=remedy(error, settings.ca_file)) from error
        self._client = client
        client.loop_start()
        end_s = time.monotonic() + ACK_S
        while not self.up:
            if self._end is None and time.monotonic() <= end_s and waiting(0.02):
                continue
            end = self._end
            self.close()
            if end is None:
                raise DeliveryError("the broker does not answer", counts=False, hint=refusal_remedy(settings, 0))
            raise Refused(end[0], end[1] or 0, refusal_remedy(settings, end[1] or 0))

    def _make(self, protocol: MQTTProtocolVersion) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, self._client_id, protocol=protocol, reconnect_on_failure=False
        )
        client.connect_timeout = ACK_S
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, self._qos, retain=self._will.retain)
        try:
            if self._settings.user:
                place = self._settings.password_file
                client.username_pw_set(self._settings.user, secret_file.text(place) if place else None)
            if self._settings.tls:
                client.tls_set_context(tls_context(self._settings.ca_file))
        except SecretError as error:
            raise DeliveryError(f"password_file: {error.message}", counts=False, hint=error.hint) from None
        except OSError as error:
            raise DeliveryError(reason(error), counts=False, hint=remedy(error, self._settings.ca_file)) from error
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = lambda c, d, number, code, properties: self._answers.update({number: code})
        client.on_subscribe = lambda c, d, number, codes, properties: self._answers.update({number: codes})
        client.on_message = lambda c, d, heard: self.on_message(
            Message(heard.topic, bytes(heard.payload), heard.retain)
        )
        return client

    def _running(self) -> paho.Client:
        if self._client is None or not self.up:
            raise self._hung_up()
        return self._client

    def _wait(self, done: Callable[[], bool], waiting: Waiting) -> None:
        end_s = time.monotonic() + ACK_S
        while not done():
            if not self.up:
                raise self._hung_up()
            if time.monotonic() > end_s or not waiting(0.02):
                # A fresh client next time: this one would send the message again by itself, and so do we.
                self.close()
                raise HungUp("the broker does not confirm", blames=False, counts=True)

    def _hung_up(self) -> HungUp:
        text, code = self._end or (_LOST, None)
        self.close()
        return HungUp(text, code is None or code in _BLAMES, final=code == TOO_LARGE, counts=code in _TOO_MUCH)

    # -- what paho's thread calls ----------------------------------------------

    def _on_connect(self, client: paho.Client, data: Any, flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            self._end = (f"the broker refuses: {str(code).lower()}", code.value)
            return
        self.limit_bytes = getattr(properties, "MaximumPacketSize", None)
        self._qos = min(1, getattr(properties, "MaximumQoS", 1))
        self._retains = bool(getattr(properties, "RetainAvailable", 1))
        self._up.set()

    def _on_disconnect(self, client: paho.Client, data: Any, flags: Any, code: Any, properties: Any) -> None:
        if self._end is None:
            told = flags.is_disconnect_packet_from_server
            self._end = (f"{_LOST}: {str(code).lower()}", code.value) if told else (_LOST, None)
        self._up.clear()


def port_of(settings: Mqtt) -> int:
    """Return the port that is meant."""
    return settings.port or (8883 if settings.tls else 1883)


def host_of(settings: Mqtt) -> str:
    """Return the host to show: anything before an @ is a secret."""
    return settings.host.rpartition("@")[2]


def refusal_remedy(settings: Mqtt, code: int) -> str:
    """Return what to do when the broker did not let us in, by its reason code; 0: it gave none."""
    if code in (BAD_LOGIN, NOT_AUTHORISED):
        return "check user and password_file" if settings.user else "set user and password_file"
    if code:
        return _LOG
    return "is that the port of an MQTT broker? (1883, or 8883 with tls: true); look into its log"


def address_problem(settings: Mqtt) -> tuple[str, str] | None:
    """Return what is wrong with `host` and how to write it; None: nothing."""
    host, shown = settings.host, host_of(settings)
    found = re.fullmatch(
        r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(?:[^@/]*@)?([^@/:\s]+|\[[0-9A-Fa-f:.]+\])(?::(\d+))?/*", host
    )
    if found is None:
        if re.fullmatch(r"[0-9A-Fa-f:.]+(%\w+)?", host):  # IPv6
            return None
        return f"{shown} is not a host name", "write the broker's name or address alone, as host: broker.local"
    scheme, bare, port = found[1], found[2].strip("[]"), found[3]
    if host in (bare, bare.rstrip("/")):
        return None
    right = [f"host: {bare}", *([f"port: {port}"] if port else []),
             *(["tls: true"] if (scheme or "").lower() in ("mqtts", "ssl", "tls", "wss", "https") else [])]  # fmt: skip
    if "@" in host:
        right.append("user and password_file")
    return f"{shown} is more than a host", "write " + ", ".join(right)
