"""The running program's state in words: the line of `systemctl status`, and the overlay's line of figures."""

from __future__ import annotations

import time

from picam_infer.core import Result, counted
from picam_infer.platform import sysinfo
from picam_infer.runtime.liveness import STALE_S
from picam_infer.runtime.state import Rate, State


def fresh_result(state: State) -> Result | None:
    """Return the newest result; None: there is none, or it is too old to be valid."""
    newest = state.results.peek()
    # A slow model's result is this old when it arrives, and twice as old when the next one does.
    if (
        newest is None
        or time.monotonic() - newest[1].monotonic_s > max(STALE_S, state.patience_s) + 2 * newest[1].age_ms / 1e3
    ):
        return None
    return newest[1]


def stats_line(state: State, shown: Rate) -> str:
    """Return the overlay's line of figures; `shown` counts the pictures of that screen or stream."""
    newest = state.results.peek()
    parts = [f"{per_second(shown)} fps", f"{per_second(state.stats.inferences)} inferred/s"]
    if newest:
        parts += [f"{newest[1].infer_ms:.1f} ms", f"age {newest[1].age_ms:.0f} ms", newest[1].engine]
    if state.telemetry and state.telemetry.temperature_c:
        parts.append(f"stick {state.telemetry.temperature_c:.0f} °C")
    if machine := str(sysinfo.read()):
        parts.append(machine)
    return "  ·  ".join(parts)


def status_text(state: State) -> str:
    """Return the service's state as `systemctl status` shows it."""
    if paused := state.pause.now:
        return str(paused)
    if problem := state.health.blocking:
        return str(problem)
    missing = "".join(f"; {problem}" for problem in state.health.problems) + _taught(state) + _shared(state)
    missing += f"; {state.closed}" if state.closed else ""
    newest = fresh_result(state)
    if newest is None:
        settling = "; the system is still setting its devices up" if state.settling else ""
        return f"waiting for {state.source or 'the camera'} and the model {state.model}{settling}{missing}"
    seen = newest.in_words()
    notice = f" ({state.notice[0]})" if state.notice[0] and newest.engine.startswith("openvino") else ""
    rate = per_second(state.stats.inferences)
    return f"{seen}, {rate} results/s on {newest.engine}, from {state.source}{notice}{missing}"


def _taught(state: State) -> str:
    """Return what is being taught."""
    lesson = state.reports.teaching() or {}
    if lesson.get("stage") not in ("open", "saving"):
        return ""
    recording = f", recording {lesson['recording']}" if lesson.get("recording") else ""
    return f"; {lesson['name']} is being taught: {counted(lesson['pictures'], 'picture')}{recording}"


def _shared(state: State) -> str:
    """Return that the page is open to the network, or why it is not although it should be."""
    share = state.share
    if share.now is None:
        return ""
    return f"; the page cannot be opened to the network: {share.fault}" if share.fault else f"; the page is {share.now}"


def per_second(rate: Rate) -> str:
    """Format a rate for people; one below 1 is not rounded to 0."""
    now = rate.per_second()
    if now >= 1 or not now:
        return f"{now:.0f}"
    return f"{now:.1f}" if now >= 0.1 else f"{now:.2g}"
