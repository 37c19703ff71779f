"""Waiting for a service, against a systemctl that tells one line of a list each time it is asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from picam_infer.core import PicamError, Unavailable
from picam_infer.platform import service_manager

SYSTEMCTL = """#!/bin/sh
# `show` prints the first line of the file beside this one, and drops it if there are more.
here=$(dirname "$0")
case "$*" in
    *show*)
        head -n 1 "$here/states" | tr ';' '\\n'
        [ "$(wc -l <"$here/states")" -eq 1 ] || sed -i 1d "$here/states"
        ;;
esac
"""
SERVICE = service_manager.named(service_manager.MAIN)
PATIENCE_S = 1.0


def state(active: str, status: str, changed: int) -> str:
    return f"ActiveState={active};StatusText={status};StateChangeTimestampMonotonic={changed}\n"


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with what the service says, a line each time."""
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "states"


def test_a_reload_may_take_as_long_as_systemd_lets_it(says: Path) -> None:
    begun = [state("active", "sees 7", 1), *[state("reloading", "sees 7", 2)] * 12]
    says.write_text("".join([*begun, state("active", "sees plants", 3)]))
    assert service_manager.reload(SERVICE, PATIENCE_S).status == "sees plants"


def test_a_service_that_says_something_new_gets_on(says: Path) -> None:
    news = [state("active", f"waiting for the camera, {step} of 9 parts", 2) for step in range(9)]
    says.write_text("".join([state("active", "sees 7", 1), *news, state("active", "sees plants", 2)]))
    assert service_manager.reload(SERVICE, PATIENCE_S).status == "sees plants"


@pytest.mark.parametrize("said", [
    "Failed to connect to bus: Host is down",
    "Failed to connect to system scope bus via local transport: No such file or directory",
    "System has not been booted with systemd as init system (PID 1). Can't operate.",
])  # fmt: skip
def test_a_machine_where_systemd_does_not_run_is_named_as_that(said: str, says: Path) -> None:
    (says.parent / "systemctl").write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 1\n')
    with pytest.raises(Unavailable, match="systemd does not run on this machine") as error:
        service_manager.show_window(SERVICE)
    assert "picam-infer run" in error.value.hint


def test_a_service_that_says_nothing_new_is_given_up(says: Path) -> None:
    says.write_text(state("active", "sees 7", 1) + state("active", "waiting for the camera", 2))
    with pytest.raises(PicamError, match=r"has seen nothing after \d+ s \(waiting for the camera\)"):
        service_manager.reload(SERVICE, PATIENCE_S)


def test_starting_over_and_over_is_given_up(says: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_manager, "LONGEST_S", 2.0)
    says.write_text(state("failed", "", 1) + state("activating", "", 2))
    with pytest.raises(PicamError, match="activating"):
        service_manager.reload(SERVICE, PATIENCE_S)
