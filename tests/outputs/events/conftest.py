"""What the tests of event outlets share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from webhook_receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes POSTs."""
    with Receiver() as made:
        yield made
