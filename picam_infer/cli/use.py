"""`picam-infer use`: makes the installed service run a model: a file of any kind, a bundle, or one that is there."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from picam_infer.core import NoInput, PicamError
from picam_infer.models import bundle as bundles
from picam_infer.platform import service_manager
from picam_infer.platform.terminal import say
from picam_infer.runtime.model_choice import ModelChoice

_DESCRIPTION = """\
Make the installed service run a model, and say what it sees then. MODEL is a model file (converted first, as
`picam-infer convert` does), a bundle's folder (written with a slash), or the name of a model that is there.
Settings keep their comments; --undo goes back to the model before."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `use`'s options."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("model", nargs="?", metavar="MODEL", help="a model file, a bundle's folder, or a model's name")
    what.add_argument("--undo", action="store_true", help="go back to the model before")
    parser.add_argument(
        "--name", metavar="NAME", help="what the model is called from now on (default: the file's name)"
    )
    parser.add_argument("--labels", type=Path, metavar="FILE", help="class names, as for convert")
    parser.add_argument("--instance", default=service_manager.MAIN, metavar="NAME",
                        help="the service picam-infer@NAME instead of picam-infer")  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Install, switch, reload, wait. Returns 0 once the service sees something. Raises `PicamError`."""
    service = service_manager.installed(args.instance, "use picam-infer run --model")
    service_manager.require_writable(bundles.INSTALLED, service.settings.parent)
    choice = ModelChoice(service.settings)
    before = choice.model
    model = choice.model_before() if args.undo else installed(args.model, args.name, args.labels)
    if remark := choice.use(model):
        say(remark)
    seen = service_manager.reload(service)
    say(f"{service.unit} runs {model} now (before: {before}; back: picam-infer use --undo)")
    say(seen.status)
    return 0 if seen.active == "active" and seen.status.startswith("sees") else 1


def installed(given: str, name: str | None, labels: Path | None) -> str:
    """Return the name of the model that `given` means, installed now if it was not. Raises `PicamError`."""
    folder, path = bundles.INSTALLED, Path(given).expanduser()
    if (path / "model.yaml").is_file() and "/" in given:
        return _copied(bundles.load(given), name, folder)
    if "/" not in given and not path.exists():
        bundles.load(given)
        return given
    if not path.exists():
        raise NoInput(f"there is no {given}", "give a model file, a bundle's folder or a model's name")
    from picam_infer.convert import container

    wanted = _name(name or path.name.split(".")[0])
    origin = container.digest(path)
    chosen = _free(wanted, origin, folder)
    if not (folder / chosen).exists() or labels:
        _convert(path, folder / chosen, labels)
    return chosen


def _convert(path: Path, output: Path, labels: Path | None) -> None:
    from picam_infer.convert import sandbox
    from picam_infer.convert.report import Report

    say(f"converting {path.name}")
    report = sandbox.convert(path, output, {"labels": labels})
    for line in Report.from_json(report).about():
        say(f"  {line}")


def _copied(model: bundles.Bundle, name: str | None, folder: Path) -> str:
    wanted = _name(name or model.folder.resolve().name)
    if model.folder.resolve().parent == folder.resolve():
        return wanted
    chosen = _free(wanted, model.card.origin.sha256, folder)
    files = {part: (model.folder / part).read_bytes() for part in ("model.xml", "model.bin")}
    if model.graph is not None:
        files["graph"] = model.graph.read_bytes()
    bundles.save(folder / chosen, model.card, model.labels, files)
    return chosen


def _name(text: str) -> str:
    """Return a text as a model's name."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "model"


def _free(wanted: str, origin: str, folder: Path) -> str:
    """Return the name, with a number where another model has it: every Teachable Machine export is called alike."""
    number, chosen = 1, wanted
    while (folder / chosen).exists():
        try:
            there = bundles.load(str(folder / chosen))
        except PicamError:  # what is not a model keeps its place
            there = None
        if there is not None and origin and there.card.origin.sha256 == origin:
            return chosen
        number += 1
        chosen = f"{wanted}-{number}"
    return chosen
