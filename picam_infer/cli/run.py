"""`picam-infer run`: watches a camera and says what it sees, as a daemon or at a terminal."""

from __future__ import annotations

import argparse
from pathlib import Path

from picam_infer import config as configs
from picam_infer.cli import argument_types, engine_options
from picam_infer.config.locations import from_shell
from picam_infer.runtime import daemon
from picam_infer.runtime.options import Options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `run`'s options."""
    parser.add_argument("-c", "--config", type=Path, metavar="FILE",
                        help=f"configuration file (default: {configs.INSTALLED} if it exists)")  # fmt: skip
    parser.add_argument("--source", metavar="S", help="camera, /dev/video0, camera:NAME, camera:usb:VID:PID, a video "
                        "file, a picture, a folder, rtsp:// or http://, picamera, demo")  # fmt: skip
    parser.add_argument("-m", "--model", metavar="M", help="a model's name or folder")
    engine_options.add_arguments(parser, config=False)
    parser.add_argument("--display", metavar="D", choices=["auto", "window", "kms", "framebuffer", "none"],
                        help="auto, window, kms, framebuffer or none")  # fmt: skip
    parser.add_argument("--frames", type=argument_types.positive, metavar="N", help="stop after N results")
    parser.add_argument("--json", action="store_true", help="print each result as one JSON object per line on stdout")


def main(args: argparse.Namespace) -> int:
    """Run until told to stop; returns the exit code."""
    path = configs.file_to_read(args.config)
    source = from_shell(args.source) if args.source else None
    return daemon.run(Options(path, source, args.model, engine_options.kind(args), args.display, args.frames,
                                  args.json, url=args.url))  # fmt: skip
