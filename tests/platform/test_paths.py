"""The running Python is named by a path that the next upgrade leaves valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from picam_infer.platform.paths import interpreter, real, system_package


@pytest.mark.parametrize("version", ["release-1.0", "versions/20260101-1.0"])
def test_an_installed_python_is_named_through_the_link_to_the_current_version(tmp_path: Path, version: str) -> None:
    (tmp_path / version / "bin").mkdir(parents=True)
    (tmp_path / "current").symlink_to(version)
    assert interpreter(tmp_path / version / "bin/python") == tmp_path / "current/bin/python"


def test_any_other_python_is_named_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "versions/old/bin").mkdir(parents=True)
    (tmp_path / "current").symlink_to("versions/new")
    program = tmp_path / "versions/old/bin/python"
    assert interpreter(program) == program
    (tmp_path / "versions/new").mkdir()
    assert interpreter(program) == program


def test_a_package_of_the_system_is_of_no_use_to_an_environment_that_does_not_see_it(tmp_path: Path) -> None:
    install = "sudo apt install python3-systemd"
    assert system_package("python3-systemd", tmp_path) == install
    for shown, said in (("true", install), ("false", f"--system-site-packages {tmp_path}")):
        (tmp_path / "pyvenv.cfg").write_text(f"home = /usr/bin\ninclude-system-site-packages = {shown}\n")
        told = system_package("python3-systemd", tmp_path)
        assert told.startswith(install) and told.endswith(said)


def test_links_in_a_circle_lead_somewhere(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    assert real(tmp_path / "one").parent == tmp_path
