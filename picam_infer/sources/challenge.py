"""Responses to a camera's challenge, Basic and Digest (RFC 7617, RFC 7616; RTSP uses the same)."""

from __future__ import annotations

import base64
import hashlib
import os
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field

_HASHES = {"MD5": "md5", "SHA-256": "sha256"}
_SCHEMES = ("digest ", "basic ")


@dataclass(slots=True)
class Login:
    """A user's name and password, and the challenge that was answered last. Neither is ever shown."""

    user: str = field(repr=False)
    password: str = field(repr=False)
    _digest: dict[str, str] = field(default_factory=dict, repr=False)
    _basic: bool = field(default=False, repr=False)
    _count: int = field(default=0, repr=False)

    def accept(self, challenges: Sequence[str]) -> bool:
        """Take the best of the WWW-Authenticate headers; False: there is nothing new to answer."""
        offers = [offer for header in challenges for offer in _challenges(header)]
        digest = next((given for scheme, given in offers if scheme == "digest" and _algorithm(given)[0] in _HASHES), {})
        if digest:
            known, self._digest, self._count = self._digest.get("nonce"), digest, 0
            return known != digest.get("nonce")
        known_basic, self._basic = self._basic, any(scheme == "basic" for scheme, _ in offers)
        return self._basic and not known_basic

    def header(self, method: str, target: str) -> str | None:
        """Return the Authorization header for a request; None: none was asked for."""
        if self._digest:
            return self._answer(method, target)
        if self._basic:
            return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode(errors="surrogateescape")).decode()
        return None

    def _answer(self, method: str, target: str) -> str:
        given, (name, session) = self._digest, _algorithm(self._digest)
        self._count += 1
        count, ours = f"{self._count:08x}", os.urandom(8).hex()

        def digest(text: str) -> str:
            return hashlib.new(_HASHES[name], text.encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()

        realm, nonce = given.get("realm", ""), given.get("nonce", "")
        first = digest(f"{self.user}:{realm}:{self.password}")
        if session:
            first = digest(f"{first}:{nonce}:{ours}")
        second, qop = digest(f"{method}:{target}"), "auth" in given.get("qop", "").replace(" ", "").split(",")
        answer = digest(f"{first}:{nonce}:{count}:{ours}:auth:{second}" if qop else f"{first}:{nonce}:{second}")
        fields = {"username": self.user, "realm": realm, "nonce": nonce, "uri": target, "response": answer}
        fields |= {key: given[key] for key in ("opaque",) if key in given}
        quoted = [f'{key}="{_escaped(value)}"' for key, value in fields.items()]
        quoted += [f"algorithm={given['algorithm']}"] if "algorithm" in given else []
        quoted += ["qop=auth", f"nc={count}", f'cnonce="{ours}"'] if qop else []
        return "Digest " + ", ".join(quoted)


def _challenges(header: str) -> list[tuple[str, dict[str, str]]]:
    """Return (scheme, parameters) of a header, which may hold several challenges."""
    found: list[tuple[str, dict[str, str]]] = []
    for item in urllib.request.parse_http_list(header):
        scheme = next((s for s in _SCHEMES if item.lower().startswith(s)), "")
        if scheme or item.lower() in ("basic", "digest"):
            found.append(((scheme or item).strip().lower(), {}))
            item = item[len(scheme) :] if scheme else ""
        key, equals, value = item.partition("=")
        if equals and found:
            found[-1][1][key.strip().lower()] = value.strip().strip('"').replace('\\"', '"')
    return found


def _algorithm(given: dict[str, str]) -> tuple[str, bool]:
    name = given.get("algorithm", "MD5").upper()
    return name.removesuffix("-SESS"), name.endswith("-SESS")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
