"""`--engine` and `--url`: the same for every verb that runs a model."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from picam_infer import config as configs
from picam_infer.config import EngineSettings
from picam_infer.core import UsageError

KINDS = ("auto", "openvino", "ncs", "remote")


def add_arguments(parser: argparse.ArgumentParser, *, config: bool = True) -> None:
    """Declare the options; `config`: also `-c`, for verbs that want nothing else of the configuration file."""
    parser.add_argument("--engine", choices=KINDS, metavar="E",
                        help="auto, openvino, ncs, or remote (the server of --url, else of engine.url)")  # fmt: skip
    parser.add_argument("--url", metavar="URL", help="the model server, such as grpc://server.local:8001")
    if config:
        parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="configuration file whose "
                            f"`engine:` says where the server is (default: {configs.INSTALLED}, if it exists)"
                            )  # fmt: skip


def kind(args: argparse.Namespace) -> str | None:
    """Return the engine that was asked for; None: none was. Raises `UsageError`."""
    if args.url and args.engine not in (None, "remote"):
        raise UsageError(f"--url is a model server's, and --engine is {args.engine}", "leave one of them out")
    return "remote" if args.url else args.engine


def settings(args: argparse.Namespace, usual: EngineSettings) -> EngineSettings:
    """Return the engine to ask, `usual` with its kind, or the configured server and nothing behind it.

    Raises `UsageError` or `ConfigError`. Who names an engine wants its answers, or to hear why there are none.
    """
    asked = kind(args)
    if asked != "remote":
        return msgspec.structs.replace(usual, kind=asked or usual.kind)
    engine = configs.load(configs.file_to_read(args.config)).engine
    return msgspec.structs.replace(engine, kind="remote", url=args.url or engine.url, fallback="none")
