"""The metrics for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from picam_infer import __version__
from picam_infer.core import Histogram, Result
from picam_infer.inference.engines.remote.traffic import Traffic
from picam_infer.platform import sysinfo
from picam_infer.runtime.health import ALWAYS_COUNTED
from picam_infer.runtime.reports import CollectionReport, OutletReport, WebReport
from picam_infer.runtime.state import State


class StateCollector(Collector):
    """Collects from `State` when it is scraped; counts nothing itself."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        info = GaugeMetricFamily("picam_info", "What runs.", labels=["version", "model", "engine"])
        info.add_metric([__version__, self._state.model, self._state.engine], 1)
        yield info
        yield from self._counters()
        yield from self._gauges()
        yield from self._stick()
        yield self._latency()
        yield from _remote(self._state.traffic)
        yield from self._losses()
        yield from _machine()
        yield _web_clients(self._state.reports.web())
        yield from _outlets(self._state.reports.events() or ())
        yield from _kept(self._state.reports.collection())

    def _counters(self) -> Iterator[Metric]:
        stats = self._state.stats
        for name, text, value in (
            ("frames", "Pictures that the source delivered.", stats.frames.total),
            (
                "frames_skipped",
                "Pictures that a newer one replaced before the model took them.",
                self._state.frames.skipped,
            ),
            ("frames_bad", "Damaged pictures.", stats.bad_frames),
            ("frames_flawed", "Pictures with damage inside, used all the same.", stats.flawed),
            ("frames_shown", "Pictures on the monitor.", stats.shown.total),
            ("inferences", "Pictures that the model judged.", stats.inferences.total),
            ("label_changes", "Changes of the decided label.", stats.label_changes),
        ):
            yield CounterMetricFamily(f"picam_{name}", text, value=value)

    def _gauges(self) -> Iterator[Metric]:
        now_s = time.monotonic()
        yield GaugeMetricFamily("picam_uptime_seconds", "Since the start.", value=now_s - self._state.stats.started_s)
        yield GaugeMetricFamily("picam_paused", "1 while watching is paused.", value=self._state.pause.now is not None)
        frame, result = self._state.frames.peek(), self._state.results.peek()
        if frame:
            yield GaugeMetricFamily(
                "picam_frame_age_seconds", "Age of the newest picture.", value=now_s - frame[1].monotonic_s
            )
        if result:
            yield GaugeMetricFamily(
                "picam_result_age_seconds", "Age of the newest result's picture.", value=now_s - result[1].monotonic_s
            )
            yield GaugeMetricFamily(
                "picam_result_delay_seconds", "From the sensor to the newest decision.", value=result[1].age_ms / 1e3
            )
            yield _seen(result[1])

    def _stick(self) -> Iterator[Metric]:
        if self._state.telemetry is not None:
            yield GaugeMetricFamily(
                "picam_stick_temperature_celsius", "Of the neural stick.", value=self._state.telemetry.temperature_c
            )

    def _latency(self) -> Metric:
        family = HistogramMetricFamily("picam_inference_seconds", "Time of one inference.", labels=["engine"])
        for engine, histogram in tuple(self._state.stats.latency.items()):
            family.add_metric([engine], buckets=_buckets(histogram), sum_value=histogram.sum_s)
        return family

    def _losses(self) -> Iterator[Metric]:
        health = self._state.health
        down = {problem.part for problem in health.problems}
        count = CounterMetricFamily("picam_losses", "Times a part was lost.", labels=["part"])
        seconds = CounterMetricFamily("picam_lost_seconds", "How long a part was missing.", labels=["part"])
        gone = GaugeMetricFamily("picam_lost", "1 while a part is missing.", labels=["part"])
        for part in sorted({*ALWAYS_COUNTED, *health.losses}):
            count.add_metric([part], health.losses.get(part, 0))
            seconds.add_metric([part], health.lost_s(part))
            gone.add_metric([part], part in down)
        yield from (count, seconds, gone)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    buckets, total = [], 0
    for bound, count in zip((*map(str, Histogram.bounds_s), "+Inf"), tuple(histogram.counts), strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets


def _remote(traffic: Traffic) -> Iterator[Metric]:
    """Yield the metrics of a model server; none if there is none."""
    if not traffic.used:
        return
    trip = HistogramMetricFamily("picam_remote_round_trip_seconds", "From sending a picture to the server's answer.")
    trip.add_metric([], buckets=_buckets(traffic.round_trip), sum_value=traffic.round_trip.sum_s)
    yield trip
    moved = CounterMetricFamily("picam_remote_bytes", "Tensors to and from the server.", labels=["direction"])
    moved.add_metric(["sent"], traffic.sent_bytes)
    moved.add_metric(["received"], traffic.received_bytes)
    yield moved
    failures = CounterMetricFamily("picam_remote_failures", "Requests that failed, by kind.", labels=["kind"])
    for kind, count in sorted(traffic.failures.items()):
        failures.add_metric([kind], count)
    yield failures
    yield CounterMetricFamily("picam_remote_fallbacks", "Times that the CPU took over.", value=traffic.fallbacks)


def _seen(result: Result) -> Metric:
    """Return the newest result: its label with the probability, or its values."""
    if result.value is not None:
        values = GaugeMetricFamily("picam_value", "The newest values.", labels=["name", "unit"])
        for value in result.top:
            values.add_metric([value.label, value.unit or ""], value.score)
        return values
    seen = GaugeMetricFamily("picam_label_score", "The newest result.", labels=["label"])
    several = [p for p in result.top if p.named]
    for label, score in [(p.label, p.score) for p in several] or [(result.label or "", result.score)]:
        seen.add_metric([label], score)
    return seen


def _machine() -> Iterator[Metric]:
    now = sysinfo.read()
    if now.temperature_c is not None:
        yield GaugeMetricFamily("picam_temperature_celsius", "Of the processor.", value=now.temperature_c)
    if now.memory_mb is not None:
        yield GaugeMetricFamily("picam_memory_bytes", "Resident memory.", value=now.memory_mb * 1e6)
    flags = GaugeMetricFamily("picam_power", "1: the firmware reports it.", labels=["flag"])
    for name in ("under_voltage", "throttled", "under_voltage_since_boot", "throttled_since_boot"):
        if getattr(now, name) is not None:
            flags.add_metric([name], getattr(now, name))
    if flags.samples:
        yield flags


def _web_clients(report: WebReport | None) -> Metric:
    clients = GaugeMetricFamily("picam_web_clients", "Who watches the page.", labels=["kind"])
    for kind, number in (report.clients if report else {}).items():
        clients.add_metric([kind], number)
    return clients


def _outlets(reports: Sequence[OutletReport]) -> Iterator[Metric]:
    labels = ["outlet", "kind"]
    counts = {
        name: CounterMetricFamily(f"picam_events_{name}", text, labels=labels)
        for name, text in (
            ("sent", "Events delivered."),
            ("failed", "Events given up after retries."),
            ("dropped", "Events that a full queue pushed out."),
        )
    }
    gauges = {
        name: GaugeMetricFamily(f"picam_events_{name}", text, labels=labels)
        for name, text in (
            ("queued", "Events waiting."),
            ("ok", "1: the outlet's last delivery worked; absent: none yet."),
        )
    }
    families: dict[str, Any] = {**counts, **gauges}
    for report in reports:
        for name, family in families.items():
            value = getattr(report, name)
            if value is not None:
                family.add_metric([report.name, report.kind], float(value))
    yield from (family for family in families.values() if family.samples)


def _kept(report: CollectionReport | None) -> Iterator[Metric]:
    if report is not None:
        yield GaugeMetricFamily("picam_kept_pictures", "Pictures collected for training.", value=report.pictures)
        yield GaugeMetricFamily("picam_kept_bytes", "What they take on the disk.", value=report.bytes)
        yield CounterMetricFamily("picam_kept_failures", "Pictures that could not be collected.", value=report.failures)


class Metrics:
    """Answers `/metrics`."""

    def __init__(self, state: State) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(StateCollector(state))

    def page(self, accept: str) -> tuple[bytes, str]:
        """Return the body in the format that `accept` asks for, and its content type."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind
