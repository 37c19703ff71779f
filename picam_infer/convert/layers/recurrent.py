"""Recurrent layers: with OpenVINO's sequence operators where their activations allow it, step by step otherwise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from openvino import opset13 as op

from picam_infer.convert.layers.activation import activate
from picam_infer.convert.layers.merging import concatenated
from picam_infer.convert.layers.registry import Call, Layer, layer
from picam_infer.convert.tensor import Array, Node, Tensor, constant, whole

MAX_STEPS = 512
"""Above this many steps a network is not unrolled."""
_NATIVE = ("sigmoid", "tanh", "relu")
_OLD_LSTM = tuple(f"{kind}_{gate}" for gate in "icfo" for kind in ("W", "U", "b"))
_OLD_GRU = tuple(f"{kind}_{gate}" for gate in "zrh" for kind in ("W", "U", "b"))


def names(me: Layer) -> tuple[str, ...]:
    """Return the weights of a recurrent layer in Keras's order; Keras 1 kept a set for each gate."""
    if me.config.get("_keras") == 1 and me.kind in ("LSTM", "GRU"):
        return _OLD_LSTM if me.kind == "LSTM" else _OLD_GRU
    return ("kernel", "recurrent_kernel", "bias") if me.flag("use_bias", True) else ("kernel", "recurrent_kernel")


def _stored(me: Layer, gates: int, size: int, units: int) -> tuple[Array, Array, Array]:
    """Return kernel (in, n), recurrent kernel (units, n) and bias (n) or (2, n); n = gates · units."""
    if me.has("W_i") or me.has("W_z"):
        order = "ifco" if me.kind == "LSTM" else "zrh"
        joined = [np.concatenate([me.weight(f"{kind}_{gate}") for gate in order], -1) for kind in "WUb"]
        return joined[0], joined[1], joined[2]
    wide = gates * units
    kernel, recurrent = me.weight("kernel", size, wide), me.weight("recurrent_kernel", units, wide)
    return kernel, recurrent, me.weight("bias") if me.flag("use_bias", True) else np.zeros(wide, np.float32)


def _activation(me: Layer, key: str, default: str) -> Callable[[Node], Node]:
    spec = me.config.get(key, default)
    return lambda node: activate(Tensor(node), spec, me).node


def _steps(me: Layer, x: Tensor) -> Node:
    for key in ("stateful", "return_state", "time_major"):
        if me.flag(key, False):
            me.fail(f"{key} is not supported")
    node = x.plain()
    if not me.flag("go_backwards", False):
        return node
    return op.gather(node, whole(np.arange(x.shape[1])[::-1]), whole([1]))


def _unroll(me: Layer, x: Node, states: int, step: Callable[[Node, list[Node]], list[Node]], units: int) -> Tensor:
    batch, length = Tensor(x).shape[:2]
    if length > MAX_STEPS:
        me.fail(f"{length} steps are too many for its activations", f"at most {MAX_STEPS}")
    state: list[Node] = [constant(np.zeros((batch, units), np.float32)) for _ in range(states)]
    seen = []
    for at in range(length):
        state = step(op.gather(x, op.constant(np.int64(at)), whole([1])), state)
        seen.append(state[0])
    if not me.flag("return_sequences", False):
        return Tensor(state[0])
    return Tensor(op.concat([op.unsqueeze(node, whole([1])) for node in seen], 1))


def _sequence(me: Layer, node: Node) -> Tensor:
    """Turn a sequence operator into the layer's answer; output 0 is (N, 1, steps, units), output 1 the last one."""
    if me.flag("return_sequences", False):
        return Tensor(op.squeeze(node.output(0), whole([1])))
    return Tensor(op.squeeze(node.output(1), whole([1])))


def _start(x: Node, units: int) -> tuple[Node, Node]:
    batch, length = (int(side) for side in Tensor(x).shape[:2])
    return constant(np.zeros((batch, 1, units), np.float32)), op.constant(np.full(batch, length, np.int32))


def _native(me: Layer, *pairs: tuple[str, str]) -> list[str] | None:
    chosen = [str(me.config.get(key, default)) for key, default in pairs]
    return chosen if all(name in _NATIVE for name in chosen) else None


def _dense(x: Node, kernel: Array) -> Node:
    return op.matmul(x, constant(kernel.T), False, True)


@layer("LSTM", weights=names)
def lstm(call: Call) -> Tensor:
    """Keras's gates are i, f, c, o; OpenVINO's f, i, c, o."""
    me, x = call.layer, call.one(3)
    units, node = me.sizes("units", 1)[0], _steps(call.layer, call.one(3))
    kernel, recurrent, bias = _stored(me, 4, x.shape[2], units)
    old = "hard_sigmoid" if me.config.get("_keras") == 1 else "sigmoid"
    if bias.shape != (4 * units,):
        me.fail(f"its bias has shape {bias.shape}", "layers made for cuDNN are not supported")
    native = _native(me, ("recurrent_activation", old), ("activation", "tanh"), ("activation", "tanh"))
    if native:
        turn = [np.split(w.T, 4)[gate] for w in (kernel, recurrent, bias) for gate in (1, 0, 2, 3)]
        w, r, b = (constant(np.concatenate(turn[at : at + 4])[np.newaxis]) for at in (0, 4, 8))
        zero, length = _start(node, units)
        return _sequence(me, op.lstm_sequence(node, zero, zero, length, w, r, b, units, "forward", native))
    gate, act = _activation(me, "recurrent_activation", old), _activation(me, "activation", "tanh")

    def step(now: Node, state: list[Node]) -> list[Node]:
        total = op.add(op.add(_dense(now, kernel), _dense(state[0], recurrent)), constant(bias[np.newaxis]))
        i, f, c, o = (total_part for total_part in op.split(total, op.constant(np.int64(1)), 4).outputs())
        carry = op.add(op.multiply(gate(f), state[1]), op.multiply(gate(i), act(c)))
        return [op.multiply(gate(o), act(carry)), carry]

    return _unroll(me, node, 2, step, units)


@layer("GRU", weights=names)
def gru(call: Call) -> Tensor:
    """Keras's gates are z, r, h, as OpenVINO's; `reset_after` is its linear_before_reset."""
    me, x = call.layer, call.one(3)
    units, node = me.sizes("units", 1)[0], _steps(call.layer, call.one(3))
    kernel, recurrent, bias = _stored(me, 3, x.shape[2], units)
    after = me.flag("reset_after", bias.ndim == 2)
    if after != (bias.ndim == 2) and me.flag("use_bias", True):
        me.fail(f"its bias has shape {bias.shape}, which does not fit reset_after={after}")
    inside, outside = (bias[0], bias[1]) if bias.ndim == 2 else (bias, np.zeros_like(bias))
    old = "hard_sigmoid" if me.config.get("_keras") == 1 else "sigmoid"
    native = _native(me, ("recurrent_activation", old), ("activation", "tanh"))
    if native:
        cut = 2 * units
        both = np.concatenate([inside[:cut] + outside[:cut], inside[cut:], outside[cut:]]) if after else inside
        zero, length = _start(node, units)
        w, r, b = (constant(values[np.newaxis]) for values in (kernel.T, recurrent.T, both))
        return _sequence(
            me, op.gru_sequence(node, zero, length, w, r, b, units, "forward", native, linear_before_reset=after)
        )
    gate, act = _activation(me, "recurrent_activation", old), _activation(me, "activation", "tanh")

    def step(now: Node, state: list[Node]) -> list[Node]:
        h, axis = state[0], op.constant(np.int64(1))
        new = op.split(op.add(_dense(now, kernel), constant(inside[np.newaxis])), axis, 3).outputs()
        past = op.split(op.add(_dense(h, recurrent), constant(outside[np.newaxis])), axis, 3).outputs()
        z, r = gate(op.add(new[0], past[0])), gate(op.add(new[1], past[1]))
        memory = op.multiply(r, past[2]) if after else _dense(op.multiply(r, h), recurrent[:, 2 * units :])
        candidate = act(op.add(new[2], memory))
        return [op.add(op.multiply(z, h), op.multiply(op.subtract(constant(1), z), candidate))]

    return _unroll(me, node, 1, step, units)


@layer("SimpleRNN", weights=names)
def simple_rnn(call: Call) -> Tensor:
    """H = activation(x·kernel + h·recurrent + bias)."""
    me, x = call.layer, call.one(3)
    units, node = me.sizes("units", 1)[0], _steps(call.layer, call.one(3))
    kernel, recurrent, bias = _stored(me, 1, x.shape[2], units)
    act = _activation(me, "activation", "tanh")

    def step(now: Node, state: list[Node]) -> list[Node]:
        total = op.add(op.add(_dense(now, kernel), _dense(state[0], recurrent)), constant(bias[np.newaxis]))
        return [act(total)]

    return _unroll(me, node, 1, step, units)


@layer("Bidirectional")
def bidirectional(call: Call) -> Tensor:
    """One layer forwards, one backwards, joined by `merge_mode`."""
    me, x = call.layer, call.one(3)
    builders = {"LSTM": lstm, "GRU": gru, "SimpleRNN": simple_rnn}
    ways = []
    for part in me.sublayers:
        if part.kind not in builders:
            me.fail(f"wrapping {part.kind} is not supported")
        ways.append(builders[part.kind](Call(part, [x])))
    if me.sublayers[1].flag("return_sequences", False):
        back = whole(np.arange(ways[1].shape[1])[::-1])
        ways[1] = Tensor(op.gather(ways[1].node, back, whole([1])))
    mode = me.config.get("merge_mode", "concat")
    if mode == "concat":
        return concatenated(call, ways, -1)
    joins = {"sum": op.add, "mul": op.multiply, "ave": op.add}
    if mode not in joins:
        me.fail(f"merge_mode {mode!r} is not supported")
    out = Tensor(joins[mode](ways[0].node, ways[1].node))
    return out.map(lambda node: op.multiply(node, constant(0.5))) if mode == "ave" else out
