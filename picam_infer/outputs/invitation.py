"""What the monitor shows while the page is offered to a phone: a QR code with a one-time login, and the addresses."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from picam_infer.core import Pixels
from picam_infer.outputs import annotate, qr, strips
from picam_infer.outputs.text import wrap, write


class InvitationScreen(msgspec.Struct, frozen=True):
    """What is shown instead of the picture, like a status screen."""

    link: str
    """The code's content: an address with a one-time login; empty: there is no address yet."""
    addresses: Sequence[str]
    """What to type instead, with the token."""
    how_long: str
    """`until it is closed`."""
    fault: str = ""
    """Why the page cannot be reached although it should be."""

    def draw(self, width: int, height: int) -> Pixels:
        """Return it as BGR (height, width, 3): the code beside the words, above them on an upright screen."""
        image = np.full((height, width, 3), strips.PLATE, np.uint8)
        unit = annotate.unit_of(height, width)
        margin, upright = 2 * unit, height > width
        side = min(height - 2 * margin, width * 55 // 100) if not upright else min(width - 2 * margin, height // 2)
        left, top = margin, margin
        if self.link:
            code = qr.picture(self.link, side)
            taken = len(code)
            y = top if upright else (height - taken) // 2
            image[y : y + taken, margin : margin + taken] = code
            left, top = (margin, top + taken + margin) if upright else (margin + taken + margin, y)
        self._words(image, left, top, width - left - margin, unit)
        return image

    def _words(self, image: Pixels, left: int, top: int, room: int, unit: int) -> None:
        body, small = max(15, 5 * unit // 2), max(14, 2 * unit)
        blocks = [("See it on your phone", 4 * unit, annotate.INK), (self._what(), body, self._colour())]
        # The host name as well as the first address: nobody types IPv6.
        blocks += [
            (address, body, annotate.INK) for address in dict.fromkeys([*self.addresses[:1], *self.addresses[-1:]])
        ]
        blocks += [
            (f"Open to the network {self.how_long}.", small, annotate.DIM),
            ("x closes it · any other key hides this", small, annotate.DIM),
        ]
        y = top
        for text, size, colour in blocks:
            for line in wrap(text, room, size):
                if y + size > image.shape[0]:
                    return
                write(image, line, (left, y), size, colour)
                y += size + size // 3
            y += size // 2

    def _what(self) -> str:
        if self.fault:
            return f"The page cannot be opened: {self.fault}."
        if not self.link:
            return "This machine is not connected to a network yet: connect it, and the code appears here."
        scan = "Scan the code with its camera, in the same network. It logs in once, within ten minutes."
        return f"{scan} Or type, with the token:"

    def _colour(self) -> annotate.Colour:
        return annotate.LOST if self.fault else annotate.KNOWN if self.link else annotate.UNKNOWN
