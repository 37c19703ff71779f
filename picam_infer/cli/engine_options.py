"""`--engine` and `--url`: the same for every command that runs a model."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from picam_infer import config as configs
from picam_infer.config import EngineSettings
from picam_infer.core import UsageError

KINDS = ("auto", "openvino", "ncs", "remote")


def add_arguments(parser: argparse.ArgumentParser, *, config: bool = True) -> None:
    """Declare the options; `config`: also `-c`, for commands that need nothing else from the configuration file."""
    parser.add_argument("--engine", choices=KINDS, metavar="E",
                        help="auto, openvino, ncs, or remote (the server of --url, or of engine.url)")  # fmt: skip
    parser.add_argument("--url", metavar="URL", help="the model server, such as grpc://server.local:8001")
    if config:
        parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="configuration file whose "
                            f"`engine:` names the server (default: {configs.INSTALLED}, if it exists)"
                            )  # fmt: skip


def kind(args: argparse.Namespace) -> str | None:
    """Return the engine that was asked for, or None. Raises `UsageError`."""
    if args.url and args.engine not in (None, "remote"):
        raise UsageError(f"--url names a model server, but --engine is {args.engine}", "leave one of them out")
    return "remote" if args.url else args.engine


def settings(args: argparse.Namespace, usual: EngineSettings) -> EngineSettings:
    """Return the settings of the engine to use: `usual` with the kind asked for, or the configured server alone.

    There is no fallback because whoever names an engine wants its answers, or the reason why there are none.
    Raises `UsageError` or `ConfigError`.
    """
    asked = kind(args)
    if asked != "remote":
        return msgspec.structs.replace(usual, kind=asked or usual.kind)
    engine = configs.load(configs.file_to_read(args.config)).engine
    return msgspec.structs.replace(engine, kind="remote", url=args.url or engine.url, fallback="none")
