"""`picam-infer check`: looks at the configuration and the machine, and gives each finding its remedy."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec

from picam_infer import config as configs
from picam_infer import sources
from picam_infer.config import Config, EngineSettings
from picam_infer.config.instance import Instance
from picam_infer.core import BadFrame, Finding, Frame, Grade, NotYet, PacedSource, PicamError, Source, counted
from picam_infer.imaging import jpeg
from picam_infer.inference import engines
from picam_infer.inference.engines import openvino
from picam_infer.inference.engines.ncs import diagnostics
from picam_infer.inference.engines.probe import probe
from picam_infer.models.bundle import Bundle
from picam_infer.outputs.display import open_display
from picam_infer.platform import sysinfo
from picam_infer.platform.paths import system_package
from picam_infer.platform.terminal import say, say_json
from picam_infer.runtime import camera_controls
from picam_infer.sources.v4l2 import Watched

_TRIES = 10
_LEAST_MB = 400.0
"""What a board with 512 MB has left after its graphics memory."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report."""

    part: str
    """The part of the system, in one word."""
    finding: Finding

    def __str__(self) -> str:
        grade, what, remedy = self.finding
        mark = {"ok": "ok   ", "note": "note ", "error": "ERROR"}[grade]
        return f"{mark} {self.part}: {what}" + (f"; {remedy}" if remedy else "")

    def as_json(self) -> dict[str, str]:
        """Return the public JSON object."""
        return {"grade": self.finding.grade, "part": self.part, "text": self.finding.what, "hint": self.finding.remedy}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `check`'s options."""
    parser.add_argument("-c", "--config", type=Path, metavar="FILE",
                        help=f"configuration file (default: {configs.INSTALLED} if it exists)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def main(args: argparse.Namespace) -> int:
    """Print every finding; returns 78 for a bad configuration, 1 for any other error, else 0."""
    code = 0
    for line in findings(args.config):
        if args.json:
            say_json(line.as_json())
        else:
            say(str(line))
        if line.finding.grade == "error":
            code = code or (78 if line.part == "config" else 1)
    return code


def findings(path: Path | None) -> Iterator[Line]:
    """Yield the findings, cheapest first."""
    yield from system()
    path = configs.file_to_read(path)
    try:
        config = configs.load(path)
        yield Line("config", Finding("ok", str(path or "defaults (no file)")))
    except PicamError as error:
        yield Line("config", Finding.of(error))
        return
    model = None
    try:
        model = configs.named_model(config, path)
        configs.tuned(model.card, config.preprocess, path)
        yield Line(
            "model", Finding("ok", f"{model.name}: {counted(len(model.labels), 'class', 'classes')}, {model.folder}")
        )
    except PicamError as error:
        yield Line("model", Finding.of(error))
    if model is not None:
        stick = engines.stick_name(config.engine)
        elsewhere = stick or config.engine.kind == "remote"
        cpu = msgspec.structs.replace(config, engine=EngineSettings(kind="openvino")) if elsewhere else config
        yield engine(cpu, model)
        for finding in diagnostics.diagnose(model, config.engine, stick, lambda: engines.open_engine(
                EngineSettings(kind="openvino", precision="f32"), model)):  # fmt: skip
            yield Line("stick", finding)
        yield from server(config, model)
    found, frame = source(config, Instance(path).service)
    yield from found
    yield display(config)
    yield from web(config, Instance(path).service if path is not None else "")
    yield from events(config, path, frame)
    yield from labels_wanted(config, model)
    yield from keep(config)


def system() -> Iterator[Line]:
    """Yield findings about the machine itself."""
    bits = "64-bit" if sys.maxsize > 2**32 else "32-bit"
    what = f"Python {platform.python_version()}, OpenCV {cv2.__version__}, {platform.machine()}, {bits}"
    if bits == "32-bit":
        yield Line("system", Finding("error", what, "OpenVINO has no 32-bit packages: install the 64-bit system"))
    else:
        yield Line("system", Finding("ok", what))
    if importable("systemd.journal"):
        yield Line("journal", Finding("ok", "systemd-python is there: log lines carry fields"))
    else:
        yield Line(
            "journal",
            Finding("note", "no systemd-python: log lines carry no fields", system_package("python3-systemd")),
        )
    if memory := sysinfo.memory():
        yield Line("memory", _of_memory(memory))
    for problem in sysinfo.read().problems:
        yield Line("machine", Finding("note", problem.what, problem.remedy))


def _of_memory(memory: sysinfo.Memory) -> Finding:
    if memory.total_mb < _LEAST_MB:
        return Finding("note", str(memory), "that is little: end other programs, or use a machine with 512 MB or more")
    if memory.swaps_to_disk:
        return Finding("note", str(memory), "swapping wears out a card; the service does not swap, but other programs "
                       "may: zram keeps swap in memory (sudo apt install zram-tools)")  # fmt: skip
    return Finding("ok", str(memory))


def importable(module: str) -> bool:
    """Whether a module can be found, without importing it."""
    import importlib.util

    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def engine(config: Config, model: Bundle) -> Line:
    """Run one inference in a process of its own."""
    try:
        took_ms = probe(model, config.engine)
        return Line(
            "openvino", Finding("ok", f"{openvino.version()} on {config.engine.device}: {took_ms:.1f} ms per inference")
        )
    except PicamError as error:
        return Line("openvino", Finding.of(error))


def server(config: Config, model: Bundle) -> Iterator[Line]:
    """Check every step on the way to the model server and back."""
    if config.engine.kind != "remote":
        return
    from picam_infer.inference.engines.remote import diagnostics as remote

    exact = EngineSettings(kind="openvino", precision="f32")
    for finding in remote.diagnose(model, config.engine, lambda: engines.open_engine(exact, model)):
        yield Line("server", finding)


def source(config: Config, service: str) -> tuple[list[Line], Frame | None]:
    """Open the source, read one frame and set its controls. `service` may be using it already, but no other service."""
    try:
        with contextlib.closing(sources.open_source(config.source, config.capture, config.source_login)) as opened:
            found, frame = _first_picture(opened)
            return [found, *_controls(config, opened)], frame
    except Watched as error:
        grade: Grade = "error" if service and error.service and error.service != service else "note"
        return [Line("source", Finding.of(error, grade))], None
    except PicamError as error:
        return [Line("source", Finding.of(error))], None


def events(config: Config, path: Path | None, frame: Frame | None) -> Iterator[Line]:
    """Test that each outlet can work, without sending an event."""
    if not config.events:
        return
    from picam_infer.outputs.events import checks

    size = None
    if frame is not None:
        with contextlib.suppress(BadFrame):
            size = len(jpeg.portable(frame))
    for finding in checks.findings(config.events, Instance(path), size):
        yield Line("events", finding)


def labels_wanted(config: Config, model: Bundle | None) -> Iterator[Line]:
    """Yield the labels that an outlet waits for and the model does not have."""
    if model is None:
        return
    said = [*model.classes, "unknown"]
    for outlet in config.events:
        for label in outlet.labels:
            if "label" in outlet.about and label not in said:
                near = difflib.get_close_matches(label, said, n=1)
                what = f"did you mean {near[0]}?" if near else f"it says: {', '.join(said[:12])}"
                kind = type(outlet).__struct_config__.tag
                what += " …" if not near and len(said) > 12 else ""
                yield Line("events", Finding("note", f"{kind}: {model.name} never says {label}", what))


def keep(config: Config) -> Iterator[Line]:
    """Test that pictures can be collected."""
    settings = configs.chosen(config.keep, configs.Keep)
    if settings is None:
        return
    from picam_infer.outputs import dataset

    for finding in dataset.findings(settings):
        yield Line("keep", finding)


def _controls(config: Config, opened: Source) -> Iterator[Line]:
    """Yield which of `capture.controls` the camera does not accept."""
    wanted = config.capture.controls
    if wanted:
        report = camera_controls.apply_to(opened, wanted)
        for problem in report.problems.values():
            yield Line("source", Finding("error", problem))
        if not report.problems:
            yield Line("source", Finding("ok", f"controls set: {', '.join(wanted)}"))


def _first_picture(opened: Source) -> tuple[Line, Frame | None]:
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
            return Line("source", Finding("ok", opened.description)), frame
        return Line("source", Finding("error", f"{opened.description}: {why or 'it is empty'}")), None
    hint = opened.other_pictures if isinstance(opened, PacedSource) else "try another cable or port"
    return Line("source", Finding("error", f"{opened.description}: {why}", hint)), None


def web(config: Config, service: str) -> Iterator[Line]:
    """Yield the page's address and how it is protected; creates the token if one is needed and missing.

    `service` may listen there already, but no other program.
    """
    settings = configs.chosen(config.web, configs.Web)
    if settings is None:
        yield Line("web", Finding("ok", "none wanted"))
        return
    from picam_infer.outputs.web import port, token

    address, *protection = token.findings(settings, service=bool(service))
    for finding in [port.finding(settings, service) or address, *protection]:
        yield Line("web", finding)


def display(config: Config) -> Line:
    """Open the display and close it again."""
    try:
        opened = open_display(config)
        if opened is None:
            return Line("display", Finding("ok", "none wanted"))
        name = opened.name
        opened.close()
        return Line("display", Finding("ok", name))
    except PicamError as error:
        grade: Grade = "note" if config.display.kind == "auto" else "error"
        return Line("display", Finding.of(error, grade))
