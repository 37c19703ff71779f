"""Folders for temporary files, of processes that live, end and are killed."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from picam_infer.core import PicamError
from picam_infer.platform import scratch

_OWNER = """
import sys
from picam_infer.platform import scratch
with scratch.folder() as folder:
    (folder / "large.bin").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of temporary files, for this process and those that it starts."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path / "tmp"


@contextlib.contextmanager
def owner() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    words = [sys.executable, "-c", _OWNER]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_has_left_goes_with_the_next_one(place: Path) -> None:
    (place / "picam-infer-scratch-of-mine").mkdir()
    (place / "picam-infer-0.2.0").mkdir()
    with owner() as (living, theirs), owner() as (killed, left):
        killed.kill()
        killed.wait()
        assert left.parent == place and (left / "large.bin").exists()
        with scratch.folder() as mine:
            assert sorted(place.iterdir()) == sorted(
                [mine, theirs, place / "picam-infer-scratch-of-mine", place / "picam-infer-0.2.0"]
            )
            assert (theirs / "large.bin").exists() and not list(mine.iterdir())
            (mine / "deep").mkdir()
        assert not mine.exists() and living.poll() is None
    assert sorted(path.name for path in place.iterdir()) == ["picam-infer-0.2.0", "picam-infer-scratch-of-mine"]


def test_links_are_not_followed(place: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (place / "picam-infer-scratch-12345678").symlink_to(tmp_path / "precious")
    with scratch.folder():
        pass
    assert (tmp_path / "precious").is_dir()


def test_a_place_that_has_gone_is_named_with_the_remedy(place: Path) -> None:
    assert Path(tempfile.gettempdir()) == place
    place.rmdir()
    with pytest.raises(PicamError, match="nowhere to write temporary files") as error, scratch.folder():
        pass
    assert error.value.hint == "make room in /tmp, or set TMPDIR to a folder that can be written"


@pytest.mark.parametrize("words", [
    ["convert", "m.zip", "-o", "out"], ["models", "import", "m.zip"], ["teach", "-m", "digits", "-o", "t", "photos"],
    ["bench", "-m", "digits", "--against", "m.zip"],
])  # fmt: skip
def test_commands_that_find_no_place_say_so_in_one_line(words: list[str], tmp_path: Path) -> None:
    """No file may have a content here, so Python finds no folder that can be written."""
    (tmp_path / "m.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    (tmp_path / "photos" / "ring").mkdir(parents=True)
    (tmp_path / "photos" / "ring" / "1.jpg").write_bytes(b"no picture")
    done = subprocess.run(
        [sys.executable, "-m", "picam_infer", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "there is nowhere to write temporary files; make room in /tmp, or set TMPDIR" in done.stderr
