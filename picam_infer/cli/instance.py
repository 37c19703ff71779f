"""`picam-infer instance`: one more camera on this machine, as the service picam-infer@NAME."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from picam_infer import config as configs
from picam_infer.cli import argument_types
from picam_infer.config import Config
from picam_infer.config.locations import located
from picam_infer.core import ConfigError, Disconnected, PicamError, UsageError
from picam_infer.platform import atomic_file, disk, service_manager
from picam_infer.platform.service_manager import Service
from picam_infer.platform.terminal import say
from picam_infer.sources import camera, v4l2

_PORTS = range(8080, 8180)
_HEAD = """\
# picam-infer@{name}, made by `picam-infer instance {name}`. Every key that may stand here is described in
# picam-infer.yaml(5), at its default: man picam-infer.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `instance`'s options."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="the new service's name; without it, list the services")
    parser.add_argument("--source", metavar="S", help="its camera (default: the first one that no service uses)")
    parser.add_argument("--model", metavar="M", default="digits", help="its model (default: %(default)s)")
    parser.add_argument(
        "--port", type=argument_types.port, metavar="N", help="its page's port (default: the first free one from 8081)"
    )
    parser.add_argument("--display", choices=["auto", "window", "kms", "framebuffer", "none"],
                        help="its display (default: none if another service uses the monitor)")  # fmt: skip
    parser.add_argument("--no-start", action="store_true", help="only write the file")


def main(args: argparse.Namespace) -> int:
    """Make one, or list them. Raises `PicamError`."""
    if args.name is None:
        services = service_manager.services()
        for service in services:
            say(f"{service.unit:<36} {service.settings}")
        if not services:
            say(f"there are no services yet: {service_manager.SETTINGS} has no settings file; scripts/install.sh makes "
                "the first one", error=True)  # fmt: skip
        return 0
    service = service_manager.named(args.name)
    if service.name == service_manager.MAIN:
        raise UsageError("config is the name of picam-infer.service's own file", "choose another name")
    if service.settings.exists():
        raise UsageError(f"{service.settings} exists", f"sudo systemctl enable --now {service.unit} starts it")
    others = _others(service)
    # In the file they would be relative to its folder.
    source = located(args.source, "source", Path.cwd()) if args.source else None
    model = located(args.model, "model", Path.cwd())
    text = settings(service.name, others, source, model, args.port, args.display)
    _write(service.settings, text)
    say(f"wrote {service.settings}")
    if args.no_start:
        say(f"start it: sudo systemctl enable --now {service.unit}")
        return 0
    if os.geteuid():
        raise PicamError(
            f"{service.unit} is not started: only root can do that", f"sudo systemctl enable --now {service.unit}"
        )
    say(service_manager.start(service).status)
    return 0


def _others(service: Service) -> dict[str, Config]:
    """Return the settings of the other services; one with an invalid file counts as using nothing."""
    found = {}
    for other in service_manager.services():
        try:
            found[other.unit] = configs.load(other.settings)
        except PicamError as error:
            say(f"note: {error}")
    return found


def settings(
    name: str, others: dict[str, Config], source: str | None, model: str, port: int | None, display: str | None
) -> str:
    """Return a new instance's file. Raises `UsageError` naming the service that uses its camera, monitor or port."""
    source = _source(source, others)
    display = _display(display, others)
    port = _port(port, others)
    text = _HEAD.format(name=name) + f"source: {_quoted(source)}\nmodel: {_quoted(model)}\n"
    text += f"display: {{kind: {display}}}\nweb: {{listen: 127.0.0.1:{port}}}\n"
    configs.parse(text, f"{name}.yaml")
    return text


def _quoted(text: str) -> str:
    import yaml

    return str(yaml.safe_dump(text, allow_unicode=True, width=10_000)).removesuffix("\n").removesuffix("\n...")


def _source(wanted: str | None, others: dict[str, Config]) -> str:
    taken = {node: unit for unit, config in others.items() if (node := device(config.source))}
    if wanted is not None:
        same = [unit for unit, config in others.items() if config.source == wanted and not _shared(wanted)]
        holder = taken.get(device(wanted)) or (same[0] if same else None)
        if holder:
            raise UsageError(f"{holder} has the camera {wanted}", f"choose another: {_free_cameras(taken)}")
        return wanted
    for found in v4l2.discover():
        if found.node not in taken:
            return f"camera:usb:{found.usb_id}" if found.usb_id and _only(found) else str(found.path)
    raise UsageError("no camera is free for another service", "plug one in, or name one with --source")


def device(source: str) -> str:
    """Return the device file that a source refers to now; empty unless it is a V4L2 camera that is plugged in."""
    if source != "camera" and not source.startswith(("camera:", "/dev/")):
        return ""
    try:
        return camera.find(source).node
    except (Disconnected, UsageError):
        return ""


def _shared(source: str) -> bool:
    """Whether several services may read a source at once."""
    return not (source == "picamera" or source.startswith(("camera", "/dev/")))


def _only(found: v4l2.CameraInfo) -> bool:
    return [one.usb_id for one in v4l2.discover()].count(found.usb_id) == 1


def _free_cameras(taken: dict[str, str]) -> str:
    return ", ".join(f"{one.name} ({one.path})" for one in v4l2.discover() if one.node not in taken) or "none is free"


def _display(wanted: str | None, others: dict[str, Config]) -> str:
    holder = next((unit for unit, config in others.items() if config.display.kind != "none"), "")
    if wanted is None:
        return "none" if holder else "auto"
    if wanted != "none" and holder:
        raise UsageError(f"{holder} has the monitor", "--display none, or set display.kind: none there")
    return wanted


def _port(wanted: int | None, others: dict[str, Config]) -> int:
    taken = {}
    for unit, config in others.items():
        web = configs.chosen(config.web, configs.Web)
        if web is not None:
            taken[int(web.listen.rpartition(":")[2])] = unit
    if wanted is None:
        return next(port for port in _PORTS if port not in taken and port != _PORTS[0])
    if wanted in taken:
        raise UsageError(f"{taken[wanted]} has the port {wanted}", "choose another with --port")
    if not 0 < wanted < 65536:
        raise UsageError(f"{wanted} is not a port", "choose one from 1024 to 65535")
    return wanted


def _write(path: Path, text: str) -> None:
    try:
        atomic_file.create(path, text.encode(), owner=path.parent.stat())
        path.chmod(0o664)
    except PermissionError as error:
        raise ConfigError(f"{path} cannot be written", service_manager.SUDO) from error
    except FileNotFoundError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})", "is picam-infer installed here?") from error
    except OSError as error:
        raise disk.unwritable(path, error, path.parent, fixed=True) from error
