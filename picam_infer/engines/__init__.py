"""The engines' door: picks where the network runs."""

from __future__ import annotations

from pathlib import Path

from picam_infer.bundle import Bundle
from picam_infer.config import EngineSettings
from picam_infer.core import Engine


def open_engine(settings: EngineSettings, bundle: Bundle, cache: Path | None = None) -> Engine:
    """Open the engine that the settings ask for. Raises `Lost`, `Unavailable` or `BundleError`."""
    from picam_infer.engines.openvino import OpenVino

    return OpenVino(bundle, settings, cache)
