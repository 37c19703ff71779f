"""scripts/package, without the libraries' wheels: what the package puts where, and what it promises to dpkg."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from picam_infer import config

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "scripts/package"


def build(tmp_path: Path, steps: str, python: str = f"{sys.version_info[0]}.{sys.version_info[1]}") -> Path:
    """Do some of its steps and return the tree that becomes the package."""
    functions = PACKAGE.read_text().removesuffix('main "$@"\n')
    given = f"root={ROOT} tree={tmp_path}/tree stage={tmp_path} python={python} version=1.2 arch=arm64 release=12"
    done = subprocess.run(
        ["bash", "-c", f"{functions}\n{given}\n{steps}"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return tmp_path / "tree"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("package"), "system_files; control")


def test_the_settings_are_a_conffile_at_the_defaults(tree: Path) -> None:
    assert "/etc/picam-infer/config.yaml" in (tree / "DEBIAN/conffiles").read_text().split()
    assert config.load(tree / "etc/picam-infer/config.yaml") == config.Config()


def test_new_keys_bring_no_question_at_an_upgrade(tree: Path) -> None:
    """dpkg asks when the package's file is another one and the person's own was changed: ours stays what it is."""
    shipped = (tree / "etc/picam-infer/config.yaml").read_text()
    keys = {line.split(":")[0] for line in shipped.splitlines() if line[:1] not in ("#", "")}
    assert keys == {"source", "model"}
    named = next(word for word in shipped.split() if word.startswith("/usr/share/doc"))
    reference = (tree / named.lstrip("/")).read_text()
    assert reference == (ROOT / "config/picam-infer.yaml").read_text()


def test_every_conffile_is_in_the_package(tree: Path) -> None:
    for name in (tree / "DEBIAN/conffiles").read_text().split():
        assert (tree / name.lstrip("/")).is_file()


@pytest.mark.parametrize(("release", "kind", "signals"), [(12, "Type=notify", 1), (13, "Type=notify-reload", 0)])
def test_a_reload_ends_when_the_service_says_so(tmp_path: Path, release: int, kind: str, signals: int) -> None:
    """Bookworm's systemd knows no notify-reload; with it and ExecReload= there would be two reloads."""
    built = build(tmp_path, f"release={release}; system_files")
    for name in ("picam-infer.service", "picam-infer@.service"):
        lines = (built / "usr/lib/systemd/system" / name).read_text().splitlines()
        assert kind in lines
        assert len([line for line in lines if line.startswith("ExecReload=")]) == signals


def test_it_is_compiled_where_that_can_be_done(tmp_path: Path) -> None:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    site = tmp_path / f"tree/opt/picam-infer/release-1.2/lib/python{version}/site-packages"
    site.mkdir(parents=True)
    (site / "one.py").write_text("answer = 42\n")
    build(tmp_path, "compile")
    (compiled,) = (site / "__pycache__").iterdir()
    data = compiled.read_bytes()
    assert data[4] == 1, "not by time: unpacking may change that"
    assert str(tmp_path).encode() not in data and b"/opt/picam-infer/release-1.2/lib" in data


def test_another_suites_package_is_compiled_when_it_is_installed(tmp_path: Path) -> None:
    site = tmp_path / "tree/opt/picam-infer/release-1.2/lib/python2.99/site-packages"
    site.mkdir(parents=True)
    (site / "one.py").write_text("answer = 42\n")
    build(tmp_path, "compile", python="2.99")
    assert not (site / "__pycache__").exists()
    assert "compileall" in (ROOT / "systemd/package/postinst").read_text()


def test_an_upgrade_starts_every_cameras_service_again(tmp_path: Path) -> None:
    """Files that a running service has yet to import are gone after an upgrade."""
    (tmp_path / "systemd").mkdir()
    log, tools = tmp_path / "log", tmp_path / "bin"
    tools.mkdir()
    for name in ("adduser", "addgroup", "getent", "id", "install", "chown", "chmod", "find", "touch", "nice", "udevadm",
                 "systemctl"):  # fmt: skip
        (tools / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{log}\n')
        (tools / name).chmod(0o755)
    script = (ROOT / "systemd/package/postinst").read_text().replace("/run/systemd/system", str(tmp_path / "systemd"))
    script = script.replace("/opt/picam-infer/current/bin/python", "true")
    subprocess.run(["sh", "-c", script, "postinst", "configure", "0.1"], check=True, timeout=60, cwd=tmp_path,
                   env={"PATH": f"{tools}:/usr/bin:/bin"})  # fmt: skip
    said = log.read_text().splitlines()
    assert said.index("systemctl daemon-reload") < said.index("systemctl restart picam-infer.service")
    assert "systemctl try-restart picam-infer@*.service" in said


def test_an_upgrade_cut_short_leaves_the_version_before_whole(tmp_path: Path) -> None:
    """dpkg puts links in place after all files, so that `current` leads to whole versions only."""
    for version in ("1.2", "1.3"):
        folder = tmp_path / f"tree/opt/picam-infer/release-{version}"
        (folder / "bin").mkdir(parents=True)
        build(tmp_path, f"version={version}; rm -f $tree/opt/picam-infer/current; venv $tree$(folder)")
        assert (tmp_path / "tree/opt/picam-infer/current").readlink() == Path(f"release-{version}")
        program = (folder / "bin/picam-infer").read_text()
        assert program.startswith(f"#!/opt/picam-infer/release-{version}/bin/python\n"), (
            "not the next version's modules"
        )


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg is not installed")
def test_a_package_from_before_versions_had_folders_is_upgraded(tmp_path: Path) -> None:
    """dpkg puts no link where a folder is: without help the program would be gone."""
    control = "Package: picam-infer\nVersion: {}\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: x\n"
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "opt/picam-infer/current/lib").mkdir(parents=True)
    (new / "opt/picam-infer/release-2/lib").mkdir(parents=True)
    (old / "opt/picam-infer/current/lib/one.py").write_text("old")
    (new / "opt/picam-infer/release-2/lib/one.py").write_text("new")
    (new / "opt/picam-infer/current").symlink_to("release-2")
    root = tmp_path / "root"
    for folder in ("info", "updates", "triggers"):
        (root / "var/lib/dpkg" / folder).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    for version, folder in ((1, old), (2, new)):
        (folder / "DEBIAN").mkdir()
        (folder / "DEBIAN/control").write_text(control.format(version))
        shutil.copy(ROOT / "systemd/package/preinst", folder / "DEBIAN/preinst")
        (folder / "DEBIAN/preinst").chmod(0o755)
        package = tmp_path / f"{version}.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", folder, package], check=True, capture_output=True)
        options = (f"--root={root}", "--force-script-chrootless", "--force-not-root", f"--log={tmp_path}/log")
        path = os.environ["PATH"] + ":/usr/sbin:/sbin"
        done = subprocess.run(["dpkg", *options, "-i", package], env={**os.environ, "PATH": path},
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (root / "opt/picam-infer/current").readlink() == Path("release-2")
    assert (root / "opt/picam-infer/current/lib/one.py").read_text() == "new"
