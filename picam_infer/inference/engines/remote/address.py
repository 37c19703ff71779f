"""Where a model server is and which model is used: the four kinds of URL, and their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from picam_infer.core import ConfigError

PORTS = {"grpc": 8001, "grpcs": 8001, "http": 8000, "https": 8000}
EXAMPLE = "give one with engine.url or --url, such as grpc://server.local:8001 (or grpcs, http, https)"

_AS_IT_IS = "%/:=&~+!$,;'()*"
"""Characters of a path that stay as they are."""


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a server's URL."""

    scheme: str
    host: str
    port: int
    path: str = ""
    """What comes before `/v2`, without slashes around it; HTTP only."""

    @property
    def encrypted(self) -> bool:
        """Whether it is reached through TLS."""
        return self.scheme.endswith("s")

    @property
    def grpc(self) -> bool:
        """Whether it speaks gRPC; else HTTP."""
        return self.scheme.startswith("grpc")

    @property
    def place(self) -> str:
        """Host and port as the client library takes them, with the path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" + (f"/{self.path}" if self.path else "")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which model of which server, and how to authenticate."""

    address: Address
    model: str
    version: str = ""
    token: str = ""
    ca_file: str = ""
    deadline_s: float = 2.0

    @property
    def title(self) -> str:
        """The model as people name it."""
        return f"{self.model} version {self.version}" if self.version else self.model


def parse(url: str) -> Address:
    """Parse a URL. Raises `ConfigError`, which does not show what may be a secret."""
    if not url:
        raise ConfigError("the engine is remote, but no model server is named: engine.url is empty", EXAMPLE)
    if "@" in url:
        raise ConfigError("engine.url has a user or a password in it", "put a token into a file: engine.token_file")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
        host.encode("idna")
    except UnicodeError as error:
        raise _wrong(url, "no host can be called that") from error
    except ValueError as error:
        raise _wrong(url, str(error)) from error
    path = parts.path.strip("/").removesuffix("v2").rstrip("/")
    known = parts.scheme in PORTS and host and port != 0 and not parts.query and not parts.fragment
    if not known or (path and parts.scheme.startswith("grpc")):
        raise _wrong(url)
    return Address(parts.scheme, host, port or PORTS[parts.scheme], quote(path, _AS_IT_IS, errors="surrogateescape"))


def _wrong(url: str, why: str = "") -> ConfigError:
    place, asks, _ = url.partition("?")
    shown = f"{place}?…" if asks else place
    return ConfigError(f"engine.url {shown!r} is not the address of a server" + (f" ({why})" if why else ""), EXAMPLE)
