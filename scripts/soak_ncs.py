"""The work of scripts/soak-ncs: EVENTS SEED; prints what happened, ends with 1 when anything is left behind or late."""

from __future__ import annotations

import gc
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import stick_lab  # noqa: E402
import stick_soak  # noqa: E402

from picam_infer.inference.engines.ncs import engine, preferred  # noqa: E402


def main() -> int:
    """Soak, close, compare what this process owns with what it owned before."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    preferred.POLL_S, preferred.BACK_OFF_S = 0.02, (0.05, 0.1)
    engine.DEADLINES_S.update({"enumerate": 1, "open": 3, "allocate": 1})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lab = stick_lab.StickLab(folder / "bus")
        os.environ |= lab.environment(stick_lab.build(folder))
        sys.path.insert(0, str(stick_lab.SOURCE))
        model = stick_lab.bundle(folder / "model")
        before, memory_kb, began_s = stick_lab.possessions(), 0, time.monotonic()
        run = stick_soak.Running(model, lab)
        for part in range(0, events, 100):
            answers = stick_soak.soak(run, lab, min(100, events - part), seed + part)
            memory_kb = memory_kb or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(part + 100, dict(answers), f"longest wait {run.longest_s:.2f} s", flush=True)
        run.engine.close()
        gc.collect()
        left = stick_lab.left_overs(before)
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kb
        print(
            f"{events} events in {time.monotonic() - began_s:.0f} s, {lab.resets} USB resets, {len(run.said)} reports"
        )
        print(f"memory +{grown_kb} kB after the first hundred, left behind: {left or 'nothing'}")
        late = run.longest_s > stick_soak.DEADLINE_S + 1
        if late:
            print(f"an answer took {run.longest_s:.2f} s, whatever the deadline of {stick_soak.DEADLINE_S:g} s says")
        return 1 if left or late else 0


if __name__ == "__main__":
    sys.exit(main())
