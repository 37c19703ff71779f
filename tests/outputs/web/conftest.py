"""What the tests of the page start from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from makers import until
from visitors import Run


@pytest.fixture
def run() -> Iterator[Run]:
    """A run of the other parts, once it has results."""
    made = Run()
    until(lambda: made.state.stats.inferences.total)
    yield made
    made.close()
