"""Fixtures for the tests of the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import Browser, chromium
from makers import until
from visitors import Run, serving

from picam_infer.outputs.web.server import Web


@pytest.fixture
def frame_size() -> tuple[int, int]:
    """Width and height of the run's frames, in pixels; a file of tests may have its own."""
    return 320, 240


@pytest.fixture
def run(frame_size: tuple[int, int], request: pytest.FixtureRequest) -> Iterator[Run]:
    """A running service without the page, once it has results."""
    # A browser without a graphics card takes most of a test's time for drawing.
    made = Run(fps=12.0 if "browser" in request.fixturenames else 30.0, size=frame_size)
    until(lambda: made.state.stats.inferences.total)
    yield made
    made.close()


@pytest.fixture
def web(run: Run) -> Iterator[Web]:
    """That run's page."""
    with serving(run) as made:
        yield made


@pytest.fixture(scope="session")
def chromium_session() -> Iterator[Browser]:
    """One browser for all tests of a process: it takes long to start."""
    with chromium() as made:
        yield made


@pytest.fixture
def browser(chromium_session: Browser) -> Iterator[Browser]:
    """A browser that knows nothing of the tests before."""
    yield chromium_session
    chromium_session.forget()
