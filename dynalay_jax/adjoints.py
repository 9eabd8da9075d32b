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
from collections.abc import Callable, Sequence
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dynalay_jax import active_set, lanes
from dynalay_jax.solution import Solution, Stats, Status
from dynalay_jax.solvers import Solver

PyTree = Any
_ON_FAILURE = ("nan", "jacobian_free")


class Operands(NamedTuple):
    """All that a solve depends on besides z0."""

    args: tuple
    consts: tuple[list[Any], ...]  # what f closed over, one list a bucket size
    tol: jax.Array
    max_steps: jax.Array
    mask: jax.Array


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """f, closed and traced for every bucket size, with the samples on axis 0.

    Attributes:
        maps: `maps[level](consts[level], z, *args)` is f for bucket number `level`.
        sizes: the bucket sizes; a single one does not compact.
        per_sample: for every leaf of `args`, whether it is gathered with the samples.
        solver: of the forward solve.
        length: bound on the number of steps, where it is known at trace time.
    """

    maps: tuple[Callable, ...]
    sizes: Sequence[int]
    per_sample: PyTree
    solver: Solver
    length: int | None

    def gather(self, args: tuple, ids: jax.Array | None) -> tuple:
        if ids is None:
            return args
        take = lambda x, flag: active_set.gather(x, ids) if flag else x
        return jax.tree.map(take, args, self.per_sample)

    def map(self, operands: Operands, level: int = 0, ids: jax.Array | None = None) -> Callable:
        """z ↦ f(z) for the lanes `ids`."""
        args, consts = self.gather(operands.args, ids), operands.consts[level]
        return lambda z: self.maps[level](consts, z, *args)

    def solve(self, z0: PyTree, operands: Operands) -> Solution:
        bind = lambda level, ids: self.map(operands, level, ids)
        _, _, tol, max_steps, mask = operands
        return active_set.solve(bind, z0, self.solver, tol, max_steps, mask, self.sizes)


class Adjoint(abc.ABC):
    """Base class: how `fixed_point` is differentiated."""

    @abc.abstractmethod
    def solve(
        self, problem: Problem, z0: PyTree, operands: Operands, probe: Stats | None
    ) -> Solution:
        """Solves the problem in a way that carries this adjoint's derivative."""


@dataclasses.dataclass(frozen=True)
class _ImplicitSettings:
    """Args:
        solver: of the linear solve; None takes the forward one, as Jᵀ has J's eigenvalues.
        tol: relative residual of the linear solve; None takes the forward `tol`.
        max_steps: its budget a sample; None takes the forward one, but at least 100.
        on_failure: what becomes of a sample whose linear solve does not converge: "nan" makes its
            gradient NaN, "jacobian_free" falls back to w = v for that sample.

    Raises:
        TypeError, ValueError: a field of the wrong type or out of its range.
    """

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
        if self.tol is not None and not self.tol >= 0:
            raise ValueError(f"{name}(tol=...): expected None or a number >= 0, got {self.tol}.")
        if self.max_steps is not None and self.max_steps < 1:
            raise ValueError(
                f"{name}(max_steps=...): expected None or an integer >= 1, got {self.max_steps}."
            )
        if self.on_failure not in _ON_FAILURE:
            raise ValueError(
                f"{name}(on_failure=...): expected one of {_ON_FAILURE}, got {self.on_failure!r}."
            )

    def linear_solve(
        self,
        bind: active_set.Bind,
        b: PyTree,
        value: PyTree,
        run: jax.Array,
        problem: Problem,
        operands: Operands,
        compact: bool,
    ) -> tuple[PyTree, Stats]:
        """Solves x = A x + b in the lanes of `run`; differentiable to any order in A and b.

        Args:
            bind: gives the linear map A for the full batch and for each bucket.
            b: right-hand side, zero outside `run`.
            value: the fixed point. Zeros are made from it: b may be a tangent, which only linear
                operations may touch.
            run: bool [B].
            problem: for the forward solver.
            operands: for the forward tolerance and budget.
            compact: whether `bind` knows about buckets.

        Returns:
            x and the account of this solve. `lax.custom_linear_solve` provides the derivatives.
        """
        tol = operands.tol if self.tol is None else jnp.full_like(operands.tol, self.tol)
        budget = (
            jnp.maximum(operands.max_steps, 100)
            if self.max_steps is None
            else jnp.full_like(operands.max_steps, self.max_steps)
        )
        solver = problem.solver if self.solver is None else self.solver
        zeros = lanes.fill(value, 0)

        def solve(
            bind: active_set.Bind, b: PyTree, sizes: Sequence[int] | None
        ) -> tuple[PyTree, Stats]:
            # Cotangents can be tiny: at unit size neither the squares of a norm underflow nor
            # does the constant in the relative residual count.
            size = lanes.largest(b)
            size = jnp.where((size > 0) & jnp.isfinite(size), size, 1)
            unit = lanes.scale(b, 1 / size)

            def affine(level: int, ids: jax.Array | None) -> active_set.Map:
                linear = bind(level, ids)
                shift = unit if ids is None else active_set.gather(unit, ids)
                return lambda x: jax.tree.map(jnp.add, shift, linear(x))

            x, stats = active_set.solve(affine, unit, solver, tol, budget, run, sizes)
            failed = (stats.status == Status.MAX_STEPS) | (stats.status == Status.DIVERGED)
            instead = b if self.on_failure == "jacobian_free" else lanes.fill(b, jnp.nan)
            return lanes.select(failed, instead, lanes.scale(x, size)), stats

        def transpose_solve(vecmat: Callable, b: PyTree) -> tuple[PyTree, Stats]:
            # For gradients of gradients: x = Aᵀ x + b, with Aᵀ x = x − (I − Aᵀ) x.
            transposed = lambda x: lanes.difference(x, vecmat(x))
            return jax.jit(lambda b: solve(lambda level, ids: transposed, b, None))(b)

        # The solves are jitted because JAX traces them again, equation by equation, when it lowers
        # a custom_linear_solve, and forgets the types of a shard_map in that; a jitted call is a
        # single equation.
        full, sizes = bind(0, None), problem.sizes if compact else None
        return jax.lax.custom_linear_solve(
            lambda x: lanes.difference(x, lanes.select(run, full(x), zeros)),
            b,
            solve=lambda _, b: jax.jit(lambda b: solve(bind, b, sizes))(b),
            transpose_solve=transpose_solve,
            has_aux=True,
        )


@dataclasses.dataclass(frozen=True)
class ImplicitJVP(_ImplicitSettings, Adjoint):
    __doc__ = f"""Implicit differentiation in forward mode: `jax.jvp`, `jacfwd`, `hessian`.

    A `custom_jvp` rule: the tangent equation is solved matrix-free, in every sample by itself, and
    its transpose serves reverse mode too. Skipped samples pass the tangent of `z0` on. The linear
    solves run masked, without compaction, and take no `probe`.

    {_ImplicitSettings.__doc__}"""

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

        outer = lambda args, consts: problem.maps[0](consts, value, *args)
        _, b = jax.jvp(
            outer,
            (operands.args, operands.consts[0]),
            (d_operands.args, d_operands.consts[0]),
        )
        b = lanes.select(run, b, lanes.fill(value, 0))
        _, jacobian = jax.linearize(problem.map(operands), value)
        bind = lambda level, ids: jacobian
        dz, _ = settings.linear_solve(bind, b, value, run, problem, operands, compact=False)
        return Solution(value, stats), Solution(lanes.select(run, dz, dz0), lanes.fill(stats, 0))

    def with_integers(z0: PyTree, operands: Operands) -> Solution:
        value, (steps, residual, status) = solve(z0, operands)
        return Solution(value, Stats(steps.astype(jnp.int32), residual, status.astype(jnp.int32)))

    return with_integers


class _Reverse(Adjoint):
    """A `custom_vjp` rule that solves w = v + Jᵀ w, as far as `adjoint_state` does."""

    @abc.abstractmethod
    def adjoint_state(
        self, problem: Problem, value: PyTree, operands: Operands, v: PyTree, run: jax.Array
    ) -> tuple[PyTree, Stats]:
        """w, zero outside `run` as v is, and the account of the backward solve."""

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
            v = lanes.select(run, cotangent.value, zeros)
            w, backward_stats = self.adjoint_state(problem, value, operands, v, run)
            outer = lambda args, consts: problem.maps[0](consts, value, *args)
            _, pull = jax.vjp(outer, operands.args, operands.consts[0])
            d_args, d_consts = pull(w)
            d_consts = (d_consts, *[None] * (len(operands.consts) - 1))
            # A skipped sample is returned as it came: its cotangent goes to z0.
            d_z0 = lanes.select(run, zeros, cotangent.value)
            d_probe = None if probe is None else stats_as_float(backward_stats)
            none: Any = None
            return d_z0, Operands(d_args, d_consts, none, none, none), d_probe

        solve.defvjp(forward, backward)
        return solve(z0, operands, probe)


@dataclasses.dataclass(frozen=True)
class Implicit(_ImplicitSettings, _Reverse):
    __doc__ = f"""Implicit differentiation, the default: w = v + Jᵀ w solved matrix-free (Eq. 5).

    A `custom_vjp` rule with memory O(state), whatever the number of steps. Every sample is solved
    by itself, compacted where the forward solve is; skipped samples pass their cotangent to `z0`,
    the others give z0 none. `probe=` of `fixed_point` reads the backward solve's account.

    {_ImplicitSettings.__doc__}"""

    def adjoint_state(
        self, problem: Problem, value: PyTree, operands: Operands, v: PyTree, run: jax.Array
    ) -> tuple[PyTree, Stats]:
        def bind(level: int, ids: jax.Array | None) -> active_set.Map:
            at = value if ids is None else active_set.gather(value, ids)
            _, pull = jax.vjp(problem.map(operands, level, ids), at)
            return lambda w: pull(w)[0]

        return self.linear_solve(bind, v, value, run, problem, operands, compact=True)


@dataclasses.dataclass(frozen=True)
class Phantom(_Reverse):
    """Phantom gradient: `steps` damped steps on w = v + Jᵀ w from w = 0, at the fixed point.

    Cheaper than `Implicit` and biased; what unrolling `steps` damped iterations at the fixed point
    gives, without their memory.

    Args:
        steps: ≥ 1.
        damping: in (0, 1].

    Raises:
        ValueError: a field out of its range.

    References:
        Geng et al., On Training Implicit Models, NeurIPS 2021.
    """

    steps: int = 5
    damping: float = 0.5

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"Phantom(steps=...): expected an integer >= 1, got {self.steps}.")
        if not 0 < self.damping <= 1:
            raise ValueError(
                f"Phantom(damping=...): expected a number in (0, 1], got {self.damping}."
            )

    def adjoint_state(
        self, problem: Problem, value: PyTree, operands: Operands, v: PyTree, run: jax.Array
    ) -> tuple[PyTree, Stats]:
        damp = lambda a, b: a + (b - a) * self.damping
        w = jax.tree.map(lambda x: x * self.damping, v)
        if self.steps > 1:
            _, pull = jax.vjp(problem.map(operands), value)

            def step(w: PyTree, _: None) -> tuple[PyTree, None]:
                (back,) = pull(w)
                return jax.tree.map(lambda w, v, j: damp(w, v + j), w, v, back), None

            w, _ = jax.lax.scan(step, w, None, length=self.steps - 1)
            w = lanes.select(run, w, lanes.fill(value, 0))
        return w, _unmeasured(run, self.steps)


@dataclasses.dataclass(frozen=True)
class JacobianFree(_Reverse):
    """Jacobian-free backpropagation: w = v, one vector–Jacobian product of f at the fixed point.

    The cheapest and most biased; a descent direction where f contracts strongly.

    References:
        Fung et al., JFB: Jacobian-Free Backpropagation for Implicit Networks, AAAI 2022.
    """

    def adjoint_state(
        self, problem: Problem, value: PyTree, operands: Operands, v: PyTree, run: jax.Array
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
        if len(problem.sizes) > 1:
            raise ValueError(
                "compact: expected False with adjoint=Unrolled(), whose loop keeps its batch; use "
                "adjoint=Implicit() or drop compact."
            )
        _, _, tol, max_steps, mask = operands
        f = problem.map(operands)
        solution = active_set.unroll(
            f, z0, problem.solver, tol, max_steps, mask, problem.length, self.checkpoint
        )
        return solution._replace(stats=jax.lax.stop_gradient(solution.stats))


def stats_as_float(stats: Stats) -> Stats:
    """`Stats` as float32, the form in which they travel as a cotangent."""
    as_float = lambda x: jax.lax.stop_gradient(x.astype(jnp.float32))
    return jax.tree.map(as_float, stats)


def _unmeasured(run: jax.Array, steps: int) -> Stats:
    """Account of a backward pass that makes no claim to convergence."""
    pick = lambda a, b, dtype: jnp.where(run, jnp.asarray(a, dtype), jnp.asarray(b, dtype))
    return Stats(
        steps=pick(steps, 0, jnp.int32),
        residual=pick(jnp.inf, jnp.inf, jnp.float32),
        status=pick(Status.MAX_STEPS, Status.SKIPPED, jnp.int32),
    )
