"""The types of the page's JSON, from which `scripts/openapi` makes the schemas of `openapi.json`."""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from picam_infer.imaging.region import Region, Roi

DESCRIPTION = Path(__file__).parent / "openapi.json"
_REFERENCE = "#/components/schemas/{name}"


class Problem(msgspec.Struct, kw_only=True):
    """Why a request is refused."""

    error: str
    hint: str


class Health(msgspec.Struct, kw_only=True):
    """Whether pictures and results are fresh."""

    ok: bool
    reason: str


class Prediction(msgspec.Struct, kw_only=True):
    """A class and its probability, or a value."""

    label: str
    score: float
    unit: str | UnsetType = UNSET
    """Only for a value, which is then in score; may be empty."""


class Result(msgspec.Struct, kw_only=True):
    """What was decided about one picture."""

    seq: int
    captured: float
    """Unix seconds."""
    label: str | None
    """Null: unknown; several that apply at once are joined by commas."""
    score: float
    top: list[Prediction]
    engine: str
    infer_ms: float
    age_ms: float
    labels: list[str] | UnsetType = UNSET
    """Only for a model whose classes do not exclude each other: all that apply."""
    value: float | UnsetType = UNSET
    """Only for a model that measures: its first value, also in score."""
    unit: str | UnsetType = UNSET
    """The unit of value; may be empty."""
    image: str | UnsetType = UNSET
    """The file that the picture came from, if it came from one."""


class Change(msgspec.Struct, kw_only=True):
    """Something that happened."""

    kind: Literal["label", "lost", "found", "engine", "tuning", "paused", "resumed"]
    at: float
    """Unix seconds."""
    label: str | UnsetType | None = UNSET
    previous: str | UnsetType | None = UNSET
    score: float | UnsetType = UNSET
    part: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    hint: str | UnsetType = UNSET
    by: str | UnsetType = UNSET
    """Who paused or resumed: schedule, page, mqtt, signal."""
    until: float | UnsetType = UNSET
    """When the pause ends by itself, Unix seconds."""
    title: str | UnsetType = UNSET
    """For kind lost: the problem in a few words."""
    said: str | UnsetType = UNSET
    """Only for values and for several labels: the result in words."""


class Loss(msgspec.Struct, kw_only=True):
    """A part that is down."""

    part: str
    title: str
    """The problem in a few words."""
    reason: str
    hint: str
    outlook: str
    """What happens meanwhile, in a few words."""
    since: float
    blocking: bool
    """Whether there are no pictures or no results without it."""


class Picture(msgspec.Struct, kw_only=True):
    """The newest picture."""

    width: int
    height: int
    age_s: float
    box: list[int]
    """X, y, width, height in pixels of the upright picture."""
    aspect: float | None
    """Width over height of the region; null: the picture's own."""


class MachineFinding(msgspec.Struct, kw_only=True):
    """A problem of the machine."""

    what: str
    remedy: str


class Machine(msgspec.Struct, kw_only=True):
    """The machine's own state."""

    temperature_c: float | None
    memory_mb: float | None
    findings: list[MachineFinding]


class State(msgspec.Struct, kw_only=True):
    """What is seen, what was counted, and what is down."""

    model: str
    source: str
    engine: str
    display: str | UnsetType = UNSET
    labels: list[str] | UnsetType = UNSET
    frames: int
    frames_per_s: float | UnsetType = UNSET
    inferences: int
    inferences_per_s: float | UnsetType = UNSET
    skipped: int | UnsetType = UNSET
    bad_frames: int | UnsetType = UNSET
    flawed_frames: int | UnsetType = UNSET
    """Damaged pictures that were used nevertheless."""
    patience_s: float | UnsetType = UNSET
    """How long the source may be silent at its own pace."""
    lost: list[Loss]
    paused: Paused | None
    result: Result | None
    picture: Picture | UnsetType = UNSET
    now: float
    uptime_s: float | UnsetType = UNSET
    version: str
    machine: Machine
    web: dict[str, Any] | UnsetType = UNSET
    events: list[Outlet] | UnsetType = UNSET
    keep: dict[str, Any] | UnsetType = UNSET
    notice: str | UnsetType = UNSET
    """Why the engine is not the one that was asked for."""
    advice: str | UnsetType = UNSET
    """What would help to recognise the thing in the box, such as more light; empty: it is recognised, or nothing simple
    would help."""
    stick_c: float | UnsetType | None = UNSET
    """The stick's temperature."""
    share: Share | UnsetType = UNSET


class Outlet(msgspec.Struct, kw_only=True):
    """An event outlet."""

    name: str
    kind: str
    ok: bool | None
    """Whether the last delivery worked; null: nothing was sent yet."""
    reason: str
    """Why the last delivery failed."""
    note: str
    """What should be fixed although events arrive: another service of the same name, pictures that are too large."""
    sent: int
    failed: int
    """Events given up: the receiver refuses them, or all retries are used up."""
    dropped: int
    queued: int


class LiveValues(msgspec.Struct, kw_only=True):
    """Values by dotted key; `capture.controls.NAME` only for those that were set."""

    roi: Roi | UnsetType = msgspec.field(name="preprocess.roi", default=UNSET)


class Undoable(msgspec.Struct, kw_only=True):
    """A change that can be undone; its keys are single numbers."""

    id: int
    keys: list[str]
    before: dict[str, Any]
    after: dict[str, Any]


class Live(msgspec.Struct, kw_only=True):
    """The settings that may change while running."""

    values: LiveValues
    """The values in force, by dotted key; capture.controls.NAME only for those that were set."""
    kept: dict[str, Any]
    """The values after a restart."""
    changed: list[str]
    can_undo: bool
    can_keep: bool
    file: str | None
    written: list[str] | UnsetType = UNSET
    undo: Undoable | None
    """The newest change that can be undone; keys are single numbers."""
    defaults: dict[str, Any]
    """The values where the file says nothing."""
    revision: int
    """Grows with every change, so that an answer with a smaller one is older."""


class Kept(msgspec.Struct, kw_only=True):
    """A collected picture."""

    name: str
    label: str | None
    score: float
    captured: float
    bytes: int
    unit: str | UnsetType = UNSET
    """For a value, which is then in score."""


class Paused(msgspec.Struct, kw_only=True):
    """A pause."""

    by: Literal["schedule", "page", "mqtt", "signal"]
    since: float
    """Unix seconds."""
    until: float | None
    """Unix seconds; null: until somebody ends it."""
    text: str
    """In words."""
    reason: str
    """Who paused, and until when, in words: text without its first word."""


class MenuItem(msgspec.Struct, kw_only=True):
    """One choice of a menu."""

    value: int
    text: str


class Control(msgspec.Struct, kw_only=True):
    """One of a camera's own settings."""

    name: str
    """As v4l2-ctl writes it."""
    title: str
    """The driver's own words."""
    kind: Literal["integer", "float", "boolean", "menu", "bitmask"]
    minimum: float
    maximum: float
    step: float
    default: float
    value: float | None
    """The value now; null: the driver does not say."""
    menu: list[MenuItem]
    inactive: bool
    """An automatic mode controls it now."""
    asked: float | bool | str | None
    """What capture.controls asks for; null: nothing."""
    problem: str
    """Why the camera does not have the value that was asked for, and what to do."""


class Controls(msgspec.Struct, kw_only=True):
    """All settings of the camera."""

    camera: str
    """Empty: none is open."""
    controls: list[Control]
    problems: list[str]
    """All problems, also with settings that the camera does not have."""


class Refusal(msgspec.Struct, kw_only=True):
    """Why something could not be done."""

    reason: str
    hint: str


class Progress(msgspec.Struct, kw_only=True):
    """How far the work is."""

    done: int
    of: int


class TaughtClass(msgspec.Struct, kw_only=True):
    """A class of the lesson."""

    label: str
    pictures: int


class LiveLabel(msgspec.Struct, kw_only=True):
    """What the lesson says of the newest picture."""

    label: str | None
    score: float
    scores: dict[str, float]
    unknown: float
    captured: float


class Moved(msgspec.Struct, kw_only=True):
    """Pictures that moved from class to class, because exactly the same ones were recorded again."""

    label: str
    counts: dict[str, int]
    """How many from which class."""
    text: str


class Base(msgspec.Struct, kw_only=True):
    """A model that can serve as a backbone."""

    name: str
    drawn: bool


class Teaching(msgspec.Struct, kw_only=True):
    """What is being taught."""

    stage: Literal["closed", "opening", "open", "saving"]
    session: str
    """In another session, revisions start over."""
    revision: int
    """Changes with pictures or labels."""
    recent: list[str]
    """Pictures that can be corrected, named by the Unix time in milliseconds when they were taken."""
    problem: Refusal | None
    runs: str
    """The lesson whose model the service runs; empty: it runs another model."""
    before: str | None
    """The model that /api/teach/back goes back to."""
    remembers: bool
    """Whether the model that is used is written into a configuration file; false: the next start forgets it."""
    progress: Progress | UnsetType = UNSET
    name: str | UnsetType = UNSET
    base: str | UnsetType = UNSET
    """The model it is built on."""
    chain: Literal["edges", "photo"] | UnsetType = UNSET
    region: Any | UnsetType = UNSET
    aspect: float | UnsetType | None = UNSET
    classes: list[TaughtClass] | UnsetType = UNSET
    pictures: int | UnsetType = UNSET
    waiting: int | UnsetType = UNSET
    """Pictures that are recorded and not learnt yet."""
    bytes: int | UnsetType = UNSET
    max_bytes: int | UnsetType = UNSET
    undo: str | UnsetType | None = UNSET
    recording: str | UnsetType | None = UNSET
    live: LiveLabel | UnsetType | None = UNSET
    moved: Moved | UnsetType | None = UNSET
    """What the last recording has moved from other classes: pictures that were taught already."""
    in_use: bool | UnsetType = UNSET
    """Whether the service runs exactly what is taught now."""
    report: dict[str, Any] | UnsetType | None = UNSET
    """The report on the last model made, as picam-infer teach --json prints it."""
    lessons: list[str] | UnsetType = UNSET
    bases: list[Base] | UnsetType = UNSET
    undone: str | UnsetType | None = UNSET
    lesson: str | UnsetType = UNSET
    used: bool | UnsetType = UNSET


class Share(msgspec.Struct, kw_only=True):
    """Whether the page is open to the network."""

    open: bool
    """Whether other machines may look (with the token)."""
    shared: bool
    """Whether it is open because of web.share, not web.listen."""
    until: float | None
    """When it closes by itself, Unix seconds."""
    text: str
    fault: str
    """Why it cannot be opened; empty: it can."""
    addresses: list[str] | UnsetType = UNSET
    """The page's addresses for other machines, the most reliable first. Not in State."""
    kept: bool | UnsetType = UNSET
    """Whether a change is written to the configuration file. Not in State."""


class ModelTrial(msgspec.Struct, kw_only=True):
    """A model on trial, which was uploaded or found on a USB stick."""

    stage: Literal["none", "receiving", "converting", "ready", "failed"]
    file: str | UnsetType = UNSET
    received: int | UnsetType = UNSET
    """Bytes."""
    size: int | UnsetType | None = UNSET
    phase: str | UnsetType = UNSET
    seconds: float | UnsetType = UNSET
    name: str | UnsetType = UNSET
    labels: list[str] | UnsetType = UNSET
    notes: list[str] | UnsetType = UNSET
    """What was assumed when it was converted."""
    format: str | UnsetType = UNSET
    live: Result | UnsetType | None = UNSET
    problem: Refusal | UnsetType = UNSET


class InstalledModel(msgspec.Struct, kw_only=True):
    """A model that the service can use."""

    name: str
    labels: list[str]
    built_in: bool
    in_use: bool
    taught: bool | UnsetType = UNSET
    error: str | UnsetType = UNSET


class OfferedModel(msgspec.Struct, kw_only=True):
    """A model file on a medium that is plugged in."""

    path: str
    name: str
    medium: str
    bytes: int


class UnreadableMedium(msgspec.Struct, kw_only=True):
    """A medium that is plugged in and cannot be read."""

    device: str
    name: str
    how: str
    """What to do."""


class Models(msgspec.Struct, kw_only=True):
    """The installed models, and the one on trial."""

    models: list[InstalledModel]
    before: str | None
    """The previous model."""
    remembers: bool
    """Whether the model that is used is written into a configuration file; false: the next start forgets it."""
    trial: ModelTrial
    offers: list[OfferedModel]
    media: list[UnreadableMedium]
    """Media that are plugged in and cannot be read, with what to do."""
    max_mb: float


TYPES = (Problem, Health, Result, Change, State, Live, Kept, Controls, Teaching, Share, Models)
"""The types of answers and events; the others are parts of them."""


def schemas() -> dict[str, Any]:
    """Return the schemas of all types by name, with the text below each field as its description."""
    _, components = msgspec.json.schema_components(TYPES, ref_template=_REFERENCE)
    for name, said in _below_fields(sys.modules[__name__], sys.modules[Region.__module__]):
        for field, words in said.items():
            components[name]["properties"][field]["description"] = words
    for schema in components.values():
        schema["description"] = inspect.cleandoc(schema["description"])
    return components


def _below_fields(*modules: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each type of these modules with the texts below its fields, by field."""
    for module in modules:
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef) and any("Struct" in ast.unparse(base) for base in node.bases):
                said = {
                    field.target.id: " ".join(str(text.value.value).split())
                    for field, text in pairwise(node.body)
                    if isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                }
                yield node.name, said


def written() -> str:
    """Return `openapi.json` with the schemas as the types have them now."""
    described = json.loads(DESCRIPTION.read_text("utf-8"))
    described["components"]["schemas"] = schemas()
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"
