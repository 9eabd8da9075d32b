"""What the samples of a batch carry from round to round, and the record of what was done."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dynalay_jax.solve.solution import Status

PyTree = Any


class State(NamedTuple):
    """The activations of a batch, between rounds.

    Attributes:
        hs: h_0 … h_L; h_0 is the stem's output.
        us: u_1 … u_L, the injections of the layers; pytrees of leaves [B, ...].
        logits: [B, classes].
        action: int32 [B], the lowest layer iterated in the last round, 0 for none.
        streak: int32 [B], consecutive rounds with the same action (n_i of Eq. 2), 0 for none.
    """

    hs: tuple[jax.Array, ...]
    us: tuple[PyTree, ...]
    logits: jax.Array
    action: jax.Array
    streak: jax.Array


class Sweep(NamedTuple):
    """What one sweep did, each [B, L].

    Attributes:
        iterate: bool, the layers iterated.
        steps: int32, evaluations of the cell; 0 for the other layers.
        residual: float32, the final relative residual; 0 for the other layers.
        status: int32, `Status` of the solve.
    """

    iterate: jax.Array
    steps: jax.Array
    residual: jax.Array
    status: jax.Array


class Trace(NamedTuple):
    """Every decision of a forward pass; `macs.spent` computes their cost.

    Attributes:
        sweeps: `Sweep` with a leading axis of rounds.
        log_probs: log p(action) of the agent, float32 [rounds, B, L + 1].
        straight_logits: of the straight pass, [B, classes].
        actions: int32 [rounds, B], the lowest layer iterated, 0 for none.
    """

    sweeps: Sweep
    log_probs: jax.Array
    straight_logits: jax.Array
    actions: jax.Array


def no_sweep(iterate: jax.Array) -> Sweep:
    """A sweep that iterates no layer, for a mask bool [B, L]."""
    none, steps = jnp.zeros_like(iterate), jnp.zeros_like(iterate, jnp.int32)
    return Sweep(none, steps, steps.astype(jnp.float32), jnp.full_like(steps, Status.SKIPPED))
