"""Requests to a model server and its answers, counted for as long as the program runs."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

from picam_infer.core import Histogram


@dataclass(slots=True)
class Traffic:
    """Counters of one run; several threads add to them."""

    round_trip: Histogram = field(default_factory=Histogram)
    """From handing a request to the client until its answer was there."""
    sent_bytes: int = 0
    received_bytes: int = 0
    """Tensors only, without the protocol's own few hundred bytes."""
    failures: Counter[str] = field(default_factory=Counter)
    """By kind, see `errors.Kind`."""
    fallbacks: int = 0
    """Times that the CPU took over."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def used(self) -> bool:
        """Whether there was anything to count."""
        return bool(sum(self.round_trip.counts) or self.failures)

    def answered(self, took_s: float, sent: int, received: int) -> None:
        """Count one request and its answer."""
        with self._lock:
            self.round_trip.add(took_s)
            self.sent_bytes += sent
            self.received_bytes += received

    def failed(self, kind: str) -> None:
        """Count a failure."""
        with self._lock:
            self.failures[kind] += 1

    def fell_back(self) -> None:
        """Count that the CPU took over."""
        with self._lock:
            self.fallbacks += 1
