"""The result of a solve: the fixed point, and steps, residual and status of each sample."""

import enum
from typing import Any, NamedTuple

import jax


class Status(enum.IntEnum):
    """How the solve of one sample ended; `Stats.status` holds these as int32.

    Attributes:
        CONVERGED: the relative residual fell to `tol`.
        MAX_STEPS: the sample's budget ran out first.
        DIVERGED: `f` returned a value that is not finite, or whose norm overflows.
        SKIPPED: the sample was masked out or had a budget of 0.
    """

    CONVERGED = 0
    MAX_STEPS = 1
    DIVERGED = 2
    SKIPPED = 3


class Stats(NamedTuple):
    """What a solve reports of each sample. Scalars instead of [B] if not batched.

    Attributes:
        steps: evaluations of `f` for the sample, int32 [B].
        residual: relative residual ‖f(z) − z‖ / (‖f(z)‖ + atol) of the evaluation whose output
            f(z) is returned, float32 [B]; `inf` if no evaluation was finite or none was made.
        status: `Status`, int32 [B].
    """

    steps: jax.Array
    residual: jax.Array
    status: jax.Array


class Solution(NamedTuple):
    """Result of `fixed_point`.

    Attributes:
        value: pytree like `z0`.
        stats: `Stats`.
    """

    value: Any
    stats: Stats
