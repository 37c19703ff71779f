"""`picam-infer models`: which models are there, and what each can be used for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from picam_infer.core import PicamError
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle
from picam_infer.platform.terminal import say, say_json

_DOES = {"classification": "classify", "multi-label": "classify", "regression": "measure"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `models`' options."""
    parser.description = (
        "List the models by name, and what each can be used for: classify or measure (run, classify, use), backbone "
        "(teach -m), stick (it has a graph for the Movidius stick)."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def main(args: argparse.Namespace) -> int:
    """List; 1 when a model is broken."""
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


def _about(model: Bundle) -> dict[str, Any]:
    layer, count = _features(model)
    taught = model.card.taught
    uses = [_DOES[model.card.task], *(["backbone"] if count else []), *(["stick"] if model.graph else [])]
    labels = [label for label in model.labels if label != model.card.reject]
    return {
        "name": model.name, "folder": str(model.folder), "uses": uses, "labels": labels,
        "chain": "edges" if isinstance(model.card.preprocess, bundles.Edges) else "photo",
        "built_in": model.folder.parent == Path(bundles.BUILT_IN),
        **({"features": {"layer": layer, "count": count}} if count else {}),
        **({"taught": {"backbone": taught.backbone, "accuracy": taught.accuracy,
                       "pictures": {one.label: one.pictures for one in taught.classes}}} if taught else {}),
    }  # fmt: skip


def _features(model: Bundle) -> tuple[str, int]:
    """Return the layer that describes a picture and how many numbers it has; 0: it can be no backbone."""
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
