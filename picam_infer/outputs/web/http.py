"""aiohttp's server without its client, which reads every certificate authority: 4 MB less, and half the time."""

from __future__ import annotations

import importlib
import importlib.util
import sys


def _load_server_only() -> None:
    spec = importlib.util.find_spec("aiohttp") if "aiohttp" not in sys.modules else None
    if spec is None:
        return
    # Its front door loads both halves; the package without its front door is enough to load one.
    shell = importlib.util.module_from_spec(spec)
    vars(shell)["__version__"] = ""
    sys.modules["aiohttp"] = shell
    try:
        importlib.import_module("aiohttp.web")
    except (ImportError, AttributeError):  # a version whose server needs its client
        for name in [name for name in sys.modules if name.partition(".")[0] == "aiohttp"]:
            del sys.modules[name]


_load_server_only()

from aiohttp import web as web  # noqa: E402
