"""Home Assistant's own core and MQTT integration, without its page: prints its states as JSON, a line for each command.

Run by test_homeassistant.py with a Python that has `homeassistant` installed: PORT on the command line; on stdin
`states`, or `SERVICE ENTITY` to call a switch's service.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any


async def start(folder: str, port: int) -> Any:
    from homeassistant import auth, bootstrap, config_entries, core, loader

    Path(folder, "configuration.yaml").touch()
    home = core.HomeAssistant(folder)
    home.config.skip_pip = True
    loader.async_setup(home)
    home.config_entries = config_entries.ConfigEntries(home, {})
    await bootstrap.async_load_base_functionality(home)
    home.auth = await auth.auth_manager_from_config(home, [], [])
    home.config.components.update({"http", "file_upload"})  # the integration names them, and needs neither here
    home.http = SimpleNamespace(register_view=lambda view: None)
    home.set_state(core.CoreState.running)
    entry = config_entries.ConfigEntry(
        version=1, minor_version=1, domain="mqtt", title="broker", data={"broker": "127.0.0.1", "port": port},
        source="user", options={}, unique_id=None, discovery_keys={})  # fmt: skip
    await home.config_entries.async_add(entry)
    return home


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = await start(folder, int(sys.argv[1]))
        while line := (await asyncio.to_thread(sys.stdin.readline)).split():
            if len(line) == 2:
                await home.services.async_call("switch", line[0], {"entity_id": line[1]}, blocking=True)
            found = {one.entity_id: one.state for one in home.states.async_all() if "picam" in one.entity_id}
            print(json.dumps(found), flush=True)
        await home.async_stop(force=True)


if __name__ == "__main__":
    asyncio.run(main())
