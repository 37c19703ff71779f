"""Reports changes to others. Each outlet has a thread and a short queue of its own; the loops never wait for one."""

from __future__ import annotations

import time
from collections.abc import Sequence

from picam_infer import config
from picam_infer.config.instance import Instance
from picam_infer.core import is_outlet
from picam_infer.outputs.events.outlet import Outlet, Transport
from picam_infer.outputs.events.retained import Memory
from picam_infer.runtime.reports import OutletReport
from picam_infer.runtime.state import Change, State


class Events:
    """All outlets of a configuration, until `close`."""

    def __init__(self, settings: Sequence[config.Event], state: State, instance: Instance | None = None) -> None:
        """`instance`: the sender; None: the installed service."""
        instance = instance or Instance()
        memory = Memory(instance)
        transports = [transport(item, state, instance, memory) for item in settings]
        names = [one.name for one in transports]
        for number, one in enumerate(transports):  # metrics tell them apart by it
            alike = names[:number].count(one.name)
            one.name += f" #{alike + 1}" if alike else ""
        self.outlets = [Outlet(item, one, state.health) for item, one in zip(settings, transports, strict=True)]
        self._state = state
        state.reports.events.serve(self.report)
        self._unlisten = state.listen(self._hear, pictures=any(one.pictures for one in transports))

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self, patience_s: float = 0.5) -> None:
        """Deliver what can be delivered in that time, and end. May be called more than once."""
        self._unlisten()
        self._unlisten = lambda: None
        for outlet in self.outlets:
            outlet.end(patience_s)
        ends_s = time.monotonic() + patience_s + 0.5
        for outlet in self.outlets:
            outlet.join(max(0.0, ends_s - time.monotonic()))
        self._state.reports.events.end(self.report)

    def report(self) -> tuple[OutletReport, ...]:
        """Return the state of every outlet."""
        return tuple(outlet.report() for outlet in self.outlets)

    def _hear(self, change: Change) -> None:
        if is_outlet(change.part):  # the loss of the outlet itself cannot be reported through it
            return
        for outlet in self.outlets:
            outlet.offer(change)


def transport(settings: config.Event, state: State, instance: Instance, memory: Memory) -> Transport:
    """Return how events of that kind are delivered; each kind's library is loaded only when it is used."""
    if isinstance(settings, config.Jsonl):
        from picam_infer.outputs.events.jsonl import JsonLines

        return JsonLines(settings)
    if isinstance(settings, config.Mqtt):
        from picam_infer.outputs.events.mqtt import Broker

        return Broker(settings, state, instance, memory)
    if isinstance(settings, config.Webhook):
        from picam_infer.outputs.events.webhook import Hook

        return Hook(settings)
    if isinstance(settings, config.Notify):
        from picam_infer.outputs.events.notify import Messages

        return Messages(settings)
    from picam_infer.outputs.events.command import Program

    return Program(settings)
