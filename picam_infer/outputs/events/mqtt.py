"""Events for an MQTT broker."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import replace

from picam_infer.config import Mqtt
from picam_infer.config.instance import Instance
from picam_infer.core import BadFrame, Frame, Result, percentage
from picam_infer.imaging import jpeg
from picam_infer.outputs.events import homeassistant
from picam_infer.outputs.events.mqtt_link import HungUp, Link, Message, TooLarge
from picam_infer.outputs.events.mqtt_refusals import Refusals
from picam_infer.outputs.events.mqtt_topics import Presence, Topics
from picam_infer.outputs.events.outlet import UNKNOWN, DeliveryError, Event, passes_filters
from picam_infer.outputs.events.retained import Memory
from picam_infer.platform import utf8
from picam_infer.runtime.state import State

_STATE_S = 10.0
LISTEN_S = 1.5
"""How long another user of a name has to answer before the name is cleared."""

_DISCOVERY = "Home Assistant's discovery"
_COMMANDS = "listening for commands"

Waiting = Callable[[float], bool]


class Broker:
    """Keeps a connection, says who we are on each new one, and publishes with QoS 1.

    A broker that lets us in and then refuses a message, by its answer or by hanging up on it again and again, is not
    sent that message any more: an event is given up, everything else left out with a note.
    """

    retries = 8

    def __init__(self, settings: Mqtt, state: State, instance: Instance, memory: Memory) -> None:
        self.topics = Topics.of(settings, instance)
        self.name = self.topics.broker
        self.pictures = settings.snapshot
        self._settings = settings
        self._state = state
        self._memory = memory
        self._me = Presence(secrets.token_hex(8), instance.ident, socket.gethostname())
        self._link: Link | None = None
        self._refusals = Refusals()
        self._clash = ""
        """The host of another service of our name."""
        self._news: set[str] = set()
        """What has to be published about ourselves: `here`, or `all`."""
        self._model = (state.model, state.units)
        """What was published about the model."""
        self._heard: dict[str, Presence] = {}
        self._said: tuple[float, bytes] = (0.0, b"")
        self._said_watching = b""
        self._done: tuple[str, set[str]] = ("", set())
        """The event under way, and what of it the broker already has."""
        self._tidied = False
        unwanted = {homeassistant.SNAPSHOT: not self.pictures, homeassistant.SWITCH: not settings.control}
        self._entities = [one for one in homeassistant.ENTITIES if not unwanted.get(one)]
        memory.want(self.topics.broker, self._retained())

    @property
    def note(self) -> str:
        """What should be mended although events arrive."""
        notes = [self._refusals.note]
        if self._clash:
            notes.append(f"another picam-infer, on {self._clash}, is called {self.topics.node} at this broker too, and "
                         "their states mix: give one of them a `name` of its own")  # fmt: skip
        return "; ".join(filter(None, notes))

    # -- what the outlet calls -----------------------------------------------

    def deliver(self, event: Event, waiting: Waiting) -> None:
        """Publish the event, the state after it and the picture. Raises `DeliveryError`."""
        link = self._connected(waiting)
        if self._done[0] != event.ident:
            self._done = (event.ident, set())
        done = self._done[1]
        if "event" not in done:
            self._publish(link, Message(self.topics.own("event"), event.as_bytes()), f"event {event.ident}", waiting)
            done.add("event")
        if "state" not in done:
            self._say_state(link, self._state_now(event), waiting)
            done.add("state")
        if event.frame is not None and self.pictures:
            self._picture(link, event.frame, waiting)

    def idle(self, waiting: Waiting) -> bool:
        """Connect if necessary; the retained state follows engine, camera and score at a slow pace."""
        fresh = self._link is None or not self._link.up
        link = self._connected(waiting)
        if self._said_watching != self._watching().payload:
            self._say_watching(link, waiting)
        now = self._state_now()
        due = time.monotonic() - self._said[0] > _STATE_S
        if now != self._said[1] and (due or _parts(now) != _parts(self._said[1])):
            self._say_state(link, now, waiting)
            return True
        return fresh

    def close(self) -> None:
        """Publish that we are offline, and hang up."""
        link, self._link = self._link, None
        if link is None:
            return
        if link.up:
            ends_s = time.monotonic() + 1.0
            with contextlib.suppress(DeliveryError):
                link.publish(self._availability("offline"), lambda pause_s: _slept(pause_s, ends_s))
        link.close()

    # -- connection ------------------------------------------------------------

    def _connected(self, waiting: Waiting) -> Link:
        link = self._link
        if link is None or not link.up:
            if link is not None:
                self._refusals.reconnected()
                link.close()
            self._link = link = Link(
                self._settings, f"picam-infer-{self.topics.node}-{self._me.session[:6]}", self._availability("offline")
            )
            link.on_message = lambda message: self._hear(link, message)
            link.open(waiting)
            self._news.add("all")
        if self._model != (self._state.model, self._state.units):  # it was exchanged
            self._model = self._state.model, self._state.units
            self._news.add("all")
        for _ in range(len(self._news)):  # what comes meanwhile is for the next time
            what = self._news.pop()
            try:
                self._introduce(link, waiting, what == "all")
            except DeliveryError:
                self._news.add(what)
                raise
        return link

    def _introduce(self, link: Link, waiting: Waiting, whole: bool) -> None:
        """Publish that we are online; `whole`: and who we are, for a broker that may know nothing about us."""
        if whole:
            self._listen(link, waiting)
            self._tidy(link, waiting)
            self._memory.add(self.topics.broker, self.topics.base, self._retained())
            if self.topics.discovery:
                for message in homeassistant.discovery(
                    self.topics, self._entities, self._state.model, self._state.units
                ):
                    self._offer(link, message, waiting)
        self._offer(link, self._availability("online"), waiting)
        if whole:
            self._say_state(link, self._state_now(), waiting)
            self._say_watching(link, waiting)
        self._clash = ""
        self._offer(link, Message(self.topics.own("presence"), self._me.as_bytes()), waiting)

    def _listen(self, link: Link, waiting: Waiting) -> None:
        topics = [self.topics.own("presence"), self.topics.own("availability")]
        if self.topics.discovery:
            topics.append(self.topics.status)
        if self._settings.control:
            topics.append(self.topics.own("watching/set"))
        self._optional(link, _COMMANDS, 0, lambda: link.subscribe(topics, waiting))

    def _tidy(self, link: Link, waiting: Waiting) -> None:
        """Clear what the broker still keeps of a former name, or of pictures that are no longer wanted."""
        stale = dict(self._memory.stale(self.topics.broker))
        own = self.topics.base
        if not self._tidied and not self.pictures:  # whoever left it, perhaps before there was a memory
            left = {self.topics.own("snapshot")} | self.topics.entities([homeassistant.SNAPSHOT])
            stale[own] = stale.get(own, frozenset()) | left
        for base, topics in stale.items():
            if base == own or not self._used_by_others(link, base, waiting):
                for topic in sorted(topics):
                    self._offer(link, Message(topic, b"", retain=True), waiting)
            self._memory.forget(self.topics.broker, base, topics)
        self._tidied = True

    def _used_by_others(self, link: Link, base: str, waiting: Waiting) -> bool:
        """Ask whether a name that was ours has become another service's."""
        topic = f"{base}/presence"
        self._heard.pop(base, None)
        if topic in link.subscribe([topic], waiting):
            return False
        self._offer(link, Message(topic, self._me.as_bytes()), waiting)
        ends_s = time.monotonic() + LISTEN_S
        while base not in self._heard and time.monotonic() < ends_s and waiting(0.05):
            pass
        return base in self._heard

    def _hear(self, link: Link, message: Message) -> None:
        """Handle messages from others; called by paho's thread."""
        topic, payload = message.topic, message.payload
        if topic == self.topics.own("availability"):
            if payload != b"online":  # somebody else's last will, or a late one of ours
                self._news.add("here" if payload else "all")
        elif topic == self.topics.status:
            if payload == b"online":  # Home Assistant has started
                self._news.add("all")
        elif topic == self.topics.own("watching/set"):
            # A retained command would be executed again on each connection.
            if payload in (b"ON", b"OFF") and not message.retain:
                self._state.pause.set(payload == b"OFF", "mqtt")
                answer = self._watching()
                link.say(answer)
                self._said_watching = answer.payload
        elif (said := Presence.parse(payload)) is not None and said.session != self._me.session:
            base = topic.removesuffix("/presence")
            self._heard[base] = said
            if base == self.topics.base:
                self._clash = said.host
                if not said.answer:
                    link.say(Message(topic, replace(self._me, answer=True).as_bytes()))

    # -- messages --------------------------------------------------------------

    def _publish(self, link: Link, message: Message, key: str, waiting: Waiting) -> None:
        self._refusals.attempt(key, lambda: link.publish(message, waiting))

    def _offer(self, link: Link, message: Message, waiting: Waiting) -> None:
        """Publish what can be left out when the broker will never take it."""
        discovery = self.topics.discovery
        what = _DISCOVERY if discovery and message.topic.startswith(f"{discovery}/") else message.topic
        self._optional(link, what, message.size, lambda: link.publish(message, waiting))

    def _optional(self, link: Link, what: str, size: int, act: Callable[[], object]) -> None:
        if self._refusals.cover(what, size):
            return
        try:
            self._refusals.attempt(what, act)
        except DeliveryError as error:
            if not error.final:
                raise
            self._refuse(what, size, error)
            if not link.up:  # the next connection goes on without it
                raise DeliveryError(error.reason, counts=False, hint=error.hint) from error

    def _refuse(self, what: str, size: int, error: DeliveryError) -> None:
        if what == self.topics.own("snapshot") and isinstance(error, (TooLarge, HungUp)):
            self._refusals.remember(what, size, f"pictures are left out ({error.reason}): raise the broker's packet "
                                    "limit, lower capture.width and height, or set snapshot: false")  # fmt: skip
        elif what == _DISCOVERY:
            self._refusals.remember(what, 0, f"{what} is left out ({error.reason}): allow {self.topics.discovery}/# in "
                                    "the broker's access list, or set discovery: ''")  # fmt: skip
        else:
            self._refusals.remember(
                what, 0, f"{what} is left out ({error.reason}): allow {self.topics.base}/# in the broker's access list"
            )

    def _picture(self, link: Link, frame: Frame, waiting: Waiting) -> None:
        try:
            message = Message(self.topics.own("snapshot"), jpeg.portable(frame), retain=True)
        except BadFrame:
            return
        try:
            self._offer(link, message, waiting)
        except DeliveryError as error:
            if not error.counts:
                raise
            # The broker refuses for now: the next picture is newer anyway.

    def _availability(self, word: str) -> Message:
        return Message(self.topics.own("availability"), word.encode(), retain=True)

    def _retained(self) -> frozenset[str]:
        """Return the topics that the broker keeps for us."""
        own = ["availability", "state", *(["snapshot"] if self.pictures else []),
               *(["watching"] if self._settings.control else [])]  # fmt: skip
        return frozenset(map(self.topics.own, own)) | self.topics.entities(self._entities)

    def _watching(self) -> Message:
        return Message(self.topics.own("watching"), b"OFF" if self._state.pause.now else b"ON", retain=True)

    def _say_state(self, link: Link, payload: bytes, waiting: Waiting) -> None:
        self._offer(link, Message(self.topics.own("state"), payload, retain=True), waiting)
        self._said = (time.monotonic(), payload)

    def _say_watching(self, link: Link, waiting: Waiting) -> None:
        if self._settings.control:
            message = self._watching()
            self._offer(link, message, waiting)
            self._said_watching = message.payload

    def _state_now(self, event: Event | None = None) -> bytes:
        newest = self._state.results.peek()
        result = event.change.result if event is not None and event.change.result is not None else newest and newest[1]
        health = self._state.health
        unwanted = event is not None and event.change.kind == "label" and not self._wanted(event)
        known = (
            result is not None
            and not unwanted
            and not self._state.pause.now
            and passes_filters(self._settings, result, result.label, result.score)
        )
        body = {
            "label": (result.label if result and result.label is not None else UNKNOWN) if known else UNKNOWN,
            "score": _figure(result) if result and known else 0,
            "engine": self._state.engine,
            "camera": "lost" if health.down("camera") else "ok",
            "engine_state": "lost" if health.down("engine") else "ok",
        }
        return utf8.json_bytes(body)

    def _wanted(self, event: Event) -> bool:
        change = event.change
        return passes_filters(self._settings, change.result, change.label, change.score)


def _figure(result: Result) -> float:
    """Return a probability in per cent, or a value as it is."""
    return percentage(result.score, 1) if result.value is None else round(result.score, 4)


def _slept(pause_s: float, ends_s: float) -> bool:
    time.sleep(pause_s)
    return time.monotonic() < ends_s


def _parts(payload: bytes) -> tuple[object, ...]:
    """Return the part of a state that is published at once: all but the score."""
    body = json.loads(payload) if payload else {}
    return tuple(body.get(name) for name in ("label", "engine", "camera", "engine_state"))
