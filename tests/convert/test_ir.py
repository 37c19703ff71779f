"""The network's file: its nodes keep names of their own, however often it is read and stored."""

from __future__ import annotations

import re

from picam_infer.convert import ir
from picam_infer.inference.engines.openvino import read_network
from picam_infer.models import bundle


def test_a_network_that_was_stored_before_keeps_names_of_its_own() -> None:
    """In what was stored as f16, the constants and what converts them are numbered already."""
    model = read_network(bundle.load("digits"))
    ir.rename(model)
    names = [node.get_friendly_name() for node in model.get_ops()]
    assert sorted(names) == sorted(set(names))


def test_names_do_not_depend_on_what_was_built_before() -> None:
    first, second = (ir.serialise(read_network(bundle.load("digits")), half=True) for _ in range(2))
    assert first == second
    assert not re.search(rb'name="Constant_\d+"', first["model.xml"])
