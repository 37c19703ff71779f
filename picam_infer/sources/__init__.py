"""Opens the source that an address names."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from picam_infer.config import Capture, SourceLogin
from picam_infer.config.locations import STREAMS, is_dotted, meant
from picam_infer.config.schema import is_webcam
from picam_infer.core import NoInput, Source, UsageError
from picam_infer.imaging.region import Roi
from picam_infer.sources.address import shown
from picam_infer.sources.v4l2 import CameraInfo, Format, Mode, list_cameras

__all__ = ["CameraInfo", "Format", "Mode", "list_cameras", "open_source"]

_KINDS = "camera, camera:NAME, /dev/video0, picamera, demo, rtsp://…, http://…, a video, a picture or a folder"


def open_source(
    address: str,
    capture: Capture,
    login: SourceLogin = SourceLogin(),  # noqa: B008
    roi: Callable[[], Roi] | None = None,
) -> Source:
    """Open what `address` names (docs/configuration.md lists the kinds) and return it.

    `login` is for network cameras; `roi` tells where the demo writes its digits. A path is a whole one, or begins
    with a dot: see `config/locations`. Raises `Disconnected` for a device or stream that is not there now, `NoInput`
    for a missing or useless file, `UsageError` for an address that means nothing, `Unavailable` when a library is
    missing.
    """
    address = address.strip()
    if is_webcam(address):
        from picam_infer.sources.camera import Camera

        return Camera("camera" if address == "webcam" else address, capture)
    if address == "demo":
        from picam_infer.sources import demo

        return demo.Demo(capture) if roi is None else demo.Demo(capture, roi=roi)
    if address == "picamera":
        from picam_infer.sources.picamera import PiCamera

        return PiCamera(capture)
    if "://" in address:
        return _stream(address, capture, login)
    if not address:
        raise UsageError("the source is empty", f"one of: {_KINDS}")
    return _files(address, capture)


def _files(address: str, capture: Capture) -> Source:
    path = Path(address)
    try:
        path = path.expanduser()
        there = path.exists() and (path.is_absolute() or is_dotted(address))
    except OSError as error:
        raise NoInput(
            f"{shown(address)} cannot be read ({error.strerror})", "check its name and the folders above it"
        ) from error
    except RuntimeError as error:  # ~NAME without such a user
        raise NoInput(f"{shown(address)}: no such user", "write the path in full") from error
    if there:
        from picam_infer.sources.files import open_replay

        return open_replay(path, capture)
    raise _unknown(address, path)


def _stream(address: str, capture: Capture, login: SourceLogin) -> Source:
    scheme = address.partition("://")[0].lower()
    if scheme == "file":
        return open_source(address.partition("://")[2], capture)
    if scheme not in STREAMS:
        near = difflib.get_close_matches(scheme, STREAMS, n=1)
        raise UsageError(f"{scheme}:// is not a kind of source", f"did you mean {near[0]}://?" if near else _KINDS)
    from picam_infer.sources.network import open_stream

    return open_stream(address, capture, login)


def _unknown(address: str, path: Path) -> UsageError | NoInput:
    if suggestion := meant(address):
        return UsageError(f"{shown(address)} is not a source", f"did you mean {suggestion}?")
    missing = f"there is no file or folder {shown(str(path))}"
    try:
        beside = [p.name for p in path.parent.iterdir() if p.name != path.name]  # which leads nowhere
    except OSError:
        return NoInput(missing, f"the folder {shown(str(path.parent))} cannot be read, or does not exist")
    close = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.7)
    return NoInput(missing, f"did you mean {path.parent / close[0]}?" if close else f"sources: {_KINDS}")
