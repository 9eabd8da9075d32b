"""Fixed points and adaptive depth in JAX."""

from dynalay_jax.adjoints import Implicit, ImplicitJVP, JacobianFree, Phantom, Unrolled
from dynalay_jax.compaction import Compaction
from dynalay_jax.contraction import error_bound
from dynalay_jax.fixed_point import backward_probe, fixed_point
from dynalay_jax.jacobian import jacobian_regularization, spectral_radius
from dynalay_jax.solution import Solution, Stats, Status
from dynalay_jax.solvers import Anderson, Broyden, Picard, Solver

__version__ = "0.1.0"

__all__ = [
    "Anderson",
    "Broyden",
    "Compaction",
    "Implicit",
    "ImplicitJVP",
    "JacobianFree",
    "Phantom",
    "Picard",
    "Solution",
    "Solver",
    "Stats",
    "Status",
    "Unrolled",
    "backward_probe",
    "error_bound",
    "fixed_point",
    "jacobian_regularization",
    "spectral_radius",
]
