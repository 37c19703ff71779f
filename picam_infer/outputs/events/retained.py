"""Which topics the broker retains for us, remembered across restarts so that unwanted ones can be cleared."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from picam_infer.config.instance import Instance
from picam_infer.platform import atomic_file, disk
from picam_infer.platform.paths import state_folder

log = logging.getLogger(__name__)

Topics = Mapping[str, frozenset[str]]
"""Retained topics by the base topic of the name that they belong to."""


class Memory:
    """The file of one service, shared by its outlets. Without a folder to write to it forgets at the end."""

    def __init__(self, instance: Instance) -> None:
        self._path: Path | None = None
        with contextlib.suppress(RuntimeError):  # nobody's home
            self._path = state_folder() / f"mqtt-{instance.ident}.json"
        self._lock = threading.Lock()
        self._wanted: dict[str, set[str]] = {}
        self._known = _read(self._path) if self._path else {}
        self._said = False

    def want(self, broker: str, topics: Iterable[str]) -> None:
        """Note topics that stay, before any outlet connects."""
        with self._lock:
            self._wanted.setdefault(broker, set()).update(topics)

    def add(self, broker: str, base: str, topics: Iterable[str]) -> None:
        """Remember topics, before they are published: after a power cut they are not lost."""
        with self._lock:
            bases = self._known.setdefault(broker, {})
            known = bases.get(base, frozenset())
            if not known.issuperset(topics):
                bases[base] = known.union(topics)
                self._write()

    def stale(self, broker: str) -> Topics:
        """Return what that broker keeps and nobody here wants any more."""
        with self._lock:
            wanted = self._wanted.get(broker, set())
            found = {base: topics - wanted for base, topics in self._known.get(broker, {}).items()}
            return {base: topics for base, topics in found.items() if topics}

    def forget(self, broker: str, base: str, topics: Iterable[str]) -> None:
        """Take topics off the list, after they were cleared."""
        with self._lock:
            bases = self._known.get(broker, {})
            left = bases.get(base, frozenset()).difference(topics)
            bases.pop(base, None)
            if left:
                bases[base] = left
            self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        plain = {broker: {base: sorted(topics) for base, topics in bases.items()}
                 for broker, bases in self._known.items() if bases}  # fmt: skip
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            atomic_file.write(self._path, json.dumps(plain, indent=1).encode(), mode=0o600)
        except OSError as error:
            if not self._said:
                self._said = True
                log.info(
                    "events: %s cannot be written (%s): a change of `name` will leave old topics at the broker; %s",
                    self._path, error.strerror, disk.remedy(error, self._path.parent, fixed=True),
                )  # fmt: skip


def _read(path: Path) -> dict[str, dict[str, frozenset[str]]]:
    """Return what was remembered; nothing of a file that is missing or damaged."""
    try:
        plain = json.loads(path.read_text("utf-8"))
        return {broker: {base: frozenset(map(str, topics)) for base, topics in bases.items()}
                for broker, bases in plain.items()}  # fmt: skip
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
