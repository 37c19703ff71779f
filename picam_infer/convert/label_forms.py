"""The forms in which people and exports write class names down, and every way of reading a file of them."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from picam_infer.convert.keras_config import load_json
from picam_infer.core import NoInput, PicamError
from picam_infer.platform import regular_file

MAX_BYTES = 4 << 20
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
"""`cat 0`: the number may also be a part of the name."""
_ASSIGNED = re.compile(r"\s*(?:(?:const|let|var|export)\s+)*\w+\s*=\s*(?=[\[{])")
"""The start of a list in a program: `labels = [`."""
_YAML_BLOCK = re.compile(r"\s*\w+:[ \t]*\r?\n")


@dataclass(frozen=True)
class Reading:
    """One way of reading a file."""

    names: tuple[str, ...]
    note: str = ""


def _bytes(path: Path) -> bytes:
    try:
        regular_file.require(path)
        if path.stat().st_size > MAX_BYTES:
            raise PicamError(f"{path.name} is too large for a list of labels", "one class a line")
        return path.read_bytes()
    except OSError as error:
        hint = regular_file.unreadable(path, error).hint if regular_file.is_closed(error) else "check the name"
        raise NoInput(f"the labels {path} cannot be read ({error.strerror})", hint) from error


def readings(path: Path, notes: list[str] | None = None, wanted: Collection[int] = ()) -> list[Reading]:
    """Return every way of reading a file; what else was noticed goes into `notes`. Raises `PicamError`."""
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
    found: list[Reading] = []
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
    return [*found, *_of_table(lines, ending, path.name), *of_lines(_without_marks(lines), path.name, wanted)]


def _decode(data: bytes, name: str, notes: list[str]) -> str:
    text = _decoded(data, name, notes)
    if "\0" in text:
        raise PicamError(f"{name} is not text: it contains NUL characters", "save it as UTF-8 text, one class a line")
    return text


def _decoded(data: bytes, name: str, notes: list[str]) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    many = len(data[:4000]) // 4
    if data[1:4000:2].count(0) > many:
        return data.decode("utf-16-le", "replace")
    if data[0:4000:2].count(0) > many:
        return data.decode("utf-16-be", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        if b"\0" not in data:
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


def _of_yaml(text: str) -> list[Reading]:
    try:
        return _of_value(yaml.load(text, Loader=yaml.BaseLoader))  # everything as text: `no` is a name like any other
    except (yaml.YAMLError, RecursionError, ValueError):
        return []


def _of_items(text: str) -> list[Reading]:
    """Read TensorFlow's label maps: `item { id: 1 name: 'cat' }`."""
    pairs: dict[int, str] = {}
    for item in re.findall(r"item\s*\{([^}]*)\}", text):
        number = re.search(r"\bid\s*:\s*(\d{1,6})", item)
        shown = re.search(r"display_name\s*:\s*[\"']([^\"']*)", item) or re.search(r"\bname\s*:\s*[\"']([^\"']*)", item)
        if number and shown:
            pairs[int(number[1])] = shown[1]
    return _by_index(pairs)


# -- JSON and the like -----------------------------------------------------------


def _of_value(value: Any, depth: int = 0) -> list[Reading]:
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


def _of_list(value: list[Any]) -> list[Reading]:
    if value and all(isinstance(item, str | int) and not isinstance(item, bool) for item in value):
        return [Reading(tuple(map(str, value)))]
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
    return _by_index(pairs) or ([Reading(tuple(names))] if names else [])


def _is_whole(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and re.fullmatch(r"\d{1,6}", value) is not None)


def _of_map(value: Mapping[Any, Any]) -> list[Reading]:
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


def _by_index(pairs: Mapping[int, str]) -> list[Reading]:
    """Return names in the order of their numbers, from 0 or from 1; where numbers are left out, as many as fit."""
    if not pairs or max(pairs) > 1 << 20:
        return []
    first, last = min(pairs), max(pairs)
    whole = len(pairs) == last - first + 1
    readings = []
    if whole and first in (0, 1):
        readings.append(Reading(tuple(pairs[at] for at in sorted(pairs))))
    if first > 0:  # from 1 with a place for 0, as detectors have it, or with names left out
        readings.append(Reading(tuple(pairs.get(at, "") for at in range(last + 1))))
    if not whole:
        readings += [
            Reading(tuple(pairs.get(at, "") for at in range(start, last + 1))) for start in (0, 1) if start <= first
        ]
        readings.append(Reading(tuple(pairs[at] for at in sorted(pairs)), "its numbers have gaps: they were closed up"))
    return list(dict.fromkeys(readings))


# -- lines -----------------------------------------------------------------------


def _empty_lines(count: int) -> str:
    return f"{count} empty lines: they were" if count > 1 else "an empty line: it was"


def of_lines(lines: list[str], source: str, wanted: Collection[int]) -> Iterator[Reading]:
    """Yield the ways of reading lines, the likeliest first."""
    filled = [line for line in lines if line]
    bare = [line for line in filled if not line.startswith("#")]
    for part in (filled, bare):
        yield from _indexed(part, wanted, source)
    plain = _unquoted(lines)
    yield Reading(tuple(plain))
    if len(filled) < len(lines):
        yield Reading(tuple(_unquoted(filled)), f"{source} has {_empty_lines(len(lines) - len(filled))} left out")
    if len(bare) < len(filled):
        yield Reading(tuple(_unquoted(bare)), f"{source} has lines that begin with #: they were left out")
    if len(filled) == 1:
        for mark in (mark for mark in ",;|\t、，；" if mark in filled[0]):
            parts = [part.strip() for part in filled[0].split(mark)]
            yield from _indexed(parts, wanted, source)
            yield Reading(tuple(_unquoted(parts)))
    if len(filled) > 1 and filled[0].lower().strip("\"' ") in _NAME_HEADS:
        yield Reading(tuple(_unquoted(filled[1:])), f"{source} has a heading, {filled[0]!r}: it was left out")


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


def _indexed(lines: list[str], wanted: Collection[int], source: str) -> Iterator[Reading]:
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
) -> Iterator[Reading]:
    """Yield the names in the order of their numbers, where the numbers are indices and no part of the names."""
    numbers, names = [number for number, _ in pairs], [name for _, name in pairs]
    if len(set(numbers)) < len(numbers) or not any(names):
        return
    by_number = dict(pairs)
    told = (
        "" if numbers == sorted(numbers) else f"{source} has numbers, in another order: its names were sorted by them"
    )
    if sorted(numbers) == list(range(len(numbers))):
        yield Reading(tuple(by_number[at] for at in range(len(numbers))), told)
    elif sorted(numbers) == list(range(1, len(numbers) + 1)) and len(set(names)) == len(names) and all(names):
        note = f"{source} counts from 1: its numbers were taken for indices and left out"
        yield Reading(tuple(by_number[at] for at in range(1, len(numbers) + 1)), note)
        yield Reading(("", *(by_number[at] for at in range(1, len(numbers) + 1))))
    elif len(numbers) > 1 and all(names):
        # With gaps: indices only if a network of as many outputs is there.
        last = max(numbers)
        for first in (0, 1) if min(numbers) else (0,):
            if last + 1 - first in wanted and last + 1 - first != len(lines):
                note = f"{source} names {len(numbers)} of {last + 1 - first} classes"
                yield Reading(tuple(by_number.get(at, "") for at in range(first, last + 1)), note)


# -- tables ----------------------------------------------------------------------


def _of_table(lines: list[str], ending: str, source: str) -> list[Reading]:
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


def _of_columns(rows: list[list[str]], name_at: int, index_at: list[int]) -> list[Reading]:
    for at in index_at:
        numbers = [row[at] for row in rows]
        if (
            at != name_at
            and all(number.isdecimal() and len(number) < 7 for number in numbers)
            and len(set(numbers)) == len(numbers)
        ):
            found = _by_index({int(row[at]): row[name_at] for row in rows})
            if found:
                return found
    return [Reading(tuple(row[name_at] for row in rows))]


# -- what they are called in the end ---------------------------------------------
