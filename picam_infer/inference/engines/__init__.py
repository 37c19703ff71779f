"""Opens the engine that the settings ask for: where the network runs."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from picam_infer.config import EngineSettings
from picam_infer.core import Engine
from picam_infer.inference.engines import sticks
from picam_infer.inference.engines.ncs import causes
from picam_infer.inference.engines.remote.traffic import Traffic
from picam_infer.models.bundle import Bundle

log = logging.getLogger(__name__)
# Any other name is a stick's: `2-ma2450`, or the USB port alone.
_OPENVINO = re.compile(r"(CPU|GPU|NPU|MYRIAD|HDDL|GNA|TEMPLATE|AUTO|MULTI|HETERO|BATCH)([.:(].*)?", re.IGNORECASE)


def open_engine(
    settings: EngineSettings,
    bundle: Bundle,
    cache: Path | None = None,
    *,
    report: Callable[[str], None] | None = None,
    stopping: threading.Event | None = None,
    traffic: Traffic | None = None,
) -> Engine:
    """Open the engine that the settings ask for. Raises `Disconnected`, `Unavailable`, `ConfigError` or `BundleError`.

    `report` is called with a sentence when an engine switches over or has news of its hardware (default: the log);
    `stopping` ends the opening of a stick or a server, which takes seconds; `traffic` counts what goes to
    a server.
    """
    stick = stick_name(settings)
    report = report or (lambda text: log.warning("%s", text))
    if settings.kind == "remote":
        return _remote(settings, bundle, cache, report, stopping, traffic)
    if settings.kind == "ncs":
        from picam_infer.inference.engines.ncs.engine import Ncs

        return Ncs(bundle, stick, settings.deadline_s, stopping=stopping, noticed=report)
    if stick and settings.kind == "auto":
        settings = msgspec.structs.replace(settings, device="CPU")
    if settings.kind == "auto" and bundle.graph is None and sticks.Usb().plugged():
        report(f"the stick is not used: model {bundle.name} has no graph for it; {causes.make_graph(bundle)}")
    if settings.kind == "auto" and bundle.graph is not None:
        from picam_infer.inference.engines.failover import FailoverEngine
        from picam_infer.inference.engines.ncs.preferred import PreferredStick

        front = PreferredStick(bundle, report, stick, settings.deadline_s)
        return FailoverEngine(bundle, lambda: _openvino(settings, bundle, cache), report, front)
    return _openvino(settings, bundle, cache)


def holds_device(settings: EngineSettings, bundle: Bundle) -> bool:
    """Tell whether a model's engine may hold a stick: a process holds one at most, for one model at a time."""
    return settings.kind == "ncs" or (settings.kind == "auto" and bundle.graph is not None)


def stick_name(settings: EngineSettings) -> str:
    """Return the stick that `engine.device` names; empty: the first free one."""
    if settings.kind in ("openvino", "remote") or _OPENVINO.fullmatch(settings.device):
        return ""
    if settings.kind == "auto" and not re.search(r"\d", settings.device):
        return ""  # perhaps a mistyped OpenVINO device: OpenVINO reports that
    return settings.device


def _remote(
    settings: EngineSettings,
    bundle: Bundle,
    cache: Path | None,
    report: Callable[[str], None],
    stopping: threading.Event | None,
    traffic: Traffic | None,
) -> Engine:
    """Open a server's engine, with the CPU behind it unless the settings want none."""
    if settings.fallback == "none":
        from picam_infer.inference.engines.remote.engine import Remote

        return Remote(bundle, settings, traffic, stopping=stopping)
    from picam_infer.inference.engines.failover import FailoverEngine
    from picam_infer.inference.engines.remote.preferred import PreferredServer

    front = PreferredServer(bundle, settings, traffic)
    return FailoverEngine(bundle, lambda: _openvino(settings, bundle, cache), report, front)


def _openvino(settings: EngineSettings, bundle: Bundle, cache: Path | None) -> Engine:
    from picam_infer.inference.engines.openvino import OpenVino

    return OpenVino(bundle, settings, cache)
