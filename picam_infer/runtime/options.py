"""The command line options of `run`, which override the configuration file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from picam_infer import config as configs
from picam_infer.config import Config


class Options(msgspec.Struct, frozen=True):
    """The command line's options, which take precedence over the file."""

    path: Path | None
    source: str | None = None
    model: str | None = None
    engine: str | None = None
    display: str | None = None
    frames: int | None = None
    json: bool = False
    url: str | None = None

    def config(self) -> Config:
        """Read the file and apply the options. Raises `ConfigError`."""
        config = configs.load(self.path)
        if self.source:
            config = msgspec.structs.replace(config, source=self.source)
        if self.model:
            config = msgspec.structs.replace(config, model=self.model)
        if self.engine:
            url = self.url or config.engine.url
            engine = msgspec.structs.replace(config.engine, kind=self.engine, url=url)
            config = msgspec.structs.replace(config, engine=engine)
        if self.display:
            display = msgspec.structs.replace(config.display, kind=self.display)
            config = msgspec.structs.replace(config, display=display)
        return config
