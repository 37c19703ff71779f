"""How large a picture may be, from any source. Imported before OpenCV, so it imports nothing else."""

MAX_PIXELS = 64_000_000
"""A larger picture is refused before memory is allocated for it: this size takes 192 MB as BGR."""


def too_large(width: int, height: int, copies: int = 1, most: int = MAX_PIXELS) -> str:
    """Return what is wrong with a declared size in pixels; empty when it is within the limit.

    `copies`: how often decoding keeps the pixels in memory.
    """
    if width * height * copies <= most:
        return ""
    return f"{width}×{height}, {round(width * height / 1e6)} million pixels"
