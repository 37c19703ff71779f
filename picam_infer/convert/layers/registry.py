"""The arguments and results of layer functions, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from picam_infer.convert.tensor import Array, Order, Tensor
from picam_infer.core import PicamError

NOT_TRAINED = frozenset({"moving_mean", "moving_variance", "mean", "variance", "count"})
"""Weights that Keras lists after all the trained ones."""
MAX_SIDE = 1 << 24
"""No size in a configuration may exceed this: far above any real network, far below what would stall the reader."""


@dataclass(frozen=True)
class Layer:
    """One layer: its normalised configuration (Keras 2 names) and its weights by name."""

    name: str
    kind: str
    config: Mapping[str, Any]
    weights: Mapping[str, Array] = field(default_factory=dict)
    sublayers: tuple[Layer, ...] = ()
    """The layers that a wrapper wraps."""

    def fail(self, reason: str, hint: str = "") -> NoReturn:
        """Raise an error that names this layer."""
        raise PicamError(f"layer {self.name} ({self.kind}): {reason}", hint or "export the model again")

    def weight(self, name: str, *shape: int | None) -> Array:
        """Return a weight as float32; `shape` (None: any) is what the layer expects."""
        if name not in self.weights:
            self.fail(f"the file has no weight {name}", "give the file that holds the weights with --weights")
        values = self.weights[name]
        fits = len(shape) == values.ndim and all(s in (None, v) for s, v in zip(shape, values.shape, strict=True))
        if shape and not fits:
            wanted = "×".join("?" if side is None else str(side) for side in shape)
            found = "×".join(map(str, values.shape)) or "a number"
            self.fail(f"its {name} should be {wanted}, the file has {found}", "weights and configuration differ")
        if not np.isfinite(values).all():
            self.fail(f"its {name} holds values that are not numbers (NaN or infinity)", "train the model again")
        return values

    def has(self, name: str) -> bool:
        """Tell whether the file gave this weight."""
        return name in self.weights

    def number(self, key: str, default: float | None = None) -> float:
        """Return a finite number from the configuration."""
        value = self.config.get(key)
        value = default if value is None else value
        if isinstance(value, bool | str) or not isinstance(value, int | float) or not -1e30 < value < 1e30:
            self.fail(f"{key} is {str(value)[:40]!r}, not a number in reach")
        return float(value)

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a whole number of at most `MAX_SIDE` either way from the configuration."""
        value = self.number(key, default)
        if value != int(value) or abs(value) > MAX_SIDE:
            self.fail(f"{key} is {value:g}, which no real network has")
        return int(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return a yes or no from the configuration."""
        value = self.config.get(key)
        return default if value is None else bool(value)

    def text(self, key: str, default: str) -> str:
        """Return a word from the configuration, in lower case."""
        value = self.config.get(key)
        value = default if value is None else value
        if not isinstance(value, str):
            self.fail(f"{key} is {value!r}, not a word")
        return value.lower()

    def sizes(self, key: str, count: int, default: int | Sequence[int] | None = None) -> list[int]:
        """Return `count` whole numbers ≥ 1; one number stands for all of them."""
        return self.integers(key, count, default, least=1)

    def integers(self, key: str, count: int, default: int | Sequence[int] | None = None, least: int = 0) -> list[int]:
        """Return `count` whole numbers ≥ `least`; one number stands for all of them."""
        value = self.config.get(key)
        value = default if value is None else value
        values: list[Any] = list(value) if isinstance(value, list | tuple) else [value] * count
        if len(values) == 1 and count > 1:
            values *= count
        good = all(isinstance(v, int) and not isinstance(v, bool) and least <= v <= MAX_SIDE for v in values)
        if len(values) != count or not good:
            self.fail(f"{key} is {value!r}")
        return [int(v) for v in values]

    @property
    def order(self) -> Order:
        """Where the channels are."""
        value = self.text("data_format", "channels_last")
        if value not in ("channels_last", "channels_first"):
            self.fail(f"data_format is {value!r}")
        return "channels_first" if value == "channels_first" else "channels_last"


@dataclass(frozen=True)
class Call:
    """One use of a layer: its arguments, tensors in the places where the model passed them."""

    layer: Layer
    args: Sequence[Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def tensors(self) -> list[Tensor]:
        """Return every tensor among the arguments, in order."""
        found: list[Tensor] = []
        pending: list[Any] = [*self.args, *self.kwargs.values()][::-1]
        while pending:
            item = pending.pop()
            if isinstance(item, Tensor):
                found.append(item)
            elif isinstance(item, list | tuple):
                pending.extend(reversed(item))
            elif isinstance(item, dict):
                pending.extend(reversed(list(item.values())))
        return found

    def one(self, rank: int | None = None) -> Tensor:
        """Return the only tensor; `rank` is how many axes it must have."""
        tensors = self.tensors()
        if len(tensors) != 1:
            self.layer.fail(f"it gets {len(tensors)} inputs, only one is supported")
        if rank is not None and tensors[0].rank != rank:
            self.layer.fail(f"its input has {tensors[0].rank} axes, it needs {rank}")
        return tensors[0]


Build = Callable[[Call], Tensor]
Names = Callable[[Layer], Sequence[str]]


@dataclass(frozen=True)
class Kind:
    """How to build a layer, and which weights it has, in the order in which Keras stores them."""

    build: Build
    names: Names


_KINDS: dict[str, Kind] = {}


def _none(_: Layer) -> Sequence[str]:
    return ()


def layer(*names: str, weights: Names = _none) -> Callable[[Build], Build]:
    """Register a function as the builder of these Keras classes."""

    def enter(build: Build) -> Build:
        for name in names:
            _KINDS[name] = Kind(build, weights)
        return build

    return enter


def find(kind: str) -> Kind | None:
    """Return the builder of a Keras class, or None."""
    return _KINDS.get(kind)


def known() -> list[str]:
    """Return the names of all supported classes."""
    return sorted(_KINDS)
