"""QR codes: for the monitor, the page and the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from picam_infer.core import Pixels

QUIET = 4
"""The light border, without which scanners do not find it (ISO/IEC 18004)."""


def modules(text: str) -> Pixels:
    """Return a QR code as (n, n), 1 where it is dark, its quiet zone included."""
    import segno

    code = segno.make(text, error="m", micro=False, boost_error=False)
    return np.pad(np.array([list(row) for row in code.matrix], np.uint8), QUIET)


def picture(text: str, side: int) -> Pixels:
    """Return one as BGR, square, as large as whole pixels for each module allow within `side`."""
    dark = modules(text)
    scale = max(1, side // len(dark))
    grey = np.where(np.kron(dark, np.ones((scale, scale), np.uint8)), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def rows(text: str) -> Sequence[str]:
    """Return one as rows of 0 and 1, for programs."""
    return ["".join(map(str, row)) for row in modules(text).tolist()]


def in_text(text: str) -> Sequence[str]:
    """Return one as lines for a terminal, two modules to a character, in explicit black and white.

    A terminal's own colours may be inverted, and many scanners only read dark on light.
    """
    dark = modules(text)
    if len(dark) % 2:
        dark = np.pad(dark, ((0, 1), (0, 0)))
    lines = []
    for upper, lower in zip(dark[::2], dark[1::2], strict=True):
        cells = "".join(_HALVES[int(a), int(b)] for a, b in zip(upper, lower, strict=True))
        lines.append(f"\x1b[30;107m{cells}\x1b[0m")
    return lines


_HALVES = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}
