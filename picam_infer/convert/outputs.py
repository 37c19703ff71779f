"""Which of a network's outputs is used, and what its numbers mean: the same for every kind of file."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op

from picam_infer.convert import ending, graph
from picam_infer.convert.ending import Ending
from picam_infer.convert.network import Network
from picam_infer.convert.tensor import Array
from picam_infer.core import PicamError
from picam_infer.models.bundle import Task

MAX_CLASSES = 1 << 20
_PICK = "if there is a list of classes inside, name its layer with --output-layer"
_EXCLUSIVE = ("categorical_crossentropy", "sparse_categorical_crossentropy", "kl_divergence", "kullback")
_MEASURES = ("mean_squared", "mse", "mean_absolute", "mae", "huber", "log_cosh", "logcosh", "poisson", "mape", "msle",
             "cosine")  # fmt: skip


@dataclass
class Reading:
    """What the outputs mean."""

    task: Task
    probabilities: bool
    notes: list[str] = field(default_factory=list)
    finish: Callable[[Any], Any] | None = None
    """What is added to the network so that it answers probabilities."""


def choose(model: Any, wanted: str | None, counts: Collection[int], notes: list[str]) -> Any:
    """Leave one output, the one of that name (or the node's), else the one that the labels fit, else the first list.

    `counts` are how many classes the labels may name. Inputs that it does not need are dropped. Raises `PicamError`.
    """
    if wanted:
        _only(model, _named(model, wanted))
    elif len(model.outputs) > 1:
        chosen = _fitting(model, counts, notes)
        _only(model, chosen.get_node())
    return _needed(model)


def _named(model: Any, wanted: str) -> Any:
    for port in model.outputs:
        if wanted in port.get_names() or wanted in (graph.sources(port.get_node())[0].get_friendly_name(),):
            return port.get_node()
    nodes = [
        node
        for node in model.get_ordered_ops()
        if node.get_friendly_name() == wanted or any(wanted in output.get_names() for output in node.outputs())
    ]
    if not nodes:
        last = ", ".join(node.get_friendly_name() for node in model.get_ordered_ops()[-4:-1])
        raise PicamError(f"the model has no layer {wanted!r}", f"the last ones are: {last}")
    result = op.result(nodes[0].output(0))
    result.output(0).get_tensor().set_names({wanted})
    model.add_results([result])
    return result


def _fitting(model: Any, counts: Collection[int], notes: list[str]) -> Any:
    names = [graph.name_of(port) for port in model.outputs]
    lists = [port for port in model.outputs if ending.shape_of(port)[0] == "vector"]
    fitting = [port for port in lists if _count(port) in counts or (_count(port) == 1 and 2 in counts)]
    classes = [port for port in fitting or lists if ending.read(port).kind in ("softmax", "sigmoid")]
    boxes = any(ending.shape_of(port)[0] in ("rows", "unknown") for port in model.outputs)
    if fitting and not (classes and len(fitting) > 1):
        chosen, why = fitting[0], ", which has as many values as there are labels"
    elif classes:
        chosen, why = classes[0], ""
    elif lists and not boxes:
        chosen, why = lists[0], ""
    else:
        chosen, why = model.outputs[0], ""
    name = graph.name_of(chosen)
    others = ", ".join([other for other in names if other != name][:4])
    notes.append(f"of {len(names)} outputs {name} is used{why}; --output-layer picks another: {others}")
    return chosen


def _count(port: Any) -> int:
    return math.prod(ending.shape_of(port)[1])


def _only(model: Any, kept: Any) -> None:
    for result in list(model.get_results()):
        if result.get_friendly_name() != kept.get_friendly_name():
            model.remove_result(result)


def _needed(model: Any) -> Any:
    """Drop inputs that the output does not need."""
    needed = {node.get_friendly_name() for node in graph.parameters(*model.get_results())}
    kept = [p for p in model.get_parameters() if p.get_friendly_name() in needed]
    if not kept:
        raise PicamError(
            f"output {graph.name_of(model.output(0))} does not depend on the input",
            "choose another with --output-layer",
        )
    if len(kept) == len(model.get_parameters()):
        return model
    return ov.Model(model.get_results(), kept, model.get_friendly_name())


def refuse_other_kinds(network: Network, height: int, width: int) -> None:
    """Raise `PicamError` for an output that is not a list: regions, boxes, maps; a layer inside may be what it is."""
    output = network.model.output(0)
    shape, sides = ending.shape_of(output)
    if shape != "vector" and not network.intermediate:
        raise PicamError(f"output {graph.name_of(output)} is {ending.what(output, height, width)}", _PICK)
    if math.prod(sides) > MAX_CLASSES:
        raise PicamError(
            f"the output {graph.name_of(output)} has {math.prod(sides):,} values",
            "choose a smaller one with --output-layer",
        )


def before_the_index(model: Any) -> Any:
    """Return a network that ends in the index of the best class with its scores instead."""
    result = model.get_results()[0]
    if ending.read(result.output(0)).kind != "index":
        return model
    node = graph.sources(result)[0]
    while node.get_type_name() != "TopK":
        node = graph.sources(node)[0]
    return _with(model, node.input_value(0))


def in_a_batch(model: Any) -> Any:
    """Return a network whose answer lies in a batch of one, where its last layer took that off."""
    result = model.get_results()[0]
    shape = result.get_output_partial_shape(0)
    if shape.rank.is_dynamic or len(shape) != 1 or shape[0].is_dynamic or shape[0].get_length() < 2:
        return model
    return _with(model, op.unsqueeze(result.input_value(0), op.constant(np.int64(0))).output(0))


def _with(model: Any, output: Any) -> Any:
    """Return the model with another output, of the same name."""
    fresh = op.result(output)
    fresh.output(0).get_tensor().set_names(set(model.output(0).get_names()) or {"output"})
    return ov.Model([fresh], model.get_parameters(), model.get_friendly_name())


def read(
    output: Any, found: Ending, labels: Sequence[str], units: bool, loss: str, asked: Task | None, inner: bool
) -> Reading:
    """Return what an output means.

    `labels` are those that were found (none: nobody named them), `units` whether they read like values with units;
    `loss` is what it was trained with, `asked` what the user says it is; `inner`: it is a layer the user asked for.
    Raises `PicamError` for numbers that only describe a picture.
    """
    count = _count(output)
    if count == 1 and found.kind == "softmax" and asked != "regression":
        raise PicamError(
            "the network ends with a softmax over a single number, which answers 100 % whatever it sees",
            "train it with a sigmoid there, or with an output for each class",
        )
    if asked is not None:
        return _as_asked(asked, found, count)
    if found.kind in ("softmax", "sigmoid") and found.probability:
        return _probabilities(found, count, loss)
    if found.percent and count > 1:
        shares = Ending(found.kind, 0.0, 1.0)
        return replace(_probabilities(shares, count, loss), finish=from_percent)
    if inner and not labels:
        return Reading("regression", False)
    if _measures(found, count, len(labels), units, loss):
        return Reading("regression", False, [_measured(count, labels, units)])
    if count == 1:
        return Reading("classification", True, [_TWO], logistic)
    if not labels and not loss and ending.is_embedding(found, count):
        raise PicamError(
            f"the output is {count} numbers that describe a picture, not classes in it (an embedding)",
            "give the model with its classifier; if they are classes after all, name them with --labels",
        )
    if "binary_crossentropy" in loss:
        return Reading("multi-label", True, ["the network answers independent logits: a sigmoid was added"], logistic)
    return Reading("classification", False, [_LOGITS])


_LOGITS = "the network does not end with softmax or sigmoid: probabilities are made by a softmax"
_TWO = "the network answers one number for two classes: a sigmoid was added"


def _as_asked(asked: Task, found: Ending, count: int) -> Reading:
    if asked == "regression":
        return Reading(asked, False)
    if found.probability:
        return Reading(asked, True)
    if asked == "multi-label" or count == 1:
        return Reading(asked, True, finish=logistic)
    return Reading(asked, False)


def _probabilities(found: Ending, count: int, loss: str) -> Reading:
    if found.kind == "softmax" or count == 1 or any(name in loss for name in _EXCLUSIVE):
        return Reading("classification", True)
    note = "the network ends with a sigmoid for each class: several may apply; --task classification lets only one"
    return Reading("multi-label", True, [note])


def _measures(found: Ending, count: int, labels: int, units: bool, loss: str) -> bool:
    """Tell whether the outputs are values and not classes."""
    if units or found.kind == "tanh" or (found.kind in ("softmax", "sigmoid") and not found.probability):
        return True
    if any(name in loss for name in _MEASURES):
        return True
    return count == 1 and labels != 2 and "crossentropy" not in loss


def _measured(count: int, labels: Sequence[str], units: bool) -> str:
    what = "a value, not a class" if count == 1 else f"{count} values, not classes"
    if count == 1 and not labels:
        return f"the network answers {what}; --labels may name its unit, or two classes if it decides between two"
    return f"the network answers {what}" + ("" if units else "; --task classification reads classes")


def logistic(model: Any) -> Any:
    """Return a network with a sigmoid after its output."""
    return _with(model, op.sigmoid(model.get_results()[0].input_value(0)).output(0))


def from_percent(model: Any) -> Any:
    """Return a network that answers shares of 1 where it answered percent."""
    return _with(model, op.multiply(model.get_results()[0].input_value(0), op.constant(np.float32(0.01))).output(0))


def with_complement(model: Any) -> Any:
    """Return a network that answers [1 − p, p] where it answered one probability p."""
    p = op.reshape(model.get_results()[0].input_value(0), op.constant(np.array([1, 1], np.int64)), False)
    return _with(model, op.concat([op.subtract(op.constant(np.float32(1)), p), p], 1).output(0))


def answers(run: Callable[[Any], Any], feeds: Sequence[Sequence[Array]]) -> Array:
    """Return what a compiled network answers, (pictures, values)."""
    return np.stack([np.asarray(run(list(feed))[0], np.float64).ravel() for feed in feeds])
