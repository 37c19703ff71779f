"""The token that visitors from other machines show: its file, and what `check` reports about it."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from picam_infer.config import INSTALLED, Web, is_loopback
from picam_infer.core import Finding, PicamError
from picam_infer.platform import atomic_file, secret_file
from picam_infer.platform.file_stamp import FileStamp, file_stamp
from picam_infer.platform.secret_file import SecretError
from picam_infer.runtime import page_address
from picam_infer.runtime.share import opening

_PERSONS = 1000
"""Users with such a number, or a higher one, are persons (login.defs); the service has one of its own below it."""
SHORTEST = 16
"""Characters; a shorter one could be guessed."""


class Token:
    """The token in its file, read again when the file changes."""

    def __init__(self, path: Path, configuration: Path | None = None) -> None:
        """`configuration`: the file that names the token's; None: the installed one."""
        self.path = path
        self._configuration = configuration
        self._stamp: FileStamp | None = None
        self._text = ""

    def __bool__(self) -> bool:
        return bool(self._read())

    @property
    def fault(self) -> str:
        """Why there is no good token; empty when there is one, or no file at all."""
        try:
            text = secret_file.text(str(self.path)).strip()
        except SecretError as error:
            return error.message if self.path.exists() else ""
        return "" if len(text) >= SHORTEST else f"the one there is shorter than {SHORTEST} characters"

    @property
    def maker(self) -> str:
        """The command that makes one: `check` looks at the installed configuration unless another is named."""
        if self._configuration in (None, INSTALLED):
            return "picam-infer check"
        return f"picam-infer check -c {shlex.quote(os.path.abspath(str(self._configuration)))}"  # noqa: PTH100

    @property
    def command(self) -> str:
        """The command that shows it, on the machine where it is; empty: it is in no file of its own."""
        place = str(self.path)
        if place.startswith(("credential:", "env:")):
            return ""
        try:
            owner = self.path.stat().st_uid
        except OSError:
            owner = os.getuid()
        return f"{'' if owner >= _PERSONS else 'sudo '}cat {shlex.quote(str(self.path.absolute()))}"

    def equals(self, given: str) -> bool:
        """Compare in constant time."""
        token = self._read()
        # Hashes, so that not even the length leaks. What is not valid text is no token, but can be hashed as well.
        digest = hashlib.sha256(given.encode("utf-8", "surrogatepass")).digest()
        same = hmac.compare_digest(digest, hashlib.sha256(token.encode()).digest())
        return same and bool(token)

    def sign(self, text: str) -> str:
        """Return a signature that only the token's holder can make; changing the token invalidates all of them."""
        return hmac.new(self._read().encode(), text.encode(), "sha256").hexdigest()

    def _read(self) -> str:
        stamp = file_stamp(self.path)
        if stamp is None or stamp != self._stamp:
            try:
                text = secret_file.text(str(self.path)).strip()
                self._text, self._stamp = (text if len(text) >= SHORTEST else ""), stamp
            except SecretError:
                self._text, self._stamp = "", None
        return self._text


def make(path: Path) -> bool:
    """Write a new token unless there is one; True when it was made. Raises `PicamError`.

    Run by root, the file goes to the owner of its folder, so that the service can read it.
    """
    if path.exists():
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = secrets.token_urlsafe(32) + "\n"
        atomic_file.create(path, text.encode(), mode=0o600, owner=path.parent.stat())
    except OSError as error:
        if path.exists():
            return False
        raise PicamError(f"{path} cannot be written ({error.strerror})", "run: sudo picam-infer check") from error
    return True


def findings(settings: Web, service: bool) -> Iterator[Finding]:
    """Yield (ok, note or error; what; remedy): the page's address first, then token and certificate.

    Makes the token if one is needed and missing. `service`: these are the settings of a service.
    """
    host, _, port = settings.listen.rpartition(":")
    shared = opening(settings.share, time.time()) is not None
    remote = shared or not is_loopback(host)
    first, *more = page_address.reachable(settings, int(port), shared)
    opens = "picam-infer share" if service else "“On your phone” there, or the key n in the window,"
    here = "" if remote else f"this machine only; {opens} opens it to the network"
    yield Finding("ok", first, f"or {' or '.join(more)}" if more else here)
    path = Path(settings.token_file)
    if remote or settings.token == "always" or settings.base.strip("/") or settings.proxies:
        try:
            made = make(path)
            shown = f"; show it with: {command}" if (command := Token(path).command) else ""
            yield Finding("ok", f"token {'made' if made else 'is'} in {path}{shown}")
            yield from _file_findings(path)
        except PicamError as error:
            yield Finding.of(error)
    if remote and not settings.tls_cert:
        yield Finding(
            "note",
            "the page goes over the network unencrypted",
            "set web.tls_cert and web.tls_key, or use an SSH tunnel",
        )
    yield from _certificate_findings(settings)


def _certificate_findings(settings: Web) -> Iterator[Finding]:
    names = [name for name in (settings.tls_cert, settings.tls_key) if name]
    unreadable = [name for name in names if not os.access(name, os.R_OK)]
    for name in unreadable:
        yield Finding("error", f"{name} cannot be read", "check the path and its permissions")
    if len(names) == 1:
        yield Finding("error", "web.tls_cert and web.tls_key belong together", "give both or none")
    if len(names) == 2 and not unreadable:
        import ssl

        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*names)
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            yield Finding(
                "error", f"{' and '.join(names)} are not a certificate and its key ({reason})", "make them again"
            )


def _file_findings(path: Path) -> Iterator[Finding]:
    try:
        if problem := secret_file.exposed(str(path)):
            yield Finding.of(problem)
        if len(secret_file.text(str(path)).strip()) < SHORTEST:
            yield Finding(
                "error", f"the token in {path} is shorter than {SHORTEST} characters", f"delete {path} and check again"
            )
    except SecretError as error:
        yield Finding.of(error)
