"""The one reader of passwords, tokens and keys: from a file, from systemd's credentials, or from the environment."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from picam_infer.core import PicamError

MAX_BYTES = 65536
FORMS = "a file, credential:NAME (LoadCredential= in the unit), or env:NAME"
_OTHERS = 0o007
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class SecretError(PicamError):
    """A secret is missing, or others can read it."""


def read(place: str, environ: Mapping[str, str] = os.environ) -> bytes:
    """Return the secret at `place` (see `FORMS`), without a byte order mark and the line ends around it.

    Raises `SecretError`, which names the place and never what is in it.
    """
    if place.startswith("env:"):
        return _plain(_from_environment(place.removeprefix("env:"), environ))
    path = path_of(place, environ)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SecretError(f"{path} is not a file", f"a secret comes from {FORMS}")
        if status.st_size > MAX_BYTES:
            raise SecretError(f"{path} is too large for a secret", "is it the right file?")
        return _plain(path.read_bytes())
    except FileNotFoundError as error:
        raise SecretError(f"there is no {path}", "write the secret into it, then: chmod 600") from error
    except OSError as error:
        raise SecretError(f"{path} cannot be read ({error.strerror})", "check its owner and permissions") from error


def text(place: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return `read` as text. Raises `SecretError` also when it is none."""
    try:
        return read(place, environ).decode("utf-8")
    except UnicodeDecodeError:
        # Not `from`: the error carries the secret.
        raise SecretError(f"{place} is not text", "save it as UTF-8 text") from None


def exposed(place: str, environ: Mapping[str, str] = os.environ) -> SecretError | None:
    """Return what is wrong with a secret file that everybody on this machine may read; None: nothing."""
    if place.startswith("env:"):
        return None
    try:
        path = path_of(place, environ)
        mode = stat.S_IMODE(path.stat().st_mode)
    except (OSError, SecretError):  # `read` says it
        return None
    if not mode & _OTHERS:
        return None
    return SecretError(f"everyone on this machine can read {path} ({mode:04o})", f"chmod 600 {path}")


def path_of(place: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file of a secret that is not in the environment. Raises `SecretError`."""
    if not place.startswith("credential:"):
        try:
            return Path(place).expanduser()
        except RuntimeError as error:
            raise SecretError(f"there is no user for {place}", "write the whole path") from error
    name, folder = place.removeprefix("credential:"), environ.get("CREDENTIALS_DIRECTORY", "")
    if not name or "/" in name:
        raise SecretError(f"{place} names no credential", "such as credential:camera")
    if not folder:
        raise SecretError(f"there is no {place}: systemd gave this process none", f"add to the unit: "
                          f"LoadCredential={name}:/etc/picam-infer/{name}")  # fmt: skip
    return Path(folder) / name


def _from_environment(name: str, environ: Mapping[str, str]) -> bytes:
    if name not in environ:
        raise SecretError(f"the environment has no {name}", "add to the unit: EnvironmentFile=")
    return os.fsencode(environ[name])


def _plain(data: bytes) -> bytes:
    for mark, name in _UTF16.items():  # as Windows' editor saves “Unicode”
        if data.startswith(mark):
            try:
                return data.decode(name).strip("\r\n").encode()
            except UnicodeDecodeError:
                break
    return data.removeprefix(codecs.BOM_UTF8).strip(b"\r\n")
