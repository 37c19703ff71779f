"""A machine with the service installed, and a systemctl that answers like the real one: it cannot be here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from picam_infer.models import bundle as bundles
from picam_infer.platform import service_manager

SYSTEMCTL = """#!/bin/sh
# `show` prints what the files beside this one hold; a reload changes the time stamp as a real one does.
here=$(dirname "$0")
echo "$*" >>"$here/calls"
case "$*" in
    *show*)
        if [ -s "$here/slow" ]; then
            sed -i 1d "$here/slow"
            echo "Failed to get properties: Connection timed out" >&2
            exit 1
        fi
        cat "$here/state" ;;
    *reload* | *enable*)
        if [ -e "$here/refuse" ]; then echo "Failed to reload: Access denied" >&2; exit 4; fi
        [ ! -e "$here/pid" ] || kill -HUP "$(cat "$here/pid")"
        [ ! -e "$here/slow-later" ] || mv "$here/slow-later" "$here/slow"
        printf 'ActiveState=active\\nStatusText=%s\\nStateChangeTimestampMonotonic=%s\\n' \\
            "$(cat "$here/says")" "$(date +%s%N)" >"$here/state"
        ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the service installed: its folders, and systemctl in `bin`."""
    for name in ("bin", "etc", "var/models"):
        (tmp_path / name).mkdir(parents=True)
    systemctl = tmp_path / "bin/systemctl"
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)
    (tmp_path / "bin/state").write_text("ActiveState=active\nStatusText=sees 7\nStateChangeTimestampMonotonic=1\n")
    (tmp_path / "bin/says").write_text("sees bright (98 %), 15 results/s")
    (tmp_path / "etc/config.yaml").write_text("# mine\nmodel: digits  # the first\nsource: demo\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(service_manager, "SETTINGS", tmp_path / "etc")
    monkeypatch.setattr(bundles, "INSTALLED", tmp_path / "var/models")
    return tmp_path
