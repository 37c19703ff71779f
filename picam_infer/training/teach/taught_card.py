"""A taught bundle's card: what it was taught on, how well it works, and what its last output is called."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from picam_infer.inference.engines.taught_layers import FEATURES
from picam_infer.models.bundle import Bundle, Card, Chain, Origin, Taught, TaughtClass
from picam_infer.training.teach.report import Report

_REJECTS = ("unknown", "none of these", "nothing that was taught")


def card(name: str, backbone: Bundle, layer: str, chain: Chain, reject: str, report: Report, digest: str) -> Card:
    """Return the card of a bundle taught on a backbone's `layer`, its input prepared by `chain`.

    `reject`: the label of the last output. `digest`: SHA-256 of the pictures and their labels.
    """
    before = backbone.card.taught if layer == FEATURES else None
    taught = Taught(
        before.backbone if before else backbone.name,
        before.sha256 if before else network_digest(backbone),
        before.features if before else layer,
        tuple(TaughtClass(label, report.counts[label], _short(report.accuracy_of(label))) for label in report.labels),
        _short(report.accuracy),
    )
    origin = Origin(f"{sum(report.counts.values())} taught pictures", digest, f"taught on {taught.backbone}")
    return Card(
        name=name,
        input=backbone.card.input,
        preprocess=chain,
        origin=origin,
        output="taught_scores",
        probabilities=True,
        reject=reject,
        taught=taught,
    )


def reject_label(labels: Sequence[str]) -> str:
    """Return what the output for “none of these” is called: no class has that name."""
    taken = {label.casefold() for label in labels}
    return next((name for name in _REJECTS if name not in taken), f"unknown {len(labels)}")


def features_key(backbone: Bundle, layer: str, chain: Chain) -> str:
    """Return what a picture's features depend on besides the picture, as a SHA-256."""
    same = backbone.card.taught if layer == FEATURES else None
    network = f"{same.sha256} {same.features}" if same else f"{network_digest(backbone)} {layer}"
    return hashlib.sha256(f"{network} {chain!r}".encode()).hexdigest()


def network_digest(bundle: Bundle) -> str:
    """Return the SHA-256 of a bundle's network: what it computes, whatever its card says."""
    total = hashlib.sha256()
    for path in (bundle.network, bundle.network.with_suffix(".bin")):
        total.update(path.read_bytes())
    return total.hexdigest()


def _short(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
