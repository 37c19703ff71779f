"""`picam-infer compile-ncs`: a Keras model → a bundle with a graph for the Movidius stick."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np

from picam_infer.convert import container, conversion, keras_files
from picam_infer.convert.keras_config import Graph
from picam_infer.convert.weights import Weights
from picam_infer.core import PicamError, UsageError
from picam_infer.inference import preprocess
from picam_infer.inference.engines.taught_layers import up_to_features
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle
from picam_infer.platform import scratch
from picam_infer.platform.paths import real
from picam_infer.platform.terminal import say, say_json
from picam_infer.training.compile_ncs import tf1, toolkit
from picam_infer.training.compile_ncs.tf1 import Written

TOLERANCE = 1e-3
_TOOLS = {"profile": "mvNCProfile", "check": "mvNCCheck"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("input", type=Path, metavar="INPUT", help="Keras model: .h5, .keras, model.json, zip or folder")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR",
                        help="the bundle's folder, created from INPUT if missing (default: ./NAME)")  # fmt: skip
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights for a model.json")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="class names, one per line, for a new bundle")
    parser.add_argument("--output-layer", metavar="NAME", help="stop at this layer, so that the stick extracts "
                        "features (default for a taught bundle: the layer that it was taught on)")  # fmt: skip
    parser.add_argument("--profile", action="store_true", help="run mvNCProfile as well (needs a stick)")
    parser.add_argument("--check", action="store_true", help="run mvNCCheck as well (needs a stick)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def main(args: argparse.Namespace) -> int:
    """Write TensorFlow's files, and compile them if the compiler is installed; returns 0. Raises `PicamError`."""
    tools = [program for option, program in _TOOLS.items() if getattr(args, option)]
    if missing := [program for program in tools if not toolkit.installed(program)]:
        raise UsageError(f"{' and '.join(missing)} not found on the PATH", "they come with NCSDK's toolkit")
    tf1.tensorflow()  # before anything else takes time
    folder = args.output or conversion.default_output(args.input)
    written, difference = prepare(args.input, folder, args.weights, args.labels, args.output_layer)
    graph = toolkit.compile_graph(written, folder) if toolkit.installed() else None
    for program in tools:
        toolkit.run(program, written, folder)
    if args.json:
        about = {"bundle": str(folder), "meta": str(written.meta), "frozen": str(written.frozen),
                 "input": written.input, "output": written.output, "difference": difference,
                 "graph": str(graph) if graph else None,
                 "command": toolkit.command("mvNCCompile", written, folder)}  # fmt: skip
        say_json(about)
        return 0
    say(f"TensorFlow 1.x graph: {written.meta} and {written.frozen}")
    say(f"input {written.input}, output {written.output}; differs from the bundle's network by {difference:.1e}")
    if graph is None:
        for line in toolkit.instructions(written, folder):
            say(line)
    else:
        say(f"graph for the stick: {graph}; copy the folder {folder} to the Pi")
    return 0


def prepare(
    given: Path, folder: Path, weights: Path | None = None, labels: Path | None = None, output_layer: str | None = None
) -> tuple[Written, float]:
    """Write TensorFlow's files into the bundle `folder`, which is created from `given` first if it is not one.

    Returns what was written, and how far its answers are from the bundle's. Raises `PicamError`, and then has changed
    nothing in a bundle that was there.
    """
    with scratch.folder() as place:
        found = container.find(given, place / "unpacked")
        if found.format not in ("hdf5", "keras", "json"):
            raise PicamError(f"{given} is not a Keras file but {found.format}", "give the Keras file it was made from")
        if output_layer is None and (folder / "model.yaml").is_file():
            taught = bundles.load(real(folder)).card.taught
            output_layer = taught.features if taught is not None else None
        build = place / "build"
        results: list[Written] = []

        def inspect(graph: Graph, assigned: Weights) -> None:
            tf1.refuse(graph)
            results.append(tf1.write(graph, assigned, build, output_layer))

        keras_files.read(found, weights, output_layer, inspect)
        if not (folder / "model.yaml").is_file():
            options = conversion.Options(weights=weights, labels=labels, output_layer=output_layer, precision="f32")
            conversion.convert(given, folder, options)
        (result,) = results
        difference = compare(bundles.load(real(folder)), result.frozen)
        shutil.rmtree(folder / "TF_Model", ignore_errors=True)
        shutil.move(build / "TF_Model", folder / "TF_Model")
        shutil.move(build / f"{tf1.PREFIX}.pb", folder / f"{tf1.PREFIX}.pb")
    meta, frozen = folder / result.meta.relative_to(build), folder / result.frozen.relative_to(build)
    return Written(meta, frozen, result.input, result.output), difference


def compare(model: Bundle, frozen: Path) -> float:
    """Return how far a frozen graph's answers are from the bundle's network. Raises `PicamError` when too far.

    Of a taught bundle its features count.
    """
    import openvino as ov

    core = ov.Core()
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    shape = model.card.input
    input_image = np.random.default_rng(1).integers(0, 256, (shape.height, shape.width, shape.channels), np.uint8)
    picture = preprocess.tensor(input_image, model.card.preprocess, shape)
    answers = []
    own = core.read_model(model.network) if model.card.taught is None else up_to_features(model)
    for network in (own, core.read_model(frozen)):
        compiled = core.compile_model(network, "CPU", precise)
        wanted = list(compiled.input(0).shape)
        if int(np.prod(wanted)) != picture.size:
            given = "×".join(map(str, wanted[1:]))
            raise PicamError(f"the graph takes pictures of {given}, not the bundle", "choose another folder with -o")
        answers.append(np.asarray(compiled(picture.reshape(wanted))[0]).reshape(-1))
    if answers[0].shape != answers[1].shape:
        raise PicamError(
            f"the graph answers {answers[1].size} values, the bundle {answers[0].size}", "choose another folder with -o"
        )
    difference = float(np.abs(answers[0] - answers[1]).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(answers[0]).max())):
        raise PicamError(f"the graph's answers differ from the bundle's by {difference:.3g}",
                         f"{model.folder} was made from another model: choose another with -o")  # fmt: skip
    return difference
