"""Why a model answers as it does: what it was given, what it answered, and which parts of the picture count."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from picam_infer.config import EngineSettings
from picam_infer.core import Frame, PicamError, Pixels, Scores, best
from picam_infer.imaging import decode, region
from picam_infer.inference import preprocess
from picam_infer.inference.classifier import Classifier
from picam_infer.inference.engines import openvino
from picam_infer.models.bundle import Bundle, Chain, Edges, Input

Map = npt.NDArray[np.float32]

COVERED = 1 / 6
"""The side of what is covered at a time, as a share of the input's."""
STEPS = 13
"""How many steps it is moved in along a side, if there is time for that."""
FEWEST_STEPS = 5
BUDGET_S = 20.0
_NEVER = 1e-30
_NAMED = 12


@dataclass(frozen=True)
class Numbers:
    """What the network's input tensor holds."""

    low: float
    high: float
    mean: tuple[float, ...]
    """One for each channel, in the network's order."""
    least: float
    """What a pixel of 0 becomes."""
    most: float
    """What a pixel of 255 becomes."""


@dataclass(frozen=True)
class Explanation:
    """One picture, one model."""

    picture: tuple[int, int]
    """Width and height in pixels."""
    box: region.Box
    """The part that the network looks at, in pixels."""
    input_image: Pixels
    """That part as the network gets it, as a picture before scaling: BGR (H, W, 3) or grey (H, W, 1) uint8."""
    chain: dict[str, Any]
    """The card's preprocessing, as written there."""
    network: Input
    numbers: Numbers
    raw: Scores
    """The network's own outputs, (classes,)."""
    scores: Scores
    """The scores that follow from them."""
    labels: tuple[str, ...]
    chosen: int
    """The class that `saliency` is about."""
    saliency: Map
    """How much each part of the input counts for that class: (H, W), 1 the most, below 0 against it."""
    drop: float
    """How much covering the most important part lowers the class's score."""
    steps: int
    """Along a side."""

    @property
    def reading(self) -> str:
        """How scores follow from the network's outputs: `as they are` or `softmax`."""
        same = np.allclose(self.raw, self.scores, atol=1e-4)
        return "as they are" if same else "softmax"

    @property
    def peak(self) -> tuple[float, float]:
        """Where in the input the most important part is: x and y as shares of its width and height."""
        y, x = np.unravel_index(int(self.saliency.argmax()), self.saliency.shape)
        return (float(x) + 0.5) / self.saliency.shape[1], (float(y) + 0.5) / self.saliency.shape[0]

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON object; `saliency.grid` has one number for each place that was covered."""
        n, (x, y) = self.numbers, self.peak
        order = best(self.scores, len(self.scores))
        grid = cv2.resize(self.saliency, (self.steps, self.steps), interpolation=cv2.INTER_AREA)
        return {
            "picture": {"width": self.picture[0], "height": self.picture[1]},
            "box": dict(zip(("x", "y", "width", "height"), self.box, strict=True)),
            "input": {"shape": list(self.network.shape), "layout": self.network.layout, "colour": self.colour,
                      "fit": self.fit, **self.chain},
            "numbers": {"low": _short(n.low), "high": _short(n.high), "mean": [_short(value) for value in n.mean],
                        "possible": [_short(n.least), _short(n.most)]},
            "reading": self.reading,
            "outputs": [{"label": self.labels[at], "raw": _short(float(self.raw[at])),
                         "score": _short(float(self.scores[at]))} for at in order],
            "saliency": {"label": self.labels[self.chosen], "drop": _short(self.drop),
                         "peak": {"x": _short(x), "y": _short(y)},
                         "grid": [[round(float(value), 3) for value in row] for row in grid]},
        }  # fmt: skip

    @property
    def colour(self) -> str:
        """The order of the channels: rgb, bgr or grey."""
        return "grey" if self.network.channels == 1 else str(self.chain.get("colour", "grey"))

    @property
    def fit(self) -> str:
        """How the picture is made to fit the input's proportions."""
        return str(self.chain.get("fit", "crop"))

    def seen(self) -> Pixels:
        """Return the network's input for people: BGR (H, W, 3), with its own pixels."""
        return np.repeat(self.input_image, 3, axis=2) if self.input_image.shape[2] == 1 else self.input_image

    def heat(self) -> Pixels:
        """Return the same with what counts for the class in red and what counts against it in blue."""
        grey = cv2.cvtColor(cv2.cvtColor(self.seen(), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(np.float32)
        grey = grey * 0.6 + 40
        share = np.abs(self.saliency)[:, :, None] * 0.75
        red, blue = np.array([40, 40, 255], np.float32), np.array([255, 120, 40], np.float32)
        tint = np.where(self.saliency[:, :, None] > 0, red, blue)
        mixed: Pixels = np.clip(grey * (1 - share) + tint * share, 0, 255).astype(np.uint8)
        return mixed


def _short(value: float) -> float:
    return float(f"{value:.5g}")


class Explainer:
    """Explains one model's answers; it has a network of its own, so that nobody who runs the same model has to wait."""

    def __init__(self, bundle: Bundle, chain: Chain | None = None, threads: int = 0) -> None:
        """Compile the network, for as many threads (0: as it needs). Raises `BundleError` or `Unavailable`."""
        self._bundle = bundle
        self._chain = chain or bundle.card.preprocess
        self._bare = openvino.bare_network(bundle, threads)
        engine = openvino.OpenVino(
            _with_chain(bundle, self._chain), EngineSettings(kind="openvino", threads=threads, precision="f32")
        )
        self._classifier = Classifier.of(bundle, engine, chain=self._chain)

    def close(self) -> None:
        """Give the network back."""
        self._classifier.close()

    def __call__(self, frame: Frame, label: str | None = None, budget_s: float = BUDGET_S) -> Explanation:
        """Explain one picture: for the likeliest class, or for `label`. Raises `BadFrame` or `PicamError`."""
        labels = self._bundle.labels
        if label is not None and label not in labels:
            known = ", ".join(labels[:_NAMED]) + (" …" if len(labels) > _NAMED else "")
            raise PicamError(f"the model has no class {label!r}", f"its classes: {known}")
        answer = self._classifier.answer(frame, keep_input=True)
        input_image, scores = answer.input, answer.scores
        assert input_image is not None
        tensor = preprocess.tensor(input_image, self._chain, self._bundle.card.input)
        chosen = labels.index(label) if label is not None else best(scores, 1)[0]
        saliency, drop, steps = self._saliency(input_image, scores, chosen, budget_s)
        width, height = decode.size(frame)
        axes = (0, 1, 2) if self._bundle.card.input.layout == "NHWC" else (0, 2, 3)
        return Explanation(
            picture=(width, height), input_image=preprocess.as_picture(input_image, self._chain),
            box=preprocess.box(self._chain, self._bundle.card.input, width, height),
            chain=msgspec.to_builtins(self._chain), network=self._bundle.card.input,
            numbers=Numbers(float(tensor.min()), float(tensor.max()), tuple(map(float, tensor.mean(axis=axes))),
                            *self._chain.normalisation.limits()),
            raw=self._bare(tensor), scores=scores, labels=labels,
            chosen=chosen, saliency=saliency, drop=drop, steps=steps,
        )  # fmt: skip

    def _saliency(self, input_image: Pixels, scores: Scores, chosen: int, budget_s: float) -> tuple[Map, float, int]:
        """Cover the input piece by piece; see Zeiler and Fergus 2014, section 4.2."""
        began_s = time.perf_counter()
        self._classifier.scores(input_image)
        each_s = time.perf_counter() - began_s
        steps = int(min(STEPS, max(FEWEST_STEPS, (budget_s / max(each_s, 1e-6)) ** 0.5)))
        fill = (
            np.zeros(input_image.shape[2])
            if isinstance(self._chain, Edges)
            else input_image.reshape(-1, input_image.shape[2]).mean(0)
        )
        shares = bool(scores.min() >= -1e-3 and scores.max() <= 1 + 1e-3)
        probabilities = shares and self._bundle.card.task != "regression"

        def weight(values: Scores) -> float:
            return _log_odds(values, chosen) if probabilities else float(values[chosen])

        return _covered(input_image, fill.astype(np.uint8), steps, self._classifier.scores, weight, scores, chosen)


def _covered(
    input_image: Pixels,
    fill: Pixels,
    steps: int,
    answer: Callable[[Pixels], Scores],
    weight: Callable[[Scores], float],
    scores: Scores,
    chosen: int,
) -> tuple[Map, float, int]:
    """Return the map, the largest drop of the class's score, and the steps along a side."""
    height, width = input_image.shape[:2]
    tall, wide = max(1, round(height * COVERED)), max(1, round(width * COVERED))
    total, times = np.zeros((height, width)), np.zeros((height, width))
    whole, drop = weight(scores), 0.0
    for y in _places(height, tall, steps):
        for x in _places(width, wide, steps):
            covered = input_image.copy()
            covered[y : y + tall, x : x + wide] = fill
            seen = answer(covered)
            total[y : y + tall, x : x + wide] += whole - weight(seen)
            times[y : y + tall, x : x + wide] += 1
            drop = max(drop, float(scores[chosen] - seen[chosen]))
    saliency = total / np.maximum(times, 1)
    most = float(np.abs(saliency).max())
    if most > 1e-6:
        saliency /= most
    return saliency.astype(np.float32), drop, steps


def _places(side: int, covered: int, steps: int) -> list[int]:
    """Return where the covered part begins, from edge to edge."""
    return sorted({round(at) for at in np.linspace(0, side - covered, steps)})


def _log_odds(scores: Scores, chosen: int) -> float:
    """Return a class's log-odds, which keep growing near certainty while its probability does not."""
    own = float(scores[chosen])
    others = float(np.delete(scores, chosen).sum(dtype=np.float64)) if len(scores) > 1 else 1 - own
    return float(np.log(max(own, _NEVER)) - np.log(max(others, _NEVER)))


def _with_chain(bundle: Bundle, chain: Chain) -> Bundle:
    return replace(bundle, card=msgspec.structs.replace(bundle.card, preprocess=chain))
