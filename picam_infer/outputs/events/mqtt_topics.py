"""An MQTT outlet's name, and the topics that follow from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from picam_infer.config import Mqtt
from picam_infer.config.instance import Instance
from picam_infer.outputs.events.mqtt_link import host_of, port_of


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of one outlet."""

    broker: str
    node: str
    prefix: str
    discovery: str
    """Home Assistant's topic; empty: none."""

    @classmethod
    def of(cls, settings: Mqtt, instance: Instance) -> Topics:
        """Return the names that a configuration means."""
        node = settings.name or instance.network_name
        broker = f"{host_of(settings)}:{port_of(settings)}"
        return cls(broker, node, _levels(settings.prefix) or "picam-infer", _levels(settings.discovery))

    @property
    def base(self) -> str:
        """What its topics begin with."""
        return f"{self.prefix}/{self.node}"

    def own(self, name: str) -> str:
        """Return one of its topics: `event`, `state`…"""
        return f"{self.base}/{name}"

    @property
    def status(self) -> str:
        """Where Home Assistant says that it has started; empty without discovery."""
        return f"{self.discovery}/status" if self.discovery else ""

    def entity(self, path: str) -> str:
        """Return the discovery topic of an entity: `sensor/label`…"""
        kind, _, name = path.partition("/")
        return f"{self.discovery}/{kind}/picam-infer-{self.node}/{name}/config"

    def entities(self, paths: Iterable[str]) -> frozenset[str]:
        """Return the discovery topics of entities; none without discovery."""
        return frozenset(map(self.entity, paths)) if self.discovery else frozenset()


def _levels(topic: str) -> str:
    """Return a topic without empty levels: `homeassistant/` and `/homeassistant` are meant as `homeassistant`."""
    return re.sub("/+", "/", topic.strip()).strip("/")


@dataclass(frozen=True, slots=True)
class Presence:
    """What services of one name tell each other, so that two of them notice it."""

    session: str
    """Differs at each start."""
    instance: str
    """The same at each start (`Instance.ident`)."""
    host: str
    answer: bool = False

    def as_bytes(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(
            {"session": self.session, "instance": self.instance, "host": self.host, "answer": self.answer}
        ).encode()

    @classmethod
    def parse(cls, payload: bytes) -> Presence | None:
        """Return a message of another service; None for anything else."""
        try:
            plain: Any = json.loads(payload)
            session, instance, host = (_plain(plain[key]) for key in ("session", "instance", "host"))
            return cls(session, instance, host, answer=plain.get("answer") is True)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


def _plain(word: Any) -> str:
    # It comes from the network and goes into the journal.
    return re.sub(r"[^A-Za-z0-9_.-]", "?", str(word))[:64]
