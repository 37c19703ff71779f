"""How paths in the settings are resolved: a relative one starts from the folder of the settings file."""

from __future__ import annotations

import difflib
import ipaddress
from pathlib import Path
from typing import Literal

from picam_infer.config.schema import is_webcam

Kind = Literal["file", "output", "program", "model", "source"]
"""What a key holds: a `file` or folder; an `output`, which may be `-`; a `program`, `model` or `source`, which may
also be a name alone."""
STREAMS = ("rtsp", "rtsps", "http", "https")
_WORDS = ("camera", "demo", "picamera")
_SECRETS = ("credential:", "env:")
"""How a secret that is not in a file begins: see `platform/secret_file`."""


def located(text: str, kind: Kind, folder: Path) -> str:
    """Return a setting with its path made absolute, relative to a folder; anything but a path stays as it is."""
    if kind == "source":
        return _source(text, folder)
    named = {
        "file": not text or text.startswith(_SECRETS),
        "output": text == "-",
        "program": "/" not in text,
        "model": "/" not in text and text not in (".", ".."),
    }
    return text if named[kind] or text.startswith("/") else str(folder / text)


def _source(text: str, folder: Path) -> str:
    address = text.strip()
    scheme, found, rest = address.partition("://")
    if scheme.lower() == "file" and rest:
        return f"{scheme}://{_source(rest, folder)}"
    if not address or found or is_webcam(address) or address in _WORDS or address.startswith(("/", "~")):
        return text
    path = folder / address
    try:
        there = path.exists()
    except OSError:  # too long for a file's name
        there = False
    return str(path) if there or not meant(address) else text


def from_shell(source: str) -> str:
    """Return a source that was given on the command line, where a path starts from the current folder: with a dot."""
    scheme, found, rest = source.partition("://")
    if found and scheme.lower() == "file":
        return f"{scheme}://{from_shell(rest)}"
    named = is_dotted(source) or located(source, "source", Path.cwd()) == source
    return source if named else f"./{source}"


def is_dotted(source: str) -> bool:
    """Whether a source is a path from the current folder, and says so."""
    return source in (".", "..") or source.startswith(("./", "../"))


def meant(address: str) -> str:
    """Return what was probably meant by a source that does not exist, such as `camera`; empty: nothing but a path."""
    if "@" in address and ":" in address.partition("@")[0]:
        # A misspelt camera address: what it begins with is a password.
        scheme = next((scheme for scheme in STREAMS if address.lower().startswith(f"{scheme}:")), "rtsp")
        return f"{scheme}://USER:PASSWORD@HOST/…"
    if address.isdecimal() and len(address) < 4:
        return f"/dev/video{address}"
    if camera := _network_camera(address):
        return camera
    word, _, rest = address.partition(":")
    near = difflib.get_close_matches(word.lower(), _WORDS, n=1, cutoff=0.7)
    if not near or "/" in address or Path(address).suffix:
        return ""
    return f"{near[0]}{':' if rest else ''}{rest}"


def _network_camera(address: str) -> str:
    """Return the beginning of a network camera's address that lacks its `://`; empty for anything else."""
    scheme, colon, rest = address.partition(":")
    if colon and scheme.lower() in STREAMS:
        return f"{scheme.lower()}://{rest.strip('/').partition('/')[0].partition('?')[0]}/…"
    host = address.partition("/")[0]
    try:
        ipaddress.IPv4Address(host.partition(":")[0])
    except ValueError:
        return ""
    return f"rtsp://{host}/… or http://{host}/…"
