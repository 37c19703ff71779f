"""`-m`, `-c`, `--engine` and `--url`: the same for every command that runs a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import msgspec

from picam_infer import config as configs
from picam_infer.config import Config, Decide, EngineSettings
from picam_infer.core import UsageError
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, Chain

KINDS = ("auto", "openvino", "ncs", "remote")


def add_arguments(parser: argparse.ArgumentParser, *, config: bool = True) -> None:
    """Declare the options; `config`: also `-c` and `-m`, for commands that run a model but not the whole service."""
    parser.add_argument("--engine", choices=KINDS, metavar="E",
                        help="auto, openvino, ncs, or remote (the server of --url, or of engine.url)")  # fmt: skip
    parser.add_argument("--url", metavar="URL", help="the model server, such as grpc://server.local:8001")
    if config:
        parser.add_argument(
            "-m", "--model", metavar="M", help="a model's name or folder (default: that of -c, or digits)"
        )
        parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="configuration file: its model, "
                            "`preprocess` and `decide` are used, and its engine.url is the server of --engine remote "
                            f"(without -c: that of {configs.INSTALLED}, if it exists)")  # fmt: skip


class Chosen(NamedTuple):
    """The model to run, and how."""

    model: Bundle
    chain: Chain
    """The card's, with the changes of the configuration file that names the model."""
    decide: Decide


def chosen(args: argparse.Namespace) -> Chosen:
    """Return the model of `-m`, else that of the file of `-c`, else the built-in one. Raises `PicamError`."""
    config = configs.load(args.config) if args.config else Config()
    if args.model:  # `preprocess` is about the model in the file
        model = bundles.load(args.model)
        return Chosen(model, model.card.preprocess, config.decide)
    model = configs.named_model(config, args.config)
    return Chosen(model, configs.tuned(model.card, config.preprocess, args.config), config.decide)


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
