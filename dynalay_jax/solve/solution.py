"""What a solve returns: the fixed point, and how each sample got there."""

import enum
from typing import Any, NamedTuple

import jax


class Status(enum.IntEnum):
    """How the solve of one sample ended; `Stats.status` holds these as int32.

    Attributes:
        CONVERGED: the relative residual fell to `tol`.
        MAX_STEPS: the sample's budget ran out first.
        DIVERGED: `f` returned a value that is not finite (or whose norm is not).
        SKIPPED: the sample was masked out or had a budget of 0: `f` was not spent on it.
    """

    CONVERGED = 0
    MAX_STEPS = 1
    DIVERGED = 2
    SKIPPED = 3


class Stats(NamedTuple):
    """Per-sample account of a solve.

    Attributes:
        steps: evaluations of `f` spent on the sample. int32 [B], scalar if not batched.
        residual: relative residual ‖f(z) − z‖ / (‖f(z)‖ + atol) of the evaluation whose output
            f(z) is returned; `inf` where none was finite or none was made. float32 [B].
        status: a `Status`. int32 [B].
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
