"""Where the files are that may name a model's classes."""

from __future__ import annotations

import re
from pathlib import Path

from picam_infer.convert import archives
from picam_infer.convert.label_forms import readings
from picam_infer.core import PicamError
from picam_infer.platform import tree

MAX_FILES = 2000
_SURE = ("labels.txt", "label.txt", "classes.txt", "class_names.txt", "labels.csv", "classes.csv", "class_indices.json",
         "labels.json", "classes.json", "class_names.json", "metadata.json")  # fmt: skip
"""Names that a list of classes usually has, the surest first."""
_MAYBE = re.compile(r"(?i)label|class|categor|(^|[_-])names?([_.-]|$)|synset")
_ENDINGS = frozenset({".txt", ".json", ".csv", ".tsv", ".names", ".yaml", ".yml", ".pbtxt", ".lst"})


def candidates(folder: Path, root: Path | None, outside: Path | None = None) -> list[Path]:
    """Return the files that may name a model's classes, the likeliest first.

    They are next to it, above it up to `root`, in its `assets`, in `outside` (where its archive lay), or else anywhere
    in `root`. Whether one fits is seen from its count.
    """
    places = [folder]
    if root is not None and folder.is_relative_to(root):
        above = [folder, *folder.parents]
        places = above[: above.index(root) + 1]
    found = [path for place in places for path in _in_folder(place)]
    if root is not None:
        found += _inside(root)
    if outside is not None:
        found += _in_folder(outside)
    sure = [path for path in found if path.name.lower() in _SURE]
    return list(dict.fromkeys([*sure, *found]))


def _in_folder(folder: Path) -> list[Path]:
    try:
        files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    except OSError:
        return []
    sure = [path for name in _SURE for path in files if path.name.lower() == name]
    maybe = [
        path for path in files if path.suffix.lower() in _ENDINGS and _MAYBE.search(path.stem) and path not in sure
    ]
    return [path for path in (*sure, *maybe) if not path.name.startswith(".") and _holds_names(path)]


def _inside(root: Path) -> list[Path]:
    found: list[Path] = []
    try:
        there = tree.inside(root, archives.MAX_ENTRIES)
    except (tree.TooMany, OSError):  # whoever looks for the model there says so
        return []
    for path in there[:MAX_FILES]:
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.relative_to(root).parts)
        if (
            path.name.lower() in _SURE
            and path.is_file()
            and not path.is_symlink()
            and not hidden
            and _holds_names(path)
        ):
            found.append(path)
    return found


def _holds_names(path: Path) -> bool:
    """Tell whether a JSON or YAML file, of which there are many kinds, holds names at all; of others it is believed."""
    if path.suffix.lower() not in (".json", ".yaml", ".yml"):
        return True
    try:
        return bool(readings(path))
    except PicamError:
        return False


def is_sure(path: Path) -> bool:
    """Tell whether a file is called as lists of classes are, so that one that does not fit is an error."""
    return path.name.lower() in _SURE and path.suffix.lower() != ".json"
