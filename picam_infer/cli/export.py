"""`picam-infer export`: bundles → a model repository for a model server."""

from __future__ import annotations

import argparse
from pathlib import Path

from picam_infer.convert import folders, serving
from picam_infer.core import counted
from picam_infer.models import bundle as bundles
from picam_infer.platform.terminal import say

_NEXT = {
    "triton": "serve it: tritonserver --model-repository={}",
    "ovms": "serve it: mount {} as /models, then ovms --config_path /models/config.json --port 8001 --rest_port 8000",
    "kserve": "copy it to where its storageUri points, then: kubectl apply -f {}/inferenceservice.yaml",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `export`'s options."""
    parser.add_argument("models", nargs="+", metavar="BUNDLE", help="a model's name or folder")
    parser.add_argument("--to", required=True, choices=serving.SERVERS, metavar="SERVER", help="what is to load it: "
                        "triton (NVIDIA), ovms (OpenVINO Model Server) or kserve (on Kubernetes)")  # fmt: skip
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="REPOSITORY",
                        help="the folder to write to: new, empty, or written by this command before")  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Write the repository and say what to do next. Raises `PicamError`."""
    models = [serving.served(bundles.load(name)) for name in args.models]
    changed = folders.write(args.output, serving.repository(models, args.to))
    for model in models:
        batch = "pictures in batches" if model.batches else "one picture at a time, as its network requires"
        say(
            f"{args.output / model.name}: {counted(len(model.labels), 'class', 'classes')}, {batch}"
            + ("" if changed else "; unchanged")
        )
    say(_NEXT[args.to].format(args.output))
    return 0
