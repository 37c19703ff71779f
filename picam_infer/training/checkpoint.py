"""A training's progress, in a folder, so that the same command resumes after an interruption."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from picam_infer.core import NoInput
from picam_infer.platform import atomic_file

Arrays = tuple[np.ndarray, ...]


class Checkpoint:
    """A folder of arrays that were computed for one training and are of no use to another.

    `identity` holds all that the arrays depend on; with another one the folder is emptied first.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self._folder = folder
        name = folder / "identity"
        if name.is_file() and name.read_text() == identity:
            return
        if folder.exists() and not name.is_file() and any(folder.iterdir()):
            raise NoInput(f"{folder} holds something other than a training's interim results", "name another --output")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        name.write_text(identity)

    def load(self, name: str) -> Arrays | None:
        """Return the arrays saved under a name; None: there are none."""
        try:
            with np.load(self._folder / f"{name}.npz") as saved:
                return tuple(saved[f"arr_{i}"] for i in range(len(saved.files)))
        except FileNotFoundError:
            return None

    def save(self, name: str, arrays: Sequence[np.ndarray]) -> None:
        """Save arrays under a name: all of them or, if interrupted, those that were there before."""
        with atomic_file.replacing(self._folder / f"{name}.npz", durable=False) as file:
            np.savez(file, *arrays)

    def once(self, name: str, work: Callable[[], Arrays]) -> Arrays:
        """Return the arrays of an earlier run, or else those that `work` returns, which are saved."""
        arrays = self.load(name)
        if arrays is None:
            arrays = work()
            self.save(name, arrays)
        return arrays

    def remove(self) -> None:
        """Delete the folder: the training is finished."""
        shutil.rmtree(self._folder)


def identity(settings: Sequence[object], sources: Sequence[Path], digits: Sequence[np.ndarray]) -> str:
    """Return a hash of all that a training depends on: settings, source files, and the digits it learns from."""
    sha = hashlib.sha256(repr(settings).encode())
    for source in sources:
        sha.update(source.read_bytes())
    for array in digits:
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def sources() -> list[Path]:
    """Return the program's files that decide what the network sees and learns, in a fixed order.

    Every module of the digit model's training is one of them, and so are the chain's own steps.
    """
    here = Path(__file__).parent
    other = {here / "teach", here / "compile_ncs"}
    mine = [path for path in here.rglob("*.py") if not other & set(path.parents)]
    return sorted(mine) + [here.parent / "inference" / f"{name}.py" for name in ("preprocess", "ruled_lines")]
