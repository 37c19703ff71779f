import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALL = ROOT / "scripts/install.sh"


def run(*words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"} if path else None
    return subprocess.run([*words], capture_output=True, text=True, env=environment, timeout=20, check=False)


def pretend(folder: Path, **commands: str) -> Path:
    """Put commands that print something in front of the machine's own."""
    for name, text in commands.items():
        file = folder / name.replace("_", "-")
        file.write_text(f"#!/bin/sh\necho {text}\n")
        file.chmod(0o755)
    return folder


@pytest.mark.parametrize("script", ["install.sh", "uninstall.sh"])
def test_help_and_unknown_options(script: str) -> None:
    helped = run(str(ROOT / "scripts" / script), "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "set -" not in helped.stdout
    assert script in helped.stdout
    wrong = run(str(ROOT / "scripts" / script), "--wrong")
    assert wrong.returncode == 1
    assert "unknown option --wrong" in wrong.stderr


def test_wheels_must_be_a_folder(tmp_path: Path) -> None:
    assert "needs a folder" in run(str(INSTALL), "--wheels").stderr
    assert "no such folder" in run(str(INSTALL), "--wheels", str(tmp_path / "none")).stderr


@pytest.mark.parametrize("arch", ["armhf", "i386"])
def test_32_bit_systems_are_refused_in_one_line(tmp_path: Path, arch: str) -> None:
    done = run(str(INSTALL), path=pretend(tmp_path, dpkg=arch))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"32-bit ({arch})" in done.stderr
    assert "64-bit Raspberry Pi OS" in done.stderr


def test_root_is_asked_for(tmp_path: Path) -> None:
    done = run(str(INSTALL), path=pretend(tmp_path, dpkg="arm64", id="1000"))
    assert done.returncode == 1
    assert "needs root: sudo" in done.stderr


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ("", ""),
        ("engine: {kind: auto}\nevents: [{kind: webhook}]\n", ""),
        ("# engine: {kind: remote}\n", ""),
        ("engine:\n  kind: remote\n  url: grpc://pi\n", "[remote]"),
        ('engine: {url: "grpc://pi", kind: "remote"}\nevents:\n  - kind: notify\n', "[notify,remote]"),
    ],
)
def test_what_the_settings_need_is_installed(tmp_path: Path, config: str, wanted: str) -> None:
    (tmp_path / "config.yaml").write_text(config)
    function = INSTALL.read_text().partition("\nextras() {")[2].partition("\n}\n")[0]
    done = run("bash", "-euc", f"etc={tmp_path}; extras() {{{function}\n}}; extras")
    assert (done.stdout.strip(), done.stderr) == (wanted, "")


def index_reached(**settings: str) -> subprocess.CompletedProcess[str]:
    """Ask whether pip's index can be reached, with these settings of pip and no others."""
    plain = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment = {**plain, "PIP_FIND_LINKS": "", "PIP_NO_INDEX": "", "PIP_PROXY": "", **settings}
    script = [sys.executable, str(ROOT / "scripts/reach_index.py")]
    return subprocess.run(script, capture_output=True, text=True, env=environment, timeout=20, check=False)


def test_an_index_out_of_reach_is_known_at_once_and_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as index:
        address = f"http://127.0.0.1:{index.getsockname()[1]}"
        assert index_reached(PIP_INDEX_URL=f"{address}/simple").returncode == 0
        # Behind a proxy no name is known here, and none needs to be.
        assert index_reached(PIP_INDEX_URL="https://pypi.invalid/simple", PIP_PROXY=address).returncode == 0
    gone = index_reached(PIP_INDEX_URL=f"{address}/simple")
    assert (gone.returncode, gone.stdout) == (1, "127.0.0.1\n")
    assert index_reached(PIP_INDEX_URL="https://pypi.invalid/simple").stdout == "pypi.invalid\n"
    assert index_reached(PIP_INDEX_URL="https://pypi.invalid/simple", PIP_PROXY=address).returncode == 1


@pytest.mark.parametrize(
    "settings",
    [{"PIP_INDEX_URL": "file:///media/wheels"}, {"PIP_NO_INDEX": "1"}, {"PIP_FIND_LINKS": "/media/wheels"},
     {"PIP_INDEX_URL": "http://[nonsense/"}],
)  # fmt: skip
def test_where_pip_needs_no_network_none_is_asked_for(settings: dict[str, str]) -> None:
    assert index_reached(**{"PIP_INDEX_URL": "https://pypi.invalid/", **settings}).returncode == 0


def test_wheels_cannot_be_fetched_without_a_network_and_one_line_says_so(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PIP_FIND_LINKS": "",
        "PIP_NO_INDEX": "",
        "PIP_INDEX_URL": "https://pypi.invalid/simple",
    }
    environment = {name: value for name, value in environment.items() if "proxy" not in name.lower()}
    done = subprocess.run([INSTALL, "--fetch", str(tmp_path / "wheels")], capture_output=True, text=True,
                          env=environment, timeout=60, check=False)  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "no network: pypi.invalid cannot be reached" in done.stderr
    assert not list((tmp_path / "wheels").iterdir())


def test_scripts_are_sound() -> None:
    for script in ("install.sh", "uninstall.sh", "test-system", "test-arm64"):
        file = ROOT / "scripts" / script
        assert "set -euo pipefail" in file.read_text()
        assert os.access(file, os.X_OK)
        assert run("bash", "-n", str(file)).stderr == ""
        if shutil.which("shellcheck"):
            assert run("shellcheck", str(file)).stdout == ""


def unit(name: str, systemd: int = 252) -> str:
    """Return a unit's text as the installation writes it."""
    functions = INSTALL.read_text().removesuffix('main "$@"\n')
    step = "unit" if name == "picam-infer@.service" else "single_unit"
    made = run("bash", "-c", f"{functions}\nroot={ROOT}; systemd_version() {{ echo {systemd}; }}; {step}")
    assert made.returncode == 0, made.stderr
    return made.stdout


def settings(name: str) -> list[str]:
    return [line for line in unit(name).splitlines() if line and not line.startswith("#")]


def test_the_single_unit_reads_config_yaml_and_names_no_instance() -> None:
    one = settings("picam-infer.service")
    assert "ExecStart=/opt/picam-infer/current/bin/picam-infer run -c /etc/picam-infer/config.yaml" in one
    assert "RuntimeDirectory=picam-infer" in one
    assert not [line for line in one if "%i" in line]
    assert len(one) == len(settings("picam-infer@.service"))


def test_what_the_units_promise() -> None:
    lines = settings("picam-infer.service")
    for line in ("Type=notify", "Restart=always", "RestartPreventExitStatus=78", "StartLimitIntervalSec=0",
                 "NoNewPrivileges=yes", "ProtectSystem=strict", "DevicePolicy=closed"):  # fmt: skip
        assert line in lines


@pytest.mark.parametrize(("systemd", "reload"), [(252, ["Type=notify", "ExecReload="]), (253, ["Type=notify-reload"])])
@pytest.mark.parametrize("name", ["picam-infer.service", "picam-infer@.service"])
def test_a_reload_ends_when_the_service_says_so(name: str, systemd: int, reload: list[str]) -> None:
    """With both, notify-reload and ExecReload=, there would be two reloads."""
    found = [line for line in unit(name, systemd).splitlines() if line.startswith(("Type=", "ExecReload="))]
    assert [line if line.startswith("Type=") else line[:11] for line in found] == reload


def test_the_version_of_systemd_is_a_number(tmp_path: Path) -> None:
    functions = INSTALL.read_text().removesuffix('main "$@"\n')
    path = pretend(tmp_path, systemctl="'systemd 257 (257.7-1)'")
    assert run("bash", "-c", f"{functions}\nsystemd_version", path=path).stdout == "257\n"


@pytest.mark.parametrize("name", ["picam-infer.service", "picam-infer@.service"])
def test_systemd_finds_no_fault(tmp_path: Path, name: str) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    program = tmp_path / "picam-infer"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / name.replace("@", "@x")
    copy.write_text(unit(name).replace("/opt/picam-infer/current/bin/picam-infer", str(program)))
    found = run("systemd-analyze", "verify", "--man=no", str(copy))
    assert not [line for line in found.stderr.splitlines() if name.split(".")[0].rstrip("@") in line], found.stderr
