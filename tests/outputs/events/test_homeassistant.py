"""Home Assistant's own MQTT integration finds the entities, follows them, and pauses watching."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from event_samples import state, until
from mqtt_lab import Broker
from test_mqtt import tell

from picam_infer import config
from picam_infer.outputs.events import Events

PYTHON = os.environ.get("PICAM_HOMEASSISTANT", "")
HOST = Path(__file__).with_name("homeassistant_host.py")

pytestmark = pytest.mark.skipif(not PYTHON, reason="needs a Python with homeassistant (PICAM_HOMEASSISTANT)")


class Home:
    """A running Home Assistant."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen([PYTHON, HOST, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL, text=True)  # fmt: skip

    def states(self, command: str = "states") -> dict[str, str]:
        """Return what it knows of our entities, by the last part of their name."""
        return {name.rpartition("_")[2]: value for name, value in self.entities(command).items()}

    def entities(self, command: str = "states") -> dict[str, str]:
        """Return the states of our entities, by their whole name."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        found: dict[str, str] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        self._process.communicate(timeout=20)


def test_entities_states_and_the_switch(broker: Broker) -> None:
    home, run = Home(broker.port), state()
    try:
        with Events([config.Mqtt(host="127.0.0.1", port=broker.port, name="pi")], run) as events:
            tell(run, "one")
            until(lambda: len(home.states()) == 6, 30)
            until(lambda: home.states()["label"] == "one")
            assert set(home.states()) == {"label", "score", "engine", "camera", "snapshot", "watching"}
            until(lambda: home.states()["watching"] == "on")
            home.states("turn_off switch.picam_infer_pi_watching")
            until(lambda: home.states()["watching"] == "off")
            assert run.pause.now is not None and run.pause.now.by == "mqtt"
            home.states("turn_on switch.picam_infer_pi_watching")
            until(lambda: home.states()["watching"] == "on" and not run.pause.now)
            assert events.report()[0].ok
        until(lambda: set(home.states().values()) == {"unavailable"})
        with Events([config.Mqtt(host="127.0.0.1", port=broker.port, name="pi", snapshot=False)], run):
            until(lambda: "snapshot" not in home.states() and home.states()["camera"] == "on")
        with Events([config.Mqtt(host="127.0.0.1", port=broker.port, name="new")], run):
            until(lambda: len(home.entities()) == 6 and all("picam_infer_new_" in name for name in home.entities()))
    finally:
        home.close()
