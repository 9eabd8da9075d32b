"""What the dtype of a state can resolve: the default tolerance, and where a residual stops falling.

With ε = `finfo(dtype).eps` of the coarsest leaf, an evaluation of f is right to a few ε relative to
‖f(z)‖. A residual cannot fall further than that.
"""

from typing import Any
import warnings

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any
_COARSE = 1e-4  # only 16-bit dtypes have a larger epsilon


def epsilon(tree: PyTree) -> float:
    """The largest machine epsilon of the leaves."""
    return max(float(jnp.finfo(x.dtype).eps) for x in jax.tree.leaves(tree))


def default_tolerance(tree: PyTree) -> float:
    """`tol` of `fixed_point` if none is given: 1e-5, in bfloat16 0.008 and in float16 0.001."""
    return max(1e-5, epsilon(tree))


def least_linear_tolerance(tree: PyTree) -> float:
    """The least tolerance of a linear solve: 4 ε for float32 and float64, ε for 16-bit dtypes."""
    eps = epsilon(tree)
    return eps if eps > _COARSE else 4 * eps


def reach(tree: PyTree) -> float:
    """Relative residual at which a solve that no longer improves has converged.

    64 ε for float32 and float64, whose long sums round in many places. 4 ε for 16-bit dtypes, whose
    sums are accumulated in float32 and rounded once.
    """
    eps = epsilon(tree)
    return 4 * eps if eps > _COARSE else 64 * eps


def largest_error(tree: PyTree) -> float:
    """`max_error` of `Implicit` if none is given: 0.01, in bfloat16 0.125."""
    return max(1e-2, 16 * epsilon(tree))


def warn_below(tol: np.ndarray | None, tree: PyTree) -> None:
    """Warns if a tolerance that is known at trace time is positive, but less than ε/2."""
    if tol is None:
        return
    rounding, positive = epsilon(tree) / 2, tol[tol > 0]
    if positive.size and positive.min() < rounding:
        dtypes = {str(x.dtype) for x in jax.tree.leaves(tree)}
        warnings.warn(
            f"tol: expected at least {rounding:.1e}, the rounding error of {'/'.join(dtypes)}, got "
            f"{positive.min():.1e}. A solve ends where its residual stops falling, at about "
            f"{reach(tree):.0e} or less. Leave tol out for the default of "
            f"{default_tolerance(tree):.0e}, or solve in a wider dtype.",
            stacklevel=3,
        )
