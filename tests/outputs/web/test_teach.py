"""Teaching over HTTP, against a whole daemon and a camera that shows what is held up to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from show_camera import sheet
from teach_lab import Service, service

SIGNS = ("circle", "cross", "bars")


@pytest.fixture
def pi(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path, sheet("nothing")) as made:
        yield made


def test_three_signs_are_taught_used_corrected_and_known_after_a_restart(pi: Service) -> None:
    assert pi.get("/api/teach")[1]["stage"] == "closed"
    status, opened = pi.post("/api/teach/open")
    assert status == 200 and (opened["name"], opened["base"], opened["classes"]) == ("taught", "digits", [])
    for sign in SIGNS:
        assert pi.teach(sign, sheet(sign)) >= 12
    for sign in SIGNS:
        pi.camera.scene = sheet(sign)
        pi.thinks(sign)
    pi.uses()
    assert "# mine\nmodel: taught\n" in pi.config.read_text()
    for sign in SIGNS:
        pi.camera.scene = sheet(sign)
        pi.sees(sign)
    assert pi.end() < 2
    pi.start()
    pi.sees("bars")
    assert pi.post("/api/teach/open")[1]["name"] == "taught"
    assert list(pi.counts()) == list(SIGNS), "in the order they were made"
