"""Access control: host names, origins, the token, and a throttle for wrong tokens. Independent of the web library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import math
import re
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from picam_infer.config import Web
from picam_infer.outputs.web.token import Token
from picam_infer.outputs.web.visitor import FORWARDED, Headers, Names, Proxies, base_path, canonical, is_local, parsed

SESSION_S = 30 * 86400
_RENEW_S = 86400
"""A session older than this is renewed, so that whoever comes once a month stays logged in."""
_LOGGED_OUT = 1000
"""How many ended sessions are remembered."""
_LONGEST_NAME = 253
SAFE = frozenset({"GET", "HEAD"})
NEEDED = "this needs the token"


class Refused(Exception):
    """A request is refused; `status` is the HTTP status."""

    def __init__(self, status: int, reason: str, hint: str = "", wait_s: float = 0.0, example: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.hint = hint
        self.wait_s = wait_s
        self.example = example
        """Lines to type into a terminal or the configuration, for people."""


class LoginThrottle:
    """Slows down visitors with wrong tokens: five are free, then each doubles the wait, up to one minute."""

    free = 5
    longest_s = 60.0
    remembered = 1024

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, peer: str) -> float:
        """Return for how many seconds this address has to wait before its next try; 0: none."""
        return max(0.0, self._wrong.get(neighbourhood(peer), (0, 0.0))[1] - self._clock())

    def wrong(self, peer: str) -> None:
        """Note a wrong token."""
        key, now = neighbourhood(peer), self._clock()
        count, until = self._wrong.pop(key, (0, now))
        if now - until > 10 * self.longest_s:
            count = 0
        count += 1
        pause_s = min(self.longest_s, 2.0 ** (count - self.free)) if count >= self.free else 0.0
        self._wrong[key] = (count, now + pause_s)
        while len(self._wrong) > self.remembered:
            self._wrong.popitem(last=False)

    def right(self, peer: str) -> None:
        """Forget an address's mistakes."""
        self._wrong.pop(neighbourhood(peer), None)


class Access:
    """The rules of one `web` section."""

    def __init__(self, settings: Web, token: Token, redeem: Callable[[str], bool] = lambda code: False) -> None:
        """`redeem` uses up a one-time login; False: it is not one (any more)."""
        self.token = token
        self._redeem = redeem
        self.throttle = LoginThrottle()
        # A base path means a proxy. One that does not name its visitors would make all of them local.
        self._always = settings.token == "always" or bool(base_path(settings.base))
        self.cookie = f"picam_session_{_instance(settings)}"
        """The cookie's name, different for each instance, since browsers send a host's cookies to all of its ports."""
        self._logged_out: OrderedDict[str, float] = OrderedDict()
        """The ids of sessions that were logged out, and when they would have expired."""
        self.proxies = Proxies(settings)
        self._names = Names(settings.hosts)

    def check_host(self, host: str) -> None:
        """Refuse a host name that is not ours, which a foreign site may have pointed at us (DNS rebinding)."""
        if self._names.has(host):
            return
        name = canonical(host)[:_LONGEST_NAME] or "a host without a name"
        plain = name if re.fullmatch(r"[a-z0-9.-]+", name) else "NAME"
        hint = "if the name is this machine's, add the name to web.hosts in the configuration"
        example = f"web:\n  hosts: [{plain}]\n\nsudo systemctl reload picam-infer"
        raise Refused(403, f"this is not {name}", hint, example=example)

    @staticmethod
    def check_site(method: str, headers: Headers, host: str = "") -> None:
        """Refuse requests from another site's page: for changes, and for pictures to embed.

        `host` is what the visitor typed, where a proxy says so; else the Host header has it.
        """
        host = host or headers.get("Host", "")
        site = headers.get("Sec-Fetch-Site", "")
        if site in ("cross-site", "same-site"):
            visit = method in SAFE and headers.get("Sec-Fetch-Mode") == "navigate"
            if not (visit and headers.get("Sec-Fetch-Dest") == "document"):
                raise Refused(403, "another site's page asked for this")
        origin = headers.get("Origin")
        if method not in SAFE and origin is not None and not _same_site(origin, host):
            proxied = any(name in headers for name in FORWARDED)
            hint = "let the proxy pass the Host header on, or send X-Forwarded-Host and be named in web.proxies"
            raise Refused(403, "another site's page asked for this", hint if proxied else "")

    def check_token(self, peer: str, headers: Headers, cookie: str) -> None:
        """Refuse a visitor who needs the token and has not shown it."""
        if not self.needs_token(peer, headers):
            return
        if not self.token:
            raise self.tokenless()
        if cookie and self.session_holds(cookie):
            return
        given = _shown(headers)
        if given or (cookie and self._session(cookie) is None):  # an old session is not a guess
            self.try_token(peer, given, "wrong token" if given else NEEDED)
            return
        raise Refused(401, NEEDED)

    def tokenless(self) -> Refused:
        """Return the refusal for visitors from other machines while there is no token."""
        path = self.token.path
        why = f" ({fault})" if (fault := self.token.fault) else ""
        return Refused(
            403,
            f"only this machine may look until there is a token in {path}{why}",
            f"make one there with: {self.token.maker}",
            example=f"sudo {self.token.maker}\n{self.token.command}".strip(),
        )

    def try_token(self, peer: str, given: str, reason: str = "wrong token") -> None:
        """Refuse a wrong token; after too many, refuse any for a while."""
        self._wait_patiently(peer)
        if not self.token.equals(given):
            self.throttle.wrong(peer)
            raise Refused(401, reason)
        self.throttle.right(peer)

    def try_invitation(self, peer: str, code: str) -> None:
        """Refuse an invalid one-time login; after too many, refuse any for a while."""
        self._wait_patiently(peer)
        if not self._redeem(code):
            self.throttle.wrong(peer)
            raise Refused(
                401,
                "this one-time login has been used, or has expired",
                "have a new one shown: press n at the Pi, or run picam-infer share there",
            )
        self.throttle.right(peer)

    def _wait_patiently(self, peer: str) -> None:
        wait_s = self.throttle.wait_s(peer)
        if wait_s:
            raise Refused(429, "too many wrong tokens", f"wait {math.ceil(wait_s)} s", wait_s)

    def needs_token(self, peer: str, headers: Headers) -> bool:
        """Whether this visitor must show the token. One behind a proxy on this machine is not local."""
        proxied = any(name in headers for name in FORWARDED) or self.proxies.trusts(peer)
        return self._always or not is_local(peer) or proxied

    def session(self, now: float | None = None, ident: str = "") -> str:
        """Return the cookie's value for a new session, or for the existing session `ident`."""
        ends = int((time.time() if now is None else now) + SESSION_S)
        ident = ident or secrets.token_hex(8)
        return f"{ends}.{ident}.{self._signature(ends, ident)}"

    def session_holds(self, cookie: str, now: float | None = None) -> bool:
        """Whether a cookie's value is genuine, not expired and not logged out."""
        session = self._session(cookie)
        return session is not None and session.ends > _now(now) and session.ident not in self._logged_out

    def renewed(self, cookie: str, now: float | None = None) -> str:
        """Return a new cookie for a session that is about to expire; empty: not yet, or the session is not valid."""
        session = self._session(cookie)
        if session is None or not self.session_holds(cookie, now) or session.ends > _now(now) + SESSION_S - _RENEW_S:
            return ""
        return self.session(now, session.ident)

    def log_out(self, cookie: str) -> None:
        """End a session: none of its cookies is valid any more. Forgotten at the next start."""
        session = self._session(cookie)
        if session is not None:
            self._logged_out[session.ident] = time.time() + SESSION_S  # it may have been renewed elsewhere
        while self._logged_out and (
            len(self._logged_out) > _LOGGED_OUT or next(iter(self._logged_out.values())) < time.time()
        ):
            self._logged_out.popitem(last=False)

    def _session(self, cookie: str) -> _Session | None:
        """Return the content of a genuine cookie; None for any other."""
        ends, _, rest = cookie.partition(".")
        ident, _, signature = rest.partition(".")
        if not (ends.isascii() and ends.isdigit() and len(ends) < 15 and cookie.isascii()):
            return None
        genuine = hmac.compare_digest(signature, self._signature(int(ends), ident))
        return _Session(int(ends), ident) if genuine and bool(self.token) else None

    def _signature(self, ends: int, ident: str) -> str:
        return self.token.sign(f"session {ends} {ident}")


@dataclass(frozen=True, slots=True)
class _Session:
    ends: int
    """Unix seconds."""
    ident: str


def _now(given: float | None) -> float:
    return time.time() if given is None else given


def _instance(settings: Web) -> str:
    """Return a name for this instance, unique on this machine and behind other tunnels to it."""
    try:
        machine = Path("/etc/machine-id").read_text("ascii").strip()
    except (OSError, UnicodeError):
        machine = socket.gethostname()
    whole = "\n".join((machine, settings.listen, settings.token_file))
    return hashlib.sha256(whole.encode()).hexdigest()[:10]


def _shown(headers: Headers) -> str:
    kind, _, value = headers.get("Authorization", "").strip().partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":  # for programs that only take http://user:password@host/
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except ValueError:  # neither base64 nor text
            return value
    return value or kind


def _same_site(origin: str, host: str) -> bool:
    """Whether an Origin header is that of the host that was typed; both may leave out the scheme's default port."""
    try:
        parts = urlsplit(origin)
    except ValueError:  # it is not an address
        return False
    own = {"http": ":80", "https": ":443"}.get(parts.scheme, ":")
    return bool(parts.netloc) and parts.netloc.lower().removesuffix(own) == host.lower().removesuffix(own)


def neighbourhood(peer: str) -> str:
    """Return the address, or the network of an IPv6 address, as one machine has 2⁶⁴ of those."""
    address = parsed(peer)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
