"""The digit network's members: built, trained and averaged in Keras."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from picam_infer.core import Unavailable
from picam_infer.platform.terminal import put
from picam_infer.training.checkpoint import Checkpoint
from picam_infer.training.digits import LABELS


def import_tensorflow() -> tuple[Any, Any]:
    """Return Keras and TensorFlow. Raises `Unavailable`, saying how to install them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import keras
        import tensorflow
    except ImportError as error:
        raise Unavailable(
            "training needs TensorFlow", "on a PC, in picam-infer's folder: pip install '.[train]'"
        ) from error
    logging.getLogger("absl").setLevel(logging.ERROR)  # it would warn against the file format that is needed here
    return keras, tensorflow


_MEMBER = (24, 48, 48, 96)
_HIDDEN = 128
_POOLED = (True, False, True, True)
_DROPPED = 0.1
_BATCH = 128

Answers = Callable[[int], np.ndarray]
"""An epoch's number to what is to be learnt of its pictures, in their order then: n classes, or n x 11 shares."""


def build_network(
    keras: Any, filters: Sequence[int] = _MEMBER, hidden: int = _HIDDEN, dropped: float = _DROPPED
) -> Any:
    """Return a small Keras network, 28 x 28 x 1 in 0..1 to 11 logits, of layers that a Movidius stick knows.

    `filters` of its four convolutions; `hidden`: the numbers that its answer is computed from; `dropped`: the share of
    numbers that is left out by chance while it learns.
    """
    layers = keras.layers
    x = image = keras.Input((28, 28, 1), name="input")
    # Pooling before the norm and the ReLU gives the same as after them, and trains two to three times as fast.
    for number, (count, pooled) in enumerate(zip(filters, _POOLED, strict=True), 1):
        x = layers.Conv2D(count, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
        if pooled:
            x = layers.MaxPooling2D(name=f"pool{number}")(x)
        x = layers.BatchNormalization(momentum=0.98, name=f"conv{number}_norm")(x)
        x = layers.ReLU(name=f"conv{number}_relu")(x)
    x = layers.Dropout(dropped, name="drop1")(layers.Flatten(name="flatten")(x))
    x = layers.Dense(hidden, use_bias=False, name="hidden")(x)
    x = layers.ReLU(name="hidden_relu")(layers.BatchNormalization(momentum=0.98, name="hidden_norm")(x))
    x = layers.Dropout(dropped, name="drop2")(x)
    logits = layers.Dense(len(LABELS), dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="digits")


def average(keras: Any, members: Sequence[Any]) -> Any:
    """Return one network made of several: the softmax of their mean logits, each with two views a pixel apart.

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
    mean = keras.layers.Average(dtype="float32", name="mean")(outputs)
    scores = keras.layers.Activation("softmax", dtype="float32", name="scores")(mean)
    return keras.Model(image, scores, name="digits")


def _again(layer: Any, name: str, **changes: Any) -> Any:
    """Return a layer with the same weights under another name."""
    copy = type(layer).from_config({**layer.get_config(), "name": name, **changes})
    copy.build(layer.input.shape)
    copy.set_weights(layer.get_weights())
    return copy


def fit(
    keras: Any, inputs: np.ndarray, labels: np.ndarray, seed: int, epochs: int, checkpoint: Checkpoint | None = None
) -> Any:
    """Train one member and return it; with a checkpoint, continue after the last epoch that was saved there."""
    keras.utils.set_random_seed(seed)
    network = build_network(keras)

    def answers(epoch: int) -> np.ndarray:
        return np.asarray(labels[order(len(labels), seed, epoch)])

    learn(keras, network, f"member-{seed}", inputs, answers, seed, epochs, checkpoint, smoothing=0.02)
    return network


def learn(
    keras: Any,
    network: Any,
    name: str,
    inputs: np.ndarray,
    answers: Answers,
    seed: int,
    epochs: int,
    checkpoint: Checkpoint | None = None,
    smoothing: float = 0.0,
) -> None:
    """Train a network on `inputs` (n x 28 x 28 uint8), shuffled and shifted anew in each epoch.

    With a checkpoint, it continues after the last epoch that was saved there under `name`.
    """
    steps = max(len(inputs) // _BATCH * epochs, 2)
    warm = min(300, steps // 2)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps - warm, warmup_target=3e-3, warmup_steps=warm)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=2e-4)
    optimizer.build(network.trainable_variables)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    network.compile(optimizer, loss, metrics=["accuracy"])
    variables = [*network.variables, *optimizer.variables]
    done = _resume(variables, checkpoint, name)
    for epoch in range(done, epochs):
        data = _batches(epoch_inputs(inputs, seed, epoch), answers(epoch))
        history = network.fit(data, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0).history
        figures = ", ".join(f"{figure} {values[-1]:.4f}" for figure, values in sorted(history.items()))
        put(f"{name}, epoch {epoch + 1} of {epochs}: {figures}\n", error=True)
        if checkpoint is not None:
            checkpoint.save(name, [np.array(epoch + 1), *(v.numpy() for v in variables)])


def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order in which `count` pictures are learnt in an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def epoch_inputs(inputs: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return the pictures as they are learnt in an epoch: in its order, two thirds of them moved by a pixel."""
    return _nudged(inputs[order(len(inputs), seed, epoch)])


def _member(
    inputs: np.ndarray, labels: np.ndarray, seed: int, epochs: int, checkpoint: Checkpoint | None
) -> list[np.ndarray]:
    """Train one member in a process of its own, on one core; return its weights."""
    keras = one_core()
    return list(fit(keras, inputs, labels, seed, epochs, checkpoint).get_weights())


def one_core() -> Any:
    """Return Keras in a process of its own that computes on one core: the same numbers on any number of cores."""
    keras, tensorflow = import_tensorflow()
    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    tensorflow.config.experimental.enable_op_determinism()
    keras.mixed_precision.set_global_policy(precision())
    return keras


def precision() -> str:
    """Return the precision to train in: half precision, where the processor has it, takes a quarter less time.

    On others it would take many times as long. The weights are float32 in either case.
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
        return members_of(keras, [job.result() for job in jobs])


def members_of(keras: Any, weights: Sequence[list[np.ndarray]]) -> list[Any]:
    """Return members that have these weights."""
    members = [build_network(keras) for _ in weights]
    for member, values in zip(members, weights, strict=True):
        member.set_weights(values)
    return members


def _resume(variables: list[Any], checkpoint: Checkpoint | None, name: str) -> int:
    """Set the variables to what a checkpoint holds, if anything, and return how many epochs are done."""
    saved = checkpoint.load(name) if checkpoint is not None else None
    if saved is None:
        return 0
    for variable, value in zip(variables, saved[1:], strict=True):
        variable.assign(value)
    return int(saved[0])


def _nudged(inputs: np.ndarray) -> np.ndarray:
    """Move two thirds of shuffled pictures by a pixel, in place; what leaves the picture is lost."""
    ways = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    for number, (dy, dx) in enumerate(ways):
        some = np.pad(inputs[number::12], ((0, 0), (1, 1), (1, 1)))
        inputs[number::12] = some[:, 1 - dy : 29 - dy, 1 - dx : 29 - dx]
    return inputs


def _batches(inputs: np.ndarray, answers: np.ndarray) -> Any:
    """Return float32 batches; the whole set in float32 would take four times the memory."""
    import tensorflow as tf

    def ready(picture: Any, answer: Any) -> tuple[Any, Any]:
        shares = tf.one_hot(answer, len(LABELS)) if answers.ndim == 1 else answer
        return tf.cast(picture, tf.float32)[..., None] / 255, shares

    data = tf.data.Dataset.from_tensor_slices((inputs, answers)).batch(_BATCH, drop_remainder=True)
    return data.map(ready).prefetch(2)


def sharpen(network: Any, times: float) -> None:
    """Multiply a network's logits: its best class stays the same, and becomes more probable."""
    for last in (layer for layer in network.layers if layer.name.startswith("logits")):
        last.set_weights([weight * times for weight in last.get_weights()])


def scaled(inputs: np.ndarray) -> np.ndarray:
    """Return n x 28 x 28 uint8 as the network's input: n x 28 x 28 x 1 float32 in 0..1."""
    return np.asarray(inputs[..., None] / np.float32(255), np.float32)
