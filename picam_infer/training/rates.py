"""How good a digit model is: the rates of right and wrong claims, and the targets for shipping it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from picam_infer.platform.terminal import say
from picam_infer.training.digits import LABELS, REJECT, Digits
from picam_infer.training.network import scaled
from picam_infer.training.samples import evaluation_set

CLAIM = 0.6
FRAMES = ((640, 480), (1280, 720), (1920, 1080))

Predict = Callable[[np.ndarray], np.ndarray]
"""n x 28 x 28 uint8 network inputs to n x 11 float32 probabilities."""


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
        """Compute the rates; `scores` are n x 11 probabilities, `labels` n classes with REJECT for no digit."""
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
        """Return one line of the table."""
        values = (self.top1, self.false_claim_rate, self.right_claims, self.none_claims)
        return f"{name:>10} " + " ".join(f"{100 * v:12.2f} %" for v in values)


TABLE_HEAD = f"{'frames':>10} " + " ".join(
    f"{t:>14}" for t in ("top-1", "false claims", "right claims", "none claimed")
)


def evaluate(predict: Predict, digits: Digits, count: int, seed: int, processes: int) -> dict[tuple[int, int], Rates]:
    """Print and return the rates at each of FRAMES (`count` frames, half with a digit); print the confusion too."""
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


def meets_bars(rates: Mapping[tuple[int, int], Rates]) -> bool:
    """Whether a model is good enough to ship."""
    return all(r.top1 >= 0.985 and r.false_claim_rate <= 0.01 and r.none_claims <= 0.02 for r in rates.values())


def openvino_predict(network: Path) -> Predict:
    """Return an IR file as a `Predict`, on this machine's CPU, one picture at a time as the daemon runs it."""
    import openvino as ov

    compiled = ov.Core().compile_model(network, "CPU")

    def predict(inputs: np.ndarray) -> np.ndarray:
        ready = scaled(inputs)
        return np.concatenate([compiled(ready[i : i + 1])[0].copy() for i in range(len(ready))])

    return predict
