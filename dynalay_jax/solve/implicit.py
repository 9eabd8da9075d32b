"""The derivative rules of a solve, shared by the classes in `adjoints`.

    tangent    ż = J ż + (∂f/∂θ) θ̇             a `custom_jvp` rule, `with_tangent`
    adjoint    w = Jᵀ w + v,  θ̄ = (∂f/∂θ)ᵀ w    a `custom_vjp` rule, `Reverse`

`ImplicitSettings` holds how either linear system is solved.
"""

import abc
from collections.abc import Callable
import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from dynalay_jax.solve import buckets, loop, per_sample, precision, validate
from dynalay_jax.solve.gmres import GMRES
from dynalay_jax.solve.linear import Settings, solve_linear
from dynalay_jax.solve.problem import Operands, Problem
from dynalay_jax.solve.solution import BackwardStats, Solution, Stats, Status
from dynalay_jax.solve.solvers import Solver

PyTree = Any
_RESCUE = GMRES()
_ON_FAILURE = ("nan", "jacobian_free")


class Adjoint(abc.ABC):
    """Base class: how `fixed_point` is differentiated.

    Attributes:
        forward_mode: whether `jax.jvp` works. There is then no backward solve to report.
    """

    forward_mode: ClassVar[bool] = False

    @abc.abstractmethod
    def solve(
        self, problem: Problem, z0: PyTree, operands: Operands, probe: BackwardStats | None
    ) -> Solution:
        """Solves the problem, with this adjoint's derivative.

        Args:
            problem: f, closed and traced.
            z0: start, canonical as `per_sample.canonical` makes it.
            operands: all else that the solution depends on.
            probe: None, or `BackwardStats` whose cotangent is the account of the backward solve.

        Returns:
            Solution with the lanes on axis 0.
        """


@dataclasses.dataclass(frozen=True)
class ImplicitSettings:
    """How the linear system of an implicit derivative is solved; see `Implicit`."""

    solver: Solver | None = None
    tol: float | None = None
    max_steps: int | None = None
    rescue: Solver | None = _RESCUE
    max_error: float | None = None
    on_failure: str = "nan"

    def __post_init__(self) -> None:
        name = type(self).__name__
        for field in ("solver", "rescue"):
            value = getattr(self, field)
            if value is not None and not isinstance(value, Solver):
                raise TypeError(
                    f"{name}({field}=...): expected None or a solver such as GMRES(), "
                    f"got {value!r}."
                )
        for field in ("tol", "max_error"):
            if getattr(self, field) is not None:
                validate.not_negative(f"{name}({field}=...)", getattr(self, field))
        if self.max_steps is not None:
            validate.positive_integer(f"{name}(max_steps=...)", self.max_steps)
        if self.on_failure not in _ON_FAILURE:
            raise ValueError(
                f"{name}(on_failure=...): expected one of {_ON_FAILURE}, got {self.on_failure!r}."
            )

    def linear_solve(
        self,
        bind: loop.Bind,
        b: PyTree,
        zeros: PyTree,
        run: jax.Array,
        problem: Problem,
        operands: Operands,
        compact: bool,
    ) -> tuple[PyTree, BackwardStats]:
        """x = A x + b with these settings; None means the setting of the forward solve."""
        epsilon = precision.least_linear_tolerance(zeros)
        limits = operands.limits
        tol, budget = limits.tol, jnp.maximum(limits.max_steps, 100)
        if self.tol is not None:
            tol = jnp.full_like(tol, self.tol)
        if self.max_steps is not None:
            budget = jnp.full_like(budget, self.max_steps)
        largest = precision.largest_error(zeros) if self.max_error is None else self.max_error
        settings = Settings(
            solver=problem.solver if self.solver is None else self.solver,
            rescue=self.rescue,
            limits=limits._replace(tol=jnp.maximum(tol, epsilon), max_steps=budget, mask=run),
            epsilon=epsilon,
            max_error=largest,
            fall_back=self.on_failure == "jacobian_free",
        )
        return solve_linear(
            bind, b, zeros, settings, problem.sizes if compact else problem.sizes[:1]
        )


def with_tangent(problem: Problem, settings: ImplicitSettings) -> Callable:
    """The forward solve as a function of (z0, operands) with an implicit `custom_jvp` rule."""

    @jax.custom_jvp
    def solve(z0: PyTree, operands: Operands) -> Solution:
        value, stats = problem.solve(z0, operands)
        # As floats: the float0 tangent of an integer lacks mesh axes, and shard_map refuses it.
        return Solution(value, stats_as_float(stats))

    @solve.defjvp
    def tangent(primals: tuple, tangents: tuple) -> tuple[Solution, Solution]:
        (z0, operands), (dz0, d_operands) = primals, tangents
        value, stats = solve(z0, operands)
        run = stats.status != float(Status.SKIPPED)
        at, zeros = per_sample.finite_or_zero(value), per_sample.fill(value, 0)

        outer = lambda args, consts: problem.maps[0](consts, at, *args)
        _, b = jax.jvp(
            outer,
            (operands.args, operands.consts[0]),
            (d_operands.args, d_operands.consts[0]),
        )
        b = per_sample.select(run, b, zeros)
        _, jacobian = jax.linearize(problem.at(operands), at)
        bind = lambda level, ids: jacobian
        dz, _ = settings.linear_solve(bind, b, zeros, run, problem, operands, compact=False)
        return Solution(value, stats), Solution(
            per_sample.select(run, dz, dz0), per_sample.fill(stats, 0)
        )

    def with_integers(z0: PyTree, operands: Operands) -> Solution:
        value, (steps, residual, status) = solve(z0, operands)
        return Solution(value, Stats(steps.astype(jnp.int32), residual, status.astype(jnp.int32)))

    return with_integers


class Reverse(Adjoint):
    """A `custom_vjp` rule with w = v + Jᵀ w; `adjoint_state` solves or approximates it."""

    @abc.abstractmethod
    def adjoint_state(
        self, problem: Problem, at: PyTree, operands: Operands, v: PyTree, run: jax.Array
    ) -> tuple[PyTree, BackwardStats]:
        """w, zero outside `run` as v is, and the account of the backward solve.

        Args:
            problem: holds f.
            at: the fixed point, where J is taken.
            operands: of f.
            v: cotangent of the fixed point, zero outside `run`.
            run: the lanes that were iterated, bool [B].
        """

    def solve(
        self, problem: Problem, z0: PyTree, operands: Operands, probe: BackwardStats | None
    ) -> Solution:
        settings = self if isinstance(self, ImplicitSettings) else ImplicitSettings()
        # Second derivatives differentiate this one.
        primal = with_tangent(problem, settings)

        @jax.custom_vjp
        def solve(z0: PyTree, operands: Operands, probe: BackwardStats | None) -> Solution:
            return primal(z0, operands)

        def forward(
            z0: PyTree, operands: Operands, probe: BackwardStats | None
        ) -> tuple[Solution, tuple]:
            solution = primal(z0, operands)
            return solution, (solution, operands, probe)

        def backward(saved: tuple, cotangent: Solution) -> tuple:
            (value, stats), operands, probe = saved
            run = stats.status != Status.SKIPPED
            zeros = per_sample.fill(value, 0)
            pulled, report = self._pulled(problem, value, operands, cotangent.value, run)
            d_args, d_consts = pulled
            d_consts = (d_consts, *[None] * (len(operands.consts) - 1))
            # A skipped sample is returned unchanged: its cotangent goes to z0.
            d_z0 = per_sample.select(run, zeros, cotangent.value)
            none: Any = None  # settings have no derivative
            return d_z0, Operands(d_args, d_consts, none), None if probe is None else report

        solve.defvjp(forward, backward)
        try:
            return solve(z0, operands, probe)
        except TypeError as error:
            if "custom_vjp" not in str(error):
                raise
            raise TypeError(
                f"jax.jvp: expected an adjoint with forward mode, got {type(self).__name__}(). "
                "Use adjoint=ImplicitJVP(), which also has reverse mode."
            ) from error

    def _pulled(
        self, problem: Problem, value: PyTree, operands: Operands, v: PyTree, run: jax.Array
    ) -> tuple[PyTree, BackwardStats]:
        """Cotangents of f's arguments and closed-over values, and the account.

        Args are those of `adjoint_state`; value may be not finite, and v nonzero outside `run`.
        """
        given = operands.smooth()
        may_branch = len(problem.sizes) > 1 and not operands.shared(run)

        def pull_back() -> tuple[PyTree, BackwardStats]:
            at = per_sample.finite_or_zero(value)
            v_run = per_sample.select(run, v, per_sample.fill(value, 0))
            w, account = self.adjoint_state(problem, at, operands, v_run, run)
            pulled = _pull(problem, at, operands, w, run, may_branch)
            return pulled, jax.lax.stop_gradient(account)

        def no_lane_ran() -> tuple[PyTree, BackwardStats]:
            return per_sample.fill(given, 0), per_sample.vary_like(unmeasured(run, 0), value, run)

        return jax.lax.cond(jnp.any(run), pull_back, no_lane_ran) if may_branch else pull_back()


def _pull(
    problem: Problem,
    at: PyTree,
    operands: Operands,
    w: PyTree,
    run: jax.Array,
    may_branch: bool,
) -> PyTree:
    """(∂f/∂θ)ᵀ w at `at`: the cotangents of `operands.smooth()`.

    Evaluating f and the product with its weights cost about a step each. So the lanes in `run` are
    gathered into the smallest bucket that holds them; w is 0 in the others.

    Args:
        problem, at, operands, run: as in `Reverse.adjoint_state`.
        w: its result.
        may_branch: False takes all lanes.
    """

    def in_bucket(level: int) -> PyTree:
        ids = jnp.argsort(~run, stable=True)[: problem.sizes[level]] if level else None

        def outer(smooth: PyTree) -> PyTree:
            args, consts = operands.with_smooth(smooth)
            gathered = problem.gather(args, ids)
            return problem.maps[level](consts, buckets.gather(at, ids), *gathered)

        _, pull = jax.vjp(outer, operands.smooth())
        return pull(buckets.gather(w, ids))[0]

    if not may_branch:
        return in_bucket(0)
    level = buckets.smallest(problem.sizes, jnp.sum(run, dtype=jnp.int32))
    return jax.lax.switch(
        level, [functools.partial(in_bucket, i) for i in range(len(problem.sizes))]
    )


def stats_as_float(stats: Stats) -> Stats:
    """`Stats` as float32, the dtype of a cotangent."""
    as_float = lambda x: jax.lax.stop_gradient(x.astype(jnp.float32))
    return jax.tree.map(as_float, stats)


def unmeasured(run: jax.Array, steps: int) -> BackwardStats:
    """The account of a backward pass that measures nothing: MAX_STEPS, residual and error inf."""
    # From `run`, so that all have its mesh axes.
    pick = lambda ran, other: jnp.where(run, jnp.float32(ran), jnp.float32(other))
    return BackwardStats(
        steps=pick(steps, 0),
        residual=pick(jnp.inf, jnp.inf),
        status=pick(Status.MAX_STEPS, Status.SKIPPED),
        error=pick(jnp.inf, 0),
        rescued=pick(0, 0),
        given_up=pick(0, 0),
    )
