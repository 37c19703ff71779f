"""Runs inside the virtual Pi: reads a source, reopening it as the service does; one JSON line an event."""

import json
import os
import sys
import threading
import time

from picam_infer.config import Capture
from picam_infer.core import BadFrame, Disconnected
from picam_infer.sources import open_source
from picam_infer.sources.camera import Camera

address, seconds, settings = sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3])
began_s = time.monotonic()


def tell(event, **facts):
    print(json.dumps({"event": event, "at": round(time.monotonic() - began_s, 2), **facts}), flush=True)


def watch(source):
    good, since_s, ages = 0, time.monotonic(), []
    while time.monotonic() - began_s < seconds:
        try:
            frame = source.read()
        except BadFrame as bad:
            tell("bad", reason=str(bad))
            continue
        good += 1
        ages.append(time.monotonic() - frame.monotonic_s)
        if good == 1:
            where = source.info.node if isinstance(source, Camera) else ""
            tell("first", node=where, description=source.description, codec=frame.codec, shape=frame.data.shape)
    per_s = good / (time.monotonic() - since_s)
    tell("end", frames=good, per_s=round(per_s, 1), age_ms=round(sorted(ages)[len(ages) // 2] * 1e3, 1))


def leave_with_the_caller():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=leave_with_the_caller, daemon=True).start()
while time.monotonic() - began_s < seconds:
    try:
        source = open_source(address, Capture(**settings))
        try:
            watch(source)
        finally:
            source.close()
    except Disconnected as lost:
        tell("lost", reason=lost.message, hint=lost.hint)
        time.sleep(0.5)
