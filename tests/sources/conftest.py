"""What tests of several sources share."""

from __future__ import annotations

import pytest

from picam_infer.sources import network


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on a silent network camera sooner than the program does."""
    monkeypatch.setattr(network, "OPEN_S", 0.6)
    monkeypatch.setattr(network, "QUIET_S", 0.6)
