"""The public state: `/api/state`, and the reason why the service is unhealthy."""

from __future__ import annotations

import time
from typing import Any

from picam_infer import __version__
from picam_infer.imaging import decode
from picam_infer.inference import preprocess
from picam_infer.platform import sysinfo
from picam_infer.runtime.state import State


def unhealthy_reason(state: State, stale_s: float) -> str:
    """Return why pictures or results are stale; empty: they are not, or nobody expects any."""
    if state.pause.now:
        return ""
    newest = state.results.peek()
    return no_picture_reason(state, stale_s) or _stale(state, "result", newest and newest[1].monotonic_s, stale_s)


def no_picture_reason(state: State, stale_s: float) -> str:
    """Return why there is no fresh picture; empty: there is one, or nobody expects any."""
    if state.pause.now:
        return ""
    if (problem := state.health.blocking) is not None:
        return f"{problem.title}: {problem.what}"
    newest = state.frames.peek()
    return _stale(state, "picture", newest and newest[1].monotonic_s, stale_s)


def _stale(state: State, name: str, newest_s: float | None, stale_s: float) -> str:
    if newest_s is None:
        return f"no {name} yet"
    age_s = time.monotonic() - newest_s
    return f"the last {name} is {age_s:.0f} s old" if age_s > max(stale_s, state.patience_s) else ""


def public_state(state: State) -> dict[str, Any]:
    """Return the JSON object of `/api/state`."""
    body = state.as_json()
    newest, now, machine = state.frames.peek(), time.time(), sysinfo.read()
    if newest:
        width, height = decode.size(newest[1])
        age_s = round(time.monotonic() - newest[1].monotonic_s, 2)
        chain = state.tuning.preprocess
        body["picture"] = {
            "width": width,
            "height": height,
            "age_s": age_s,
            "box": list(preprocess.box(chain, state.network, width, height)),
            "aspect": preprocess.aspect(chain, state.network),
        }
    return body | {
        "labels": list(state.labels),
        "now": round(now, 3),
        "uptime_s": round(time.monotonic() - state.stats.started_s, 1),
        "version": __version__,
        "machine": {
            "temperature_c": machine.temperature_c,
            "memory_mb": machine.memory_mb,
            "findings": [{"what": problem.what, "remedy": problem.remedy} for problem in machine.problems],
        },
    }
