"""The result of a solve: the fixed point, and steps, residual and status of each sample."""

import enum
from typing import Generic, NamedTuple, TypeVar

import jax

Value = TypeVar("Value")


class Status(enum.IntEnum):
    """How the solve of one sample ended; `Stats.status` holds these as int32.

    Attributes:
        CONVERGED: the relative residual fell to `tol`, or as far as the dtype lets it fall.
        MAX_STEPS: the sample's budget ran out first.
        DIVERGED: `f` returned a value that is not finite, or whose norm overflows.
        SKIPPED: the sample was masked out or had a budget of 0.
    """

    CONVERGED = 0
    MAX_STEPS = 1
    DIVERGED = 2
    SKIPPED = 3

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        return format(self.name, spec)


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


class BackwardStats(NamedTuple):
    """What the backward solve of each sample did; the cotangent of a `backward_probe`.

    All are float32 [B], the dtype of a cotangent; scalars if not batched.

    Attributes:
        steps: vector–Jacobian products for the sample, those of the rescue included.
        residual: ‖v + Jᵀw − w‖ relative to ‖v‖ + c·‖w‖ with a small c, see `Implicit`; `inf` if
            nothing was measured.
        status: `Status`.
        error: estimate of the relative error of w, and so of the sample's gradient, from the
            residual. `inf` if nothing was measured, 0 if there was nothing to solve. Often too
            large where J is far from normal; the errors of z and of rounding in f are not in it.
        rescued: 1 where the first solve failed and w is that of the rescue.
        given_up: 1 where the residual is above the tolerance and `error` above `max_error`: the
            gradient is what `on_failure` says.
    """

    steps: jax.Array
    residual: jax.Array
    status: jax.Array
    error: jax.Array
    rescued: jax.Array
    given_up: jax.Array


class Solution(NamedTuple, Generic[Value]):
    """Result of `fixed_point`.

    Attributes:
        value: pytree like `z0`.
        stats: `Stats`.
    """

    value: Value
    stats: Stats
