"""The installed models: brought in from files, bundles and USB sticks, listed, and deleted."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from picam_infer import config as configs
from picam_infer.core import NoInput, PicamError, UsageError
from picam_infer.models import bundle as bundles
from picam_infer.platform import regular_file, removable, service_manager
from picam_infer.platform.paths import real

Progress = Callable[[str, float], None]
_SUFFIXES = (".zip", ".h5", ".hdf5", ".keras", ".tflite", ".lite", ".onnx", ".tgz", ".tar", ".gz")
_DEEP = 3
"""How many folders deep a stick is searched for models."""
_MOST_ENTRIES = 20_000
_MOST_FOUND = 100


class Offer(msgspec.Struct, frozen=True):
    """A model file, or a bundle's folder, on a stick."""

    path: Path
    medium: str
    """The stick's volume name."""
    size: int
    """Bytes; for a bundle, the size of its network."""

    def as_json(self) -> dict[str, Any]:
        """Return it for the page."""
        return {"path": str(self.path), "name": self.path.name, "medium": self.medium, "bytes": self.size}


def install(
    given: str,
    name: str | None = None,
    labels: Path | None = None,
    *,
    folder: Path | None = None,
    progress: Progress = lambda *_: None,
    say: Callable[[str], None] = lambda line: None,
) -> str:
    """Return the name of the model that `given` means, converted or copied into `folder` if it was not there.

    `given` is a model file, a bundle's folder (with a slash), or a name. `say` gets the converter's report. Raises
    `PicamError`.
    """
    folder = folder or bundles.INSTALLED
    try:
        path = Path(given).expanduser()
        is_bundle, there = "/" in given and (path / "model.yaml").is_file(), path.exists()
    except OSError as error:
        raise regular_file.unreadable(Path(given), error) from error
    except RuntimeError as error:  # ~NAME without such a user
        raise NoInput(f"{given} cannot be read (no such user)", "write the path in full") from error
    if is_bundle:
        return _copied(bundles.load(given), name, folder)
    if not there:
        if "/" in given:
            raise NoInput(f"there is no {given}", "give a model file, a bundle's folder or a model's name")
        bundles.load(given)
        return given
    from picam_infer.convert import container

    try:
        digest = container.digest(path)
    except OSError as error:
        raise regular_file.unreadable(path, error) from error
    chosen = free(plain_name(name or path.name.split(".")[0]), digest, folder)
    if not (folder / chosen).exists() or labels:
        convert(path, folder / chosen, labels, progress, say)
    return chosen


def convert(path: Path, output: Path, labels: Path | None, progress: Progress, say: Callable[[str], None]) -> None:
    """Convert a model file into a bundle, in the sandbox. Raises `PicamError`."""
    from picam_infer.convert import sandbox
    from picam_infer.convert.report import Report

    say(f"converting {path.name}")
    report = sandbox.convert(path, output, {"labels": labels}, progress)
    for line in Report.from_json(report).about():
        say(f"  {line}")


def _copied(model: bundles.Bundle, name: str | None, folder: Path) -> str:
    wanted = plain_name(name or real(model.folder).name)
    if real(model.folder).parent == real(folder):
        return wanted
    chosen = free(wanted, model.card.origin.sha256, folder)
    try:
        files = {part: (model.folder / part).read_bytes() for part in ("model.xml", "model.bin")}
        if model.graph is not None:
            files["graph"] = model.graph.read_bytes()
    except OSError as error:
        raise PicamError(f"{model.folder} cannot be read ({error.strerror})", "is it still plugged in?") from error
    bundles.save(folder / chosen, model.card, model.labels, files)
    return chosen


def plain_name(text: str) -> str:
    """Return a text as a model's name."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:60] or "model"


def free(wanted: str, origin: str, folder: Path) -> str:
    """Return the name, numbered if another model has it: all Teachable Machine exports have the same name."""
    number, chosen = 1, wanted
    while (folder / chosen).exists():
        try:
            there = bundles.load(str(folder / chosen))
        except PicamError:  # this is not a model: leave it alone
            there = None
        if there is not None and origin and there.card.origin.sha256 == origin:
            return chosen
        number += 1
        chosen = f"{wanted}-{number}"
    return chosen


def lies_in(model: str, folder: Path) -> bool:
    """Whether a model that is named by its path is the one in a folder."""
    if "/" not in model:
        return False
    with contextlib.suppress(PicamError, OSError):
        return real(bundles.folder_of(model)) == real(folder)
    return False


def in_use() -> list[str]:
    """Return the models that this machine's services run, as far as their settings can be read."""
    found = []
    for service in service_manager.services():
        with contextlib.suppress(PicamError):
            found.append(configs.load(service.settings).model)
    return found


def delete(name: str, in_use: Sequence[str]) -> None:
    """Delete a model that was brought in; never one of those `in_use`, by name or folder. Raises `PicamError`.

    It may be broken: that is a reason to delete it.
    """
    if "/" in name:
        raise UsageError(f"{name} is a folder, not the name of a model here", "delete it as any other folder")
    folder = bundles.folder_of(name)
    if folder.parent == bundles.BUILT_IN:
        raise UsageError(f"{name} cannot be deleted: it is built in", "picam-infer models lists the others")
    if any(name == model or lies_in(model, folder) for model in in_use):
        raise UsageError(f"{name} is in use", "use another model first: picam-infer use MODEL")
    # Renamed first, in one step: if the rest cannot be deleted, it is at least not a model any more.
    gone = folder.with_name(f".deleted.{folder.name}.{secrets.token_hex(4)}")
    try:
        folder.rename(gone)
    except OSError as error:
        raise PicamError(f"{folder} cannot be deleted ({error.strerror})", "check its owner and permissions") from error
    shutil.rmtree(gone, ignore_errors=True)


def offers(media: Sequence[removable.Medium] | None = None) -> list[Offer]:
    """Return the models on mounted sticks: files that may be models, by their extension, and bundles."""
    found: list[Offer] = []
    for medium in removable.media() if media is None else media:
        if medium.folder is not None and not medium.how:
            found += _on(medium.folder, medium.name)
    return found


def _on(root: Path, medium: str) -> list[Offer]:
    found: list[Offer] = []
    entries = 0
    for where, folders, files in os.walk(root):
        here = Path(where)
        entries += len(folders) + len(files)
        if len(here.relative_to(root).parts) >= _DEEP or entries > _MOST_ENTRIES:
            folders.clear()
        if "model.yaml" in files and "model.bin" in files:
            folders.clear()
            found.append(Offer(here, medium, _size(here / "model.bin")))
            continue
        folders[:] = sorted(one for one in folders if not one.startswith((".", "System Volume")))
        found += [
            Offer(here / one, medium, _size(here / one))
            for one in sorted(files)
            if one.lower().endswith(_SUFFIXES) and not one.startswith(".")
        ]
        if len(found) >= _MOST_FOUND or entries > _MOST_ENTRIES:
            break
    return found[:_MOST_FOUND]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
