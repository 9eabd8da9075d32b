"""What a computation costs: multiply-accumulates (MACs), counted from shapes.

Every router is charged by the same few lines (`spent`), from the number of evaluations that each
sample really took.
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

import jax
from jax.extend import core
import jax.numpy as jnp


class Costs(NamedTuple):
    """MACs a sample of a model's parts; floats, layers as tuples of length L.

    Attributes:
        stem: the stem.
        inject: of each layer, its injection and straight output.
        step: of each layer, one evaluation of its cell.
        head: pooling and classifier.
        agent: one decision of the agent, what it measures included.
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


def macs(f: Callable, *args: Any) -> float:
    """MACs of f(*args): matrix products and convolutions, from shapes alone.

    Elementwise work and reductions are not counted, as is customary. Of a `cond` the dearest branch
    counts, a `scan` counts its length times.

    Args:
        f: traceable function.
        *args: arrays or `jax.ShapeDtypeStruct`s.

    Raises:
        ValueError: f holds a `while_loop`, whose number of turns shapes do not tell.
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
            raise ValueError("macs: cannot count a while_loop from shapes; count one step of it.")
        elif name == "cond":
            total += max(_macs(branch.jaxpr) for branch in eqn.params["branches"])
        else:
            times = eqn.params["length"] if name == "scan" else 1
            total += times * sum(_macs(inner) for inner in _inner(eqn))
    return total


def _inner(eqn: Any) -> list[core.Jaxpr]:
    """Jaxprs that an equation calls once."""
    found = [eqn.params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in eqn.params]
    return [closed.jaxpr if hasattr(closed, "jaxpr") else closed for closed in found]


def run_again(iterate: jax.Array) -> jax.Array:
    """The layers above the lowest one iterated, bool [..., L] of bool [..., L]."""
    chosen = iterate.astype(jnp.int32)
    return jnp.cumsum(chosen, axis=-1) > chosen


def spent(
    costs: Costs, iterate: jax.Array, steps: jax.Array, decisions: jax.Array | float = 0.0
) -> jax.Array:
    """MACs spent on each sample beyond the straight pass.

    A round costs the cell evaluations taken, and the injections of the layers above the lowest one
    iterated, which run again on its new output, and the head.

    Args:
        costs: of the model.
        iterate: bool [rounds, B, L], the layers iterated.
        steps: int32 [rounds, B, L], evaluations taken.
        decisions: agent's decisions charged to each sample, [B] or scalar.

    Returns:
        float32 [B].
    """
    step = jnp.asarray(costs.step, jnp.float32)
    inject = jnp.asarray(costs.inject, jnp.float32)
    evaluations = jnp.where(iterate, steps, 0).astype(jnp.float32)
    layers = jnp.einsum("rbl,l->b", evaluations, step) + jnp.einsum(
        "rbl,l->b", run_again(iterate).astype(jnp.float32), inject
    )
    heads = jnp.sum(jnp.any(iterate, axis=-1), axis=0).astype(jnp.float32)
    return layers + heads * costs.head + jnp.asarray(decisions, jnp.float32) * costs.agent


def budget(costs: Costs, max_steps: int) -> float:
    """The dearest a sample can get in one round: every layer iterated for `max_steps`."""
    return sum(costs.step) * max_steps + sum(costs.inject[1:]) + costs.head
