"""`picam-infer show`: opens the service's window again after somebody closed it."""

from __future__ import annotations

import argparse

from picam_infer.platform import service_manager


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `show`'s options."""
    parser.add_argument("--instance", default=service_manager.MAIN, metavar="NAME",
                        help="the service picam-infer@NAME instead of picam-infer")  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Ask the service for its window, starting it if it is not running; returns 0. Raises `PicamError`."""
    service_manager.show_window(service_manager.installed(args.instance, "use picam-infer run --display window"))
    return 0
