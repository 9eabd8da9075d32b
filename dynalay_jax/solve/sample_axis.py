"""Follows the sample axis of z through the operations of a jaxpr.

Each primitive has a rule: where are the samples in its outputs, if they are there in its inputs? A
primitive without a rule, or one whose effect depends on values, loses the axis. A value that mixes
samples is no error by itself: the value of a loss, whose gradient alone is used, sums over samples.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.extend.core as jex
import numpy as np


class Axis(NamedTuple):
    """Where an array has its samples: entry q of axis `axis` belongs to sample q + shift.

    Axis -1 is the value of sample number `shift` alone, without a sample axis.
    """

    axis: int
    size: int  # the number of samples
    shift: int = 0


# What is known of an array: None if it does not depend on z, "lost" if it could not be followed.
Trace = Any  # Axis | Mixing | None | "lost"
_LOST = "lost"

# fmt: off
_ELEMENTWISE = {
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh",
    "bessel_i0e", "bessel_i1e", "cbrt", "ceil", "clamp", "complex", "conj",
    "convert_element_type", "copy", "copy_p", "cos", "cosh", "digamma", "div", "eq", "erf",
    "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "imag", "integer_pow",
    "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt", "max", "min", "mul", "name",
    "ne", "neg", "nextafter", "not", "or", "pow", "pvary", "real", "reduce_precision", "rem",
    "round", "rsqrt", "select_n", "sharding_constraint", "sign", "sin", "sinh", "sqrt", "square",
    "stop_gradient", "sub", "tan", "tanh", "xor",
}
# fmt: on
_REDUCTIONS = {"argmax", "argmin", "reduce_max", "reduce_min", "reduce_prod", "reduce_sum"}
# The largest entry of a batch is let through: it decides something, or scales and cancels again.
_EXTREMES = {"argmax", "argmin", "reduce_max", "reduce_min"}
# These can put samples back where they were.
_MOVES = {"concatenate", "dot_general", "dynamic_slice", "gather", "rev", "slice"}
_CUMULATIVE = {"cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum"}
_WINDOWS = {"reduce_window_max", "reduce_window_min", "reduce_window_sum"}
_CALLS = {"checkpoint", "closed_call", "core_call", "custom_jvp_call", "jit", "pjit", "remat2"}


class Mixing(Exception):
    """What a value is that depends on several samples: the operation that mixed them, and its line.

    `moved` says that samples may only have changed places.
    """

    def __init__(self, what: str, where: str, moved: bool = False) -> None:
        self.what, self.where, self.moved = what, where, moved


def _error(eqn: Any, what: str, moved: bool = False) -> Mixing:
    return Mixing(f"`{eqn.primitive.name}` {what}", line(eqn), moved)


def line(eqn: Any) -> str:
    """Where the user's code calls the operation, if JAX knows it."""
    traceback = getattr(eqn.source_info, "traceback", None)
    foreign = "/jax/", "/jaxlib/", "/flax/", "/dynalay_jax/solve/"
    for frame in traceback.frames if traceback else ():
        if not any(part in frame.file_name for part in foreign):
            return f" ({frame.file_name}:{frame.line_num}, in {frame.function_name})"
    return ""


def follow(jaxpr: jex.Jaxpr, traces: Sequence[Trace]) -> list[Trace]:
    """The traces of a jaxpr's outputs, from those of its inputs."""
    known = dict(zip(jaxpr.invars, traces, strict=True))
    look = lambda atom: known.get(atom) if isinstance(atom, jex.Var) else None
    for eqn in jaxpr.eqns:
        known.update(zip(eqn.outvars, _through(eqn, [look(x) for x in eqn.invars]), strict=True))
    return [look(x) for x in jaxpr.outvars]


def _through(eqn: Any, traces: list[Trace]) -> list[Trace]:
    """The traces of an equation's outputs."""
    name, many = eqn.primitive.name, len(eqn.outvars)
    if all(trace is None for trace in traces):
        return [None] * many
    if name in _CALLS:
        inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
        ends = follow(getattr(inner, "jaxpr", inner), traces)
        for end in ends:
            if isinstance(end, Mixing):
                # What JAX itself jits, such as jnp.sort, has no line of the user's inside.
                end.where = end.where or line(eqn)
        return ends
    if name in _CONTROL:
        return _CONTROL[name](eqn, traces)
    if name == "optimization_barrier":
        return traces
    return [_apply(eqn, traces)] * many


def _apply(eqn: Any, traces: list[Trace]) -> Trace:
    """The trace of the outputs of an equation without equations inside."""
    name = eqn.primitive.name
    mixed = [trace for trace in traces if isinstance(trace, Mixing)]
    if mixed:
        moved = all(trace is None or getattr(trace, "moved", False) for trace in traces)
        if moved and name in _MOVES:
            return _LOST
        return Mixing(mixed[0].what, mixed[0].where, moved)
    rule = _elementwise if name in _ELEMENTWISE else _RULES.get(name)
    if rule is None or _LOST in traces:
        return _LOST
    try:
        return rule(eqn, traces)
    except Mixing as error:
        return error


def _together(eqn: Any, traces: Sequence[Trace]) -> Trace:
    """The trace of values that meet entry by entry."""
    found = {trace for trace in traces if trace is not None}
    if len(found) > 1:
        raise _error(eqn, "combines different samples")
    return found.pop()


def _elementwise(eqn: Any, traces: Sequence[Trace]) -> Trace:
    place = _together(eqn, traces)
    axis = place.axis
    lengths = [
        atom.aval.shape[axis]
        for atom, trace in zip(eqn.invars, traces, strict=True)
        if trace is not None and axis >= 0
    ]
    if lengths and min(lengths) < eqn.outvars[0].aval.shape[axis]:
        raise _error(eqn, "repeats one sample for the others")
    return place


def _join(a: Trace, b: Trace) -> Trace:
    """The trace of a value that may be either."""
    for trace in (a, b):
        if isinstance(trace, Mixing):
            return trace
    return a if b is None or a == b else b if a is None else _LOST


def _reduce(eqn: Any, traces: list[Trace]) -> Trace:
    place = _together(eqn, traces)
    axes = eqn.params["axes"]
    if place.axis in axes:
        if eqn.primitive.name in _EXTREMES:
            return None
        raise _error(eqn, f"reduces over the sample axis, axis {place.axis}")
    return place._replace(axis=place.axis - sum(0 <= axis < place.axis for axis in axes))


def _along(param: str, does: str) -> Callable:
    """An operation that keeps the shape and works along the axes in one of its parameters."""

    def rule(eqn: Any, traces: list[Trace]) -> Trace:
        place, axes = _together(eqn, traces), eqn.params[param]
        if place.axis in (axes if isinstance(axes, tuple) else (axes,)):
            raise _error(
                eqn, f"{does} the sample axis, axis {place.axis}", moved=does == "reverses"
            )
        return place

    return rule


def _windows(eqn: Any, traces: list[Trace]) -> Trace:
    place = _together(eqn, traces)
    if place.axis >= 0 and eqn.params["window_dimensions"][place.axis] != 1:
        raise _error(eqn, f"reduces over windows of the sample axis, axis {place.axis}")
    return place


def _transpose(eqn: Any, traces: list[Trace]) -> Trace:
    (place,) = traces
    return place if place.axis < 0 else place._replace(
        axis=eqn.params["permutation"].index(place.axis)
    )  # fmt: skip


def _broadcast(eqn: Any, traces: list[Trace]) -> Trace:
    place, into = traces[0], eqn.params["broadcast_dimensions"]
    if place.axis < 0:
        return place
    axis = into[place.axis]
    if eqn.params["shape"][axis] != eqn.invars[0].aval.shape[place.axis]:
        raise _error(eqn, "repeats one sample for the others")
    return place._replace(axis=axis)


def _reshape(eqn: Any, traces: list[Trace]) -> Trace:
    place, old, new = traces[0], eqn.invars[0].aval.shape, eqn.params["new_sizes"]
    if place.axis < 0:
        return place
    size, before = old[place.axis], int(np.prod(old[: place.axis]))
    if size == 1:
        return place._replace(axis=-1)
    for axis, length in enumerate(new):
        if length == size and int(np.prod(new[:axis])) == before:
            return place._replace(axis=axis)
    return _LOST


def _squeeze(eqn: Any, traces: list[Trace]) -> Trace:
    (place,), gone = traces, eqn.params["dimensions"]
    if place.axis in gone:
        return place._replace(axis=-1)
    return place._replace(axis=place.axis - sum(0 <= axis < place.axis for axis in gone))


def _slice(eqn: Any, traces: list[Trace]) -> Trace:
    (place,), strides = traces, eqn.params["strides"]
    if place.axis < 0:
        return place
    if strides is not None and strides[place.axis] != 1:
        return _LOST
    start, limit = (eqn.params[name][place.axis] for name in ("start_indices", "limit_indices"))
    if start + place.shift >= place.size or limit + place.shift <= 0:
        return None  # what a concatenation put beside the samples
    return place._replace(shift=place.shift + start)


def _concatenate(eqn: Any, traces: list[Trace]) -> Trace:
    dimension, offset, moved = eqn.params["dimension"], 0, []
    for atom, trace in zip(eqn.invars, traces, strict=True):
        if trace is not None and trace.axis < 0:
            return _LOST
        along = trace is not None and trace.axis == dimension
        moved.append(trace._replace(shift=trace.shift - offset) if along else trace)
        offset += atom.aval.shape[dimension]
    if len(places := {trace for trace in moved if trace is not None}) > 1:
        # More entries than samples: several batches in one.
        if offset > next(iter(places)).size:
            return _LOST
        raise _error(eqn, "combines different samples", moved=True)
    return places.pop()


def _pad(eqn: Any, traces: list[Trace]) -> Trace:
    place = traces[0]
    if traces[1] is not None or place is None:
        return _LOST
    if place.axis < 0:
        return place
    low, _, interior = eqn.params["padding_config"][place.axis]
    return _LOST if interior else place._replace(shift=place.shift - low)


def _dot(eqn: Any, traces: list[Trace]) -> Trace:
    contracting, batch = eqn.params["dimension_numbers"]
    ends = []
    for side, trace in enumerate(traces):
        if trace is None:
            continue
        if trace.axis < 0:
            return _LOST
        if trace.axis in contracting[side]:
            alone = traces[1 - side] is None
            raise _error(eqn, f"contracts the sample axis, axis {trace.axis}", moved=alone)
        if trace.axis in batch[side]:
            ends.append(trace._replace(axis=batch[side].index(trace.axis)))
            continue
        ranks = [atom.aval.ndim for atom in eqn.invars]
        free = [
            axis for axis in range(ranks[side]) if axis not in (*contracting[side], *batch[side])
        ]
        first = len(batch[0]) + (ranks[0] - len(contracting[0]) - len(batch[0]) if side else 0)
        ends.append(trace._replace(axis=first + free.index(trace.axis)))
    # Two free sample axes make all pairs of samples, of which the diagonal may be taken.
    return ends[0] if len(set(ends)) == 1 else _LOST


def _convolve(eqn: Any, traces: list[Trace]) -> Trace:
    place, numbers = traces[0], eqn.params["dimension_numbers"]
    if traces[1] is not None or place.axis < 0 or eqn.params["batch_group_count"] != 1:
        return _LOST
    if place.axis != numbers.lhs_spec[0]:
        feature, *spatial = numbers.lhs_spec[1:]
        if place.axis == feature and eqn.params["feature_group_count"] > 1:
            return _LOST  # vmap makes such convolutions of one kernel a sample
        kernel = eqn.invars[1].aval.shape
        if place.axis in spatial and kernel[numbers.rhs_spec[2 + spatial.index(place.axis)]] == 1:
            return _LOST
        raise _error(eqn, f"contracts the sample axis, axis {place.axis}")
    return place._replace(axis=numbers.out_spec[0])


def _cond(eqn: Any, traces: list[Trace]) -> list[Trace]:
    if traces[0] is not None:
        return [_LOST] * len(eqn.outvars)
    ends = [follow(branch.jaxpr, traces[1:]) for branch in eqn.params["branches"]]
    joined = ends[0]
    for end in ends[1:]:
        joined = [_join(a, b) for a, b in zip(joined, end, strict=True)]
    return joined


def _loop(body: jex.Jaxpr, consts: list, carry: list, xs: list) -> tuple[list, list]:
    """The traces of carry and further outputs, when the carry's no longer change."""
    while True:
        out = follow(body, [*consts, *carry, *xs])
        after = [_join(a, b) for a, b in zip(carry, out[: len(carry)], strict=True)]
        if after == carry:
            return carry, out[len(carry) :]
        carry = after


def _scan(eqn: Any, traces: list[Trace]) -> list[Trace]:
    consts, carried = eqn.params["num_consts"], eqn.params["num_carry"]
    move = lambda trace, by: trace._replace(axis=trace.axis + by) if _on_axis(trace) else trace
    # Scanning over the samples themselves is not followed.
    xs = [
        _LOST if _on_axis(trace) and trace.axis == 0 else move(trace, -1)
        for trace in traces[consts + carried :]
    ]
    body = eqn.params["jaxpr"].jaxpr
    carry, ys = _loop(body, traces[:consts], traces[consts : consts + carried], xs)
    return [*carry, *(move(trace, 1) for trace in ys)]


def _on_axis(trace: Trace) -> bool:
    return isinstance(trace, Axis) and trace.axis >= 0


def _while(eqn: Any, traces: list[Trace]) -> list[Trace]:
    first, second = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    body = eqn.params["body_jaxpr"].jaxpr
    consts, carry = traces[first : first + second], traces[first + second :]
    return _loop(body, consts, carry, [])[0]


_CONTROL = {"cond": _cond, "scan": _scan, "while": _while}
_RULES = {
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(_CUMULATIVE, _along("axis", "accumulates over")),
    **dict.fromkeys(_WINDOWS, _windows),
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolve,
    "dot_general": _dot,
    "pad": _pad,
    "reshape": _reshape,
    "rev": _along("dimensions", "reverses"),
    "slice": _slice,
    "sort": _along("dimension", "sorts"),
    "squeeze": _squeeze,
    "transpose": _transpose,
}
