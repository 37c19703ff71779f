"""How pixels become a network's numbers: pixel × scale + offset, per channel where there are three."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from picam_infer.core import Pixels

Factor = float | tuple[float, float, float]
Floats = npt.NDArray[np.float32]
WHITE = 255
"""The largest value of a pixel."""


class Normalisation(msgspec.Struct, frozen=True, eq=False):
    """Scale and offset, float32: one number of shape (), or one for each channel, (C,)."""

    scale: Floats
    offset: Floats

    @classmethod
    def of(cls, scale: Factor, offset: Factor) -> Normalisation:
        """Return the normalisation for a model card's numbers."""
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which `usable` tells
            return cls(np.asarray(scale, np.float32), np.asarray(offset, np.float32))

    @property
    def usable(self) -> bool:
        """Whether black and white become numbers, and different ones."""
        low, high = self.range()
        return bool(np.isfinite(low).all() and np.isfinite(high).all() and (low != high).any())

    def __call__(self, pixels: Pixels) -> Floats:
        """Return pixels, uint8 (…, C), as the network's numbers, float32 of the same shape."""
        out = np.empty(pixels.shape, np.float32)
        self.into(pixels, out)
        return out

    def into(self, pixels: Pixels, out: Floats) -> None:
        """Write them into an existing array of the same shape."""
        np.multiply(pixels, self.scale, out=out, dtype=np.float32, casting="unsafe")
        if self.offset.any():
            np.add(out, self.offset, out=out)

    def range(self) -> tuple[Floats, Floats]:
        """Return the values for black and for white, each of shape (channels,) or (1,)."""
        low = np.atleast_1d(self.offset)
        with np.errstate(all="ignore"):  # see `usable`
            return low, np.asarray(low + WHITE * np.atleast_1d(self.scale), np.float32)

    def limits(self) -> tuple[float, float]:
        """Return the smallest and the largest number that the network can be given."""
        ends = np.concatenate(self.range())
        return float(ends.min()), float(ends.max())

    def rows(self, pixels: int) -> tuple[Floats, Floats]:
        """Return scale and offset for a picture of so many pixels written in one row: (1, pixels × C), or ()."""
        scale, offset = (np.tile(each, pixels)[None] if each.ndim else each for each in (self.scale, self.offset))
        return scale, offset
