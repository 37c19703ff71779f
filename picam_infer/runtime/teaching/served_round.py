"""What teaching and a model's trial need from the service's current round: pictures, settings, the lesson it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from picam_infer import config as configs
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, Chain
from picam_infer.runtime.model_choice import ModelChoice, SessionChoice
from picam_infer.runtime.state import State
from picam_infer.runtime.teaching.names import BEFORE
from picam_infer.training.teach import shelf


class ServedRound(msgspec.Struct, frozen=True):
    """One round of the service, as `Supervisor` runs them."""

    state: State
    now: Callable[[], configs.Config]
    path: Path | None
    """The configuration file."""
    session: SessionChoice = msgspec.field(default_factory=SessionChoice)
    """What is remembered where there is none."""

    @property
    def config(self) -> configs.Config:
        """The configuration in force."""
        return self.now()

    @property
    def choice(self) -> ModelChoice | SessionChoice:
        """Which model runs, and which one ran before."""
        return self.session if self.path is None else ModelChoice(self.path)

    @property
    def lesson(self) -> str:
        """The name of the lesson whose model the service runs; empty: it runs another model."""
        bundle = self.state.bundle
        if bundle is None or bundle.card.taught is None:
            return ""
        name = bundle.folder.name.removesuffix(BEFORE)
        return name if bundle.folder.parent == bundles.home() and name in shelf.names() else ""

    def runs_network(self, network: Bundle) -> bool:
        """Whether the service runs this network, up to what was taught."""
        running = self.state.bundle
        return running is not None and _same_network(running, network)

    def chain_of(self, network: Bundle) -> Chain:
        """Return what a lesson on this network looks at: the same as its model will when the service runs it."""
        if self.runs_network(network):
            return self.state.tuning.preprocess
        return configs.tuned(network.card, self.config.preprocess, self.path)

    def keys_for(self, chain: Chain) -> dict[str, Any]:
        """Return the keys to write with a model, so that it looks at what was taught: those that the file has."""
        wanted = msgspec.to_builtins(chain)
        return {
            f"preprocess.{key}": wanted[key]
            for key, value in self.config.preprocess.items()
            if key in wanted and wanted[key] != value
        }


def _same_network(one: Bundle, other: Bundle) -> bool:
    if one.folder == other.folder:
        return True
    first, second = (bundle.card.taught.backbone if bundle.card.taught else bundle.name for bundle in (one, other))
    return first == second and one.card.input == other.card.input
