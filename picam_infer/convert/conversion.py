"""Turn a model file of any supported kind into a bundle."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from picam_infer.convert import answer, container, graph, input_spec, ir, keras_files, native_formats, outputs, trial
from picam_infer.convert.answer import Lists
from picam_infer.convert.container import Found
from picam_infer.convert.input_spec import InputOptions, Known, View
from picam_infer.convert.metadata import Metadata
from picam_infer.convert.network import Network
from picam_infer.convert.openvino_errors import FORMATS
from picam_infer.convert.report import Report
from picam_infer.core import PicamError, UsageError, percent
from picam_infer.models import bundle
from picam_infer.models.bundle import Colour, Fit, Task
from picam_infer.models.normalisation import Factor
from picam_infer.platform import atomic_folder, disk, scratch
from picam_infer.platform.paths import real

Precision = Literal["f32", "f16", "int8"]
_TEACHABLE = ("keras_model.h5", "model_unquant.tflite", "vww_96_grayscale_quantized.tflite", "model.savedmodel")
_FROM_KERAS = ("tf2onnx", "keras2onnx", "onnxmltools", "tflite2tensorflow")
_SAME = (
    "it answers the same whatever it is shown: its weights are damaged, or pixels are scaled otherwise than in its "
    "training (--scale, --mean and --std)"
)
_MUCH = 0.05
"""A change of an answer that is worth reporting."""


@dataclass(frozen=True)
class Options:
    """The choices of `picam-infer convert`."""

    weights: Path | None = None
    labels: Path | None = None
    precision: Precision = "f16"
    calibrate: Path | None = None
    """A folder of pictures, for int8."""
    output_layer: str | None = None
    scale: str | None = None
    """`LOW..HIGH`: the range that the network wants pixels 0…255 brought to."""
    mean: str | None = None
    std: str | None = None
    colour: Colour | None = None
    fit: Fit | None = None
    chain: Literal["edges", "photo"] | None = None
    task: Task | None = None
    try_: Path | None = None
    """A folder of pictures in folders named after the classes, to decide what is not known."""

    @property
    def input(self) -> InputOptions:
        """What is said about the input."""
        return InputOptions(self.scale, self.mean, self.std, self.colour, self.fit, self.chain)


@dataclass(frozen=True)
class _Source:
    """A network and what its files say about it."""

    network: Network
    format: str
    names: tuple[str, ...]
    metadata: Metadata
    notes: tuple[str, ...]
    teachable: bool
    """By its files' names and what is next to it."""
    squashed: bool


def default_output(given: Path) -> Path:
    """Return the folder for an input's bundle: its name without the suffix, in the current folder."""
    name = real(given).name if given.is_dir() else given.name.split(".")[0] or "model"
    output = Path(name)
    return output if not given.is_dir() or real(output) != real(given) else Path(f"{name}-bundle")


def convert(
    given: Path,
    output: Path | None = None,
    options: Options | None = None,
    phase: Callable[[str], None] = lambda _: None,
) -> Report:
    """Convert a model file, folder or zip into the bundle `output` (default: `default_output`).

    `phase` is called as each phase begins: read, build, quantize, check, save. Raises `PicamError` (1), `NoInput` (66),
    `Unavailable` (69, NNCF is missing) or `UsageError` (2); then nothing is left behind and an old bundle stays.
    """
    started = time.monotonic()
    options = options or Options()
    if (options.precision == "int8") != (options.calibrate is not None):
        raise UsageError("--precision int8 and --calibrate FOLDER go together", "give both or neither")
    if output is not None and not atomic_folder.has_name(output):
        raise UsageError(f"-o {output} is not a name for the bundle", "give a new folder's name: -o plants")
    with scratch.folder() as place:
        phase("read")
        found = container.find(given, place)
        output = output or default_output(given)
        _refuse_place(output)
        lists = answer.find_lists(found, options.labels)
        return _bundle(_source(found, options, lists), found, given, output, options, lists, phase, started)


def _refuse_place(output: Path) -> None:
    """Raise `PicamError` at once, not after minutes, if a bundle cannot be written there."""
    try:
        (output / "model.yaml").exists()  # an error: this user may not enter it
        bundle.refuse_other(output)
        disk.try_writing(output.parent)
    except OSError as error:
        raise bundle.unwritten(output, error) from error


def _source(found: Found, options: Options, lists: Lists) -> _Source:
    exported = (found.folder / "metadata.json").is_file() and found.format == "json"
    named = exported or found.path.name.lower() in _TEACHABLE
    if found.format in FORMATS:
        if options.weights is not None:
            raise UsageError(
                f"--weights is for files of Keras and TensorFlow.js, and {found.path.name} is {FORMATS[found.format]}",
                "leave --weights out: such a file holds its own",
            )
        network = native_formats.read(found.path, found.format, options.output_layer, lists.counts)
        names = (network.name, *_layer_names(network.model))
        squashed = found.format in ("savedmodel", "pb", "meta", "tflite") or lists.metadata.maker in _FROM_KERAS
        return _Source(network, FORMATS[found.format], names, lists.metadata, found.notes, named, squashed)
    keras = keras_files.read(found, options.weights, options.output_layer)
    network = keras.network
    network.model = outputs.choose(network.model, None, lists.counts, network.notes)
    network.output = next(iter(sorted(network.model.output(0).get_names())), network.output)
    told = (*found.notes, *keras.notes)
    return _Source(network, keras.format, tuple(keras.names), lists.metadata, told, named, True)


def _layer_names(model: Any) -> tuple[str, ...]:
    """Return the parts of the nodes' names, in which layers' names are found."""
    parts = {part for node in model.get_ordered_ops() for part in re.split(r"[/;:]", node.get_friendly_name())}
    return tuple(sorted(parts))


def _bundle(source: _Source, found: Found, given: Path, output: Path, options: Options, lists: Lists,
            phase: Callable[[str], None], started: float) -> Report:  # fmt: skip
    network = source.network
    input_spec.refuse_no_picture(network)
    seen = input_spec.view(network)
    outputs.refuse_other_kinds(network, seen.input.height, seen.input.width)
    input_spec.require_float(network.model)
    graph.require_numbers(network.model)
    notes = [*source.notes, *network.notes]
    meaning = answer.read(network, lists, options.task, notes)
    spec = input_spec.decide(network, seen, _known(source, seen, len(meaning.labels)), options.input)
    shown = trial.find_pictures(options.try_, _places(found, given), meaning.labels)
    if shown.known:
        phase("try")
    spec, tried = trial.settle(network.model, seen.input, spec, shown, meaning, asked=options.try_ is not None)
    if not meaning.named:
        called = answer.without_list(len(meaning.labels), digits=input_spec.of_digits(seen, spec, len(meaning.labels)))
        meaning.labels = called.names
        notes += called.notes
    notes += [*spec.notes, *meaning.notes]
    card = bundle.Card(
        name=real(output).name, input=seen.input, preprocess=spec.chain,
        origin=bundle.Origin(real(given).name, container.digest(given), source.format),
        output=network.output, probabilities=meaning.probabilities, notes=tuple(notes), task=meaning.task,
        units=meaning.units,
    )  # fmt: skip
    remarks: list[str] = []
    files, quantized = _files(network, card, options, phase, remarks)
    phase("check")
    checked = ir.check(network.model, files, trial.feeds(card, shown), softmax=card.softmax)
    hints = [
        *spec.hints,
        *_precision_hint(max(checked.difference, checked.close_call), options.precision, meaning.task),
        *([_SAME] if checked.same else []),
        *remarks,
    ]
    hints += _replaced(output)
    phase("save")
    bundle.save(output, card, meaning.labels, files)
    return Report(
        bundle=str(output), format=source.format, layers=network.layers, kinds=dict(network.kinds),
        parameters=network.parameters, bytes=len(files["model.bin"]), precision=options.precision,
        input=list(card.input.shape), layout=card.input.layout, chain=_describe(spec.chain), output=network.output,
        labels=list(meaning.labels), probabilities=card.probabilities, infer_ms=checked.infer_ms,
        difference=checked.difference, close_call=checked.close_call, seconds=time.monotonic() - started,
        notes=[*notes, *hints], quantized=quantized,
        task=meaning.task, units=list(meaning.units), picture=seen.picture, tried=[one.as_json() for one in tried],
    )  # fmt: skip


def _known(source: _Source, seen: View, count: int) -> Known:
    backbone = {"Conv1_pad", "block_16_project_BN"} <= set(source.names)
    native = source.format in FORMATS.values()
    teachable = (source.teachable and (native or backbone)) or input_spec.is_teachable(
        source.network, seen, source.names
    )
    return Known(source.names, teachable, source.squashed, source.metadata, count)


def _places(found: Found, given: Path) -> list[Path]:
    """Return the folders where the model's own pictures may be."""
    places = [found.folder, *([found.root] if found.root else []), *([given] if given.is_dir() else [])]
    return list(dict.fromkeys(places))


def _precision_hint(difference: float, precision: str, task: str) -> list[str]:
    if precision == "f32" or task == "regression" or difference < _MUCH:
        return []
    moves = f"{precision} weights can move an answer by {percent(difference, 1)} where two classes are close"
    return [f"{moves}; --precision f32 keeps them"]


def _replaced(output: Path) -> list[str]:
    """Return the remark that a bundle is replaced, if there is one."""
    if not (output / "model.yaml").is_file():
        return []
    with contextlib.suppress(PicamError):
        return [
            f"it replaces the model that was in {output}, made from {bundle.load(output.absolute()).card.origin.file}"
        ]
    return [f"it replaces the model that was in {output}"]


def _describe(chain: bundle.Chain) -> str:
    scaled = f"pixel × {_numbers(chain.scale, '.6g')} + {_numbers(chain.offset, 'g')}"
    if not isinstance(chain.scale, tuple) and not isinstance(chain.offset, tuple):
        low, high = chain.normalisation.limits()
        scaled = f"pixels scaled to {low:.4g}…{high:.4g}"
    if isinstance(chain, bundle.Edges):
        return f"edges, {scaled}"
    return f"photo, {chain.colour}, {'' if chain.fit == 'crop' else chain.fit + ', '}{scaled}"


def _numbers(factor: Factor, form: str) -> str:
    return format(factor, form) if not isinstance(factor, tuple) else f"({', '.join(format(f, form) for f in factor)})"


def _files(
    network: Network, card: bundle.Card, options: Options, phase: Callable[[str], None], notes: list[str]
) -> tuple[dict[str, bytes], dict[str, float] | None]:
    phase("build")
    if options.precision != "int8" or options.calibrate is None:
        return ir.serialise(network.model, half=options.precision == "f16"), None
    from picam_infer.convert import quantize  # it loads OpenCV, which nothing else here needs

    quantize.require()
    phase("quantize")
    return quantize.quantized(network.model, card, options.calibrate, notes)
