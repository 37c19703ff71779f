"""The stick's chain, step by step: bus, permission, library, firmware, graph, an answer, agreement with the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from picam_infer.config import EngineSettings
from picam_infer.core import Disconnected, Engine, Finding, Grade, PicamError
from picam_infer.inference.engines import sticks
from picam_infer.inference.engines.failover import compare, probe_image
from picam_infer.inference.engines.ncs import causes
from picam_infer.inference.engines.ncs.engine import Ncs
from picam_infer.models.bundle import Bundle

ROUNDS = 10


def diagnose(
    bundle: Bundle,
    settings: EngineSettings,
    stick: str = "",
    open_cpu: Callable[[], Engine] | None = None,
    usb: sticks.Usb | None = None,
) -> Iterator[Finding]:
    """Yield findings, cheapest first; what is missing is an error where the settings ask for a stick, else a note."""
    bad: Grade = "error" if settings.kind == "ncs" else "note"
    usb = usb or sticks.Usb()
    listed = usb.sticks()
    for found in listed:
        cause = sticks.trouble(found)
        text = f"{found.kind} at {found.path} (usb {sticks.VENDOR}:{found.product})"
        yield Finding(bad, f"{text}: {cause.what}", cause.remedy) if cause else Finding("ok", text)
    if settings.kind in ("openvino", "remote"):
        return
    if not sticks.installed():
        told = any("mvnc is not installed" in cause.what for found in listed if (cause := sticks.trouble(found)))
        if not told and (settings.kind == "ncs" or listed):
            yield Finding(bad, "the Python module mvnc is not installed", causes.INSTALL)
        return
    if bundle.graph is None:
        yield Finding(bad, f"model {bundle.name} has no graph for the stick", causes.make_graph(bundle))
        return
    try:
        yield from _run(bundle, settings, stick, open_cpu, usb)
    except Disconnected as loss:
        yield Finding.of(loss, bad)


def _run(
    bundle: Bundle, settings: EngineSettings, stick: str, open_cpu: Callable[[], Engine] | None, usb: sticks.Usb
) -> Iterator[Finding]:
    began_s, heard = time.monotonic(), list[str]()
    engine = Ncs(bundle, stick, settings.deadline_s, usb=usb, noticed=heard.append)
    try:
        for sentence in heard:
            yield Finding("note", sentence)
        yield Finding("ok", f"{engine.name} took the graph after {time.monotonic() - began_s:.1f} s")
        picture, began_s = probe_image(bundle), time.monotonic()
        for _ in range(ROUNDS):
            engine.submit(picture)
            scores = engine.collect()
        took_ms = (time.monotonic() - began_s) / ROUNDS * 1e3
        felt = engine.telemetry
        yield Finding("ok", f"{engine.name}: {took_ms:.1f} ms per inference, {felt.temperature_c:.0f} °C")
        if felt.warning:
            yield Finding("note", felt.warning, "move it away from heat; use an extension cable")
    finally:
        engine.close()
    if open_cpu is None:
        return
    try:
        cpu = open_cpu()
    except PicamError:  # the CPU's failure is a finding elsewhere
        return
    try:
        cpu.submit(picture)
        sentence = compare(scores, cpu.collect())
    finally:
        cpu.close()
    yield Finding("note" if sentence.endswith("?") else "ok", f"{engine.name}: {sentence}")
