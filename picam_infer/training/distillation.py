"""One network that answers as several do together: it learns their answers for a picture, not just its label."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from picam_infer.training.checkpoint import Checkpoint
from picam_infer.training.network import (
    average,
    build_network,
    epoch_inputs,
    learn,
    members_of,
    one_core,
    scaled,
    sharpen,
)

_STUDENT = (32, 48, 64, 96)
"""The filters of its convolutions: a few more than a member has, and still two thirds of what two members cost."""
_HIDDEN = 256
"""Twice a member's: models taught on this one use these numbers to tell their classes apart."""
_SOFTNESS = 2.0
"""The temperature at which the answers are compared: it shows how alike two digits look to the members."""
PATIENCE = 1.5
"""How many times as long as a member it is trained: an answer contains more than a label."""
_PREDICTED = 500

Weights = list[np.ndarray]


def distil(
    keras: Any,
    members: list[Any],
    inputs: np.ndarray,
    seed: int,
    epochs: int,
    processes: int,
    checkpoint: Checkpoint | None = None,
) -> Any:
    """Return one network that has learnt the members' answers to `inputs` (n x 28 x 28 uint8).

    After Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015. The members are asked about
    every picture as it is moved and shown in each epoch, so that no answer belongs to another picture.
    """
    weights = [member.get_weights() for member in members]
    answers = _answers(weights, inputs, seed, epochs, processes, checkpoint)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        learnt = pool.submit(_student, inputs, answers, seed, epochs, checkpoint).result()
    network = _untaught(keras)
    network.set_weights(learnt)
    sharpen(network, _SOFTNESS)
    return network


def _untaught(keras: Any) -> Any:
    return build_network(keras, _STUDENT, _HIDDEN, dropped=0.0)


def _student(
    inputs: np.ndarray, answers: list[np.ndarray], seed: int, epochs: int, checkpoint: Checkpoint | None
) -> Weights:
    keras = one_core()
    keras.utils.set_random_seed(seed)
    network = _untaught(keras)
    learn(keras, network, f"student-{seed}", inputs, answers.__getitem__, seed, epochs, checkpoint)
    return list(network.get_weights())


# -- the members' answers, asked by several processes ------------------------

_asked: Any = None
_pictures = np.empty(0)


def _answers(
    weights: list[Weights], inputs: np.ndarray, seed: int, epochs: int, processes: int, checkpoint: Checkpoint | None
) -> list[np.ndarray]:
    """Return for each epoch n x 11 shares, in the order of its pictures."""
    names = [f"answers-{seed}-{epoch}" for epoch in range(epochs)]
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin, (weights, inputs)) as pool:
        jobs = [pool.submit(_asked_once, name, seed, epoch, checkpoint) for epoch, name in enumerate(names)]
        return [job.result() for job in jobs]


def _begin(weights: list[Weights], inputs: np.ndarray) -> None:
    global _asked, _pictures
    keras, _pictures = one_core(), inputs
    _asked = average(keras, members_of(keras, weights))


def _asked_once(name: str, seed: int, epoch: int, checkpoint: Checkpoint | None) -> np.ndarray:
    if checkpoint is None:
        return _ask(seed, epoch)
    return checkpoint.once(name, lambda: (_ask(seed, epoch),))[0]


def _ask(seed: int, epoch: int) -> np.ndarray:
    pictures = epoch_inputs(_pictures, seed, epoch)
    parts = [
        _asked.predict(scaled(pictures[at : at + 20 * _PREDICTED]), batch_size=_PREDICTED, verbose=0)
        for at in range(0, len(pictures), 20 * _PREDICTED)
    ]
    shares = np.concatenate(parts).astype(np.float32) ** (1 / _SOFTNESS)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
