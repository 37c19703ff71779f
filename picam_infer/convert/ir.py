"""The finished network as bytes: the same every time, and tested once."""

from __future__ import annotations

import functools
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov

from picam_infer.convert import graph
from picam_infer.convert.tensor import Array
from picam_infer.core import PicamError
from picam_infer.platform import scratch

ENOUGH_S = 0.5
SLOW_S = 0.5
"""A network that takes longer for two runs is compared on two inputs only."""
MAX_PAIRS, HALVINGS = 4, 10
"""A large network is not timed for longer than this and one run."""


@dataclass(frozen=True)
class Check:
    """What came out when the network was run once on the CPU."""

    infer_ms: float
    """The best of a few runs."""
    difference: float
    """The largest difference between the answers before and after the weights were compressed, on pictures."""
    close_call: float = 0.0
    """The largest where two classes are about as likely, which is where it shows most."""
    same: bool = False
    """Whether all pictures, black and white among them, got exactly the same answer."""


def serialise(model: Any, half: bool) -> dict[str, bytes]:
    """Return `model.xml` and `model.bin`; `half` stores float32 weights as float16."""
    rename(model)
    with scratch.folder() as folder:
        path = folder / "model.xml"
        ov.save_model(model, path, compress_to_fp16=half)
        xml, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    # What follows the last edges is who converted it, when and how: different on another day or machine.
    plain = re.sub(rb"(.*</edges>).*</net>", rb"\1\n</net>", xml, flags=re.DOTALL)
    return {"model.xml": plain, "model.bin": weights}


def rename(model: Any, inside: bool = False) -> None:
    """Give the nodes names that do not depend on what this process built before.

    `inside`: the network is a branch or a loop of another one, and nobody asks for its inputs by name.
    """
    counts: Counter[str] = Counter()
    taken: set[str] = set()
    for node in model.get_ordered_ops():
        kind, name = node.get_type_name(), node.get_friendly_name()
        for body in graph.bodies(node):
            rename(body, inside=True)
        if kind == "Parameter" and not inside:
            continue
        stem = kind if re.fullmatch(r"[A-Za-z0-9]+_\d+", name) or kind in ("Constant", "Result") else name
        stem = stem.partition("#")[0]
        name = stem
        # A network that was stored with names like these has them in other places: no two may become the same.
        while name in taken or not counts[stem]:
            counts[stem] += 1
            name = stem if counts[stem] == 1 else f"{stem}:{counts[stem]}"
        taken.add(name)
        node.set_friendly_name(name)


@functools.cache
def _core() -> Any:
    return ov.Core()  # loading the CPU plugin takes a moment, so it is done once


def load(files: dict[str, bytes]) -> Any:
    """Return the model of `serialise`."""
    weights = ov.Tensor(np.frombuffer(files["model.bin"] or b"\0", np.uint8).copy())
    return _core().read_model(files["model.xml"], weights)


def sample(shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Array:
    """Return a smooth pattern with some detail, the same every time, within the network's own range."""
    count = int(np.prod(shape))
    wave = np.sin(np.arange(count, dtype=np.float64) * 0.37) * np.cos(np.arange(count, dtype=np.float64) * 0.0113)
    return ((wave + 1) / 2 * (high - low) + low).reshape(shape).astype(np.float32)


def compiled(model: Any, threads: int = 0) -> Any:
    """Compile for the CPU in float32; 0 `threads`: its own choice. Raises `PicamError`."""
    try:
        config = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            config["INFERENCE_NUM_THREADS"] = str(threads)
        return _core().compile_model(model, "CPU", config)
    except RuntimeError as error:
        raise PicamError(
            "OpenVINO reads the network, but cannot run it on the CPU", "please report this model"
        ) from error


def check(model: Any, files: dict[str, bytes], feeds: Sequence[Array], softmax: bool = False) -> Check:
    """Run the network as built and as stored on the same inputs. Raises `PicamError` if the answer is not a number.

    `feeds` are inputs as pictures give them, black and white last. Between two that get different answers lies one
    where the network is in two minds, and a small change of its weights shows most: that one is compared, too.
    """
    shape = tuple(int(side) for side in model.input(0).shape)
    inputs = [feed.reshape(shape) for feed in feeds]
    before, after = (_Answers(run, softmax) for run in (compiled(model), compiled(load(files))))
    start = time.perf_counter()
    first = np.abs(before(inputs[0]) - after(inputs[0])).max()
    slow = time.perf_counter() - start > SLOW_S
    ends = inputs[-2:]
    inputs = inputs[:2] if slow else inputs
    differences = [float(first), *(float(np.abs(before(x) - after(x)).max()) for x in inputs[1:])]
    close = [] if slow else _close_calls(before, inputs)
    at_borders = [float(np.abs(before(x) - after(x)).max()) for x in close]
    same = all(np.array_equal(after(inputs[0]), after(x)) for x in (*ends, *inputs[1:]))
    took_s: list[float] = []
    while len(took_s) < 5 and sum(took_s) < ENOUGH_S:
        start = time.perf_counter()
        after(inputs[0])
        took_s.append(time.perf_counter() - start)
    return Check(min(took_s) * 1000, max(differences), max(at_borders, default=0.0), same)


class _Answers:
    """A compiled network, and what is made of its answers."""

    def __init__(self, run: Any, softmax: bool) -> None:
        self._run, self._softmax = run, softmax

    def __call__(self, feed: Array) -> Array:
        """Return the answer, (values,). Raises `PicamError` if it is not a number."""
        answer = np.asarray(self._run([feed])[0], np.float64).ravel()
        if not np.isfinite(answer).all():
            raise PicamError(
                "the network answers with values that are not numbers", "its weights are damaged or overflow"
            )
        if self._softmax:
            powers = np.exp(answer - answer.max())
            answer = powers / powers.sum()
        return answer


def _close_calls(answers: _Answers, inputs: Sequence[Array]) -> list[Array]:
    """Return inputs on the border between two classes, between pairs of those given."""
    best = [int(answers(x).argmax()) for x in inputs]
    pairs = [(i, j) for i in range(len(inputs)) for j in range(i) if best[i] != best[j]][:MAX_PAIRS]
    found = []
    for i, j in pairs:
        one, other = inputs[i], inputs[j]
        for _ in range(HALVINGS):
            middle = ((one + other) / 2).astype(np.float32)
            if int(answers(middle).argmax()) == best[i]:
                one = middle
            else:
                other = middle
        found.append(one)
    return found
