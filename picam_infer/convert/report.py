"""The report that `convert` prints at the end."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from picam_infer.config import INSTALLED
from picam_infer.core import counted, percent, plain_number

_LEAST = 0.001
"""A smaller change of a probability is not told by its size."""


@dataclass
class Report:
    """One conversion, for people and as JSON."""

    bundle: str
    format: str
    layers: int
    kinds: dict[str, int]
    parameters: int
    bytes: int
    precision: str
    input: list[int]
    layout: str
    chain: str
    output: str
    labels: list[str]
    probabilities: bool
    infer_ms: float
    difference: float
    """The largest change of an answer by storing the weights in fewer bits, on pictures."""
    seconds: float
    notes: list[str] = field(default_factory=list)
    quantized: dict[str, float] | None = None
    """`--precision int8`: pictures, agreement, f16_ms, int8_ms."""

    task: str = "classification"
    """classification, multi-label or regression."""
    units: list[str] = field(default_factory=list)
    """Of values, one for each."""
    close_call: float = 0.0
    """The largest such change where two classes are about as likely."""
    picture: bool = True
    """Whether a camera can feed it."""
    tried: list[dict[str, Any]] = field(default_factory=list)
    """Ways of feeding the network that were tried on pictures: way, right, of, chosen."""

    @property
    def command(self) -> str:
        """The command that runs the bundle live."""
        return f"picam-infer run --model {shlex.quote(self._where)}"

    @property
    def _where(self) -> str:
        return self.bundle if "/" in self.bundle else f"./{self.bundle}"

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON object."""
        return {**asdict(self), "command": self.command}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Report:
        """Return the report that `as_json` made."""
        return cls(**{key: value for key, value in content.items() if key != "command"})

    def _meaning(self) -> str:
        count = len(self.labels)
        if self.task == "regression":
            return "a value" if count == 1 else f"{count} values"
        several = ", of which several may apply" if self.task == "multi-label" else ""
        return f"{counted(count, 'class', 'classes')}{several}"

    def _change(self, difference: float) -> str:
        """Return how much answers change, in their own unit: values as they are, probabilities in per cent."""
        if self.task == "regression":
            return "at most " + plain_number(difference)
        return f"at most {percent(difference, 1)}" if difference >= _LEAST else f"less than {percent(_LEAST, 1)}"

    def lines(self) -> list[str]:
        """Return the report for a terminal, with what to do next."""
        if not self.picture:
            return [*self.about(), f"  done in {self.seconds:.1f} s; of no use to run: no camera can feed it"]
        said = [*self.about(), f"  done in {self.seconds:.1f} s; run it: {self.command}"]
        if INSTALLED.exists():  # `run` would compete with the service for camera, monitor and page
            said.append(f"  on the service: picam-infer use {shlex.quote(self._where)}")
        return said

    def about(self) -> list[str]:
        """Return the report's lines about the model."""
        common = sorted(self.kinds.items(), key=lambda item: (-item[1], item[0]))
        kinds = ", ".join(f"{count} {kind}" for kind, count in common[:5])
        units = self.units or [""] * len(self.labels)
        names = [f"{name} [{unit}]" if unit else name for name, unit in zip(self.labels, units, strict=True)]
        shown = ", ".join([*names[:8], *["…"] * (len(names) > 8)])
        said = [
            f"{Path(self.bundle)}: {self.format}",
            f"  layers      {self.layers} ({kinds}{', …' if len(common) > 5 else ''})",
            f"  parameters  {self.parameters:,}, {_size(self.bytes)} as {self.precision}",
            f"  input       {'×'.join(map(str, self.input[1:]))} {self.layout}, chain {self.chain}",
            f"  output      {self.output}: {self._meaning()}: {shown}",
            f"  self-check  ran on the CPU in {self.infer_ms:.2f} ms",
        ]
        if not self.quantized:
            said[-1] += f"; {self.precision} weights change answers by {self._change(self.difference)}"
            if self.close_call > 2 * self.difference:
                said[-1] += f", by {self._change(self.close_call)} where classes are close"
        else:
            q = self.quantized
            said.append(
                f"  int8        agrees with f16 on {percent(q['agreement'])} of "
                f"{counted(round(q['pictures']), 'picture')}; {q['int8_ms']:.2f} ms against {q['f16_ms']:.2f} ms"
            )
        for one in self.tried:
            mark = "  ← taken" if one["chosen"] and len(self.tried) > 1 else ""
            said.append(f"  tried       {one['right']:4d} of {one['of']} right: {one['way']}{mark}")
        return said + [f"  note        {note}" for note in self.notes]


def _size(count: int) -> str:
    """Return a number of bytes for people: `5.2 MB`, `36 kB`."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{max(count / 1e3, 0.1):.2g} kB"
