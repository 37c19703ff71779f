"""Which lesson is opened, and the network that it builds on."""

from __future__ import annotations

import contextlib

from picam_infer.core import PicamError
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle
from picam_infer.runtime.teaching.names import DEFAULT, lesson_name
from picam_infer.runtime.teaching.served_round import ServedRound
from picam_infer.training.teach import shelf


def chosen_name(asked: str, opened: str, running: ServedRound | None) -> str:
    """Return the name of the lesson to open: the one asked for, else the open one, the one that runs, the newest.

    Both names may be empty. Raises `UsageError`.
    """
    if name := asked or opened:
        return lesson_name(name)
    return (running.lesson if running else "") or (shelf.names() or [DEFAULT])[0]


def network_for(name: str, base: str, running: Bundle | None) -> Bundle:
    """Return the network that a lesson builds on: the model `base`, if given, else its own, else the best there is.

    `running` is what the service runs. Raises `PicamError`.
    """
    from picam_infer.training.teach import lesson

    return bundles.load(base) if base else lesson.network_of(name) or _best_base(running)


def _best_base(running: Bundle | None) -> Bundle:
    """Return the network for a new lesson: the one that runs, where it can be one, else one for photos."""
    from picam_infer.training.teach import backbone, lesson

    if running is not None:
        with contextlib.suppress(PicamError):
            backbone.described(running)
            return running
    bases = lesson.bases()
    if not bases:
        remedy = "put any Teachable Machine export on the Pi once: picam-infer use FILE"
        raise PicamError("there is no model that teaching can build on", remedy)
    return bundles.load(bases[0].name)
