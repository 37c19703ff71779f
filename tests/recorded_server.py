"""The recorded protocol as a process of its own, which can be stopped: `recorded_server.py SCHEME MODEL`.

Prints its URL, and serves that model, with its true answers, until it is ended.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import bootstrapped as bootstrapped
import model_server
from model_server import Behaviour

from picam_infer.inference.engines.openvino import bare_network
from picam_infer.models import bundle as bundles


def behaviour(model: str) -> Behaviour:
    """Return a server that has a model and answers as it does."""
    bundle = bundles.load(model)
    run, size = bare_network(bundle, threads=1), bundle.card.input
    return Behaviour(
        lambda tensor: run(bundle.card.normalisation(tensor[0]))[None],
        [{"name": "pixels", "datatype": "UINT8", "shape": [-1, size.height, size.width, size.channels]}],
        [{"name": "scores", "datatype": "FP32", "shape": [-1, len(bundle.labels)]}],
        name=bundle.name,
    )


def main() -> None:
    """Serve."""
    with model_server.plain(behaviour(sys.argv[2]), sys.argv[1]) as url:
        print(url, flush=True)
        signal.pause()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
