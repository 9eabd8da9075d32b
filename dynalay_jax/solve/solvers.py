"""Solvers of z = f(z): from an evaluation f(z) to the next iterate, in every lane separately.

A solver is a frozen dataclass (hashable by value, so that an equal solver never re-traces) with

    init(z)               -> state       before the first evaluation
    step(z, fz, state, k) -> (z, state)  after evaluation number k = 0, 1, ... gave fz = f(z)

`z` is a pytree with the samples on axis 0 of every leaf. Every leaf of the state has them on axis 0
too, so that compaction can gather lanes. `k` is one int32 scalar for all lanes.
"""

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from dynalay_jax.solve import per_sample, validate

PyTree = Any


class Solver(abc.ABC):
    """Base class of the solvers; subclass it with a frozen dataclass to add one.

    Attributes:
        linear: whether it solves maps f(z) = A z + b only, those of an implicit derivative.
    """

    linear: ClassVar[bool] = False

    @abc.abstractmethod
    def init(self, z: PyTree) -> PyTree:
        """State before the first evaluation.

        Args:
            z: start, leaves [B, ...].

        Returns:
            Pytree of arrays with the lanes on axis 0. Build them from z, as in `0 * z`, so that
            they vary over the mesh axes of a `shard_map` that z varies over.
        """

    @abc.abstractmethod
    def step(self, z: PyTree, fz: PyTree, state: PyTree, k: jax.Array) -> tuple[PyTree, PyTree]:
        """Next iterate and state.

        Args:
            z: where f was evaluated, leaves [B, ...].
            fz: f(z), like z.
            state: the solver's.
            k: number of evaluations before this one, int32 scalar.

        Returns:
            Where to evaluate f next, like z; and the new state.
        """


@dataclasses.dataclass(frozen=True)
class Picard(Solver):
    """z ← z + damping·(f(z) − z). Damping 1 is plain iteration, as in the paper.

    Converges if f contracts. With damping < 1 it also converges for Jacobians with eigenvalues
    near or below −1.

    Args:
        damping: in (0, 1].

    Raises:
        TypeError, ValueError: damping is no number, or outside (0, 1].
    """

    damping: float = 1.0

    def __post_init__(self) -> None:
        validate.fraction("Picard(damping=...)", self.damping)

    def init(self, z: PyTree) -> PyTree:
        return ()

    def step(self, z: PyTree, fz: PyTree, state: PyTree, k: jax.Array) -> tuple[PyTree, PyTree]:
        if self.damping == 1.0:
            return fz, state
        return jax.tree.map(lambda a, b: a + (b - a) * self.damping, z, fz), state


@dataclasses.dataclass(frozen=True)
class Anderson(Solver):
    """Anderson acceleration (type II): least squares over the last `memory` secant pairs.

    With g = f(z) − z and the differences ΔZ, ΔG of past iterates and residuals,
    γ = argmin ‖g − ΔG γ‖² + ridge·‖γ‖² and z ← z + damping·g − (ΔZ + damping·ΔG) γ. Each pair is
    stored divided by ‖Δg‖, which does not change the step and makes `ridge` relative.

    Args:
        memory: number of secant pairs, ≥ 1; the state takes 2·memory + 2 times the memory of z.
        ridge: relative regularisation of the normal equations, ≥ 0. The machine epsilon of the
            accumulation dtype is the least; None takes ten times that (1e-6 in float32, 2e-15 in
            float64).
        damping: mixing factor in (0, 1].

    Raises:
        TypeError, ValueError: a field of the wrong type or out of its range.

    References:
        Walker and Ni, Anderson acceleration for fixed-point iterations, SIAM J. Numer. Anal.
        49(4), 2011.
    """

    memory: int = 5
    ridge: float | None = None
    damping: float = 1.0

    def __post_init__(self) -> None:
        validate.positive_integer("Anderson(memory=...)", self.memory)
        validate.fraction("Anderson(damping=...)", self.damping)
        if self.ridge is not None:
            validate.not_negative("Anderson(ridge=...)", self.ridge)

    def init(self, z: PyTree) -> PyTree:
        past = per_sample.history(z, self.memory)
        # Gram matrix of the stored Δg. Each step replaces one row and one column.
        gram = per_sample.history(
            jnp.repeat(per_sample.square_norm(z)[:, None], self.memory, 1), self.memory
        )
        return per_sample.fill(z, 0), per_sample.fill(z, 0), past, past, gram

    def step(self, z: PyTree, fz: PyTree, state: PyTree, k: jax.Array) -> tuple[PyTree, PyTree]:
        last_z, last_g, past_dz, past_dg, gram = state
        g = per_sample.difference(fz, z)
        dz, dg = per_sample.difference(z, last_z), per_sample.difference(g, last_g)
        norm = per_sample.norm(dg)
        # Zero columns for pairs without information: at k = 0, and where Δg = 0.
        inverse = jnp.where((norm > 0) & (k > 0), 1 / jnp.where(norm > 0, norm, 1), 0)
        slot = (k - 1) % self.memory
        past_dz = per_sample.remember(past_dz, per_sample.scale(dz, inverse), slot)
        unit_dg = per_sample.scale(dg, inverse)
        past_dg = per_sample.remember(past_dg, unit_dg, slot)
        products = per_sample.project(past_dg, unit_dg)
        gram = per_sample.remember(gram, products, slot)
        gram = jax.lax.dynamic_update_index_in_dim(gram, products, slot, axis=2)

        diagonal = jnp.diagonal(gram, axis1=1, axis2=2)
        eps = float(jnp.finfo(gram.dtype).eps)
        ridge = 10 * eps if self.ridge is None else max(self.ridge, eps)
        # Empty columns get a unit diagonal: their coefficient is then zero.
        shift = jnp.where(diagonal > 0, jnp.asarray(ridge, gram.dtype), 1)
        system = gram + jnp.expand_dims(shift, 2) * jnp.eye(self.memory, dtype=gram.dtype)[None]
        gamma = _solve_positive(system, per_sample.project(past_dg, g))

        back_z, back_g = per_sample.combine(past_dz, gamma), per_sample.combine(past_dg, gamma)
        mix = lambda a, b, c, d: a - c + (b - d) * self.damping
        return jax.tree.map(mix, z, g, back_z, back_g), (z, g, past_dz, past_dg, gram)


@dataclasses.dataclass(frozen=True)
class Broyden(Solver):
    """Broyden's good method for f(z) − z = 0, its inverse Jacobian kept as −I + Σ uᵢ vᵢᵀ.

    The first step is Picard's. After `memory` pairs it restarts from −I: later pairs depend on the
    earlier ones, so dropping only the oldest would leave an inconsistent inverse.

    Args:
        memory: number of rank-one pairs, ≥ 1; the state takes 2·memory + 2 times the memory of z.

    Raises:
        TypeError, ValueError: memory is no integer, or below 1.

    References:
        Broyden, Math. Comp. 19, 1965; Kelley, Iterative Methods for Linear and Nonlinear
        Equations, SIAM 1995, ch. 7.
    """

    memory: int = 20

    def __post_init__(self) -> None:
        validate.positive_integer("Broyden(memory=...)", self.memory)

    def init(self, z: PyTree) -> PyTree:
        past = per_sample.history(z, self.memory)
        return per_sample.fill(z, 0), per_sample.fill(z, 0), past, past

    def step(self, z: PyTree, fz: PyTree, state: PyTree, k: jax.Array) -> tuple[PyTree, PyTree]:
        last_z, last_g, u, v = state
        slot = (k - 1) % self.memory
        fresh = slot == 0
        u = jax.tree.map(lambda x: jnp.where(fresh, jnp.zeros((), x.dtype), x), u)

        g = per_sample.difference(fz, z)
        dz, dg = per_sample.difference(z, last_z), per_sample.difference(g, last_g)
        # H = -I + U Vᵀ: row vᵀ = Δzᵀ H, and the secant error Δz − H Δg.
        row = per_sample.difference(per_sample.combine(v, per_sample.project(u, dz)), dz)
        error = jax.tree.map(
            lambda a, b, c: a + b - c, dz, dg, per_sample.combine(u, per_sample.project(v, dg))
        )
        denominator = per_sample.inner(row, dg)
        safe = (jnp.abs(denominator) > 0) & jnp.isfinite(denominator) & (k > 0)
        inverse = jnp.where(safe, 1 / jnp.where(safe, denominator, 1), 0)
        u = per_sample.remember(u, per_sample.scale(error, inverse), slot)
        v = per_sample.remember(v, row, slot)

        back = per_sample.combine(u, per_sample.project(v, g))
        step = lambda a, b, c: a + b - c
        return jax.tree.map(step, z, g, back), (z, g, u, v)


def _solve_positive(matrix: jax.Array, rhs: jax.Array) -> jax.Array:
    """Solves small positive definite systems, [B, m, m] and [B, m], by Gauss–Jordan elimination.

    Positive definite systems need no pivoting, and m is small. The elimination fuses into the loop
    body. A LAPACK call in each step would cost more than the rest of the step, and crashed XLA's
    CPU backend with a bfloat16 state (jax 0.10 to 0.12).
    """
    table = jnp.concatenate([matrix, rhs[:, :, None]], axis=2)
    for i in range(rhs.shape[1]):
        pivot = table[:, i] / table[:, i, i, None]
        table = (table - table[:, :, i, None] * pivot[:, None, :]).at[:, i].set(pivot)
    return table[:, :, -1]
