"""Runs picam-infer with one step of teaching held up for as long as a file is there: `held.py FILE STEP run …`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from picam_infer.bootstrap import bootstrap


def main() -> int:
    """Hold up `fit` or `save`, and run the command."""
    bootstrap()
    from picam_infer import cli
    from picam_infer.models import bundle as bundles
    from picam_infer.training.teach import lda

    hold, step = Path(sys.argv[1]), sys.argv[2]
    module: Any = {"fit": lda, "save": bundles}[step]
    name = {"fit": "leave_one_out", "save": "dump_card"}[step]
    setattr(module, name, held(getattr(module, name), hold))
    return cli.main(sys.argv[3:])


def held(function: Callable[..., Any], hold: Path) -> Callable[..., Any]:
    """Return a function that waits before it does its work; beside the file lies another one meanwhile."""

    def wait_and_do(*args: Any) -> Any:
        reached = hold.with_name(f"{hold.name}.reached")
        while hold.exists():
            reached.touch()
            time.sleep(0.02)
        return function(*args)

    return wait_and_do


if __name__ == "__main__":
    raise SystemExit(main())
