"""Trains the digit model on what a webcam really shows: rendered pen-on-paper frames through the `edges` chain."""

from __future__ import annotations

import gzip
import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import h5py
import msgspec
import numpy as np

from picam_infer.core import Frame, NoInput, Unavailable
from picam_infer.imaging.decode import grey_square
from picam_infer.inference.preprocess import edges
from picam_infer.models.bundle import Bundle, Edges, load, save
from picam_infer.platform.terminal import put, say
from picam_infer.training.checkpoint import Checkpoint, identity
from picam_infer.training.glyphs import digit_field, digit_strokes, skeletons, strokes_field
from picam_infer.training.render import (
    EVAL,
    TRAINING,
    Mix,
    RenderParams,
    View,
    jpeg,
    none_kind,
    one_of,
    render_digit,
    render_none,
    through_jpeg,
    tinted,
)

CANNY = (90.0, 30.0)
REJECT = 10
LABELS = (*"0123456789", "none")
CLAIM = 0.6
FRAMES = ((640, 480), (1280, 720), (1920, 1080))

# Crop side in px and the JPEG decoder's reduction: 480p, 720p and 1080p at a roi of 0.4, whole and reduced.
_TRAIN_VIEWS = ((192, 1), (192, 1), (288, 1), (288, 1), (432, 1), (432, 1), (288, 2), (432, 2))
_CHUNK = 500
_PART = 50
"""Chunks that are saved together."""
_NONE_SHARE = 0.35
# Fewer lit pixels than this cannot show a digit: the light or the blur took it away.
_LEAST_LIT = 6.0
_COMPARED = 6000
"""Scans that paths are compared with."""
_MOST_WRONG, _MOST_CLAIMED = 0.0045, 0.006
"""Of held-out squares with a digit and without one; less would make real photographs' answers shy."""
_LOOPS = (1, 0, 0, 0, 0, 0, 1, 0, 2, 1)
"""The loops that each digit has at least."""

MEMBERS, SAMPLES, EPOCHS, FRAMES_PER_SIZE = 2, 150_000, 7, 4000

Predict = Callable[[np.ndarray], np.ndarray]
"""n x 28 x 28 uint8 network inputs to n x 11 float32 probabilities."""


@dataclass(frozen=True)
class Digits:
    """Scanned digits: `images` n x 28 x 28 uint8 (ink bright), `labels` n uint8, `paths` n x 56 x 56 skeletons.

    `thin`: whether the path still shows the digit: a blotted loop has none left, and a broad pen's path may be another
    digit's.
    """

    images: np.ndarray
    labels: np.ndarray
    paths: np.ndarray
    thin: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray) -> Digits:
        """With the skeletons worked out."""
        chunks = [skeletons(images[i : i + 250]) for i in range(0, len(images), 250)]
        paths = np.concatenate(chunks)
        looped = np.array([_loops(p) >= _LOOPS[k] for p, k in zip(paths, labels, strict=True)])
        return cls(images, labels, paths, looped & _legible(paths, images, labels))


def _loops(path: np.ndarray) -> int:
    return int(cv2.connectedComponents(1 - path, connectivity=4)[0]) - 2


def _legible(paths: np.ndarray, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether a path, drawn with an ordinary pen, is like scans of its own digit: of half of the ten nearest."""
    scans = np.stack([_features(image) for image in images[:_COMPARED]])
    scan_labels = labels[:_COMPARED]
    own = []
    for first in range(0, len(paths), _CHUNK):
        pens = [cv2.dilate(path * np.uint8(255), np.ones((5, 5), np.uint8)) for path in paths[first : first + _CHUNK]]
        likeness = np.stack([_features(pen) for pen in pens]) @ scans.T
        nearest = np.argpartition(-likeness, min(10, len(scans) - 1), axis=1)[:, :10]
        own.append((scan_labels[nearest] == labels[first : first + _CHUNK, None]).sum(axis=1))
    return np.asarray(np.concatenate(own) >= min(5, len(scans)))


def _features(picture: np.ndarray) -> np.ndarray:
    """A softened small copy, 196 float32 of length 1, to compare digits by."""
    small = cv2.resize(picture, (28, 28), interpolation=cv2.INTER_AREA).astype(np.float32)
    values = cv2.resize(cv2.GaussianBlur(small, (0, 0), 1.0), (14, 14), interpolation=cv2.INTER_AREA).ravel()
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-6))


def read_mnist(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's idx files (`part` "train" or "t10k", plain or .gz): images n x 28 x 28 and labels n, both uint8."""

    def read(kind: str, header: int) -> np.ndarray:
        name = folder / f"{part}-{kind}"
        data = name.read_bytes() if name.is_file() else gzip.decompress(name.with_name(name.name + ".gz").read_bytes())
        return np.frombuffer(data, np.uint8, offset=header)

    return read("images-idx3-ubyte", 16).reshape(-1, 28, 28), read("labels-idx1-ubyte", 8)


_digits: Digits | None = None


def _worker(digits: Digits) -> None:
    global _digits
    _digits = digits
    cv2.setNumThreads(1)


def train_sample(
    digits: Digits, scans: Iterator[int], rng: np.random.Generator, params: RenderParams
) -> tuple[np.ndarray, int]:
    """Return one input of the network, drawn at random, and its class; `scans` says which digit comes next."""
    side, reduce = _TRAIN_VIEWS[rng.integers(len(_TRAIN_VIEWS))]
    view = View.crop(side)
    if rng.random() < _NONE_SHARE:
        label, grey = REJECT, render_none(none_kind(params, rng), view, params, rng)
    else:
        label, grey = digit_frame(digits, next(scans) % len(digits.labels), view, params, rng)
    quality = round(rng.uniform(*params.jpeg))
    input_image = edges(through_jpeg(grey, quality, reduce), CANNY)
    return input_image, REJECT if float(input_image.sum()) < _LEAST_LIT * 255 else label


def digit_frame(
    digits: Digits, index: int, view: View, params: RenderParams, rng: np.random.Generator
) -> tuple[int, np.ndarray]:
    """Return the class of digit number `index` and a grey frame (H, W) that shows it."""
    if rng.random() < params.built_in:
        label = int(rng.integers(10))
        return label, render_digit(strokes_field(digit_strokes(label, rng)), False, view, params, rng)
    outline = bool(rng.random() < params.outline) or not digits.thin[index]
    field = digit_field(digits.images[index], None if outline else digits.paths[index])
    return int(digits.labels[index]), render_digit(field, outline, view, params, rng)


def digit_squares(digits: Digits, params: RenderParams, count: int, seed: int) -> Iterator[np.ndarray]:
    """The square alone of `count` frames with a digit, (S, S) uint8 grey, after the camera's JPEG."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        _, grey = digit_frame(digits, int(rng.integers(len(digits.labels))), View.crop(192), params, rng)
        yield through_jpeg(grey, round(rng.uniform(*params.jpeg)))


def _chunk(seed: tuple[int, ...], mix: Mix = TRAINING) -> tuple[np.ndarray, np.ndarray]:
    assert _digits is not None
    rng = np.random.default_rng(seed)
    # One after the other: of scans drawn at random a quarter would never be seen.
    scans = itertools.count(seed[-1] * round(_CHUNK * (1 - _NONE_SHARE)))
    pairs = [train_sample(_digits, scans, rng, one_of(mix, rng)) for _ in range(_CHUNK)]
    return np.stack([p for p, _ in pairs]), np.array([label for _, label in pairs], np.uint8)


def training_set(
    digits: Digits,
    count: int,
    seed: int,
    processes: int,
    checkpoint: Checkpoint | None = None,
    mix: Mix = TRAINING,
) -> tuple[np.ndarray, np.ndarray]:
    """`count` rendered network inputs (n x 28 x 28 uint8) and their classes (n uint8), the same for the same seed.

    With a checkpoint, parts that an earlier run rendered are taken from it.
    """
    seeds = [(seed, chunk) for chunk in range(-(-count // _CHUNK))]
    parts = []
    for first in range(0, len(seeds), _PART):
        some = seeds[first : first + _PART]
        title = f"rendering set {seed}, {first * _CHUNK} of {count}:"
        render = partial(_gather, digits, partial(_chunk, mix=mix), some, processes, title)
        parts.append(render() if checkpoint is None else checkpoint.once(f"frames-{seed}-{first}", render))
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def _gather(
    digits: Digits, work: Callable[..., Any], jobs: list[Any], processes: int, title: str
) -> tuple[np.ndarray, np.ndarray]:
    with ProcessPoolExecutor(processes, get_context("spawn"), _worker, (digits,)) as pool:
        results = list(_progress(pool.map(work, jobs), len(jobs), title))
    return np.concatenate([x for x, _ in results]), np.concatenate([y for _, y in results])


def _progress(items: Iterator[Any], total: int, title: str) -> Iterator[Any]:
    for done, item in enumerate(items, 1):
        if sys.stderr.isatty() or done % max(total // 10, 1) == 0:
            put(f"\r{title} {done}/{total}" + ("" if done < total else "\n"), error=True)
        yield item


def evaluation_frames(
    digits: Digits, size: tuple[int, int], count: int, seed: int, chunk: int = 0
) -> Iterator[tuple[int, Frame]]:
    """The class and the JPEG frame of `count` scenes drawn by `EVAL`; every other one holds no digit."""
    width, height = size
    rng = np.random.default_rng((seed, width, chunk))
    view = View.frame(width, height)
    for i in range(count):
        index = (chunk * count + i) // 2 % len(digits.labels)
        if i % 2:
            label, grey = REJECT, render_none(none_kind(EVAL, rng), view, EVAL, rng)
        else:
            label, grey = digit_frame(digits, index, view, EVAL, rng)
        data = jpeg(tinted(grey, rng), round(rng.uniform(*EVAL.jpeg)))
        yield label, Frame(data, "jpeg", width, height, monotonic_s=0, captured=0, seq=i)


def _eval_chunk(job: tuple[tuple[int, int], int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Whole frames through the very decoding that the daemon does."""
    assert _digits is not None
    size, seed, chunk, count = job
    pairs = list(evaluation_frames(_digits, size, count, seed, chunk))
    inputs = [edges(grey_square(frame, 0.4, 144), CANNY) for _, frame in pairs]
    return np.stack(inputs), np.array([label for label, _ in pairs], np.uint8)


def evaluation_set(
    digits: Digits, size: tuple[int, int], count: int, seed: int, processes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Network inputs from `count` whole frames of `size`, half with a digit and half without, rendered by `EVAL`."""
    chunk = 100
    jobs = [(size, seed, i, chunk) for i in range(-(-count // chunk))]
    return _gather(digits, _eval_chunk, jobs, processes, f"rendering {size[0]}x{size[1]}")


@dataclass(frozen=True)
class Rates:
    """How a model did on frames of one size; all but `confusion` are shares of 1."""

    top1: float
    """Frames with a digit whose best digit is that digit: the first of a result's `top`."""
    false_claim_rate: float
    """Frames with a digit for which another digit was claimed (best score >= CLAIM)."""
    right_claims: float
    none_claims: float
    """Frames without a digit for which one was claimed."""
    confusion: np.ndarray
    """11 x 11 counts, rows the truth, columns the best class."""

    @classmethod
    def of(cls, scores: np.ndarray, labels: np.ndarray) -> Rates:
        """`scores` n x 11 probabilities, `labels` n with REJECT for no digit."""
        best = scores.argmax(axis=1)
        claimed = (scores.max(axis=1) >= CLAIM) & (best != REJECT)
        right, digit = best == labels, labels != REJECT
        first = scores[:, :REJECT].argmax(axis=1) == labels
        confusion = np.zeros((len(LABELS), len(LABELS)), int)
        np.add.at(confusion, (labels, best), 1)
        return cls(
            float(first[digit].mean()),
            float((claimed & ~right)[digit].mean()),
            float((claimed & right)[digit].mean()),
            float(claimed[~digit].mean()),
            confusion,
        )

    def row(self, name: str) -> str:
        """One line of the table."""
        values = (self.top1, self.false_claim_rate, self.right_claims, self.none_claims)
        return f"{name:>10} " + " ".join(f"{100 * v:12.2f} %" for v in values)


TABLE_HEAD = f"{'frames':>10} " + " ".join(
    f"{t:>14}" for t in ("top-1", "false claims", "right claims", "none claimed")
)


def evaluate(predict: Predict, digits: Digits, count: int, seed: int, processes: int) -> dict[tuple[int, int], Rates]:
    """Prints and returns the rates at each of FRAMES (`count` frames, half with a digit); prints the confusion too."""
    rates = {}
    for size in FRAMES:
        inputs, labels = evaluation_set(digits, size, count, seed, processes)
        rates[size] = Rates.of(predict(inputs), labels)
    for line in TABLE_HEAD.splitlines():
        say(line)
    for (width, height), rate in rates.items():
        say(rate.row(f"{width}x{height}"))
    say()
    say("confusion, all sizes (rows: truth)")
    say("".join(f"{label:>6}" for label in ("", *LABELS)))
    for label, line in zip(LABELS, np.sum([r.confusion for r in rates.values()], axis=0), strict=True):
        say(f"{label:>6}" + "".join(f"{n:6d}" for n in line))
    return rates


def import_tensorflow() -> tuple[Any, Any]:
    """Return Keras and TensorFlow. Raises `PicamError` that says how to get them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import keras
        import tensorflow
    except ImportError as error:
        raise Unavailable("training needs TensorFlow", "on a PC: pip install 'picam-infer[train]'") from error
    logging.getLogger("absl").setLevel(logging.ERROR)  # it would advise against the file format that is meant here
    return keras, tensorflow


def build_network(keras: Any) -> Any:
    """A small network, 28 x 28 x 1 in 0..1 to 11 probabilities, of layers that a 2018 Movidius stick knows too."""
    layers = keras.layers
    x = image = keras.Input((28, 28, 1), name="input")
    # Pooling before the norm and the ReLU gives the same as after them, and trains two to three times as fast.
    for number, (filters, pooled) in enumerate(((24, True), (48, False), (48, True), (96, True)), 1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
        if pooled:
            x = layers.MaxPooling2D(name=f"pool{number}")(x)
        x = layers.BatchNormalization(momentum=0.98, name=f"conv{number}_norm")(x)
        x = layers.ReLU(name=f"conv{number}_relu")(x)
    x = layers.Dropout(0.1, name="drop1")(layers.Flatten(name="flatten")(x))
    x = layers.Dense(128, use_bias=False, name="hidden")(x)
    x = layers.ReLU(name="hidden_relu")(layers.BatchNormalization(momentum=0.98, name="hidden_norm")(x))
    x = layers.Dropout(0.1, name="drop2")(x)
    logits = layers.Dense(len(LABELS), dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="digits")


def average(keras: Any, members: Sequence[Any]) -> Any:
    """One network of several: the softmax of their mean logits, each looking twice, the second time a pixel aside.

    Networks trained separately and averaged make fewer mistakes than one larger network; looking twice, at the input
    and at a slightly moved copy, halves the effect of a pixel's rounding.
    """
    image = keras.Input((28, 28, 1), name="input")
    # Padding on one side only, and none in the convolution, moves the picture by a pixel.
    aside = keras.layers.ZeroPadding2D(((2, 0), (2, 0)), name="aside")(image)
    outputs = []
    for number, member in enumerate(members, 1):
        first = member.layers[1]
        x = _again(first, f"{first.name}_{number}")(image)
        y = _again(first, f"{first.name}_{number}_aside", padding="valid")(aside)
        for layer in member.layers[2:]:
            shared = _again(layer, f"{layer.name}_{number}")
            x, y = shared(x), shared(y)
        outputs += [x, y]
    mean = keras.layers.Average(name="mean")(outputs)
    return keras.Model(image, keras.layers.Activation("softmax", name="scores")(mean), name="digits")


def _again(layer: Any, name: str, **changes: Any) -> Any:
    """A layer with the same weights under another name."""
    copy = type(layer).from_config({**layer.get_config(), "name": name, **changes})
    copy.build(layer.input.shape)
    copy.set_weights(layer.get_weights())
    return copy


def fit(
    keras: Any, inputs: np.ndarray, labels: np.ndarray, seed: int, epochs: int, checkpoint: Checkpoint | None = None
) -> Any:
    """Train one member; with a checkpoint, goes on after the last epoch that was saved there."""
    keras.utils.set_random_seed(seed)
    network = build_network(keras)
    batch, warm = 128, 300
    steps = max(len(labels) // batch * epochs, 2)
    warm = min(warm, steps // 2)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps - warm, warmup_target=3e-3, warmup_steps=warm)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=2e-4)
    optimizer.build(network.trainable_variables)
    network.compile(
        optimizer, keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.02), metrics=["accuracy"]
    )
    variables = [*network.variables, *optimizer.variables]
    done = _resume(variables, checkpoint, f"member-{seed}")
    for epoch in range(done, epochs):
        order = np.random.default_rng((seed, epoch)).permutation(len(labels))
        data = _batches(_nudged(inputs[order]), labels[order], batch)
        history = network.fit(data, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0).history
        figures = ", ".join(f"{name} {values[-1]:.4f}" for name, values in sorted(history.items()))
        put(f"network {seed}, epoch {epoch + 1} of {epochs}: {figures}\n", error=True)
        if checkpoint is not None:
            checkpoint.save(f"member-{seed}", [np.array(epoch + 1), *(v.numpy() for v in variables)])
    return network


def _member(
    inputs: np.ndarray, labels: np.ndarray, seed: int, epochs: int, checkpoint: Checkpoint | None
) -> list[np.ndarray]:
    """Train one member in a process of its own, on one core; return its weights."""
    keras, tensorflow = import_tensorflow()
    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    tensorflow.config.experimental.enable_op_determinism()
    keras.mixed_precision.set_global_policy(_precision())
    return list(fit(keras, inputs, labels, seed, epochs, checkpoint).get_weights())


def _precision() -> str:
    """What a network is trained in: half precision where the processor multiplies it itself takes a quarter less time.

    Elsewhere it would take many times as long. The weights are kept in float32 in any case.
    """
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        flags = set()
    return "mixed_bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"


def fit_members(
    keras: Any,
    inputs: np.ndarray,
    labels: np.ndarray,
    seeds: Sequence[int],
    epochs: int,
    processes: int,
    checkpoint: Checkpoint | None = None,
) -> list[Any]:
    """Train a network for each seed, side by side: one core each, so that the number of cores changes no rounding."""
    with ProcessPoolExecutor(min(processes, len(seeds)), get_context("spawn")) as pool:
        jobs = [pool.submit(_member, inputs, labels, seed, epochs, checkpoint) for seed in seeds]
        weights = [job.result() for job in jobs]
    networks = [build_network(keras) for _ in seeds]
    for network, values in zip(networks, weights, strict=True):
        network.set_weights(values)
    return networks


def _resume(variables: list[Any], checkpoint: Checkpoint | None, name: str) -> int:
    """Sets the variables to what a checkpoint holds, if it does, and returns how many epochs are done."""
    saved = checkpoint.load(name) if checkpoint is not None else None
    if saved is None:
        return 0
    for variable, value in zip(variables, saved[1:], strict=True):
        variable.assign(value)
    return int(saved[0])


def _nudged(inputs: np.ndarray) -> np.ndarray:
    """Moves two thirds of shuffled pictures by a pixel, in place; what leaves the picture is lost."""
    ways = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    for number, (dy, dx) in enumerate(ways):
        some = np.pad(inputs[number::12], ((0, 0), (1, 1), (1, 1)))
        inputs[number::12] = some[:, 1 - dy : 29 - dy, 1 - dx : 29 - dx]
    return inputs


def _batches(inputs: np.ndarray, labels: np.ndarray, batch: int) -> Any:
    """float32 batches; the whole set in float32 would take four times the memory."""
    import tensorflow as tf

    def ready(picture: Any, label: Any) -> tuple[Any, Any]:
        return tf.cast(picture, tf.float32)[..., None] / 255, tf.one_hot(label, len(LABELS))

    data = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(batch, drop_remainder=True)
    return data.map(ready).prefetch(2)


def scaled(inputs: np.ndarray) -> np.ndarray:
    """n x 28 x 28 uint8 to the network's n x 28 x 28 x 1 float32 in 0..1."""
    return np.asarray(inputs[..., None] / np.float32(255), np.float32)


def calibrate(network: Any, inputs: np.ndarray, labels: np.ndarray) -> float:
    """Divides the last layer by a temperature and returns it: the sharpest answers that rarely claim what is not there.

    Temperature scaling after Guo et al., "On Calibration of Modern Neural Networks", 2017, on held-out digits' frames;
    the best class stays the same, only its probability moves.
    """
    scores = np.maximum(network.predict(scaled(inputs), batch_size=500, verbose=0), 1e-9)

    def careful(temperature: float) -> bool:
        rates = Rates.of(_tempered(scores, temperature), labels)
        return rates.false_claim_rate <= _MOST_WRONG and rates.none_claims <= _MOST_CLAIMED

    temperatures = np.geomspace(0.6, 2.2, 50)
    temperature = float(next((t for t in temperatures if careful(t)), temperatures[-1]))
    for last in (layer for layer in network.layers if layer.name.startswith("logits")):
        last.set_weights([w / temperature for w in last.get_weights()])
    return temperature


def _tempered(scores: np.ndarray, temperature: float) -> np.ndarray:
    powers = scores ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def openvino_predict(network: Path) -> Predict:
    """The scores of an IR file on this machine's CPU, one picture at a time as the daemon runs it."""
    import openvino as ov

    compiled = ov.Core().compile_model(network, "CPU")

    def predict(inputs: np.ndarray) -> np.ndarray:
        ready = scaled(inputs)
        return np.concatenate([compiled(ready[i : i + 1])[0].copy() for i in range(len(ready))])

    return predict


def save_keras(network: Any, output: Path) -> None:
    """Write `model.json`, `weights.h5` and `model.h5` as Keras 1 and 2 named and laid them out."""
    (output / "model.json").write_text(network.to_json())
    network.save(output / "model.h5", include_optimizer=False)
    # Keras 3 no longer writes this layout by itself, but the whole-model file holds it as a group.
    with h5py.File(output / "model.h5") as whole, h5py.File(output / "weights.h5", "w") as weights:
        group = whole["model_weights"]
        for key, value in group.attrs.items():
            weights.attrs[key] = value
        for name in group:
            group.copy(name, weights)


def save_bundle(output: Path, notes: tuple[str, ...]) -> Bundle:
    """Convert `model.h5` as any other Keras file, and say on its card which label means none."""
    from picam_infer.convert.conversion import Options, convert

    labels = output / "labels.txt"
    labels.write_text("".join(f"{label}\n" for label in LABELS))
    convert(output / "model.h5", output / "digits", Options(labels=labels))
    made = load(output / "digits")
    chain = Edges(canny=CANNY)
    card = msgspec.structs.replace(made.card, name="digits", preprocess=chain, reject=LABELS[REJECT], notes=notes)
    files = {name: (made.folder / name).read_bytes() for name in ("model.xml", "model.bin")}
    return save(made.folder, card, LABELS, files)


def load_digits(mnist: Path | None, keras: Any = None) -> tuple[Digits, Digits]:
    """MNIST's training and test digits, from the folder's idx files or (None) by Keras's download. Raises `NoInput`."""
    if mnist is None:
        (train_x, train_y), (test_x, test_y) = keras.datasets.mnist.load_data()
    else:
        try:
            (train_x, train_y), (test_x, test_y) = read_mnist(mnist, "train"), read_mnist(mnist, "t10k")
        except (OSError, ValueError) as error:
            raise NoInput(f"no MNIST in {mnist} ({error})", "it needs the four idx files, as such or .gz") from error
    return Digits.of(train_x, train_y), Digits.of(test_x, test_y)


def train_digits(
    mnist: Path | None,
    output: Path,
    seed: int = 1,
    *,
    members: int = MEMBERS,
    samples: int = SAMPLES,
    epochs: int = EPOCHS,
    processes: int = 2,
    frames: int = FRAMES_PER_SIZE,
) -> dict[tuple[int, int], Rates]:
    """Train the digit model and writes `model.json`, `weights.h5`, `model.h5` and the bundle `digits` into `output`.

    Renders `samples` frames from MNIST's training digits with `processes` processes, then evaluates on `frames` frames
    a size with its test digits; return the rates by (width, height). Interrupted, it goes on from `output`'s folder
    `unfinished` when called again with the same settings. Raises `Unavailable` without TensorFlow, `NoInput` without
    MNIST.
    """
    keras, tensorflow = import_tensorflow()
    tensorflow.config.threading.set_intra_op_parallelism_threads(processes)
    tensorflow.config.experimental.enable_op_determinism()
    train, test = load_digits(mnist, keras)
    learn, check = _split(train, len(train.labels) // 12)
    settings = (seed, members, samples, epochs, tensorflow.__version__, _precision())
    checkpoint = Checkpoint(output / "unfinished", identity(settings, _sources(), (train.images, train.labels)))
    frames_and_labels = training_set(learn, samples, seed, processes, checkpoint)
    # Drawing the frames takes as long as learning from them: all members learn from the same ones, in another order.
    seeds = range(seed, seed + members)
    fitted = fit_members(keras, *frames_and_labels, seeds, epochs, processes, checkpoint)
    network = average(keras, fitted)
    # As the evaluation draws them: the training's frames are harder than a desk is, and would make the answers shy.
    held_out = training_set(check, max(samples // 12, _CHUNK), seed + 100, processes, checkpoint, ((EVAL, 1.0),))
    temperature = calibrate(network, *held_out)
    say(f"temperature {temperature:.3f}")
    save_keras(network, output)
    made_by = "picam-infer train digits" + _told(seed, members, samples, epochs)
    bundle = save_bundle(output, (f"trained by: {made_by}",))
    rates = evaluate(openvino_predict(bundle.network), test, frames, seed, processes)
    checkpoint.remove()
    return rates


def meets_bars(rates: Mapping[tuple[int, int], Rates]) -> bool:
    """Whether a model is good enough to be shipped."""
    return all(r.top1 >= 0.985 and r.false_claim_rate <= 0.01 and r.none_claims <= 0.02 for r in rates.values())


def _told(seed: int, members: int, samples: int, epochs: int) -> str:
    """The options that another one has to give to get the same bundle."""
    given = (
        ("seed", seed, 0),
        ("members", members, MEMBERS),
        ("samples", samples, SAMPLES),
        ("epochs", epochs, EPOCHS),
    )
    return "".join(f" --{name} {value}" for name, value, default in given if value != default)


def _sources() -> list[Path]:
    """The program's files that decide what the network sees and learns."""
    here = Path(__file__).parent
    names = ("train", "render", "paper", "glyphs", "negatives")
    chain = [here.parent / "inference" / f"{name}.py" for name in ("preprocess", "ruled_lines")]
    return [here / f"{name}.py" for name in names] + chain


def _split(digits: Digits, held_out: int) -> tuple[Digits, Digits]:
    cut = len(digits.labels) - held_out
    parts = [(a[:cut], a[cut:]) for a in (digits.images, digits.labels, digits.paths, digits.thin)]
    return Digits(*(p[0] for p in parts)), Digits(*(p[1] for p in parts))
