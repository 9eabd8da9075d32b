"""Fixed points and adaptive depth in JAX."""

from dynalay_jax.predict.predictor import Prediction, Predictor
from dynalay_jax.solve.adjoints import Implicit, ImplicitJVP, JacobianFree, Phantom, Unrolled
from dynalay_jax.solve.api import backward_probe, fixed_point
from dynalay_jax.solve.compaction import Compaction
from dynalay_jax.solve.diagnostics import error_bound, jacobian_regularization, spectral_radius
from dynalay_jax.solve.gmres import GMRES
from dynalay_jax.solve.samples import check_samples
from dynalay_jax.solve.solution import BackwardStats, Solution, Stats, Status
from dynalay_jax.solve.solvers import Anderson, Broyden, Picard, Solver

__version__ = "0.1.0"

__all__ = [
    "GMRES",
    "Anderson",
    "BackwardStats",
    "Broyden",
    "Compaction",
    "Implicit",
    "ImplicitJVP",
    "JacobianFree",
    "Phantom",
    "Picard",
    "Prediction",
    "Predictor",
    "Solution",
    "Solver",
    "Stats",
    "Status",
    "Unrolled",
    "backward_probe",
    "check_samples",
    "error_bound",
    "fixed_point",
    "jacobian_regularization",
    "spectral_radius",
]
