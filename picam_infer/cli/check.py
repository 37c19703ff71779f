"""`picam-infer check`: looks at the configuration and the machine, and gives each finding its remedy."""

from __future__ import annotations

import argparse
import contextlib
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import msgspec

from picam_infer import config as configs
from picam_infer import sources
from picam_infer.config import Config, EngineSettings
from picam_infer.config.instance import Instance
from picam_infer.core import BadFrame, Frame, NotYet, PacedSource, PicamError, Source
from picam_infer.imaging import jpeg
from picam_infer.inference import engines
from picam_infer.inference.engines import openvino
from picam_infer.inference.engines.ncs import diagnostics
from picam_infer.inference.engines.probe import probe
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle
from picam_infer.outputs.display import open_display
from picam_infer.platform import sysinfo
from picam_infer.platform.terminal import say, say_json
from picam_infer.runtime import camera_controls
from picam_infer.sources.v4l2 import Watched

_TRIES = 10

Grade = Literal["ok", "note", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    grade: Grade
    part: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        mark = {"ok": "ok   ", "note": "note ", "error": "ERROR"}[self.grade]
        return f"{mark} {self.part}: {self.text}" + (f"; {self.hint}" if self.hint else "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `check`'s options."""
    parser.add_argument("-c", "--config", type=Path, metavar="FILE",
                        help=f"configuration file (default: {configs.INSTALLED} if it exists)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def main(args: argparse.Namespace) -> int:
    """Print every finding; returns 78 for a bad configuration, 1 for any other error, else 0."""
    code = 0
    for finding in findings(args.config):
        if args.json:
            say_json({"grade": finding.grade, "part": finding.part, "text": finding.text, "hint": finding.hint})
        else:
            say(str(finding))
        if finding.grade == "error":
            code = code or (78 if finding.part == "config" else 1)
    return code


def findings(path: Path | None) -> Iterator[Finding]:
    """Yield the findings, cheapest first."""
    yield from system()
    path = path or (configs.INSTALLED if configs.INSTALLED.exists() else None)
    try:
        config = configs.load(path) if path else Config()
        yield Finding("ok", "config", str(path or "defaults (no file)"))
    except PicamError as error:
        yield Finding("error", "config", error.message, error.hint)
        return
    model = None
    try:
        model = bundles.load(config.model)
        configs.tuned(model.card, config.preprocess)
        yield Finding("ok", "model", f"{model.name}: {len(model.labels)} classes, {model.folder}")
    except PicamError as error:
        yield Finding("error", "model", error.message, error.hint)
    if model is not None:
        stick = engines.stick_name(config.engine)
        cpu = msgspec.structs.replace(config, engine=EngineSettings(kind="openvino")) if stick else config
        yield engine(cpu, model)
        for verdict in diagnostics.diagnose(model, config.engine, stick, lambda: engines.open_engine(
                EngineSettings(kind="openvino", precision="f32"), model)):  # fmt: skip
            yield Finding(verdict.grade, "stick", verdict.text, verdict.hint)
    found, frame = source(config, Instance(path).service)
    yield from found
    yield display(config)
    yield from web(config)
    yield from events(config, path, frame)
    yield from keep(config)


def system() -> Iterator[Finding]:
    """Yield what the machine itself is."""
    bits = "64-bit" if sys.maxsize > 2**32 else "32-bit"
    what = f"Python {platform.python_version()}, OpenCV {cv2.__version__}, {platform.machine()}, {bits}"
    if bits == "32-bit":
        yield Finding("error", "system", what, "OpenVINO has no 32-bit packages: install the 64-bit system")
    else:
        yield Finding("ok", "system", what)
    if importable("systemd.journal"):
        yield Finding("ok", "journal", "systemd-python is there: log lines carry fields")
    else:
        yield Finding("note", "journal", "no systemd-python: log lines carry no fields", "apt install python3-systemd")
    for what, remedy in sysinfo.read().findings:
        yield Finding("note", "machine", what, remedy)


def importable(module: str) -> bool:
    """Whether a module can be found, without running it."""
    import importlib.util

    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def engine(config: Config, model: Bundle) -> Finding:
    """Run one inference in a process of its own."""
    try:
        took_ms = probe(model, config.engine)
        return Finding(
            "ok", "openvino", f"{openvino.version()} on {config.engine.device}: {took_ms:.1f} ms an inference"
        )
    except PicamError as error:
        return Finding("error", "openvino", error.message, error.hint)


def source(config: Config, service: str) -> tuple[list[Finding], Frame | None]:
    """Open the source, read one frame and set its controls; `service` may have it already, but not another one."""
    try:
        with contextlib.closing(sources.open_source(config.source, config.capture, config.source_login)) as opened:
            found, frame = _first_picture(opened)
            return [found, *_controls(config, opened)], frame
    except Watched as error:
        grade: Grade = "error" if service and error.service and error.service != service else "note"
        return [Finding(grade, "source", error.message, error.hint)], None
    except PicamError as error:
        return [Finding("error", "source", error.message, error.hint)], None


def events(config: Config, path: Path | None, frame: Frame | None) -> Iterator[Finding]:
    """Prove that each outlet can work, without sending an event."""
    if not config.events:
        return
    from picam_infer.outputs.events import checks

    size = None
    if frame is not None:
        with contextlib.suppress(BadFrame):
            size = len(jpeg.portable(frame))
    for grade, text, hint in checks.findings(config.events, Instance(path), size):
        yield Finding(grade, "events", text, hint)


def keep(config: Config) -> Iterator[Finding]:
    """Prove that pictures can be kept."""
    settings = configs.chosen(config.keep, configs.Keep)
    if settings is None:
        return
    from picam_infer.outputs import dataset

    for grade, text, hint in dataset.findings(settings):
        yield Finding(grade, "keep", text, hint)


def _controls(config: Config, opened: Source) -> Iterator[Finding]:
    """Yield what the camera does not take of `capture.controls`."""
    wanted = config.capture.controls
    if wanted:
        report = camera_controls.apply_to(opened, wanted)
        for problem in report.problems.values():
            yield Finding("error", "source", problem)
        if not report.problems:
            yield Finding("ok", "source", f"controls set: {', '.join(wanted)}")


def _first_picture(opened: Source) -> tuple[Finding, Frame | None]:
    why = ""
    for _ in range(_TRIES):
        try:
            frame = opened.read()
        except NotYet:
            continue
        except BadFrame as error:
            why = why or f"only damaged pictures ({error})"
            continue
        if frame is not None:
            return Finding("ok", "source", opened.description), frame
        return Finding("error", "source", f"{opened.description}: {why or 'it is empty'}"), None
    hint = opened.other_pictures if isinstance(opened, PacedSource) else "try another cable or port"
    return Finding("error", "source", f"{opened.description}: {why}", hint), None


def web(config: Config) -> Iterator[Finding]:
    """Yield the page's address and what guards it; makes the token if one is needed and missing."""
    settings = configs.chosen(config.web, configs.Web)
    if settings is None:
        yield Finding("ok", "web", "none wanted")
        return
    from picam_infer.outputs.web import token

    for grade, text, hint in token.findings(settings):
        yield Finding(grade, "web", text, hint)


def display(config: Config) -> Finding:
    """Open the display and close it again."""
    try:
        opened = open_display(config.display)
        if opened is None:
            return Finding("ok", "display", "none wanted")
        name = opened.name
        opened.close()
        return Finding("ok", "display", name)
    except PicamError as error:
        grade: Grade = "note" if config.display.kind == "auto" else "error"
        return Finding(grade, "display", error.message, error.hint)
