"""scripts/install-ncsdk.sh on an archive of the same shape as NCSDK2's, below a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "install-ncsdk.sh"
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("gcc", "make", "bash"))), reason="needs gcc and make, as the script does"
)
MAKEFILE = """
OUT := obj-$(shell uname -m)/libmvnc.so.0
$(OUT): mvnc_api.c
\tmkdir -p $(dir $@)
\t$(CC) $(CFLAGS) -shared -fPIC -o $@ $(realpath $<)
"""
CODE = "int ncDeviceCreate(void) { return -4; }\nconst char *named_by_assertions = __FILE__;\n"
MODULE = "import ctypes\nf = ctypes.CDLL('libmvnc.so')\n"


def tree(folder: Path, version: str = "2.10.01.01", code: str = CODE) -> Path:
    api = folder / "ncsdk-ncsdk2" / "api"
    for name, text in (("src/Makefile", MAKEFILE), ("src/mvnc_api.c", code), ("src/version.txt", version + "\n"),
                       ("python/mvnc/__init__.py", ""), ("python/mvnc/mvncapi.py", MODULE)):  # fmt: skip
        (api / name).parent.mkdir(parents=True, exist_ok=True)
        (api / name).write_text(text)
    return folder


def zipped(source: Path) -> Path:
    return Path(shutil.make_archive(str(source.parent / "ncsdk2"), "zip", source))


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    return tmp_path / "venv"


def install(tmp_path: Path, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DESTDIR": str(tmp_path / "root"), **more}
    command = [SCRIPT, "--venv", tmp_path / "venv", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_install_again_and_uninstall(tmp_path: Path, venv: Path) -> None:
    root, untouched = tmp_path / "root", files(venv)
    archive = zipped(tree(tmp_path / "source"))
    firmware = tmp_path / "MvNCAPI-ma2450.mvcmd"
    firmware.write_bytes(b"firmware")
    done = install(tmp_path, "--archive", archive, "--firmware", firmware)
    assert done.returncode == 0, done.stderr
    wanted = {
        "usr/local/lib/libmvnc.so",
        "usr/local/lib/libmvnc.so.0",
        "usr/local/lib/mvnc/MvNCAPI-ma2450.mvcmd",
        "etc/udev/rules.d/99-picam-infer-ncs.rules",
    }
    assert files(root) == wanted
    import_it = [venv / "bin/python", "-c", "from mvnc import mvncapi; print(mvncapi.f.ncDeviceCreate())"]
    environment = {"LD_LIBRARY_PATH": str(root / "usr/local/lib")}
    assert subprocess.run(import_it, env=environment, capture_output=True, check=True).stdout == b"-4\n"
    library = (root / "usr/local/lib/libmvnc.so").read_bytes()
    again = install(tmp_path, "--archive", archive)  # keeps the firmware that is there
    assert again.returncode == 0 and files(root) == wanted
    assert (root / "usr/local/lib/libmvnc.so").read_bytes() == library
    gone = install(tmp_path, "--uninstall")
    assert gone.returncode == 0 and files(root) == set()
    assert {name for name in files(venv) if "__pycache__" not in name} == untouched


def test_a_tar_archive_and_firmware_in_intels_package(tmp_path: Path, venv: Path) -> None:
    source = tree(tmp_path / "source")
    with tarfile.open(tmp_path / "ncsdk2.tar.gz", "w:gz") as file:
        file.add(source / "ncsdk-ncsdk2", "ncsdk-ncsdk2")
    (tmp_path / "fw").write_bytes(b"firmware")
    with tarfile.open(tmp_path / "NCSDK-2.10.01.01.tar.gz", "w:gz") as file:
        file.add(tmp_path / "fw", "NCSDK-2.10.01.01/ncsdk-x86_64/fw/MvNCAPI-ma2450.mvcmd")
    words = "--archive", tmp_path / "ncsdk2.tar.gz", "--firmware", tmp_path / "NCSDK-2.10.01.01.tar.gz"
    done = install(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "root/usr/local/lib/mvnc/MvNCAPI-ma2450.mvcmd").read_bytes() == b"firmware"


@pytest.mark.parametrize(("version", "code", "words"), [
    ("1.12.00.01", "int x;", "not NCSDK 2"),
    ("2.10.01.01", "this is no C", "did not compile"),
])  # fmt: skip
def test_a_source_that_will_not_do(tmp_path: Path, venv: Path, version: str, code: str, words: str) -> None:
    done = install(tmp_path, "--archive", zipped(tree(tmp_path / "source", version, code)))
    assert done.returncode == 1 and words in done.stderr
    assert not (tmp_path / "root").exists()


def test_what_is_refused_at_once(tmp_path: Path) -> None:
    for words, answer in (
        (["--archive", tmp_path / "none.zip"], "does not exist"),
        (["--archive"], "needs a value"),
        (["--wrong"], "unknown option"),
        ([], "no Python environment at"),
    ):
        done = install(tmp_path, *words)
        assert done.returncode == 1 and answer in done.stderr
    assert "--archive FILE" in install(tmp_path, "--help").stdout


def test_something_else_in_the_archive(tmp_path: Path, venv: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("README", "hello")
    assert "must be the branch ncsdk2" in install(tmp_path, "--archive", tmp_path / "other.zip").stderr
    (tmp_path / "text.zip").write_text("no archive")
    assert "is not a .zip or .tar archive" in install(tmp_path, "--archive", tmp_path / "text.zip").stderr


def test_a_damaged_archive(tmp_path: Path, venv: Path) -> None:
    archive = zipped(tree(tmp_path / "source", code="/* " + " ".join(map(str, range(999))) + "*/"))
    whole = archive.read_bytes()
    with zipfile.ZipFile(archive) as file:
        start = next(item for item in file.infolist() if item.filename.endswith(".c")).header_offset + 100
    for damaged in (whole[: len(whole) // 2], whole[:start] + bytes(60) + whole[start + 60 :]):
        archive.write_bytes(damaged)
        done = install(tmp_path, "--archive", archive)
        assert done.returncode == 1 and "not a .zip or .tar archive" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "root").exists()


def test_neither_archive_nor_network(tmp_path: Path, venv: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    done = install(tmp_path, https_proxy=nowhere, HTTPS_PROXY=nowhere, no_proxy="", NO_PROXY="")
    assert done.returncode == 1 and "give it with --archive" in done.stderr and "Traceback" not in done.stderr


def test_no_firmware_and_no_network(tmp_path: Path, venv: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    proxies = {"https_proxy": nowhere, "HTTPS_PROXY": nowhere, "no_proxy": "", "NO_PROXY": ""}
    done = install(tmp_path, "--archive", zipped(tree(tmp_path / "source")), **proxies)
    assert done.returncode == 1 and "everything is installed except the stick's firmware" in done.stderr
    assert "--firmware FILE" in done.stderr and "Traceback" not in done.stderr


def test_a_32_bit_system(tmp_path: Path, venv: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "getconf").write_text("#!/bin/sh\necho 32\n")
    (tmp_path / "bin" / "getconf").chmod(0o755)
    done = install(tmp_path, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert done.returncode == 1 and "64-bit" in done.stderr
