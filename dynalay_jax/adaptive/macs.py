"""Costs in multiply-accumulates (MACs), counted from shapes.

    spent = Σ_rounds (Σ_l steps_l · step_l + Σ_{l above the lowest iterated} inject_l + head)

`spent` charges every router in the same way, by the evaluations that each sample took.
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

import jax
from jax.extend import core
import jax.numpy as jnp

from dynalay_jax.layers import validate
from dynalay_jax.solve.closure import inner_jaxprs


class Costs(NamedTuple):
    """MACs of a model's parts for one sample; floats, with tuples of length L for layers.

    Attributes:
        stem: the stem.
        inject: of each layer, its injection and straight output.
        step: of each layer, one evaluation of its cell.
        head: pooling and classifier.
        agent: one decision of the agent, with the features that it measures.
    """

    stem: float
    inject: tuple[float, ...]
    step: tuple[float, ...]
    head: float
    agent: float

    @property
    def straight(self) -> float:
        """The straight pass."""
        return self.stem + sum(self.inject) + self.head


def check_costs(costs: Any, layers: int | None = None) -> None:
    """Raises TypeError or ValueError unless these are `Costs`, of a model of so many layers."""
    if not isinstance(costs, Costs):
        raise TypeError(f"costs: expected costs(model, input_shape), got {validate.shown(costs)}.")
    if layers is not None and len(costs.step) != layers:
        raise ValueError(
            f"costs: expected those of a model of {layers} layers, got {len(costs.step)}."
        )


def macs(f: Callable, *args: Any) -> float:
    """MACs of f(*args): matrix products and convolutions, from shapes alone.

    Elementwise operations and reductions are not counted, as is customary. A `cond` counts its most
    expensive branch; a `scan` counts its length times.

    Args:
        f: traceable function.
        *args: arrays or `jax.ShapeDtypeStruct`s.

    Raises:
        ValueError: f contains a `while_loop`, whose number of iterations is unknown.
    """
    return _macs(jax.make_jaxpr(f)(*args).jaxpr)


def _macs(jaxpr: core.Jaxpr) -> float:
    total = 0.0
    shape = lambda variable: getattr(variable.aval, "shape", ())
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "dot_general":
            (lhs_contract, _), _ = eqn.params["dimension_numbers"]
            lhs = shape(eqn.invars[0])
            total += math.prod(shape(eqn.outvars[0])) * math.prod(lhs[i] for i in lhs_contract)
        elif name == "conv_general_dilated":
            # Each output value takes the kernel's window times its input channels.
            kernel = shape(eqn.invars[1])
            out_axis = eqn.params["dimension_numbers"].rhs_spec[0]
            total += math.prod(shape(eqn.outvars[0])) * math.prod(kernel) / kernel[out_axis]
        elif name == "while":
            raise ValueError("macs: cannot count a while_loop from shapes. Count one step of it.")
        elif name == "cond":
            total += max(_macs(branch.jaxpr) for branch in eqn.params["branches"])
        else:
            times = eqn.params["length"] if name == "scan" else 1
            total += times * sum(_macs(inner) for inner in inner_jaxprs(eqn))
    return total


def above_lowest(iterate: jax.Array) -> jax.Array:
    """The layers above the lowest iterated one, which run again: bool [..., L] → bool [..., L]."""
    chosen = iterate.astype(jnp.int32)
    return jnp.cumsum(chosen, axis=-1) > chosen


def spent(
    costs: Costs, iterate: jax.Array, steps: jax.Array, decisions: jax.Array | float = 0.0
) -> jax.Array:
    """MACs of each sample beyond the straight pass.

    A round costs its cell evaluations, the injections of the layers above the lowest iterated one,
    which run again on new input, and the head.

    Args:
        costs: of the model.
        iterate: bool [rounds, B, L], the layers iterated.
        steps: int32 [rounds, B, L], evaluations of each solve.
        decisions: number of the agent's decisions to charge, [B] or scalar.

    Returns:
        float32 [B].
    """
    masked = getattr(iterate, "dtype", None) == jnp.bool_ and iterate.ndim == 3
    if not masked or jnp.shape(steps) != iterate.shape:
        raise ValueError(
            "iterate, steps: expected bool and int32 of one shape [rounds, B, L], got "
            f"{validate.shown(iterate)} and {validate.shown(steps)}."
        )
    check_costs(costs, iterate.shape[-1])
    step = jnp.asarray(costs.step, jnp.float32)
    inject = jnp.asarray(costs.inject, jnp.float32)
    evaluations = jnp.where(iterate, steps, 0).astype(jnp.float32)
    layers = jnp.einsum("rbl,l->b", evaluations, step) + jnp.einsum(
        "rbl,l->b", above_lowest(iterate).astype(jnp.float32), inject
    )
    heads = jnp.sum(jnp.any(iterate, axis=-1), axis=0).astype(jnp.float32)
    return layers + heads * costs.head + jnp.asarray(decisions, jnp.float32) * costs.agent


def budget(costs: Costs, max_steps: int) -> float:
    """The highest cost of a round, in MACs: every layer iterated for `max_steps`."""
    check_costs(costs)
    validate.integer("max_steps", max_steps, 0)
    return sum(costs.step) * max_steps + sum(costs.inject[1:]) + costs.head
