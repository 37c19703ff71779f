"""Folders that are replaced as a whole."""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path

import pytest

from picam_infer.platform import atomic_folder


def _holding(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "a").write_text(text)
    return folder


def _names(folder: Path) -> list[str]:
    return sorted(found.name for found in folder.iterdir())


def test_a_folder_appears_when_all_of_it_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "model"
    with atomic_folder.replacing(folder) as fresh:
        (fresh / "a").write_text("1")
        assert not folder.exists()
    assert (folder / "a").read_text() == "1" and folder.stat().st_mode & 0o777 == 0o755
    assert _names(folder.parent) == ["model"]


def test_what_goes_wrong_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    folder = _holding(tmp_path / "model", "old")
    with pytest.raises(RuntimeError), atomic_folder.replacing(folder) as fresh:
        (fresh / "a").write_text("half")
        raise RuntimeError
    assert (folder / "a").read_text() == "old" and _names(tmp_path) == ["model"]


@pytest.mark.parametrize("exchange", [True, False], ids=["kernel", "without renameat2"])
def test_a_folder_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool) -> None:
    if not exchange:
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    folder = _holding(tmp_path / "model", "old")
    with atomic_folder.replacing(folder) as fresh:
        (fresh / "b").write_text("new")
    assert _names(folder) == ["b"] and _names(tmp_path) == ["model"]


def test_what_was_there_before_can_be_put_aside(tmp_path: Path) -> None:
    folder, fresh = _holding(tmp_path / "pictures", "old"), _holding(tmp_path / "fresh", "new")
    atomic_folder.put(fresh, folder)
    assert (folder / "a").read_text() == "new" and (fresh / "a").read_text() == "old"


@pytest.mark.parametrize("sandboxed", [False, True], ids=["a person", "the service's sandbox"])
def test_in_a_groups_folder_the_group_may_replace_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandboxed: bool
) -> None:
    """systemd's RestrictSUIDSGID refuses every chmod that sets the bit, with EPERM."""
    models = tmp_path / "models"
    models.mkdir()
    models.chmod(0o2775)
    chmod = Path.chmod

    def restricted(path: Path, mode: int) -> None:
        if mode & 0o6000:
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        chmod(path, mode)

    if sandboxed:
        monkeypatch.setattr(Path, "chmod", restricted)
    with atomic_folder.replacing(models / "taught") as fresh:
        (fresh / "inner").mkdir()
        (fresh / "inner" / "a").write_text("1")
        assert (fresh / "inner").stat().st_gid == models.stat().st_gid
    for folder in (models / "taught", models / "taught" / "inner"):
        assert folder.stat().st_mode & 0o777 == 0o775
    assert (models / "taught" / "inner" / "a").stat().st_mode & 0o777 == 0o664
    assert _names(models) == ["taught"]
