"""`picam-infer models`: lists models and what each can be used for, imports one from a USB stick, deletes one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from picam_infer.cli.help_format import WrittenHelpFormatter
from picam_infer.core import NoInput, PicamError, UsageError
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle
from picam_infer.platform import removable, service_manager
from picam_infer.platform.terminal import say, say_json
from picam_infer.runtime import model_shelf
from picam_infer.runtime.model_shelf import Offer

_DOES = {"classification": "classify", "multi-label": "classify", "regression": "measure"}
_DESCRIPTION = """\
List the models by name, and what each can be used for: classify or measure (run, classify, use), backbone (teach -m),
stick (it has a graph for the Movidius stick).
  picam-infer models import           imports the model on a USB stick; lists them if there are several
  picam-infer models import FILE      imports a model file or a bundle from anywhere
  picam-infer models delete NAME      deletes a model that no service uses
Nothing is written to the USB stick. Members of the group picam-infer need no sudo."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `models`' options."""
    parser.description = _DESCRIPTION
    parser.formatter_class = WrittenHelpFormatter
    parser.add_argument(
        "do", nargs="?", choices=["list", "import", "delete"], default="list", metavar="list|import|delete",
        help="list (default), import or delete",
    )  # fmt: skip
    parser.add_argument("what", nargs="?", metavar="FILE|NAME", help="what to import, or to delete")
    parser.add_argument("--name", metavar="NAME", help="the imported model's name (default: the file's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def main(args: argparse.Namespace) -> int:
    """List, import or delete. Returns 1 when a model is broken. Raises `PicamError`."""
    if args.do == "list" and args.what:
        raise UsageError(f"it is not clear what to do with {args.what}", "picam-infer models import, or delete")
    if args.do == "import":
        return _import(args)
    if args.do == "delete":
        if not args.what:
            raise UsageError("no model is named", "picam-infer models lists them")
        model_shelf.delete(args.what, model_shelf.in_use())
        say(f"{args.what} is deleted")
        return 0
    return _list(args)


def _list(args: argparse.Namespace) -> int:
    names = bundles.names()
    width = max(map(len, names), default=0)
    broken = False
    for name in names:
        try:
            model = bundles.load(name)
            told = _about(model)
        except PicamError as error:
            broken = True
            told = {"name": name, "uses": [], "error": str(error)}
        if args.json:
            say_json(told)
        else:
            say(f"{name:<{width}}  {told.get('error') or _line(told)}")
    return 1 if broken else 0


def _import(args: argparse.Namespace) -> int:
    home = bundles.home()
    if bundles.INSTALLED.exists() and home != bundles.INSTALLED:
        service_manager.require_writable(bundles.INSTALLED)
    given = args.what or _only_one()
    if given is None:
        return 2
    where = given if "/" in given else f"./{given}"
    name = model_shelf.install(where, args.name, folder=home, say=lambda line: None if args.json else say(line))
    if args.json:
        say_json(_about(bundles.load(name)))
    else:
        say(f"{name} is installed; to run it: picam-infer use {name}")
    return 0


def _only_one() -> str | None:
    """Return the only model on the sticks; if there are several, list them and return None. Raises `NoInput`."""
    media = removable.media()
    found: list[Offer] = model_shelf.offers(media)
    if len(found) == 1:
        say(f"found {found[0].path} on {found[0].medium}")
        return str(found[0].path)
    if found:
        for offer in found:
            say(f"picam-infer models import '{offer.path}'")
        say("there are several models: name one, as above", error=True)
        return None
    for medium in media:
        if medium.how:
            state = "not mounted" if medium.folder is None else "not readable"
            raise NoInput(f"{medium.name} is plugged in, but {state}", medium.how)
    if media:
        raise NoInput(f"no model is on {', '.join(str(one.folder) for one in media)}", "name the file, or convert it")
    raise NoInput("no USB stick is plugged in", "plug one in with a model on it, or name a file")


def _about(model: Bundle) -> dict[str, Any]:
    layer, count = _features(model)
    taught = model.card.taught
    uses = [_DOES[model.card.task], *(["backbone"] if count else []), *(["stick"] if model.graph else [])]
    return {
        "name": model.name, "folder": str(model.folder), "uses": uses, "labels": model.classes,
        "chain": "edges" if isinstance(model.card.preprocess, bundles.Edges) else "photo",
        "built_in": model.folder.parent == Path(bundles.BUILT_IN),
        **({"features": {"layer": layer, "count": count}} if count else {}),
        **({"taught": {"backbone": taught.backbone, "accuracy": taught.accuracy,
                       "pictures": {one.label: one.pictures for one in taught.classes}}} if taught else {}),
    }  # fmt: skip


def _features(model: Bundle) -> tuple[str, int]:
    """Return the layer that describes a picture and how many numbers it has; 0: it cannot be a backbone."""
    from picam_infer.training.teach import backbone

    try:
        return backbone.described(model)
    except PicamError:
        return "", 0


def _line(told: dict[str, Any]) -> str:
    names = ", ".join(told["labels"][:5]) + (", …" if len(told["labels"]) > 5 else "")
    uses = [f"backbone for {'drawn signs' if told['chain'] == 'edges' else 'photos'} "
            f"({told['features']['count']} numbers)" if use == "backbone" else use for use in told["uses"]]  # fmt: skip
    taught = f"; taught on {told['taught']['backbone']}" if "taught" in told else ""
    return f"{', '.join(uses)}: {names}{taught}"
