"""`picam-infer share`: opens the installed service's page to the network for a time, with a QR code for a phone."""

from __future__ import annotations

import argparse
import re
import secrets
import sys
import time

from picam_infer import config as configs
from picam_infer.cli.help_format import WrittenHelpFormatter
from picam_infer.config import Web
from picam_infer.core import ConfigError, PicamError
from picam_infer.models import bundle as bundles
from picam_infer.outputs import qr
from picam_infer.platform import service_manager, terminal
from picam_infer.platform.service_manager import Service
from picam_infer.platform.terminal import say, say_json
from picam_infer.runtime import page_address
from picam_infer.runtime.share import INVITATION_S, Opening, Share, invitation_file, leave_word, link

_DESCRIPTION = """\
Open the installed service's page to the network, for some time or until further notice, and show a QR code here and on
the monitor: the first person to scan it within ten minutes is logged in. Everybody else needs the token, which is
created if there is none. The page is not restarted, and nobody who is looking at it is interrupted."""
_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(min|[smhd])")
_MOST_S = 366 * 86400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `share`'s options."""
    parser.description = _DESCRIPTION
    parser.formatter_class = WrittenHelpFormatter
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--for", dest="for_s", type=duration_s, metavar="TIME",
                      help="close it again after 30m, 1h, 2d … (default: until picam-infer share --stop)")  # fmt: skip
    what.add_argument("--stop", action="store_true", help="close it again, so that only this machine can open the page")
    parser.add_argument("--instance", default=service_manager.MAIN, metavar="NAME",
                        help="the service picam-infer@NAME instead of picam-infer")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def duration_s(text: str) -> float:
    """Return a time such as `90m` or `1h30m` in seconds. Raises `ArgumentTypeError`."""
    parts = _TIME.findall(text)
    total_s = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if not parts or _TIME.sub("", text).strip() or not 0 < total_s <= _MOST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length of time: 30m, 1h, 1h30m or 2d, a year at most")
    return total_s


def main(args: argparse.Namespace) -> int:
    """Open or close; returns 0. Raises `PicamError`."""
    service = service_manager.installed(args.instance, "run picam-infer run and press n there")
    state = bundles.INSTALLED.parent
    service_manager.require_writable(service.settings.parent, state)
    settings = configs.load(service.settings).web
    web = configs.chosen(settings, Web)
    if web is None:
        raise ConfigError(f"{service.settings}: the page is switched off", "set web: on there")
    share = Share(service.settings)
    share.follow(settings)
    if args.stop:
        return _stop(args, service, share)
    share.open(args.for_s)
    code = secrets.token_urlsafe(16)
    leave_word(invitation_file(service.settings, state), code, time.time())
    status = _told(service)
    _show(args, web, share.now or Opening(), share.always, code)
    if not args.json:
        say(status)
    return 0


def _stop(args: argparse.Namespace, service: Service, share: Share) -> int:
    was_open = share.now is not None
    share.close()
    if was_open:
        _told(service)
    if args.json:
        say_json({"open": False})
    else:
        say(f"{service.unit}: only this machine can open the page" + ("" if was_open else "; it was not open"))
    return 0


def _told(service: Service) -> str:
    """Have the service read its settings, and return its status. Raises `PicamError` when it does not apply them."""
    seen = service_manager.reload(service)
    if seen.active != "active" or "is refused" in seen.status or "cannot be opened" in seen.status:
        raise PicamError(
            f"{service.unit}: {seen.status or seen.active}", f"journalctl -u {service.unit} -n 20 tells more"
        )
    return seen.status


def _show(args: argparse.Namespace, web: Web, opening: Opening, always: bool, code: str) -> None:
    """Print the QR code, the addresses and how to close it."""
    port = int(web.listen.rpartition(":")[2])
    addresses = page_address.from_elsewhere(web, port, shared=not always) or (
        page_address.reachable(web, port) if always else []
    )
    links = [link(address, code) for address in addresses]
    if args.json:
        say_json({"open": True, "until": opening.until, "links": links, "ends_in_s": INVITATION_S})
        return
    if not links:
        say("the page is open, but this machine is in no network: connect it, then run picam-infer share again")
        return
    if sys.stdout.isatty() and (sys.stdout.encoding or "").lower().startswith("utf"):
        terminal.put("\n".join(qr.in_text(links[0])) + "\n")
    for each in links:
        say(each)
    say("scan or type one of these on a phone in the same network: it logs in once, within ten minutes")
    back = "set web.listen: 127.0.0.1:8080 to close it" if always else "picam-infer share --stop closes it"
    say(f"the page is {'open to the network by web.listen' if always else opening}; {back}")
