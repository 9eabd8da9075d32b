"""GMRES as a solver of the loop: for linear maps, f(z) = A z + b.

Each step takes the residual r as a new direction p, with q = (I − A) p made orthogonal to those
before, and removes q's part from r:

    x ← x + ⟨q, r⟩ p,   r ← r − ⟨q, r⟩ q

This form, GCR, finds the iterates of GMRES and needs no least squares. A step of the loop is one
evaluation of f, at z = x + r: there f(z) − z = A r gives (I − A) r, and z is as good as x.
"""

import dataclasses

import jax
import jax.numpy as jnp

from dynalay_jax.solve import per_sample, validate
from dynalay_jax.solve.per_sample import PyTree
from dynalay_jax.solve.solvers import Solver


@dataclasses.dataclass(frozen=True)
class GMRES(Solver):
    """Restarted GMRES, for the linear systems of `Implicit` and `ImplicitJVP` only.

    Its residual does not grow, and A need not contract. It pays if few eigenvalues of A lie near 1
    or outside the unit circle.

    Args:
        restart: steps of a cycle, ≥ 1; the state takes 2·restart + 2 times the memory of z.

    Raises:
        TypeError, ValueError: restart is no integer, or below 1.

    References:
        Saad and Schultz, SIAM J. Sci. Stat. Comput. 7, 1986; Eisenstat, Elman and Schultz, SIAM J.
        Numer. Anal. 20, 1983 (GCR).
    """

    linear = True

    restart: int = 5

    def __post_init__(self) -> None:
        validate.positive_integer("GMRES(restart=...)", self.restart)

    def init(self, z: PyTree) -> PyTree:
        past = per_sample.history(z, self.restart)
        return z, per_sample.fill(z, 0), past, past

    def step(self, z: PyTree, fz: PyTree, state: PyTree, k: jax.Array) -> tuple[PyTree, PyTree]:
        x, r, past_p, past_q = state
        g = per_sample.difference(fz, z)
        slot = k % (self.restart + 1)
        # A cycle begins with the true residual, and without directions.
        restart = slot == 0
        pick = lambda a, b: jax.tree.map(lambda u, v: jnp.where(restart, u, v), a, b)
        past_q = pick(per_sample.fill(past_q, 0), past_q)

        q, p = per_sample.difference(r, g), r
        coefficients = per_sample.project(past_q, q)
        q = per_sample.difference(q, per_sample.combine(past_q, coefficients))
        p = per_sample.difference(p, per_sample.combine(past_p, coefficients))
        norm = per_sample.norm(q)
        # Without a direction, where the residual is zero or lies in those before, nothing changes.
        inverse = jnp.where((norm > 0) & ~restart, 1 / jnp.where(norm > 0, norm, 1), 0)
        q, p = per_sample.scale(q, inverse), per_sample.scale(p, inverse)
        past_q = per_sample.remember(past_q, q, slot - 1)
        past_p = per_sample.remember(past_p, p, slot - 1)

        x, r = pick(z, x), pick(g, r)
        length = per_sample.inner(q, r)
        x = jax.tree.map(jnp.add, x, per_sample.scale(p, length))
        r = per_sample.difference(r, per_sample.scale(q, length))
        return jax.tree.map(jnp.add, x, r), (x, r, past_p, past_q)
