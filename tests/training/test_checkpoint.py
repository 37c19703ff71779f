"""A training's interim results outlive an interruption, and nothing else is mistaken for them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from picam_infer.core import NoInput
from picam_infer.training import samples, train
from picam_infer.training.checkpoint import Checkpoint, identity, sources


def numbers(value: int) -> tuple[np.ndarray, ...]:
    return (np.full(3, value), np.array(value))


def test_what_was_worked_out_is_not_worked_out_again(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "unfinished"
    Checkpoint(folder, "one").once("frames", lambda: numbers(1))
    again = Checkpoint(folder, "one").once("frames", lambda: numbers(2))
    assert [array.tolist() for array in again] == [[1, 1, 1], 1]


def test_another_trainings_results_are_thrown_away(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "unfinished", "one").save("member", numbers(1))
    other = Checkpoint(tmp_path / "unfinished", "another")
    assert other.load("member") is None
    assert Checkpoint(tmp_path / "unfinished", "one").load("member") is None


def test_an_interrupted_save_leaves_what_was_there(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "unfinished", "one")
    checkpoint.save("member", numbers(1))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save("member", Interrupting())  # type: ignore[arg-type]
    kept = Checkpoint(tmp_path / "unfinished", "one").load("member")
    assert kept is not None and kept[1] == 1


class Interrupting:
    """A sequence of arrays whose second one cannot be had."""

    def __iter__(self) -> Interrupting:
        self._given = False
        return self

    def __next__(self) -> np.ndarray:
        if self._given:
            raise KeyboardInterrupt
        self._given = True
        return np.zeros(1000)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "poem.txt").write_text("mine")
    with pytest.raises(NoInput, match="holds something other"):
        Checkpoint(tmp_path / "unfinished", "one")
    assert (tmp_path / "unfinished" / "poem.txt").read_text() == "mine"


def test_a_finished_training_leaves_no_interim_results(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "unfinished", "one")
    checkpoint.save("member", numbers(1))
    checkpoint.remove()
    assert not (tmp_path / "unfinished").exists()


def test_settings_program_and_digits_make_the_identity(tmp_path: Path) -> None:
    source, digits = tmp_path / "render.py", np.arange(4)
    source.write_text("a = 1")
    names = {identity((1, 2), [source], [digits]), identity((1, 3), [source], [digits])}
    names.add(identity((1, 2), [source], [digits + 1]))
    assert identity((1, 2), [source], [digits]) in names
    source.write_text("a = 2")
    names.add(identity((1, 2), [source], [digits]))
    assert len(names) == 4


def test_every_module_that_training_runs_is_a_source() -> None:
    others = ("picam_infer.training.teach", "picam_infer.training.compile_ncs")
    run = {
        Path(str(module.__file__))
        for name, module in list(sys.modules.items())
        if name.startswith("picam_infer.training.") and not name.startswith(others)
    }
    assert {Path(samples.__file__), Path(train.__file__)} <= run
    assert run <= set(sources())
    assert {"preprocess.py", "ruled_lines.py", "pen.py", "letters.py"} <= {source.name for source in sources()}
