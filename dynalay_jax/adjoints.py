"""How the gradient of a fixed point is computed: the `adjoint=` of `fixed_point`.

At z = f(z, θ) the implicit function theorem gives (Eq. 5)

    ∂z/∂θ = (I − J)⁻¹ ∂f/∂θ,  J = ∂f/∂z.

Going back, a cotangent v becomes (∂f/∂θ)ᵀ w with w = v + Jᵀ w: another fixed point, of a linear
map, solved by the same loop as the forward one. The reverse-mode adjoints differ only in how far
they solve it: `Implicit` to a tolerance, `Phantom` for a few damped steps, `JacobianFree` not at
all (w = v). `ImplicitJVP` solves the tangent equation ż = J ż + (∂f/∂θ) θ̇ instead and serves
forward mode. `Unrolled` differentiates the iterations themselves.
"""

import abc
from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from dynalay_jax import active_set, lanes, validate
from dynalay_jax.linear_solve import solve_linear
from dynalay_jax.problem import Operands, Problem
from dynalay_jax.solution import Solution, Stats, Status
from dynalay_jax.solvers import Solver

PyTree = Any
_ON_FAILURE = ("nan", "jacobian_free")


class Adjoint(abc.ABC):
    """Base class: how `fixed_point` is differentiated."""

    @abc.abstractmethod
    def solve(
        self, problem: Problem, z0: PyTree, operands: Operands, probe: Stats | None
    ) -> Solution:
        """Solves the problem in a way that carries this adjoint's derivative.

        Args:
            problem: f, hoisted.
            z0: start, canonical as `lanes.canonical` makes it.
            operands: all else that the solution depends on.
            probe: None, or `Stats` of float32 [B] whose cotangent is to be the backward account.

        Returns:
            Solution with the lanes on axis 0.
        """


@dataclasses.dataclass(frozen=True)
class _ImplicitSettings:
    """How the linear system of an implicit derivative is solved; `Implicit` documents it."""

    solver: Solver | None = None
    tol: float | None = None
    max_steps: int | None = None
    on_failure: str = "nan"

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.solver is not None and not isinstance(self.solver, Solver):
            raise TypeError(
                f"{name}(solver=...): expected None or a solver such as Anderson(), "
                f"got {self.solver!r}."
            )
        if self.tol is not None:
            validate.not_negative(f"{name}(tol=...)", self.tol)
        if self.max_steps is not None:
            validate.positive_integer(f"{name}(max_steps=...)", self.max_steps)
        if self.on_failure not in _ON_FAILURE:
            raise ValueError(
                f"{name}(on_failure=...): expected one of {_ON_FAILURE}, got {self.on_failure!r}."
            )

    def linear_solve(
        self,
        bind: active_set.Bind,
        b: PyTree,
        zeros: PyTree,
        run: jax.Array,
        problem: Problem,
        operands: Operands,
        compact: bool,
    ) -> tuple[PyTree, Stats]:
        """x = A x + b by these settings, those of the forward solve where they are None."""
        dtypes = [jnp.finfo(x.dtype) for x in jax.tree.leaves(zeros)]
        epsilon = 4 * max(float(dtype.eps) for dtype in dtypes)
        limits = operands.limits
        tol, budget = limits.tol, jnp.maximum(limits.max_steps, 100)
        if self.tol is not None:
            tol = jnp.full_like(tol, self.tol)
        if self.max_steps is not None:
            budget = jnp.full_like(budget, self.max_steps)
        return solve_linear(
            bind,
            b,
            zeros,
            solver=problem.solver if self.solver is None else self.solver,
            limits=limits._replace(tol=jnp.maximum(tol, epsilon), max_steps=budget, mask=run),
            epsilon=epsilon,
            sizes=problem.sizes if compact else problem.sizes[:1],
            fall_back=self.on_failure == "jacobian_free",
        )


@dataclasses.dataclass(frozen=True)
class ImplicitJVP(_ImplicitSettings, Adjoint):
    """Implicit differentiation in forward mode: `jax.jvp`, `jacfwd`, `hessian`.

    A `custom_jvp` rule: the tangent equation is solved matrix-free, in every sample by itself, and
    its transpose serves reverse mode too. Skipped samples pass the tangent of `z0` on. The linear
    solves run masked, without compaction, and take no `probe`.

    Args and Raises are those of `Implicit`.
    """

    def solve(
        self, problem: Problem, z0: PyTree, operands: Operands, probe: Stats | None
    ) -> Solution:
        if probe is not None:
            raise ValueError(
                "probe: expected None with adjoint=ImplicitJVP(), which has no backward solve to "
                "report on; use adjoint=Implicit()."
            )
        return _with_tangent(problem, self)(z0, operands)


def _with_tangent(problem: Problem, settings: _ImplicitSettings) -> Callable:
    """The forward solve as a function of (z0, operands) with an implicit `custom_jvp` rule."""

    @jax.custom_jvp
    def solve(z0: PyTree, operands: Operands) -> Solution:
        value, stats = problem.solve(z0, operands)
        # As floats: the float0 tangent of an integer has no mesh axes, which shard_map objects to.
        return Solution(value, stats_as_float(stats))

    @solve.defjvp
    def tangent(primals: tuple, tangents: tuple) -> tuple[Solution, Solution]:
        (z0, operands), (dz0, d_operands) = primals, tangents
        value, stats = solve(z0, operands)
        run = stats.status != float(Status.SKIPPED)
        at, zeros = lanes.finite_or_zero(value), lanes.fill(value, 0)

        outer = lambda args, consts: problem.maps[0](consts, at, *args)
        _, b = jax.jvp(
            outer,
            (operands.args, operands.consts[0]),
            (d_operands.args, d_operands.consts[0]),
        )
        b = lanes.select(run, b, zeros)
        _, jacobian = jax.linearize(problem.at(operands), at)
        bind = lambda level, ids: jacobian
        dz, _ = settings.linear_solve(bind, b, zeros, run, problem, operands, compact=False)
        return Solution(value, stats), Solution(lanes.select(run, dz, dz0), lanes.fill(stats, 0))

    def with_integers(z0: PyTree, operands: Operands) -> Solution:
        value, (steps, residual, status) = solve(z0, operands)
        return Solution(value, Stats(steps.astype(jnp.int32), residual, status.astype(jnp.int32)))

    return with_integers


class _Reverse(Adjoint):
    """A `custom_vjp` rule that solves w = v + Jᵀ w, as far as `adjoint_state` does."""

    @abc.abstractmethod
    def adjoint_state(
        self, problem: Problem, at: PyTree, operands: Operands, v: PyTree, run: jax.Array
    ) -> tuple[PyTree, Stats]:
        """w, zero outside `run` as v is, and the account of the backward solve.

        Args:
            problem: gives f.
            at: the fixed point, where J is taken.
            operands: of f.
            v: cotangent of the fixed point, zero outside `run`.
            run: the lanes that were iterated, bool [B].
        """

    def solve(
        self, problem: Problem, z0: PyTree, operands: Operands, probe: Stats | None
    ) -> Solution:
        settings = self if isinstance(self, _ImplicitSettings) else _ImplicitSettings()
        # What the second derivative differentiates.
        primal = _with_tangent(problem, settings)

        @jax.custom_vjp
        def solve(z0: PyTree, operands: Operands, probe: Stats | None) -> Solution:
            return primal(z0, operands)

        def forward(z0: PyTree, operands: Operands, probe: Stats | None) -> tuple[Solution, tuple]:
            solution = primal(z0, operands)
            return solution, (solution, operands, probe)

        def backward(saved: tuple, cotangent: Solution) -> tuple:
            (value, stats), operands, probe = saved
            run = stats.status != Status.SKIPPED
            zeros = lanes.fill(value, 0)
            pulled, account = self._pulled(problem, value, operands, cotangent.value, run)
            d_args, d_consts = pulled
            d_consts = (d_consts, *[None] * (len(operands.consts) - 1))
            # A skipped sample is returned as it came: its cotangent goes to z0.
            d_z0 = lanes.select(run, zeros, cotangent.value)
            none: Any = None  # settings have no derivative
            return d_z0, Operands(d_args, d_consts, none), None if probe is None else account

        solve.defvjp(forward, backward)
        return solve(z0, operands, probe)

    def _pulled(
        self, problem: Problem, value: PyTree, operands: Operands, v: PyTree, run: jax.Array
    ) -> tuple[PyTree, Stats]:
        """Cotangents of f's arguments and of what it closed over, and the account as float32.

        Args:
            problem: gives f.
            value: its fixed point.
            operands: of f.
            v: cotangent of the fixed point.
            run: the lanes that were iterated, bool [B].
        """
        everything = operands.args, operands.consts[0]
        smooth = lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jnp.inexact) else None
        given = jax.tree.map(smooth, everything)
        # A `shard_map` that shares something smooth between devices sums its cotangents over them,
        # which must not be in a branch that they may not all take.
        axes: Callable[[Any], frozenset] = lambda x: getattr(jax.typeof(x), "vma", frozenset())
        shared = any(axes(run) - axes(leaf) for leaf in jax.tree.leaves(given))
        may_branch = len(problem.sizes) > 1 and not shared

        def somebody() -> tuple[PyTree, Stats]:
            at = lanes.finite_or_zero(value)
            v_run = lanes.select(run, v, lanes.fill(value, 0))
            w, stats = self.adjoint_state(problem, at, operands, v_run, run)
            pulled = _pull(problem, at, (given, everything), w, run, may_branch)
            return pulled, stats_as_float(stats)

        def nobody() -> tuple[PyTree, Stats]:
            account = lanes.vary_like(stats_as_float(_unmeasured(run, 0)), value, run)
            return lanes.fill(given, 0), account

        return jax.lax.cond(jnp.any(run), somebody, nobody) if may_branch else somebody()


def _pull(
    problem: Problem,
    at: PyTree,
    smooth_of: tuple[PyTree, PyTree],
    w: PyTree,
    run: jax.Array,
    may_branch: bool,
) -> PyTree:
    """Cotangents of what f depends on smoothly, from those of its values at `at`.

    Evaluating f there and the product with its weights cost a step each, so the lanes in `run`,
    outside of which w is 0, are gathered into the smallest bucket that holds them.

    Args:
        problem: gives f.
        at: where it is differentiated.
        smooth_of: (args, consts) with None in place of leaves without derivative; and all of them.
        w, run: as in `adjoint_state`.
        may_branch: False takes all lanes.
    """
    given, everything = smooth_of

    def in_bucket(level: int) -> PyTree:
        ids = jnp.argsort(~run, stable=True)[: problem.sizes[level]] if level else None

        def outer(given: PyTree) -> PyTree:
            either = lambda smooth, leaf: leaf if smooth is None else smooth
            args, consts = jax.tree.map(either, given, everything, is_leaf=lambda x: x is None)
            gathered = problem.gather(args, ids)
            return problem.maps[level](consts, active_set.gather(at, ids), *gathered)

        _, pull = jax.vjp(outer, given)
        return pull(active_set.gather(w, ids))[0]

    if not may_branch:
        return in_bucket(0)
    level = active_set.smallest(problem.sizes, jnp.sum(run, dtype=jnp.int32))
    return jax.lax.switch(
        level, [functools.partial(in_bucket, i) for i in range(len(problem.sizes))]
    )


@dataclasses.dataclass(frozen=True)
class Implicit(_ImplicitSettings, _Reverse):
    """Implicit differentiation, the default: w = v + Jᵀ w solved matrix-free (Eq. 5).

    A `custom_vjp` rule with memory O(state), whatever the number of steps. Every sample is solved
    by itself, compacted where the forward solve is; skipped samples pass their cotangent to `z0`,
    the others give z0 none. The derivative is that of a fixed point: for a sample that stopped
    short of one it is as far off as the sample is. `probe=` of `fixed_point` reads the backward
    solve's account.

    Args:
        solver: of the linear solve; None takes the forward one, as Jᵀ has J's eigenvalues.
        tol: residual of the linear solve relative to the cotangent, ‖v + Jᵀw − w‖ / ‖v‖; None
            takes the forward `tol`. What rounding allows is enough: four machine epsilons of the
            state's dtype, relative to v or w.
        max_steps: its budget a sample; None takes the forward one, but at least 100.
        on_failure: what becomes of a sample whose linear solve does not converge: "nan" makes its
            gradient NaN, "jacobian_free" falls back to w = v for that sample.

    Raises:
        TypeError, ValueError: a field of the wrong type or out of its range.

    References:
        Bai et al., Deep Equilibrium Models, NeurIPS 2019.
    """

    def adjoint_state(
        self, problem: Problem, at: PyTree, operands: Operands, v: PyTree, run: jax.Array
    ) -> tuple[PyTree, Stats]:
        def bind(level: int, ids: jax.Array | None) -> active_set.Map:
            _, pull = jax.vjp(problem.at(operands, level, ids), active_set.gather(at, ids))
            return lambda w: pull(w)[0]

        return self.linear_solve(bind, v, lanes.fill(at, 0), run, problem, operands, compact=True)


@dataclasses.dataclass(frozen=True)
class Phantom(_Reverse):
    """Phantom gradient: `steps` damped steps on w = v + Jᵀ w from w = 0, at the fixed point.

    Cheaper than `Implicit` and biased; what unrolling `steps` damped iterations at the fixed point
    gives, without their memory.

    Args:
        steps: ≥ 1.
        damping: in (0, 1].

    Raises:
        TypeError, ValueError: a field of the wrong type or out of its range.

    References:
        Geng et al., On Training Implicit Models, NeurIPS 2021.
    """

    steps: int = 5
    damping: float = 0.5

    def __post_init__(self) -> None:
        validate.positive_integer("Phantom(steps=...)", self.steps)
        validate.fraction("Phantom(damping=...)", self.damping)

    def adjoint_state(
        self, problem: Problem, at: PyTree, operands: Operands, v: PyTree, run: jax.Array
    ) -> tuple[PyTree, Stats]:
        w = jax.tree.map(lambda x: x * self.damping, v)
        if self.steps > 1:
            _, pull = jax.vjp(problem.at(operands), at)

            def step(w: PyTree, _: None) -> tuple[PyTree, None]:
                (back,) = pull(w)
                damped = lambda w, v, j: w + (v + j - w) * self.damping
                return jax.tree.map(damped, w, v, back), None

            w, _ = jax.lax.scan(step, w, None, length=self.steps - 1)
            w = lanes.select(run, w, lanes.fill(at, 0))
        return w, _unmeasured(run, self.steps)


@dataclasses.dataclass(frozen=True)
class JacobianFree(_Reverse):
    """Jacobian-free backpropagation: w = v, one vector–Jacobian product of f at the fixed point.

    The cheapest and most biased; a descent direction where f contracts strongly.

    References:
        Fung et al., JFB: Jacobian-Free Backpropagation for Implicit Networks, AAAI 2022.
    """

    def adjoint_state(
        self, problem: Problem, at: PyTree, operands: Operands, v: PyTree, run: jax.Array
    ) -> tuple[PyTree, Stats]:
        return v, _unmeasured(run, 0)


@dataclasses.dataclass(frozen=True)
class Unrolled(Adjoint):
    """Differentiates the iterations themselves, in forward and reverse mode, z0 included.

    Exact for the value that was computed, converged or not. `max_steps` must be known at trace
    time, and compaction is not available.

    Args:
        checkpoint: False stores every step: memory O(max_steps · activations of f). True stores
            the state of √max_steps steps and computes the others again.
    """

    checkpoint: bool = False

    def solve(
        self, problem: Problem, z0: PyTree, operands: Operands, probe: Stats | None
    ) -> Solution:
        if probe is not None:
            raise ValueError(
                "probe: expected None with adjoint=Unrolled(), which has no backward solve to "
                "report on; use adjoint=Implicit()."
            )
        if problem.length is None:
            raise ValueError(
                "max_steps: expected a number known at trace time with adjoint=Unrolled(), got a "
                "traced value. Pass a Python integer, or differentiate with adjoint=Implicit()."
            )
        f = problem.at(operands)
        solution = active_set.unroll(
            f,
            z0,
            problem.solver,
            operands.limits,
            problem.length,
            self.checkpoint,
        )
        return solution._replace(stats=jax.lax.stop_gradient(solution.stats))


def stats_as_float(stats: Stats) -> Stats:
    """`Stats` as float32, the form in which they travel as a cotangent."""
    as_float = lambda x: jax.lax.stop_gradient(x.astype(jnp.float32))
    return jax.tree.map(as_float, stats)


def _unmeasured(run: jax.Array, steps: int) -> Stats:
    """Account of a backward pass that makes no claim to convergence: MAX_STEPS, residual inf."""
    pick = lambda a, b, dtype: jnp.where(run, jnp.asarray(a, dtype), jnp.asarray(b, dtype))
    return Stats(
        steps=pick(steps, 0, jnp.int32),
        residual=pick(jnp.inf, jnp.inf, jnp.float32),
        status=pick(Status.MAX_STEPS, Status.SKIPPED, jnp.int32),
    )
