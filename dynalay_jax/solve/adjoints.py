"""How the gradient of a fixed point is computed: the `adjoint=` of `fixed_point`.

At z = f(z, θ) the implicit function theorem gives (Eq. 5)

    ∂z/∂θ = (I − J)⁻¹ ∂f/∂θ,  J = ∂f/∂z.

In reverse mode, a cotangent v becomes (∂f/∂θ)ᵀ w with w = v + Jᵀ w: the fixed point of a linear
map, which the loop of the forward solve computes. The reverse-mode adjoints differ in how exactly
they solve it: `Implicit` to a tolerance, `Phantom` with a few damped steps, `JacobianFree` not at
all (w = v). `ImplicitJVP` solves the tangent equation ż = J ż + (∂f/∂θ) θ̇ and also supports
forward mode. `Unrolled` differentiates the iterations themselves.
"""

import dataclasses
from typing import Any

import jax

from dynalay_jax.solve import buckets, loop, per_sample, validate
from dynalay_jax.solve.implicit import Adjoint, ImplicitSettings, Reverse, unmeasured, with_tangent
from dynalay_jax.solve.problem import Operands, Problem
from dynalay_jax.solve.solution import BackwardStats, Solution

PyTree = Any


@dataclasses.dataclass(frozen=True)
class ImplicitJVP(ImplicitSettings, Adjoint):
    """Implicit differentiation in forward mode: `jax.jvp`, `jacfwd`, `hessian`.

    A `custom_jvp` rule: the tangent equation is solved matrix-free, separately for each sample.
    Its transpose provides reverse mode. Skipped samples pass on the tangent of `z0`. The linear
    solves run without compaction and take no `probe`.

    Args and Raises are those of `Implicit`.
    """

    forward_mode = True

    def solve(
        self, problem: Problem, z0: PyTree, operands: Operands, probe: BackwardStats | None
    ) -> Solution:
        return with_tangent(problem, self)(z0, operands)


@dataclasses.dataclass(frozen=True)
class Implicit(ImplicitSettings, Reverse):
    """Implicit differentiation, the default: w = v + Jᵀ w solved matrix-free (Eq. 5).

    A `custom_vjp` rule. Its memory is O(state), whatever the number of steps. Each sample is solved
    separately, with the compaction of the forward solve. Skipped samples pass their cotangent to
    `z0`; the other samples give z0 a zero cotangent. The derivative is that of an exact fixed
    point: if a sample stopped early, its gradient has an error of the same order. Use `probe=` of
    `fixed_point` to read the report of the backward solve.

    Args:
        solver: of the linear solve; None takes the forward solver, as Jᵀ has J's eigenvalues.
        tol: residual of the linear solve relative to the cotangent, ‖v + Jᵀw − w‖ / ‖v‖; None
            takes the forward `tol`. A tolerance below the rounding error is raised to four machine
            epsilons of the state's dtype (one of a 16-bit dtype), relative to v or w.
        max_steps: budget of the linear solve for each sample; None takes the forward budget, but
            at least 100. The rescue has the same budget again.
        rescue: solver that goes on with the samples which `solver` does not converge; None for
            none. GMRES(restart) needs memory for 2·restart + 2 states.
        max_error: largest relative error of w that is accepted from a sample whose solves did not
            converge, estimated as in `BackwardStats.error`. None is 0.01, and 0.125 in bfloat16.
        on_failure: for samples beyond `max_error`: "nan" makes their gradient NaN,
            "jacobian_free" falls back to w = v.

    Raises:
        TypeError, ValueError: a field of the wrong type or out of its range.

    References:
        Bai et al., Deep Equilibrium Models, NeurIPS 2019.
    """

    def adjoint_state(
        self, problem: Problem, at: PyTree, operands: Operands, v: PyTree, run: jax.Array
    ) -> tuple[PyTree, BackwardStats]:
        def bind(level: int, ids: jax.Array | None) -> loop.Map:
            _, pull = jax.vjp(problem.at(operands, level, ids), buckets.gather(at, ids))
            return lambda w: pull(w)[0]

        return self.linear_solve(
            bind, v, per_sample.fill(at, 0), run, problem, operands, compact=True
        )


@dataclasses.dataclass(frozen=True)
class Phantom(Reverse):
    """Phantom gradient: `steps` damped steps on w = v + Jᵀ w from w = 0, at the fixed point.

    Cheaper than `Implicit`, and biased. Equal to the gradient of `steps` unrolled damped iterations
    at the fixed point, without their memory.

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
    ) -> tuple[PyTree, BackwardStats]:
        w = jax.tree.map(lambda x: x * self.damping, v)
        if self.steps > 1:
            _, pull = jax.vjp(problem.at(operands), at)

            def step(w: PyTree, _: None) -> tuple[PyTree, None]:
                (back,) = pull(w)
                damped = lambda w, v, j: w + (v + j - w) * self.damping
                return jax.tree.map(damped, w, v, back), None

            w, _ = jax.lax.scan(step, w, None, length=self.steps - 1)
            w = per_sample.select(run, w, per_sample.fill(at, 0))
        return w, unmeasured(run, self.steps)


@dataclasses.dataclass(frozen=True)
class JacobianFree(Reverse):
    """Jacobian-free backpropagation: w = v, one vector–Jacobian product of f at the fixed point.

    The cheapest and the most biased; a descent direction if f contracts strongly.

    References:
        Fung et al., JFB: Jacobian-Free Backpropagation for Implicit Networks, AAAI 2022.
    """

    def adjoint_state(
        self, problem: Problem, at: PyTree, operands: Operands, v: PyTree, run: jax.Array
    ) -> tuple[PyTree, BackwardStats]:
        return v, unmeasured(run, 0)


@dataclasses.dataclass(frozen=True)
class Unrolled(Adjoint):
    """Differentiates the iterations themselves, in forward and reverse mode, z0 included.

    The gradient is exact for the computed value, converged or not. `max_steps` must be known at
    trace time, and there is no compaction.

    Args:
        checkpoint: False stores every step: memory O(max_steps · activations of f). True stores
            the state of √max_steps steps and recomputes the others.

    Raises:
        TypeError: checkpoint is not True or False.
    """

    forward_mode = True

    checkpoint: bool = False

    def __post_init__(self) -> None:
        validate.flag("Unrolled(checkpoint=...)", self.checkpoint)

    def solve(
        self, problem: Problem, z0: PyTree, operands: Operands, probe: BackwardStats | None
    ) -> Solution:
        if problem.length is None:
            raise ValueError(
                "max_steps: expected a number known at trace time with adjoint=Unrolled(), got a "
                "traced value. Pass a Python integer, or differentiate with adjoint=Implicit()."
            )
        f, limits = problem.at(operands), operands.limits
        solution = loop.unroll(f, z0, problem.solver, limits, problem.length, self.checkpoint)
        return solution._replace(stats=jax.lax.stop_gradient(solution.stats))
