"""Events for an MQTT broker, and the entities that Home Assistant makes of them."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from picam_infer import __version__
from picam_infer.config import Mqtt
from picam_infer.core import BadFrame, Frame
from picam_infer.imaging import jpeg
from picam_infer.outputs.events.outlet import Event, Undelivered
from picam_infer.runtime.state import State

_ACK_S = 10.0
_STATE_S = 10.0
_LOST = "the broker hung up"
_Message = tuple[str, bytes, bool]
"""Topic, payload, whether the broker keeps it."""


class Broker:
    """Keeps a connection, says who we are on each new one, and publishes with QoS 1.

    The network runs in paho's thread; all else in the outlet's.
    """

    retries = None

    def __init__(self, settings: Mqtt, state: State) -> None:
        port = settings.port or (8883 if settings.tls else 1883)
        self.name = f"{settings.host}:{port}"
        self.pictures = settings.snapshot
        self._settings = settings
        self._state = state
        self._port = port
        self._node = settings.name or re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())
        self._base = f"{settings.prefix}/{self._node}"
        self._client: paho.Client | None = None
        self._up = threading.Event()
        self._refusal = ""
        self._said: tuple[float, bytes] = (0.0, b"")

    # -- what the outlet calls -----------------------------------------------

    def deliver(self, event: Event, waiting: Callable[[float], bool]) -> None:
        """Publish the event, the state after it and the picture. Raises `Undelivered`; nothing is lost by that."""
        self._connected(waiting)
        self._publish((f"{self._base}/event", event.as_bytes(), False), waiting)
        self._publish(self._state_now(event), waiting)
        if event.frame is not None:
            for message in self._picture(event.frame):
                self._publish(message, waiting)

    def idle(self, waiting: Callable[[float], bool]) -> None:
        """Connect if need be; the retained state follows engine, camera and score at a gentle pace."""
        self._connected(waiting)
        message = self._state_now()
        due = time.monotonic() - self._said[0] > _STATE_S
        if message[1] != self._said[1] and (due or _parts(message[1]) != _parts(self._said[1])):
            self._publish(message, waiting)

    def close(self) -> None:
        """Say that we are offline, and hang up."""
        client, self._client = self._client, None
        if client is None:
            return
        if self._up.is_set():
            with contextlib.suppress(ValueError, RuntimeError):
                client.publish(f"{self._base}/availability", b"offline", 1, retain=True).wait_for_publish(1.0)
        client.disconnect()
        client.loop_stop()

    # -- connection ------------------------------------------------------------

    def _connected(self, waiting: Callable[[float], bool]) -> None:
        if self._client is not None and self._up.is_set():
            return
        self._drop()
        client = self._make()
        self._refusal, self._up = "", threading.Event()
        try:
            client.connect(self._settings.host, self._port, keepalive=30)
        except (OSError, ValueError) as error:
            raise Undelivered(_reason(error)) from error
        self._client = client
        client.loop_start()
        end_s = time.monotonic() + _ACK_S
        while not self._up.is_set():
            if self._refusal or time.monotonic() > end_s or not waiting(0.05):
                raise Undelivered(self._refusal or "the broker does not answer")
        for message in self._greeting():
            self._publish(message, waiting)

    def _make(self) -> paho.Client:
        settings = self._settings
        client = paho.Client(
            CallbackAPIVersion.VERSION2, f"picam-infer-{self._node}-{secrets.token_hex(3)}",
            reconnect_on_failure=False,
        )  # fmt: skip
        client.connect_timeout = _ACK_S
        client.will_set(f"{self._base}/availability", b"offline", 1, retain=True)
        try:
            if settings.user:
                password = Path(settings.password_file).read_text("utf-8").strip() if settings.password_file else None
                client.username_pw_set(settings.user, password)
            if settings.tls:
                client.tls_set_context(ssl.create_default_context(cafile=settings.ca_file or None))
        except (OSError, UnicodeError) as error:
            raise Undelivered(_reason(error)) from error
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        return client

    def _on_connect(self, client: paho.Client, data: Any, flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            self._refusal = f"the broker refuses: {code}"
        else:
            self._up.set()

    def _on_disconnect(self, client: paho.Client, data: Any, flags: Any, code: Any, properties: Any) -> None:
        self._refusal = self._refusal or _LOST
        self._up.clear()

    def _publish(self, message: _Message, waiting: Callable[[float], bool]) -> None:
        """Publish and wait for the broker's word that it has it."""
        topic, payload, keep = message
        assert self._client is not None
        told = self._client.publish(topic, payload, 1, retain=keep)
        end_s = time.monotonic() + _ACK_S
        # One that finds the connection gone says so by its code; asked again, it would raise.
        gone = told.rc != paho.MQTT_ERR_SUCCESS
        while gone or not told.is_published():
            if gone or not self._up.is_set() or time.monotonic() > end_s or not waiting(0.02):
                reason = self._refusal or (_LOST if gone else "the broker does not confirm")
                # A fresh client next time: the old one would send this again by itself, and we do as well.
                self._drop()
                raise Undelivered(reason)
        if topic.endswith("/state"):
            self._said = (time.monotonic(), payload)

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    # -- messages --------------------------------------------------------------

    def _greeting(self) -> Iterator[_Message]:
        yield from self._discovery()
        yield f"{self._base}/availability", b"online", True
        yield self._state_now()

    def _state_now(self, event: Event | None = None) -> _Message:
        newest = self._state.results.look()
        result = event.change.result if event is not None and event.change.result is not None else newest and newest[1]
        lost = {loss.part for loss in self._state.losses}
        unwanted = event is not None and event.change.kind == "label" and not self._wanted(event)
        known = result is not None and not unwanted and self._passes(result.label, result.score)
        body = {
            "label": (result.label if result and result.label is not None else "unknown") if known else "unknown",
            "score": round(100 * result.score, 1) if result and known else 0,
            "engine": self._state.engine,
            "camera": "lost" if "camera" in lost else "ok",
            "engine_state": "lost" if "engine" in lost else "ok",
        }
        return f"{self._base}/state", json.dumps(body, ensure_ascii=False).encode(), True

    def _wanted(self, event: Event) -> bool:
        return self._passes(event.change.label, event.change.score)

    def _passes(self, label: str | None, score: float) -> bool:
        labels = self._settings.labels
        return (not labels or ("unknown" if label is None else label) in labels) and score >= self._settings.min_score

    def _picture(self, frame: Frame) -> Iterator[_Message]:
        with contextlib.suppress(BadFrame):
            yield f"{self._base}/snapshot", jpeg.portable(frame), True

    def _discovery(self) -> Iterator[_Message]:
        """Yield one retained message for each Home Assistant entity."""
        if not self._settings.discovery:
            return
        device = {"identifiers": [f"picam-infer-{self._node}"], "name": f"picam-infer {self._node}",
                  "model": self._state.model, "sw_version": __version__}  # fmt: skip
        origin = {"name": "picam-infer", "sw_version": __version__}
        common = {"availability_topic": f"{self._base}/availability", "device": device, "origin": origin}
        state = {"state_topic": f"{self._base}/state"}
        entities: dict[str, dict[str, Any]] = {
            "sensor/label": state | {"name": "Label", "value_template": "{{ value_json.label }}", "icon": "mdi:eye"},
            "sensor/score": state | {"name": "Score", "value_template": "{{ value_json.score }}",
                                     "unit_of_measurement": "%", "state_class": "measurement"},
            "sensor/engine": state | {"name": "Engine", "value_template": "{{ value_json.engine }}",
                                      "entity_category": "diagnostic"},
            "binary_sensor/camera": state | {"name": "Camera", "value_template": "{{ value_json.camera }}",
                                             "payload_on": "ok", "payload_off": "lost",
                                             "device_class": "connectivity", "entity_category": "diagnostic"},
        }  # fmt: skip
        if self.pictures:
            entities["image/snapshot"] = {"name": "Snapshot", "image_topic": f"{self._base}/snapshot",
                                          "content_type": "image/jpeg"}  # fmt: skip
        for path, entity in entities.items():
            kind, _, name = path.partition("/")
            ident = f"picam-infer-{self._node}-{name}"
            entity_id = f"{kind}.{ident.replace('-', '_').lower()}"
            body = entity | common | {"unique_id": ident, "default_entity_id": entity_id}
            topic = f"{self._settings.discovery}/{kind}/picam-infer-{self._node}/{name}/config"
            yield topic, json.dumps(body, ensure_ascii=False).encode(), True


def _parts(payload: bytes) -> tuple[Any, ...]:
    """Return what of a state is worth telling at once: all but the score."""
    body = json.loads(payload) if payload else {}
    return tuple(body.get(name) for name in ("label", "engine", "camera", "engine_state"))


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "the broker does not answer"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
