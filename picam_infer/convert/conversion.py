"""Turn a model file of any supported kind into a bundle."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from picam_infer.convert import container, input_spec, ir, keras_files, labels, native_formats
from picam_infer.convert.container import Found
from picam_infer.convert.labels import Labels
from picam_infer.convert.network import Network
from picam_infer.convert.openvino_errors import FORMATS
from picam_infer.convert.report import Report
from picam_infer.core import PicamError, UsageError
from picam_infer.models import bundle

Precision = Literal["f32", "f16", "int8"]
_TEACHABLE = ("keras_model.h5", "model_unquant.tflite", "vww_96_grayscale_quantized.tflite", "model.savedmodel")


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


@dataclass(frozen=True)
class _Source:
    """A network and what its files say about it."""

    network: Network
    format: str
    names: tuple[str, ...]
    labels: Path | None
    teachable: bool
    notes: tuple[str, ...]


def default_output(given: Path) -> Path:
    """Return the folder for an input's bundle: its name without the suffix, in the current folder."""
    name = given.resolve().name if given.is_dir() else given.name.split(".")[0] or "model"
    output = Path(name)
    return output if not given.is_dir() or output.resolve() != given.resolve() else Path(f"{name}-bundle")


def convert(
    given: Path,
    output: Path | None = None,
    options: Options | None = None,
    phase: Callable[[str], None] = lambda _: None,
) -> Report:
    """Convert a model file, folder or zip into the bundle `output` (default: `default_output`).

    `phase` is told what begins: read, build, quantize, check, save. Raises `PicamError` (1), `NoInput` (66),
    `Unavailable` (69, NNCF is missing) or `UsageError` (2); then nothing is left behind and an old bundle stays.
    """
    started = time.monotonic()
    options = options or Options()
    if (options.precision == "int8") != (options.calibrate is not None):
        raise UsageError("--precision int8 and --calibrate FOLDER go together", "give both or neither")
    output = output or default_output(given)
    with tempfile.TemporaryDirectory(prefix="picam-infer-") as scratch:
        phase("read")
        found = container.find(given, Path(scratch))
        source = _source(found, given, options, phase)
        return _bundle(source, given, output, options, phase, started)


def _source(found: Found, given: Path, options: Options, phase: Callable[[str], None]) -> _Source:
    named = options.labels or labels.find_near(found.folder, found.root)
    named = named or (labels.find(found.outside) if found.outside else None)
    exported = (found.folder / "metadata.json").is_file() and found.format == "json"
    teachable = exported or found.path.name.lower() in _TEACHABLE
    if found.format in FORMATS:
        network = native_formats.read(found.path, found.format, options.output_layer)
        return _Source(network, FORMATS[found.format], (network.name,), named, teachable, found.notes)
    keras = keras_files.read(found, options.weights, options.output_layer)
    backbone = {"Conv1_pad", "block_16_project_BN"} <= set(keras.names)
    known = teachable and backbone
    return _Source(keras.network, keras.format, tuple(keras.names), named, known, (*found.notes, *keras.notes))


def _bundle(
    source: _Source, given: Path, output: Path, options: Options, phase: Callable[[str], None], started: float
) -> Report:
    network, seen = source.network, input_spec.view(source.network)
    notes = [*source.notes, *network.notes]
    names = _labels(source, notes)
    chain, assumed = input_spec.chain(network, seen, source.teachable, source.names, options.scale)
    notes += [assumed] if assumed else []
    if not seen.picture:
        notes.append(f"its input {tuple(network.model.input(0).shape)[1:]} is no picture: a camera cannot feed it")
    if len(network.model.inputs) > 1:
        others = ", ".join(port.get_any_name() for port in network.model.inputs)
        notes.append(f"the network has {len(network.model.inputs)} inputs ({others}): a camera cannot feed them all")
    closing = input_spec.closing(network)
    if not closing and not network.intermediate and len(names.names) > 1:
        notes.append("the network does not end with softmax or sigmoid: probabilities are made by a softmax")
    input_spec.require_float(network.model)
    card = bundle.Card(
        name=output.resolve().name, input=seen.input, preprocess=chain,
        origin=bundle.Origin(given.resolve().name, container.digest(given), source.format),
        output=network.output, probabilities=bool(closing) or network.intermediate or len(names.names) == 1,
        notes=tuple(notes),
    )  # fmt: skip
    files, quantized = _files(network, card, options, phase)
    phase("check")
    low, high = sorted((chain.offset, chain.offset + 255 * chain.scale))
    checked = ir.check(network.model, files, low, high)
    phase("save")
    bundle.save(output, card, names.names, files)
    return Report(
        bundle=str(output), format=source.format, layers=network.layers, kinds=dict(network.kinds),
        parameters=network.parameters, bytes=len(files["model.bin"]), precision=options.precision,
        input=list(card.input.shape), layout=card.input.layout, chain=_describe(chain), output=network.output,
        labels=list(names.names), probabilities=card.probabilities, infer_ms=checked.infer_ms,
        difference=checked.difference, seconds=time.monotonic() - started, notes=notes, quantized=quantized,
    )  # fmt: skip


def _describe(chain: bundle.Chain) -> str:
    if isinstance(chain, bundle.Edges):
        return f"edges, pixel × {chain.scale:.6g} + {chain.offset:g}"
    return f"photo, {chain.colour}, pixel × {chain.scale:.6g} + {chain.offset:g}"


def _labels(source: _Source, notes: list[str]) -> Labels:
    """Return one label for each output; one probability with two labels becomes two."""
    network, count = source.network, input_spec.outputs(source.network)
    if count > 1 << 20:
        raise PicamError(
            f"the output {network.output} has {count:,} values", "choose a smaller one with --output-layer"
        )
    names = labels.read(source.labels) if source.labels and not network.intermediate else labels.numbered(count)
    if count == 1 and len(names.names) == 2 and input_spec.closing(network) == "sigmoid":
        network.model = input_spec.with_complement(network.model)
        notes.append("the network answers one probability: it was made two, for the first label and the second")
        count = 2
    elif count == 1 and input_spec.closing(network) == "sigmoid":
        notes.append("the network answers one probability; --labels with two names makes it two classes")
    labels.check(replace(names, source=names.source or "the list"), count)
    notes += names.notes
    return names


def _files(
    network: Network, card: bundle.Card, options: Options, phase: Callable[[str], None]
) -> tuple[dict[str, bytes], dict[str, float] | None]:
    phase("build")
    if options.precision != "int8" or options.calibrate is None:
        return ir.serialise(network.model, half=options.precision == "f16"), None
    from picam_infer.convert import quantize  # it loads OpenCV, which nothing else here needs

    quantize.require()
    phase("quantize")
    return quantize.quantized(network.model, card, options.calibrate)
