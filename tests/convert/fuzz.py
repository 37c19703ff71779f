"""Mutate model files and convert them: no traceback, no hang, nothing written outside. See scripts/fuzz-convert."""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from picam_infer.convert import sandbox
from picam_infer.core import PicamError

WORDS = [
    b"null",
    b"-1",
    b"1e999",
    b"[]",
    b"{}",
    b'"x"',
    b"999999999",
    b"0",
    b"true",
    b"[[[[]]]]",
    b"NaN",
    b"4294967296",
]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return a damaged copy: bits, bytes, blocks, numbers, words of JSON, or the end cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16, 64))):
        at = rng.randrange(max(len(changed), 1))
        # Structure lies at the front of HDF5 and JSON files and at the end of zips: hit it more often.
        at = (
            at
            if rng.random() < 0.4
            else min(at, rng.randrange(8192))
            if rng.random() < 0.6
            else max(at, len(changed) - 2048)
        )
        kind = rng.randrange(7)
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + 1] = bytes([rng.choice((0, 1, 127, 128, 255))])
        elif kind == 2:
            changed[at : at + 8] = rng.choice((0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)).to_bytes(8, "little")
        elif kind == 3:
            del changed[at : at + rng.randrange(1, 64)]
        elif kind == 4:
            other = rng.randrange(max(len(changed), 1))
            changed[at:at] = changed[other : other + rng.randrange(1, 256)]
        elif kind == 5:
            end = changed.find(b",", at)
            start = changed.rfind(b":", 0, at)
            if 0 <= start < end and end - start < 200:
                changed[start + 1 : end] = rng.choice(WORDS)
        elif rng.random() < 0.1:
            del changed[at:]
    return bytes(changed)


def mutate_zip(data: bytes, rng: random.Random) -> bytes:
    """Damage the archive itself, or a file inside it."""
    if rng.random() < 0.4:
        return mutate(data, rng)
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w") as new:
        victim = rng.choice(old.namelist())
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, mutate(content, rng) if name == victim else content)
    return target.getvalue()


Convert = Callable[[Path, Path], float]
"""Convert one file to a folder in f32; returns the seconds of processor time it took, or raises `PicamError`."""


def run(sources: list[Path], count: int, seed: int, convert: Convert, limit_s: float = 10.0) -> Counter[str]:
    """Convert `count` mutations in turn; returns outcomes by kind. Raises AssertionError for the first bad one."""
    outcomes = Counter[str]()
    with tempfile.TemporaryDirectory(prefix="picam-fuzz-") as folder:
        home = Path(folder)
        for number in range(count):
            source = sources[number % len(sources)]
            rng = random.Random(f"{seed} {number}")
            data = source.read_bytes()
            damaged = (mutate_zip if data[:2] == b"PK" else mutate)(data, rng)
            place = home / "in"
            place.mkdir(exist_ok=True)
            for beside in source.parent.iterdir():
                if source.suffix == ".json" and beside.suffix in (".h5", ".bin"):
                    (place / beside.name).write_bytes(beside.read_bytes())
            (place / source.name).write_bytes(damaged)
            outcome, took_s = one(place / source.name, home / "out", convert)
            outcomes[outcome] += 1
            left = sorted(path.name for path in home.iterdir())
            where = f"mutation {number} of {source.name}, seed {seed}"
            assert took_s < limit_s, f"{where}: took {took_s:.1f} s of processor time ({outcome})"
            assert "Traceback" not in outcome and "internal" not in outcome, f"{where}: {outcome}"
            assert left == (["in", "out"] if outcome == "converted" else ["in"]), f"{where}: left {left}"
            clear(home)
            if (number + 1) % 200 == 0:
                print(number + 1, dict(outcomes), file=sys.stderr, flush=True)
    return outcomes


def one(source: Path, out: Path, convert: Convert) -> tuple[str, float]:
    began_s = time.process_time()
    try:
        return "converted", convert(source, out)
    except PicamError as error:
        text = str(error)
        assert "\n" not in text, text
        took_s = getattr(error, "took_s", time.process_time() - began_s)
        if "an unforeseen" in text:
            return f"internal: {text}", took_s
        if "was ended by" in text or "ended with" in text or "more memory" in text:
            return "parser died", took_s
        return ("stalled" if "took longer" in text else "refused"), took_s


def forked(source: Path, out: Path) -> float:
    """Convert as `picam-infer convert` does, in a child made by forking: the libraries are loaded once for all."""
    end, other = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(other, 1)
        memory = sandbox.BASE_MEMORY + sandbox.MEMORY_PER_BYTE * source.stat().st_size
        order = {"given": str(source), "output": str(out), "options": {"precision": "f32"}, "memory": memory}
        sys.argv = ["fuzz", json.dumps(order)]
        sandbox.child()
    os.close(other)
    reader = Reader(child, os.fdopen(end, "rb", buffering=0))
    try:
        sandbox.listen(reader, source, sandbox.READ_S + source.stat().st_size / sandbox.BYTES_PER_S, lambda *_: None)
    except PicamError as error:
        error.took_s = reader.took_s
        raise
    finally:
        reader.end()
    return reader.took_s


class Reader:
    """A forked child, looking like a `Popen` to `sandbox.listen`."""

    def __init__(self, pid: int, stdout: io.RawIOBase) -> None:
        self.pid, self.stdout, self.code = pid, stdout, None

    def wait(self) -> int:
        if self.code is None:
            _, status, self.usage = os.wait4(self.pid, 0)
            self.code = os.waitstatus_to_exitcode(status)
        return self.code

    @property
    def took_s(self) -> float:
        self.end()
        return self.usage.ru_utime + self.usage.ru_stime

    def end(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
        self.wait()
        self.stdout.close()


def clear(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="+", type=Path)
    parser.add_argument("-n", "--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=10.0, help="seconds of processor time that one may take")
    args = parser.parse_args()
    for file in args.file:
        if not file.is_file():
            parser.error(f"{file} is no file: name model files, such as folder/*.h5")
    importlib.import_module("picam_infer.convert.conversion")
    print(json.dumps(run(args.file, args.count, args.seed, forked, args.limit), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
