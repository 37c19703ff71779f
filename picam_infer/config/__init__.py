"""The YAML configuration: `schema` (the keys), `reader` (file → data), `writer` (single keys back into it)."""

from picam_infer.config.reader import load, parse, tuned
from picam_infer.config.schema import (
    INSTALLED,
    Capture,
    Command,
    Config,
    Decide,
    DisplaySettings,
    EngineSettings,
    Event,
    Jsonl,
    Keep,
    Log,
    Mqtt,
    Outlet,
    Section,
    Web,
    Webhook,
    chosen,
)
from picam_infer.config.writer import keep, with_value

__all__ = [
    "INSTALLED",
    "Capture",
    "Command",
    "Config",
    "Decide",
    "DisplaySettings",
    "EngineSettings",
    "Event",
    "Jsonl",
    "Keep",
    "Log",
    "Mqtt",
    "Outlet",
    "Section",
    "Web",
    "Webhook",
    "chosen",
    "keep",
    "load",
    "parse",
    "tuned",
    "with_value",
]
