"""The student: it answers as the members do together, the same wherever and in however many goes it learnt that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scans import few_digits, needs_tensorflow

from picam_infer.training.checkpoint import Checkpoint
from picam_infer.training.distillation import distil
from picam_infer.training.network import average, build_network, import_tensorflow, scaled
from picam_infer.training.samples import training_set


def _members(keras: Any) -> list[Any]:
    """Return two networks that answer decidedly, and not alike, though nothing has taught them."""
    members = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        member = build_network(keras)
        kernel, bias = member.layers[-1].get_weights()
        member.layers[-1].set_weights([kernel * 40, bias])
        members.append(member)
    return members


@needs_tensorflow
@pytest.mark.timeout(300)
def test_the_student_answers_as_its_members_do_together() -> None:
    keras, _ = import_tensorflow()
    members = _members(keras)
    inputs, labels = training_set(few_digits(), 1000, 1, 2)
    theirs = average(keras, members).predict(scaled(inputs), verbose=0)
    student = average(keras, [distil(keras, members, inputs, 3, 40, 2)])
    mine = student.predict(scaled(inputs), verbose=0)
    assert float((theirs.argmax(axis=1) == labels).mean()) < 0.4, "the labels would do as well"
    assert float((mine.argmax(axis=1) == theirs.argmax(axis=1)).mean()) > 0.75
    assert float(np.abs(mine - theirs).mean()) < 0.05


@needs_tensorflow
@pytest.mark.timeout(300)
def test_an_interrupted_distillation_gives_the_same_student(tmp_path: Path) -> None:
    keras, _ = import_tensorflow()
    members = _members(keras)
    inputs = np.random.default_rng(0).integers(0, 256, (384, 28, 28)).astype(np.uint8)
    whole = Checkpoint(tmp_path / "whole", "x")
    first = distil(keras, members, inputs, 3, 2, 1, whole).get_weights()
    cut = Checkpoint(tmp_path / "cut", "x")
    for name in ("answers-3-0", "answers-3-1"):
        cut.save(name, whole.load(name) or ())
    again = distil(keras, members, inputs, 3, 2, 2, cut).get_weights()
    alone = distil(keras, members, inputs, 3, 2, 2).get_weights()
    for weights in (again, alone):
        assert all(np.array_equal(a, b) for a, b in zip(first, weights, strict=True))
