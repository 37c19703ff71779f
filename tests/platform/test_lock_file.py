"""A lock between processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from makers import unprivileged

from picam_infer.platform import lock_file

_OWNER = """
import sys
from pathlib import Path
from picam_infer.platform import lock_file
with lock_file.held(Path(sys.argv[1]), "the first"):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_one_process_has_it_until_it_ends_however_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for kill in (False, True):
        with subprocess.Popen([sys.executable, "-c", _OWNER, path], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as owner:  # fmt: skip
            assert owner.stdout is not None and owner.stdout.readline() == b"mine\n"
            with pytest.raises(lock_file.Taken) as taken, lock_file.held(path, "the second"):
                pass
            assert taken.value.owner == "the first"
            if kill:
                owner.kill()
        assert path.exists() == kill
        with lock_file.held(path):
            assert path.exists()
        assert not path.exists()


def test_what_another_user_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    """Its owner died, and this user may read the file but not write to it."""
    path = tmp_path / "lock"
    path.write_text("somebody")
    path.chmod(0o444)
    with subprocess.Popen([*unprivileged(), sys.executable, "-c", _OWNER, path], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as owner:  # fmt: skip
        assert owner.stdout is not None and owner.stdout.readline() == b"mine\n"
        with pytest.raises(lock_file.Taken) as taken, lock_file.held(path):
            pass
        assert taken.value.owner == "somebody"
    assert not path.exists()
