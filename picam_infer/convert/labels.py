"""Class names, as people and exports write them down."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from picam_infer.convert import lookalikes
from picam_infer.convert.keras_config import load_json
from picam_infer.core import NoInput, PicamError

MAX_BYTES = 4 << 20
MAX_FILES = 2000
# Everything that `str.splitlines` or a terminal would take for more than a character.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SURE = ("labels.txt", "label.txt", "classes.txt", "class_names.txt", "labels.csv", "classes.csv", "class_indices.json",
         "labels.json", "classes.json", "class_names.json", "metadata.json")  # fmt: skip
"""Names that a list of classes usually has, the surest first."""
_MAYBE = re.compile(r"(?i)label|class|categor|(^|[_-])names?([_.-]|$)|synset")
_ENDINGS = frozenset({".txt", ".json", ".csv", ".tsv", ".names", ".yaml", ".yml", ".pbtxt", ".lst"})
_KEYS = ("labels", "class_names", "classNames", "classes", "names", "class_indices", "classIndices", "label_map",
         "labelMap", "id2label", "label2id", "index_to_class", "idx_to_class", "idx2label", "class_to_idx",
         "label_names", "categories", "class_labels", "target_names")  # fmt: skip
"""Where a JSON file with other things in it has its names."""
_INDEX_HEADS = frozenset({"", "index", "idx", "id", "class_id", "classid", "label_id", "class id", "number", "no",
                          "no.", "#", "code", "class_index", "label_index", "target", "unnamed: 0"})  # fmt: skip
_NAME_HEADS = ("name", "class_name", "classname", "class name", "label_name", "label name", "label", "labels", "class",
               "classes", "category", "category_name", "display_name", "title", "species", "breed")  # fmt: skip
_NAME_PARTS = ("name", "label", "class", "title", "display_name", "displayName", "tagName")
_WORD = r"(?:(?:class|label|index|id|no\.?)[ _-]?)?"
_FIRST = re.compile(
    rf"(?i:[(\[<#]?{_WORD}[\"']?)(\d{{1,6}})[\"']?\s*(?:[:;,=|)\]\t>：；，、．]|->|=>|[.-](?=\s)|\s)\s*(.*)"
)
"""`0 cat`, `0: cat`, `0,cat`, `0) cat`, `[0] cat`, `"0","cat"`, `class 0: cat`…"""
_LAST = re.compile(r"(.*\S)\s*(?:[:;,=|\t：；，、]|->|=>)\s*(\d{1,6})")
"""`cat: 0`, `cat,0`…"""
_LAST_WORD = re.compile(r"(.*\S)\s+(\d{1,6})")
"""`cat 0`: a number may be a part of the name, too."""
_ASSIGNED = re.compile(r"\s*(?:(?:const|let|var|export)\s+)*\w+\s*=\s*(?=[\[{])")
"""What stands before a list in a program: `labels = [`."""


_YAML_BLOCK = re.compile(r"\s*\w+:[ \t]*\r?\n")


@dataclass(frozen=True)
class Labels:
    """Names by output, and what was noticed about them."""

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    source: str = ""


# -- where they are --------------------------------------------------------------


def find(folder: Path) -> Path | None:
    """Return the likeliest labels' file beside a model, if there is one."""
    return next(iter(candidates(folder, None)), None)


def candidates(folder: Path, root: Path | None, outside: Path | None = None) -> list[Path]:
    """Return the files that may name a model's classes, the likeliest first.

    They lie beside it, above it up to `root`, in its `assets`, in `outside` (where its archive lay), or else anywhere
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
    for number, path in enumerate(sorted(root.rglob("*"))):
        if number > MAX_FILES:
            break
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
        return bool(_readings(path))
    except PicamError:
        return False


def is_sure(path: Path) -> bool:
    """Tell whether a file is called as lists of classes are, so that one that does not fit is an error."""
    return path.name.lower() in _SURE and path.suffix.lower() != ".json"


# -- reading ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Reading:
    """One way of reading a file."""

    names: tuple[str, ...]
    note: str = ""


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PicamError(f"{path.name} is too large for a list of labels", "one class a line")
        return path.read_bytes()
    except OSError as error:
        raise NoInput(f"the labels {path} cannot be read ({error.strerror})", "check the name") from error


def counts(path: Path) -> set[int]:
    """Return how many classes a file may name, by the ways of reading it. Raises `PicamError`."""
    return {len(reading.names) for reading in _readings(path)}


def read(path: Path, wanted: Collection[int] = ()) -> Labels:
    """Read a labels file in any of the forms that people have; of the ways of reading it the count decides.

    `wanted` are the counts that would fit the network. Raises `PicamError`.
    """
    lookalikes.refuse_pointer(path)
    notes: list[str] = []
    readings = _readings(path, notes, wanted)
    if not readings:
        raise PicamError(f"{path.name} holds no labels", "one class a line")
    fitting = [reading for reading in readings if len(reading.names) in wanted]
    chosen = (fitting or readings)[0]
    return _clean(list(chosen.names), [*notes, *([chosen.note] if chosen.note else [])], path.name)


def fits(path: Path, wanted: Collection[int]) -> bool:
    """Tell whether a file can be read as that many names."""
    try:
        return any(len(reading.names) in wanted for reading in _readings(path, [], wanted))
    except PicamError:
        return False


def of_lines(lines: Sequence[str], source: str, wanted: Collection[int] = ()) -> Labels:
    """Return the labels that a model file itself has, as lines."""
    readings = list(_of_lines(list(lines), source, wanted))
    fitting = [reading for reading in readings if len(reading.names) in wanted]
    return _clean(list((fitting or readings)[0].names), [], source)


def _readings(path: Path, notes: list[str] | None = None, wanted: Collection[int] = ()) -> list[_Reading]:
    notes = notes if notes is not None else []
    text = _decode(_bytes(path), path.name, notes)
    if assigned := _ASSIGNED.match(text):
        text = text[assigned.end() :].rstrip("; \t\r\n")
    ending, start = path.suffix.lower(), text.lstrip()[:1]
    if ending == ".json":
        return _of_value(load_json(text, path.name))
    if ending in (".yaml", ".yml"):
        return _of_yaml(text)
    if ending == ".pbtxt" or re.match(r"\s*item\s*\{", text):
        return _of_items(text)
    found: list[_Reading] = []
    if start in ("[", "{"):
        value = _literal(text)
        found = _of_value(value) if value is not None else _of_yaml(text)
        if found:
            return found
    if _YAML_BLOCK.match(text):
        found = _of_yaml(text)
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", text)]
    while lines and not lines[-1]:
        lines.pop()
    if not any(lines):
        return []
    return [*found, *_of_table(lines, ending, path.name), *_of_lines(_without_marks(lines), path.name, wanted)]


def _decode(data: bytes, name: str, notes: list[str]) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    if data[1:4000:2].count(0) > len(data[:4000]) // 4:
        return data.decode("utf-16-le", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        notes.append(f"{name} is not UTF-8; it was read as Windows-1252")
        return data.decode("cp1252", "replace")


def _literal(text: str) -> Any:
    """Return JSON, or the Python dictionary or list that a program printed; None for neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _of_yaml(text: str) -> list[_Reading]:
    try:
        return _of_value(yaml.load(text, Loader=yaml.BaseLoader))  # all of it text: `no` is a name like others
    except (yaml.YAMLError, RecursionError, ValueError):
        return []


def _of_items(text: str) -> list[_Reading]:
    """Read TensorFlow's label maps: `item { id: 1 name: 'cat' }`."""
    pairs: dict[int, str] = {}
    for item in re.findall(r"item\s*\{([^}]*)\}", text):
        number = re.search(r"\bid\s*:\s*(\d{1,6})", item)
        shown = re.search(r"display_name\s*:\s*[\"']([^\"']*)", item) or re.search(r"\bname\s*:\s*[\"']([^\"']*)", item)
        if number and shown:
            pairs[int(number[1])] = shown[1]
    return _by_index(pairs)


# -- JSON and the like -----------------------------------------------------------


def _of_value(value: Any, depth: int = 0) -> list[_Reading]:
    """Return the names in a list or a map of any of the usual forms, or in one of the usual places of a larger one."""
    if isinstance(value, list):
        return _of_list(value)
    if not isinstance(value, dict) or not value:
        return []
    found = _of_map(value)
    if found or depth > 3:
        return found
    for key in _KEYS:
        if key in value and (inside := _of_value(value[key], depth + 1)):
            return inside
    for key in ("tfjsMetadata", "metadata", "model", "config"):
        if isinstance(value.get(key), dict) and (inside := _of_value(value[key], depth + 1)):
            return inside
    return []


def _of_list(value: list[Any]) -> list[_Reading]:
    if value and all(isinstance(item, str | int) and not isinstance(item, bool) for item in value):
        return [_Reading(tuple(map(str, value)))]
    pairs: dict[int, str] = {}
    names: list[str] = []
    for item in value:
        if isinstance(item, list) and len(item) == 2 and isinstance(item[1], str):
            item = {"index": item[0], "name": item[1]}
        if not isinstance(item, dict):
            return []
        name = next((item[key] for key in _NAME_PARTS if isinstance(item.get(key), str)), None)
        number = next((int(item[key]) for key in ("index", "id", "class_id", "idx") if _is_whole(item.get(key))), None)
        if name is None:
            return []
        names.append(name)
        if number is not None:
            pairs[number] = name
    return _by_index(pairs) or ([_Reading(tuple(names))] if names else [])


def _is_whole(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and re.fullmatch(r"\d{1,6}", value) is not None)


def _of_map(value: Mapping[Any, Any]) -> list[_Reading]:
    """Read {"0": "cat"}, {"cat": 0}, {"0": ["n02", "cat"]} and {0: "cat"}."""
    keys = [str(key).strip() for key in value]
    items = list(value.values())
    if all(type(item) is int or (isinstance(item, str) and item.isdecimal()) for item in items):
        numbers = [int(item) for item in items]
        both = all(key.isdecimal() for key in keys)
        if len(set(numbers)) == len(numbers) and not (both and all(isinstance(item, str) for item in items)):
            return _by_index(dict(zip(numbers, keys, strict=True)))
    indices = [re.fullmatch(rf"(?i:{_WORD})(\d{{1,6}})", key) for key in keys]
    if all(indices):
        names = [_last_text(item) for item in items]
        if all(name is not None for name in names):
            found = zip(indices, names, strict=True)
            return _by_index({int(index[1]): name or "" for index, name in found if index})
    return []


def _last_text(item: Any) -> str | None:
    """Return the name in a map's value: ImageNet's files put an identifier before it."""
    if isinstance(item, str | int) and not isinstance(item, bool):
        return str(item)
    if isinstance(item, list) and item and all(isinstance(part, str) for part in item):
        return str(item[-1])
    if isinstance(item, dict):
        return next((item[key] for key in _NAME_PARTS if isinstance(item.get(key), str)), None)
    return None


def _by_index(pairs: Mapping[int, str]) -> list[_Reading]:
    """Return names in the order of their numbers, from 0 or from 1; where numbers are left out, as many as fit."""
    if not pairs or max(pairs) > 1 << 20:
        return []
    first, last = min(pairs), max(pairs)
    whole = len(pairs) == last - first + 1
    readings = []
    if whole and first in (0, 1):
        readings.append(_Reading(tuple(pairs[at] for at in sorted(pairs))))
    if first > 0:  # from 1 with a place for 0, as detectors have it, or with names left out
        readings.append(_Reading(tuple(pairs.get(at, "") for at in range(last + 1))))
    if not whole:
        readings += [
            _Reading(tuple(pairs.get(at, "") for at in range(start, last + 1))) for start in (0, 1) if start <= first
        ]
        readings.append(
            _Reading(tuple(pairs[at] for at in sorted(pairs)), "its numbers have gaps: they were closed up")
        )
    return list(dict.fromkeys(readings))


# -- lines -----------------------------------------------------------------------


def _of_lines(lines: list[str], source: str, wanted: Collection[int]) -> Iterator[_Reading]:
    """Yield the ways of reading lines, the likeliest first."""
    filled = [line for line in lines if line]
    bare = [line for line in filled if not line.startswith("#")]
    for part in (filled, bare):
        yield from _indexed(part, wanted, source)
    plain = _unquoted(lines)
    yield _Reading(tuple(plain))
    if len(filled) < len(lines):
        yield _Reading(
            tuple(_unquoted(filled)), f"{source} has {len(lines) - len(filled)} empty lines: they were left out"
        )
    if len(bare) < len(filled):
        yield _Reading(tuple(_unquoted(bare)), f"{source} has lines that begin with #: they were left out")
    if len(filled) == 1:
        for mark in (mark for mark in ",;|\t、，；" if mark in filled[0]):
            parts = [part.strip() for part in filled[0].split(mark)]
            yield from _indexed(parts, wanted, source)
            yield _Reading(tuple(_unquoted(parts)))
    if len(filled) > 1 and filled[0].lower().strip("\"' ") in _NAME_HEADS:
        yield _Reading(tuple(_unquoted(filled[1:])), f"{source} has a heading, {filled[0]!r}: it was left out")


def _without_marks(lines: list[str]) -> list[str]:
    """Take off the commas or semicolons that end every line but maybe the last."""
    filled = [line for line in lines if line]
    for mark in ",;":
        if len(filled) > 1 and all(line.endswith(mark) for line in filled[:-1]):
            return [line.removesuffix(mark).rstrip() for line in lines]
    return lines


def _unquoted(lines: Iterable[str]) -> list[str]:
    """Take off quotes, and the commas of a list, if every line has them."""
    lines = list(lines)
    for pattern in (r"\"(.*)\"\s*,?", r"'(.*)'\s*,?"):
        matches = [re.fullmatch(pattern, line) for line in lines]
        if lines and all(matches):
            return [match[1].strip() if match else "" for match in matches]
    return lines


def _indexed(lines: list[str], wanted: Collection[int], source: str) -> Iterator[_Reading]:
    """Yield names without the numbers before or behind them, if every line has its own number."""
    front = [_FIRST.fullmatch(f"{line} ") for line in lines]
    if lines and all(front):
        pairs = [(int(match[1]), _unquoted([match[2].strip()])[0]) for match in front if match]
        yield from _numbered(pairs, lines, wanted, source)
    behind = [_LAST.fullmatch(line) for line in lines]
    if lines and all(behind):
        pairs = [(int(match[2]), _unquoted([match[1].strip()])[0]) for match in behind if match]
        if min(number for number, _ in pairs) == 0:
            yield from _numbered(pairs, lines, wanted, source)
    last = [_LAST_WORD.fullmatch(line) for line in lines]
    if len(lines) > 1 and all(last):
        pairs = [(int(match[2]), match[1]) for match in last if match]
        names = {name for _, name in pairs}
        if sorted(number for number, _ in pairs) == list(range(len(names))):
            yield from _numbered(pairs, lines, wanted, source)


def _numbered(
    pairs: list[tuple[int, str]], lines: list[str], wanted: Collection[int], source: str
) -> Iterator[_Reading]:
    """Yield the names in the order of their numbers, where the numbers are indices and no part of the names."""
    numbers, names = [number for number, _ in pairs], [name for _, name in pairs]
    if len(set(numbers)) < len(numbers) or not any(names):
        return
    by_number = dict(pairs)
    told = (
        "" if numbers == sorted(numbers) else f"{source} has numbers, in another order: its names were sorted by them"
    )
    if sorted(numbers) == list(range(len(numbers))):
        yield _Reading(tuple(by_number[at] for at in range(len(numbers))), told)
    elif sorted(numbers) == list(range(1, len(numbers) + 1)) and len(set(names)) == len(names) and all(names):
        note = f"{source} counts from 1: its numbers were taken for indices and left out"
        yield _Reading(tuple(by_number[at] for at in range(1, len(numbers) + 1)), note)
        yield _Reading(("", *(by_number[at] for at in range(1, len(numbers) + 1))))
    elif len(numbers) > 1 and all(names):
        # With gaps: indices only if a network of as many outputs is there.
        last = max(numbers)
        for first in (0, 1) if min(numbers) else (0,):
            if last + 1 - first in wanted and last + 1 - first != len(lines):
                note = f"{source} names {len(numbers)} of {last + 1 - first} classes"
                yield _Reading(tuple(by_number.get(at, "") for at in range(first, last + 1)), note)


# -- tables ----------------------------------------------------------------------


def _of_table(lines: list[str], ending: str, source: str) -> list[_Reading]:
    """Read a CSV file of names and maybe numbers, with or without a heading."""
    filled = [line for line in lines if line]
    mark = next((m for m in ("\t", ";", ",") if all(m in line for line in filled)), None)
    if mark is None:
        return []
    rows = list(csv.reader(io.StringIO("\n".join(filled)), delimiter=mark, skipinitialspace=True))
    rows = [[cell.strip() for cell in row] for row in rows]
    width = len(rows[0])
    if width < 2 or any(len(row) != width for row in rows) or len(rows) < 2:
        return []
    heads = [cell.lower() for cell in rows[0]]
    name_at = next((heads.index(head) for head in _NAME_HEADS if head in heads), None)
    if name_at is not None and (ending in (".csv", ".tsv") or any(head in _INDEX_HEADS for head in heads)):
        return _of_columns(rows[1:], name_at, [at for at, head in enumerate(heads) if head in _INDEX_HEADS])
    if ending in (".csv", ".tsv"):
        numeric = [at for at in range(width) if all(row[at].isdecimal() for row in rows)]
        texts = [at for at in range(width) if at not in numeric]
        if numeric and texts:
            return _of_columns(rows, texts[-1], numeric)
    return []


def _of_columns(rows: list[list[str]], name_at: int, index_at: list[int]) -> list[_Reading]:
    for at in index_at:
        numbers = [row[at] for row in rows]
        if at != name_at and all(number.isdecimal() and len(number) < 7 for number in numbers) \
                and len(set(numbers)) == len(numbers):  # fmt: skip
            found = _by_index({int(row[at]): row[name_at] for row in rows})
            if found:
                return found
    return [_Reading(tuple(row[name_at] for row in rows))]


# -- what they are called in the end ---------------------------------------------


def _clean(names: list[str], notes: list[str], source: str) -> Labels:
    if not names:
        raise PicamError(f"{source} holds no labels", "one class a line")
    cleaned = [_CONTROL.sub(" ", name).replace("\ufeff", "").strip() for name in names]
    empty = [at for at, name in enumerate(cleaned) if not name]
    if empty:
        notes.append(f"{source} has no name for class {', '.join(map(str, empty[:8]))}")
    cleaned = [name or f"class {at}" for at, name in enumerate(cleaned)]
    twice = [name for name, count in Counter(cleaned).items() if count > 1]
    if twice:
        notes.append(f"{source} has the same name for several classes: {', '.join(twice[:4])}")
    return Labels(tuple(cleaned), tuple(notes), source)


def numbered(count: int) -> Labels:
    """Return names for classes of which nobody told one."""
    note = f"no labels found: they are called class 0 … class {count - 1}; name them in labels.txt or with --labels"
    return Labels(tuple(f"class {at}" for at in range(count)), (note,))


_UNIT = re.compile(r"(.*\S)\s*[\[(]\s*([^\])]{0,24}?)\s*[\])]|(.*\S)\s*:\s*([^\s:]{1,12})")


def have_units(names: Sequence[str]) -> bool:
    """Tell whether names read like those of values: `angle [°]`, `speed (m/s)`."""
    return bool(names) and all(re.fullmatch(r".*\S\s*\[[^\]]{0,24}\]", name) for name in names)


def as_values(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return names and units of values: `angle [°]`, `angle (°)`, `angle: °`; for one value the line is its unit."""
    pairs = []
    for name in names:
        match = _UNIT.fullmatch(name)
        if match:
            pairs.append((match[1] or match[3], match[2] or match[4] or ""))
        else:
            pairs.append(("output", name) if len(names) == 1 else (name, ""))
    return tuple(name for name, _ in pairs), tuple(unit for _, unit in pairs)


def check(labels: Labels, outputs: int) -> None:
    """Raise `PicamError` if there is not one name for each output."""
    if len(labels.names) != outputs:
        raise PicamError(
            f"{labels.source} has {len(labels.names)} labels, the network has {outputs} outputs",
            "give the labels that belong to this model with --labels",
        )
