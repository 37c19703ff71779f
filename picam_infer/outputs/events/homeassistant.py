"""The entities that Home Assistant creates from an outlet's topics: its MQTT discovery."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from picam_infer import __version__
from picam_infer.outputs.events.mqtt_link import Message
from picam_infer.outputs.events.mqtt_topics import Topics
from picam_infer.platform import utf8

SNAPSHOT = "image/snapshot"
SWITCH = "switch/watching"
ENTITIES = ("sensor/label", "sensor/score", "sensor/engine", "binary_sensor/camera", SNAPSHOT, SWITCH)
"""Home Assistant's kind of entity, and our name of it."""


def discovery(
    topics: Topics, entities: Collection[str], model: str, units: Sequence[str] | None = None
) -> Iterator[Message]:
    """Yield one retained message for each of these entities; `units`: see `State.units`."""
    node, base = topics.node, topics.base
    device = {"identifiers": [f"picam-infer-{node}"], "name": f"picam-infer {node}", "model": model,
              "sw_version": __version__}  # fmt: skip
    origin = {"name": "picam-infer", "sw_version": __version__}
    common = {"availability_topic": f"{base}/availability", "device": device, "origin": origin}
    for path, entity in _described(base, units).items():
        if path not in entities:
            continue
        kind, _, name = path.partition("/")
        ident = f"picam-infer-{node}-{name}"
        entity_id = f"{kind}.{ident.replace('-', '_').lower()}"
        body = entity | common | {"unique_id": ident, "default_entity_id": entity_id}
        yield Message(topics.entity(path), utf8.json_bytes(body), retain=True)


def _measured(units: Sequence[str] | None) -> dict[str, str]:
    """Return what the score is: a probability, or the first value in the model's unit."""
    if units is None:
        return {"name": "Score", "unit_of_measurement": "%", "state_class": "measurement"}
    unit = {"unit_of_measurement": units[0]} if units and units[0] else {}
    return {"name": "Value", **unit, "state_class": "measurement"}


def _described(base: str, units: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    state = {"state_topic": f"{base}/state"}
    return {
        "sensor/label": state | {"name": "Label", "value_template": "{{ value_json.label }}", "icon": "mdi:eye"},
        "sensor/score": state | {"value_template": "{{ value_json.score }}"} | _measured(units),
        "sensor/engine": state | {"name": "Engine", "value_template": "{{ value_json.engine }}",
                                  "entity_category": "diagnostic"},
        "binary_sensor/camera": state | {"name": "Camera", "value_template": "{{ value_json.camera }}",
                                         "payload_on": "ok", "payload_off": "lost",
                                         "device_class": "connectivity", "entity_category": "diagnostic"},
        SNAPSHOT: {"name": "Snapshot", "image_topic": f"{base}/snapshot", "content_type": "image/jpeg"},
        SWITCH: {"name": "Watching", "state_topic": f"{base}/watching", "command_topic": f"{base}/watching/set",
                 "payload_on": "ON", "payload_off": "OFF", "icon": "mdi:cctv", "qos": 1},
    }  # fmt: skip
