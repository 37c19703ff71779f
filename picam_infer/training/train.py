"""Trains the digit model on what a webcam really shows: rendered pen-on-paper frames through the `edges` chain."""

from __future__ import annotations

from pathlib import Path

from picam_infer.platform.terminal import say
from picam_infer.training.checkpoint import Checkpoint, identity, sources
from picam_infer.training.digits import load_digits, split
from picam_infer.training.distillation import PATIENCE, distil
from picam_infer.training.export import save_bundle, save_keras
from picam_infer.training.network import average, fit_members, import_tensorflow, precision
from picam_infer.training.rates import Rates, evaluate, openvino_predict
from picam_infer.training.render import EVAL
from picam_infer.training.samples import CHUNK, training_set
from picam_infer.training.temperature import calibrate

MEMBERS, SAMPLES, EPOCHS, FRAMES_PER_SIZE = 2, 300_000, 7, 4000


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
    """Train the digit model and write `model.json`, `weights.h5`, `model.h5` and the bundle `digits` into `output`.

    Renders `samples` frames from MNIST's training digits with `processes` processes, then evaluates on `frames` frames
    a size with its test digits; returns the rates by (width, height). When called again with the same settings after
    an interruption, it continues from `output`'s folder `unfinished`. Raises `Unavailable` without TensorFlow, and
    `NoInput` without MNIST.
    """
    keras, tensorflow = import_tensorflow()
    tensorflow.config.threading.set_intra_op_parallelism_threads(processes)
    tensorflow.config.experimental.enable_op_determinism()
    train, test = load_digits(mnist, keras)
    learn, check = split(train, len(train.labels) // 12)
    settings = (seed, members, samples, epochs, tensorflow.__version__, precision())
    checkpoint = Checkpoint(output / "unfinished", identity(settings, sources(), (train.images, train.labels)))
    frames_and_labels = training_set(learn, samples, seed, processes, checkpoint)
    # Drawing the frames takes as long as learning from them: all members learn from the same ones, in another order.
    seeds = range(seed, seed + members)
    fitted = fit_members(keras, *frames_and_labels, seeds, epochs, processes, checkpoint)
    # The members agree on more than one network finds by itself, and one network costs a part of several.
    student = distil(
        keras, fitted, frames_and_labels[0], seed + members, round(PATIENCE * epochs), processes, checkpoint
    )
    network = average(keras, [student])
    # As the evaluation draws them: the training's frames are harder than a real desk, and would make it too timid.
    held_out = training_set(check, max(samples // 12, CHUNK), seed + 100, processes, checkpoint, ((EVAL, 1.0),))
    temperature = calibrate(network, *held_out)
    say(f"temperature {temperature:.3f}")
    save_keras(network, output)
    made_by = "picam-infer train digits" + _told(seed, members, samples, epochs)
    bundle = save_bundle(output, (f"trained by: {made_by}",))
    rates = evaluate(openvino_predict(bundle.network), test, frames, seed, processes)
    checkpoint.remove()
    return rates


def _told(seed: int, members: int, samples: int, epochs: int) -> str:
    """Return the options that give the same bundle again."""
    given = (
        ("seed", seed, 0),
        ("members", members, MEMBERS),
        ("samples", samples, SAMPLES),
        ("epochs", epochs, EPOCHS),
    )
    return "".join(f" --{name} {value}" for name, value, default in given if value != default)
