"""Everything that follows from the taught pictures alone, whatever their order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from picam_infer.training.teach import calibration as calibrations
from picam_infer.training.teach import lda, report
from picam_infer.training.teach.backbone import Vector
from picam_infer.training.teach.calibration import Calibration
from picam_infer.training.teach.head import Head, head, rooted
from picam_infer.training.teach.lda import Array, Classes, Lda
from picam_infer.training.teach.picture_set import Picture, label_order
from picam_infer.training.teach.report import Report


@dataclass(frozen=True)
class Fitted:
    """A discriminant fitted to pictures, its calibration, and its answer for each picture when that is left out."""

    labels: list[str]
    """The classes, in order."""
    names: list[str]
    """`label/name` of each picture."""
    digest: str
    """SHA-256 of the pictures and their labels."""
    vectors: Array
    """(n, d): the pictures' features as the discriminant takes them."""
    classes: Classes
    """(n,): each picture's class, a number in `labels`."""
    model: Lda
    left: lda.LeftOut
    calibration: Calibration
    root: bool
    """Whether `vectors` are the square roots of the features."""

    @classmethod
    def to(cls, pictures: Sequence[Picture], features: Mapping[str, Vector], root: bool) -> Fitted:
        """Fit to one or more pictures; `features` has theirs, (d,) each, by their ids."""
        labels = sorted({picture.label for picture in pictures}, key=label_order)
        found = [features[picture.id] for picture in pictures]
        vectors = rooted(np.stack(found).astype(np.float64), root)
        classes = np.array([labels.index(picture.label) for picture in pictures], np.intp)
        model = Lda(vectors, classes, len(labels))
        left = lda.leave_one_out(model, vectors, classes)
        names = [f"{picture.label}/{picture.name}" for picture in pictures]
        calibration = calibrations.calibrate(model, left, classes)
        return cls(labels, names, digest_of(pictures), vectors, classes, model, left, calibration, root)

    def report(self) -> Report:
        """Return how well it works, each picture left out in turn."""
        return report.make(self.labels, self.names, self.vectors, self.classes, self.left, self.calibration)

    def head(self, spend: bool = False) -> Head:
        """Return the taught layers; `spend`: they are made in the model's memory, which is unusable afterwards."""
        return head(self.model, self.calibration, self.root, list(range(len(self.labels))), spend, self.vectors)


def digest_of(pictures: Sequence[Picture]) -> str:
    """Return the SHA-256 of pictures and their labels."""
    listed = "\n".join(f"{picture.id} {picture.label}" for picture in pictures)
    return hashlib.sha256(listed.encode(errors="surrogatepass")).hexdigest()
