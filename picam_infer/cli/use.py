"""`picam-infer use`: makes the installed service run a model: a file of any kind, a bundle, or an installed model."""

from __future__ import annotations

import argparse
from pathlib import Path

from picam_infer.cli.help_format import WrittenHelpFormatter
from picam_infer.models import bundle as bundles
from picam_infer.platform import service_manager
from picam_infer.platform.terminal import say
from picam_infer.runtime import model_shelf
from picam_infer.runtime.model_choice import ModelChoice

_DESCRIPTION = """\
Make the installed service run a model, and say what it sees with it. MODEL is a model file (converted first, as by
`picam-infer convert`), a bundle's folder (written with a slash), or the name of an installed model.
Comments in the settings file are kept; --undo goes back to the previous model."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `use`'s options."""
    parser.description = _DESCRIPTION
    parser.formatter_class = WrittenHelpFormatter
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("model", nargs="?", metavar="MODEL", help="a model file, a bundle's folder, or a model's name")
    what.add_argument("--undo", action="store_true", help="go back to the previous model")
    parser.add_argument("--name", metavar="NAME", help="the name to give the model (default: the file's)")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="file with class names, as for convert")
    parser.add_argument("--instance", default=service_manager.MAIN, metavar="NAME",
                        help="the service picam-infer@NAME instead of picam-infer")  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Install, switch, reload, wait. Returns 0 once the service sees something. Raises `PicamError`."""
    service = service_manager.installed(args.instance, "use picam-infer run --model")
    service_manager.require_writable(bundles.INSTALLED, service.settings.parent)
    choice = ModelChoice(service.settings)
    before = choice.model
    model = choice.model_before() if args.undo else model_shelf.install(args.model, args.name, args.labels, say=say)
    if remark := choice.use(model):
        say(remark)
    seen = service_manager.reload(service)
    say(f"{service.unit} runs {model} now (before: {before}; back: picam-infer use --undo)")
    say(seen.status)
    return 0 if seen.active == "active" and seen.status.startswith("sees") else 1
