"""Where the time of a round trip went, from the server's own statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PARTS = ("success", "queue", "compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True, slots=True)
class ServerTime:
    """Sums since the server started; subtract an earlier one to have those between."""

    requests: int
    whole_ns: int
    queue_ns: int
    compute_ns: int
    pictures: int = 0
    batches: int = 0
    """Times the network ran."""

    @classmethod
    def of(cls, statistics: Mapping[str, Any]) -> ServerTime | None:
        """Read the answer to a statistics request, of any version of the model; None: it has none."""
        try:
            found = list(statistics.get("model_stats") or ())
            sums = {part: [0, 0] for part in _PARTS}
            for one in found:
                for part in _PARTS:
                    counted = one["inference_stats"].get(part, {})
                    sums[part][0] += int(counted.get("count", 0))
                    sums[part][1] += int(counted.get("ns", 0))
            pictures = sum(int(one.get("inference_count", 0)) for one in found)
            batches = sum(int(one.get("execution_count", 0)) for one in found)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        if not found:
            return None
        computed = sum(sums[part][1] for part in _PARTS if part.startswith("compute"))
        return cls(sums["success"][0], sums["success"][1], sums["queue"][1], computed, pictures, batches)

    def since(self, before: ServerTime) -> ServerTime:
        """Return what was added since an earlier one."""
        return ServerTime(
            self.requests - before.requests,
            self.whole_ns - before.whole_ns,
            self.queue_ns - before.queue_ns,
            self.compute_ns - before.compute_ns,
            self.pictures - before.pictures,
            self.batches - before.batches,
        )

    def text(self, round_trip_ms: float) -> str:
        """Return how a round trip of that mean time divides."""
        if not self.requests:
            return "the server counted no request"
        whole, queue, compute = (ns / self.requests / 1e6 for ns in (self.whole_ns, self.queue_ns, self.compute_ns))
        return (
            f"of {round_trip_ms:.2f} ms on average the server had {whole:.2f} ms (waiting {queue:.2f}, computing "
            f"{compute:.2f}), network and client {max(0.0, round_trip_ms - whole):.2f} ms"
        )
