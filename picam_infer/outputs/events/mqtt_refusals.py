"""Messages that a broker refuses, by its answers or by hanging up, so that they are not sent again."""

from __future__ import annotations

from collections.abc import Callable

from picam_infer.outputs.events.mqtt_link import HungUp

_HANG_UPS = 2
"""After this many hang-ups in a row over the same message, the broker will never accept it."""


class Refusals:
    """Lasts until the connection ends for another reason: then the broker may have other limits."""

    def __init__(self) -> None:
        self._hang_ups: dict[str, int] = {}
        self._least: dict[str, int] = {}
        """The smallest message that was refused, in bytes, by topic; 0: any."""
        self._notes: dict[str, str] = {}
        self._blamed = False

    @property
    def note(self) -> str:
        """What is left out and why, for people."""
        return "; ".join(dict.fromkeys(self._notes.values()))

    def attempt(self, key: str, act: Callable[[], object]) -> None:
        """Act. Raises `DeliveryError`, final once the broker has hung up on it often enough."""
        try:
            act()
        except HungUp as error:
            if not error.blames:
                raise
            self._blamed = True
            self._hang_ups[key] = count = self._hang_ups.get(key, 0) + 1
            if error.final or count >= _HANG_UPS:
                del self._hang_ups[key]
                raise HungUp(f"{error.reason} each time", blames=True, final=True) from error
            raise
        self._hang_ups.pop(key, None)

    def remember(self, topic: str, least: int, note: str) -> None:
        """Leave out messages of that size and larger from now on."""
        self._least[topic] = min(least, self._least.get(topic, least))
        self._notes.setdefault(topic, note)

    def cover(self, topic: str, size: int) -> bool:
        """Whether a message would be refused."""
        return size >= self._least.get(topic, size + 1)

    def reconnected(self) -> None:
        """Forget, unless the last connection ended because of a message."""
        if not self._blamed:
            self._least.clear()
            self._notes.clear()
            self._hang_ups.clear()
        self._blamed = False
