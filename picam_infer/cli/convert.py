"""`picam-infer convert`: any supported model file → a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from picam_infer.cli.help_format import WrittenHelpFormatter
from picam_infer.convert import sandbox
from picam_infer.convert.report import Report
from picam_infer.models import bundle
from picam_infer.platform.terminal import say, say_json

if TYPE_CHECKING:
    from picam_infer.inference.references import Comparison

_DESCRIPTION = """\
Turn a model file into a bundle, the folder that picam-infer runs: Teachable Machine exports (Keras, SavedModel,
TensorFlow Lite, TensorFlow.js; the zip as downloaded), Keras 1, 2 and 3 (.h5, .hdf5, .keras, model.json with
--weights), TensorFlow SavedModel folders, frozen .pb and .meta, ONNX, OpenVINO IR. TensorFlow is not needed.
The bundle is written to ./NAME, where NAME is the input's name up to its first dot, unless -o names a folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = _DESCRIPTION
    parser.formatter_class = WrittenHelpFormatter
    parser.add_argument("input", type=Path, metavar="INPUT", help="model file, folder or zip")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="the bundle's folder (default: ./NAME)")
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="weights (a file or folder) for a model.json, or to replace those in the file",
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="class names, one per line (default: labels.txt next to INPUT)"
    )
    parser.add_argument(
        "--precision", choices=("f32", "f16", "int8"), default="f16", help="how weights are stored (default: f16)"
    )
    parser.add_argument("--calibrate", type=Path, metavar="FOLDER", help="pictures to calibrate int8 with")
    parser.add_argument("--output-layer", metavar="NAME", help="use this output, or the output of this layer")
    _add_input_arguments(parser)
    parser.add_argument(
        "--verify",
        type=Path,
        metavar="ORIGINAL",
        help="compare the answers with those of the file's own library (.h5, .keras, .tflite, .onnx; Keras, "
        "LiteRT or ONNX Runtime must be installed); exit code 1 if they differ",
    )
    parser.add_argument(
        "--pictures",
        type=Path,
        nargs="+",
        metavar="PICTURE",
        help="pictures or folders to compare on (default: those next to ORIGINAL, else drawn ones)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")


def _add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Add options for what the files may not say: how a picture becomes the input, and what the answer means."""
    known = parser.add_argument_group("if the model's files do not say")
    known.add_argument("--scale", metavar="LOW..HIGH", help="the range of pixels that the network expects, e.g. -1..1")
    known.add_argument("--mean", metavar="M[,M,M]", help="the network expects (pixel - M) / S: one number, or three in "
                       "the order red, green, blue; for pixels 0..1 if all are at most 1, else for 0..255")  # fmt: skip
    known.add_argument("--std", metavar="S[,S,S]", help="see --mean")
    known.add_argument("--colour", "--color", choices=("rgb", "bgr", "grey"), help="order of the channels")
    known.add_argument(
        "--fit", choices=("crop", "squash", "pad"), help="how a picture is made to fit the input's proportions"
    )
    known.add_argument("--chain", choices=("edges", "photo"), help="the input: outlines, or the picture itself")
    known.add_argument("--task", choices=("classification", "multi-label", "regression"),
                       help="what the outputs are: classes of which one or several apply, or values")  # fmt: skip
    known.add_argument("--try", dest="try_", type=Path, metavar="FOLDER", help="a folder with a folder of pictures "
                       "for each class, to find out what the files do not say (default: next to INPUT)")  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Convert and report. Raises `PicamError`."""
    options = {
        "weights": args.weights, "labels": args.labels, "precision": args.precision, "calibrate": args.calibrate,
        "output_layer": args.output_layer, "scale": args.scale, "mean": args.mean, "std": args.std,
        "colour": args.colour, "fit": args.fit, "chain": args.chain, "task": args.task, "try_": args.try_,
    }  # fmt: skip

    report = sandbox.convert(args.input, args.output, options, Told(args.input.name or str(args.input)))
    comparison = _verified(args, Path(report["bundle"])) if args.verify else None
    if args.json:
        say_json({**report, **({"verified": comparison.as_json()} if comparison else {})})
    else:
        for line in Report.from_json(report).lines():
            say(line)
        if comparison:
            say(f"  answers     {comparison.line()}")
    return 0 if comparison is None or comparison.agrees else 1


def _verified(args: argparse.Namespace, folder: Path) -> Comparison:
    from picam_infer.cli import compare  # it loads OpenCV and other libraries, which nothing else here needs

    with compare.Original(args.verify) as original:
        beside = args.verify if args.verify.is_dir() else args.verify.parent
        return compare.compared(bundle.load(folder.absolute()), original.reference, args.pictures or [], beside)


class Told:
    """Says on standard error what is being done, once that takes noticeably long."""

    AFTER_S = 2.0
    AGAIN_S = 30.0
    CHANGE_S = 5.0
    """How long after a line the next step gets one."""
    _WORDS: ClassVar = {
        "read": "reading {}", "build": "building the network of {}", "check": "trying the network of {}",
        "save": "saving {}", "try": "trying pictures on the network of {}",
        "quantize": "quantising {}, which takes minutes",
    }  # fmt: skip

    def __init__(self, name: str) -> None:
        self._name = name
        self._phase, self._said_s = "", 0.0

    def __call__(self, phase: str, waited_s: float) -> None:
        """Note what is being done, and when it all began."""
        pause_s = self.AGAIN_S if phase == self._phase else self.CHANGE_S if self._phase else self.AFTER_S
        if waited_s < self._said_s + pause_s:
            return
        self._phase, self._said_s = phase, waited_s
        doing = self._WORDS.get(phase, f"{phase} {{}}").format(self._name)
        say(f"picam-infer convert: {doing} … ({waited_s:.0f} s)", error=True)
