"""The table of threads in `docs/architecture.md` is that of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "picam_infer").rglob("*.py"))


def documented() -> dict[str, str]:
    """Return what the document says of each thread, by its name."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    rows = text.partition("## Threads")[2].partition("\n\n")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [row.strip("| ").split(" | ") for row in rows]
    return {name: does for names, does, _ in cells for name in re.findall("`([^`]+)`", names)}


def threads() -> Iterator[tuple[Path, str]]:
    """Yield where a thread is started, and its name as far as it is written there."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "threading.Thread":
                name = next(word.value for word in node.keywords if word.arg == "name")
                for part in ast.walk(name):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.strip("_ "):
                        yield path, part.value.strip()


def test_each_thread_that_is_started_is_in_the_document() -> None:
    names = {name.removesuffix(" NAME") for name in documented()}
    assert len(names) > 10
    assert {name for _, name in threads()} - names == set()


@pytest.mark.parametrize("name", [name for name in documented() if name != "main"])
def test_each_thread_of_the_document_is_one_of_the_code(name: str) -> None:
    word = name.removesuffix(" NAME")
    assert any(re.search(rf"def _{re.escape(word)}\(|[\"']{re.escape(word)}\b", path.read_text()) for path in SOURCES)


def test_the_document_says_which_threads_have_a_low_priority() -> None:
    low = {name for path, name in threads() if re.search(r"^ +lower_priority\(\)", path.read_text(), re.MULTILINE)}
    assert low == {name for name, does in documented().items() if "low priority" in does}
