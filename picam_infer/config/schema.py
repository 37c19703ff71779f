"""Every key of the configuration file, with its type, its bounds and its default."""

# Its annotations are objects, not texts: msgspec would have to evaluate each of those at every start.
import ipaddress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta

from picam_infer.core import ControlValue, Flip

INSTALLED = Path("/etc/picam-infer/config.yaml")

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Side = Annotated[int, Meta(ge=16, le=16384)]
Unit = Annotated[float, Meta(ge=0, le=1)]
FilePath = Annotated[str, Meta(extra={"path": "file"})]
"""The path of a file or folder; `~` stands for the home folder. `path`: what it is, as in `config/locations`."""
GivenPath = Annotated[str, Meta(min_length=1, extra={"path": "file"})]
"""One that cannot be left empty."""
T = TypeVar("T")
UTC_TIME = "%Y-%m-%dT%H:%M:%SZ"
"""A time as `web.share` has it."""
_UTC = r"^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z\Z"
_NAME = r"(?!\.\.?(?:/|\Z))[A-Za-z0-9._~-]+"
BASE_PATH = rf"^/?(?:{_NAME}(?:/{_NAME})*/?)?\Z"
"""A path of plain names, with or without slashes around it."""
_PORT = "(0*[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_LISTEN = rf"^(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]*):{_PORT}$"
_DAY = "(mon(day)?|tue(s|sday)?|wed(nesday)?|thu(r|rs|rsday)?|fri(day)?|sat(urday)?|sun(day)?)"
_DAYS = rf"(?i)^\s*{_DAY}(\s*-\s*{_DAY})?(\s*,\s*{_DAY}(\s*-\s*{_DAY})?)*\s*$"
_CLOCK = "([01]?[0-9]|2[0-3]):[0-5][0-9]"
_HOURS = rf"^\s*{_CLOCK}\s*[-–]\s*({_CLOCK}|24:00)\s*$"
_URL = rf"^https?://([^\s/?#@]*@)?(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(:{_PORT})?([/?#]\S*)?$"
# Without user and password: a token has a file of its own.
_SERVER = rf"^((grpcs?://|https?://)(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(:{_PORT})?(/[^\s?#]*)?)?\Z"
# Not one of the broker's own ($SYS), no wildcards, and not only slashes.
_TOPIC = r"(?!\$)[^#+\x00-\x1f]*[^#+\x00-\x1f/][^#+\x00-\x1f]*"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One block of the file; a key it does not know is an error."""


class Capture(Section, frozen=True):
    """What is asked of the camera; what it grants is logged."""

    width: Side = 1280
    height: Side = 720
    fps: Annotated[int, Meta(ge=1, le=240)] = 30
    format: Literal["mjpg", "yuyv", "any"] = "mjpg"
    rotate: Literal[0, 90, 180, 270] = 0
    flip: Flip = "none"
    controls: dict[str, ControlValue] = {}
    every_s: Annotated[float, Meta(ge=0.1, le=86400)] = 1.0


class SourceLogin(Section, frozen=True):
    """How to log in to a network camera, so that `source` holds no secret."""

    user: str = ""
    password_file: FilePath = ""
    ca_file: FilePath = ""


class Still(Section, frozen=True):
    """How often the network runs on a still scene."""

    after_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    per_s: Annotated[float, Meta(ge=0.2, le=1000)] = 2.0


class EngineSettings(Section, frozen=True):
    """Where the network runs."""

    kind: Literal["auto", "openvino", "ncs", "remote"] = "auto"
    device: str = "CPU"
    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    precision: Literal["default", "f32", "f16", "bf16"] = "default"
    deadline_s: Annotated[float, Meta(gt=0, le=60)] = 2.0
    max_per_s: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    still: Still | bool = False
    url: Annotated[str, Meta(pattern=_SERVER, examples=["grpc://server.local:8001"])] = ""
    model: Annotated[str, Meta(pattern=r"^[^\s/?#%]*\Z", examples=["digits"])] = ""
    version: Annotated[str, Meta(pattern=r"^[0-9A-Za-z._-]*\Z", examples=["'1'"])] = ""
    token_file: FilePath = ""
    ca_file: FilePath = ""
    in_flight: Annotated[int, Meta(ge=1, le=16)] = 2
    fallback: Literal["cpu", "none"] = "cpu"


LIVE_HOLD = 4
"""On simulated approaches (`scripts/bench-digits --approaches`) none of 30 sheets on the move brought a false
label; three answers let one through."""


class Decide(Section, frozen=True):
    """How scores become a decision."""

    threshold: Unit = 0.6
    margin: Unit = 0.0
    top: Annotated[int, Meta(ge=1, le=100)] = 3
    smooth: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    hold: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Equal answers in a row before the label changes; 0: `LIVE_HOLD` with a fast live source, else 1."""


class DisplaySettings(Section, frozen=True):
    """What the monitor shows."""

    kind: Literal["auto", "window", "kms", "framebuffer", "none"] = "auto"
    fullscreen: bool = True
    inset: bool = True
    stats: bool = True
    fps: Annotated[float, Meta(ge=0, le=240)] = 0.0
    """Pictures a second at most; 0: the camera's."""


class Web(Section, frozen=True):
    """The page and what other programs read."""

    listen: Annotated[str, Meta(pattern=_LISTEN, description="HOST:PORT", examples=["127.0.0.1:8080"])] = (
        "127.0.0.1:8080"
    )
    share: bool | Annotated[str, Meta(pattern=_UTC, examples=['"2026-07-01T18:00:00Z"'])] = False
    hosts: tuple[str, ...] = ()
    base: Annotated[str, Meta(pattern=BASE_PATH, examples=["/cam"])] = ""
    proxies: tuple[str, ...] = ()
    token: Literal["remote", "always"] = "remote"
    token_file: GivenPath = "/var/lib/picam-infer/web-token"
    tls_cert: FilePath = ""
    tls_key: FilePath = ""
    max_clients: Annotated[int, Meta(ge=1, le=1000)] = 64
    fps: Annotated[float, Meta(gt=0, le=60)] = 15.0
    stale_s: Annotated[float, Meta(gt=0, le=3600)] = 10.0

    def __post_init__(self) -> None:
        if isinstance(self.share, str):
            try:
                datetime.strptime(self.share, UTC_TIME)
            except ValueError:
                raise ValueError(f"share: there is no time {self.share!r}") from None
        for proxy in self.proxies:
            try:
                ipaddress.ip_network(proxy, strict=False)
            except ValueError:
                raise ValueError(f"proxies: {proxy!r} is not an address, such as 127.0.0.1 or 10.0.0.0/8") from None


class Outlet(Section, frozen=True, kw_only=True):
    """What every kind of event outlet takes."""

    about: tuple[Literal["label", "lost", "found", "paused", "resumed"], ...] = ("label",)
    labels: tuple[str, ...] = ()
    min_score: Unit = 0.0
    queue: Annotated[int, Meta(ge=1, le=10_000)] = 200


class Jsonl(Outlet, frozen=True, kw_only=True, tag_field="kind", tag="jsonl"):
    """One JSON object a line, in a file that is rotated by size, or on stdout."""

    path: Annotated[str, Meta(min_length=1, extra={"path": "output"})]
    max_mb: Annotated[float, Meta(gt=0)] = 10.0
    files: Annotated[int, Meta(ge=1, le=100)] = 5


class Mqtt(Outlet, frozen=True, kw_only=True, tag_field="kind", tag="mqtt"):
    """An MQTT broker, with Home Assistant's discovery."""

    host: Annotated[str, Meta(min_length=1)]
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]*$", examples=["front-door"])] = ""
    prefix: Annotated[str, Meta(pattern=rf"^{_TOPIC}$", examples=["picam-infer"])] = "picam-infer"
    user: str = ""
    password_file: FilePath = ""
    tls: bool = False
    ca_file: FilePath = ""
    discovery: Annotated[str, Meta(pattern=rf"^({_TOPIC})?$", examples=["homeassistant"])] = "homeassistant"
    snapshot: bool = True
    control: bool = True


class Webhook(Outlet, frozen=True, kw_only=True, tag_field="kind", tag="webhook"):
    """A JSON POST."""

    url: Annotated[str, Meta(pattern=_URL, examples=["https://example.org/hook"])]
    secret_file: FilePath = ""
    snapshot: bool = False
    timeout_s: Annotated[float, Meta(gt=0, le=300)] = 10.0
    retries: Annotated[int, Meta(ge=0, le=100)] = 5
    ca_file: FilePath = ""


class Command(Outlet, frozen=True, kw_only=True, tag_field="kind", tag="command"):
    """A program that gets the event as JSON on its standard input; no shell."""

    argv: Annotated[tuple[str, ...], Meta(min_length=1, extra={"path": "program"})]
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 10.0


class Notify(Outlet, frozen=True, kw_only=True, tag_field="kind", tag="notify"):
    """A message with a picture for people: Telegram, email and others, through the library Apprise."""

    urls_file: GivenPath
    title: Annotated[str, Meta(min_length=1, max_length=200)] = "picam-infer"
    snapshot: bool = True
    timeout_s: Annotated[float, Meta(gt=0, le=300)] = 30.0
    retries: Annotated[int, Meta(ge=0, le=100)] = 5


Event = Jsonl | Mqtt | Webhook | Command | Notify


class Keep(Section, frozen=True):
    """Which pictures are saved for later training."""

    when: Literal["unknown", "uncertain", "change", "every"] = "uncertain"
    below: Unit = 0.8
    every_s: Annotated[float, Meta(ge=0.1, le=1e6)] = 10.0
    folder: GivenPath = "/var/lib/picam-infer/kept"
    max_mb: Annotated[float, Meta(gt=0)] = 200.0
    reserve_mb: Annotated[float, Meta(ge=0)] = 500.0


class Teach(Section, frozen=True):
    """How much space teaching on the page may take."""

    max_mb: Annotated[float, Meta(gt=0)] = 200.0
    reserve_mb: Annotated[float, Meta(ge=0)] = 500.0


class Hours(Section, frozen=True):
    """When to watch, on some days; hours beyond midnight end on the next day."""

    days: Annotated[str, Meta(pattern=_DAYS, examples=['mon-fri, or "sat, sun"'])] = "mon-sun"
    hours: Annotated[str, Meta(pattern=_HOURS, examples=['"08:00-17:30"'])] = "00:00-24:00"


class Log(Section, frozen=True):
    """What the journal gets."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section, frozen=True):
    """The whole file. Every key has a default: an empty file is valid."""

    source: Annotated[str, Meta(min_length=1, extra={"path": "source"})] = "camera"
    source_login: SourceLogin = SourceLogin()
    capture: Capture = Capture()
    model: Annotated[str, Meta(min_length=1, extra={"path": "model"})] = "digits"
    engine: EngineSettings = EngineSettings()
    preprocess: dict[str, Any] = {}
    decide: Decide = Decide()
    display: DisplaySettings = DisplaySettings()
    web: Web | bool = Web()
    events: tuple[Event, ...] = ()
    keep: Keep | bool = False
    teach: Teach = Teach()
    schedule: tuple[Hours, ...] = ()
    log: Log = Log()

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """Width and height, in pixels, of the pictures that a camera is asked for; None: the source has its own."""
        source = self.source.strip()
        if not (is_webcam(source) or source in ("demo", "picamera")):
            return None
        size = (self.capture.width, self.capture.height)
        return size if self.capture.rotate in (0, 180) else size[::-1]


def is_webcam(source: str) -> bool:
    """Whether a source is a camera that V4L2 drives."""
    return source in ("camera", "webcam") or source.startswith(("camera:", "/dev/"))


def is_loopback(host: str) -> bool:
    """Whether a host of `web.listen` can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def path_kind(kind: Any) -> Any:
    """Return which kind of path a key of that type holds (of a list of words, the first); None: it holds none."""
    metas = (meta for meta in get_args(kind)[1:] if isinstance(meta, Meta))
    return next((path for meta in metas if (path := (meta.extra or {}).get("path"))), None)


def chosen(section: T | bool, kind: type[T]) -> T | None:
    """Return a section that may be switched off: None for `off`, all defaults for `on`."""
    if isinstance(section, bool):
        return kind() if section else None
    return section
