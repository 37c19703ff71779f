"""Runs on the virtual Pi beside the service: says who answers, until stdin ends; one JSON line a change or a second.

`pause_s` is the longest time since the line before without a new result, `blind_s` without a new picture.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.request

URL = "http://127.0.0.1:8080/api/state"
EVERY_S = 0.25


class Longest:
    """The longest time that a counter stood still."""

    def __init__(self) -> None:
        self.count, self.since_s, self.longest_s = -1, time.monotonic(), 0.0

    def see(self, count: int) -> None:
        """Note the counter's value now."""
        now_s = time.monotonic()
        self.longest_s = max(self.longest_s, now_s - self.since_s)
        if count != self.count:
            self.count, self.since_s = count, now_s

    def take(self) -> float:
        """Return the longest stand-still since the last call."""
        longest_s, self.longest_s = self.longest_s, 0.0
        return round(longest_s, 2)


def main() -> None:
    """Watch."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    results, pictures = Longest(), Longest()
    name, told_s, began_s = "", time.monotonic(), time.monotonic()
    while not ended.wait(EVERY_S):
        try:
            with urllib.request.urlopen(URL, timeout=5) as answer:
                state = json.load(answer)
        except OSError:
            state = {"engine": "down", "inferences": -1, "frames": -1}
        results.see(state["inferences"])
        pictures.see(state["frames"])
        if state["engine"] != name or time.monotonic() - told_s > 1:
            name, told_s = state["engine"], time.monotonic()
            print(json.dumps({"event": "line", "at": round(told_s - began_s, 1), "engine": name,
                              "pause_s": results.take(), "blind_s": pictures.take(), "stick_c": state.get("stick_c"),
                              "per_s": state.get("inferences_per_s"), "notice": state.get("notice", ""),
                              "lost": [loss["reason"] for loss in state.get("lost", [])]}), flush=True)  # fmt: skip


main()
