"""Runs on the virtual Pi: teaches two classes through the page's interface, as a person does who holds buttons down.

`teach_guest.py [--seconds S]` records each class for S seconds and lets the service run the result; `--check` reads
every picture of the lesson back. Prints how many pictures the lesson has.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

API = "http://127.0.0.1:8080"
LESSON = "cut"
_TIMEOUT_S = 120


def get(path: str) -> bytes:
    """Return what the page answers."""
    with urllib.request.urlopen(API + path, timeout=_TIMEOUT_S) as answer:
        return bytes(answer.read())


def post(path: str, wish: dict[str, Any]) -> dict[str, Any]:
    """Ask for a change, and return the lesson after it."""
    request = urllib.request.Request(
        f"{API}/api/teach/{path}", json.dumps(wish).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        return dict(json.load(answer))


def record(label: str, seconds: float) -> None:
    """Hold a class's button down."""
    if label not in [known["label"] for known in json.loads(get("/api/teach"))["classes"]]:
        post("classes", {"add": label})
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        post("record", {"label": label, "hold": str(end_s)})
        time.sleep(0.2)
    post("record", {"label": None})


def settled() -> int:
    """Wait until everything recorded is in the lesson, and return how many pictures that are."""
    while True:
        lesson = json.loads(get("/api/teach"))
        if not lesson["waiting"] and not lesson["recording"]:
            return int(lesson["pictures"])
        time.sleep(0.5)


def check() -> None:
    """Read all pictures. Exits with what is wrong."""
    for picture in json.loads(get("/api/teach/pictures"))["pictures"]:
        data = get(f"/teach/picture/{picture['id']}")
        if data[:2] != b"\xff\xd8" or data.rstrip(b"\0")[-2:] != b"\xff\xd9":
            sys.exit(f"picture {picture['id']} of {picture['label']} is no whole JPEG")


def main() -> None:
    """Teach, or look at what was taught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    try:
        post("open", {"name": LESSON, "base": "digits"})
        if args.check:
            check()
        else:
            for label in ("one", "two"):
                record(label, args.seconds)
            settled()
            post("use", {})
        print(settled())
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.url}: {error.code} {error.read().decode(errors='replace')}")


if __name__ == "__main__":
    main()
