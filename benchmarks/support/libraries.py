"""The libraries that are compared, each as a function of the same signature.

An arm is `solve(problem, tol) -> function`; the function takes (params, x, gain, z0) and returns
the fixed point. `tol` is what the library itself calls a tolerance, for both directions.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax

from benchmarks.support.problems import Benchmark
import dynalay_jax

MOST_STEPS = 2000


def solution(problem: Benchmark, tol: float, compact: Any = False) -> Callable:
    """As an arm, but returns our `Solution`."""
    settings: dict[str, Any] = {"tol": tol, "max_steps": MOST_STEPS, "compact": compact}
    settings["batched"] = problem.batched
    return lambda params, x, gain, z0: dynalay_jax.fixed_point(
        problem.f, z0, params, x, gain, **settings
    )


def ours(problem: Benchmark, tol: float, compact: Any = False) -> Callable:
    solve = solution(problem, tol, compact)
    return lambda *args: solve(*args).value


def jaxopt(problem: Benchmark, tol: float) -> Callable:
    from jaxopt import FixedPointIteration, linear_solve

    backward = functools.partial(linear_solve.solve_normal_cg, tol=tol, maxiter=MOST_STEPS)
    solver = FixedPointIteration(
        problem.f, maxiter=MOST_STEPS, tol=tol, implicit_diff_solve=backward
    )
    return lambda params, x, gain, z0: solver.run(z0, params, x, gain).params


def optimistix(problem: Benchmark, tol: float, matrix_free: bool = False) -> Callable:
    import lineax
    import optimistix as optx

    linear = lineax.GMRES(rtol=tol, atol=tol) if matrix_free else lineax.AutoLinearSolver(None)

    def solve(params, x, gain, z0):
        return optx.fixed_point(
            lambda z, args: problem.f(z, *args),
            optx.FixedPointIteration(rtol=tol, atol=tol),
            z0,
            (params, x, gain),
            max_steps=MOST_STEPS,
            adjoint=optx.ImplicitAdjoint(linear),
            throw=False,
        ).value

    return solve


def banax(problem: Benchmark, tol: float) -> Callable:
    from banax.adjoint import Implicit
    from banax.solver import Picard

    solver = Picard(rtol=tol, max_steps=MOST_STEPS)
    adjoint = Implicit(solver=solver, b_solver=solver)
    return lambda params, x, gain, z0: adjoint((problem.f, (params, x, gain)), z0).value


def per_sample(arm: Callable) -> Callable:
    """The arm as it is used on a batch by `vmap`: each sample stops by its own tolerance."""

    def vmapped(problem: Benchmark, tol: float) -> Callable:
        def single(z, params, x, gain):
            return problem.f(z[None], params, x[None], gain[None])[0]

        one = dataclasses.replace(problem, f=single, batched=False)
        return jax.vmap(arm(one, tol), in_axes=(None, 0, 0, 0))

    return vmapped


SINGLE = {
    "dynalay_jax": ours,
    "jaxopt": jaxopt,
    "optimistix": optimistix,
    "optimistix, GMRES": functools.partial(optimistix, matrix_free=True),
    "banax": banax,
}
BATCH = {
    "dynalay_jax, compact": functools.partial(ours, compact=True),
    "dynalay_jax, buckets to 4": functools.partial(
        ours, compact=dynalay_jax.Compaction(min_bucket=4)
    ),
    "dynalay_jax, masked": ours,
    "jaxopt": jaxopt,
    "jaxopt, vmap": per_sample(jaxopt),
    "optimistix": optimistix,
    "optimistix, GMRES": functools.partial(optimistix, matrix_free=True),
    "optimistix, vmap": per_sample(optimistix),
    "banax": banax,
    "banax, vmap": per_sample(banax),
}
