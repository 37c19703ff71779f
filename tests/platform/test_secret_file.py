"""The one reader of secrets: files as people and editors write them, credentials, the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from picam_infer.platform import secret_file
from picam_infer.platform.secret_file import SecretError


@pytest.mark.parametrize(
    "data",
    ["s3crét".encode(), "s3crét\r\n".encode(), "\ufeffs3crét\n".encode(), "\n\ns3crét\n\n".encode(),
     "s3crét\r\n".encode("utf-16"), b"\xfe\xff" + "s3crét".encode("utf-16-be")],
)  # fmt: skip
def test_marks_and_line_ends_are_no_part_of_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "s").write_bytes(data)
    assert secret_file.text(str(tmp_path / "s")) == "s3crét"


def test_a_space_may_be_a_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "s").write_text(" s3cret \n")
    assert secret_file.text(str(tmp_path / "s")) == " s3cret "


def test_bytes_that_are_no_text_are_a_key_but_no_password(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"\x80\x81\n")
    assert secret_file.read(str(tmp_path / "s")) == b"\x80\x81"
    with pytest.raises(SecretError, match="is not text") as refused:
        secret_file.text(str(tmp_path / "s"))
    assert refused.value.__cause__ is None


def test_systemds_credentials(tmp_path: Path) -> None:
    (tmp_path / "camera").write_text("s3cret\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert secret_file.text("credential:camera", environ) == "s3cret"
    with pytest.raises(SecretError, match="there is no"):
        secret_file.text("credential:other", environ)
    with pytest.raises(SecretError, match="systemd gave this process none") as refused:
        secret_file.text("credential:camera", {})
    assert "LoadCredential=camera:" in refused.value.hint
    for name in ("credential:", "credential:../camera"):
        with pytest.raises(SecretError, match="names no credential"):
            secret_file.text(name, environ)


def test_the_environment() -> None:
    assert secret_file.text("env:CAM", {"CAM": "s3cret\n"}) == "s3cret"
    with pytest.raises(SecretError, match="has no CAM"):
        secret_file.text("env:CAM", {})


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(bytes(secret_file.MAX_BYTES + 1))
    for name, words in (
        ("none", "there is no"),
        (".", "not a file"),
        ("fifo", "not a file"),
        ("large", "too large"),
    ):
        with pytest.raises(SecretError, match=words) as refused:
            secret_file.read(str(tmp_path / name))
        assert refused.value.hint


@pytest.mark.parametrize(
    ("mode", "bad"), [(0o600, False), (0o400, False), (0o640, False), (0o644, True), (0o606, True)]
)
def test_a_file_that_everybody_reads_is_told(tmp_path: Path, mode: int, bad: bool) -> None:
    path = tmp_path / "s"
    path.write_text("s3cret")
    path.chmod(mode)
    problem = secret_file.exposed(str(path))
    assert (problem is not None) == bad
    if problem is not None:
        assert "everyone" in problem.message and problem.hint == f"chmod 600 {path}"
    assert secret_file.exposed("env:CAM", {}) is None and secret_file.exposed("credential:c", {}) is None
