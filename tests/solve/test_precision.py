"""What follows from the dtype: the default tolerance, and a warning where none can be met."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import Status, fixed_point
from dynalay_jax.solve import precision

half = lambda z: 0.5 * z + 1


def test_the_coarsest_leaf_decides():
    z = jnp.zeros(2), jnp.zeros(2, jnp.bfloat16)
    assert precision.epsilon(z) == float(jnp.finfo(jnp.bfloat16).eps) == 2.0**-7
    assert precision.reach(z) == 2.0**-5 and precision.reach(z[0]) == 2.0**-17


@pytest.mark.parametrize(
    ("dtype", "tol"), [(jnp.float32, 1e-5), (jnp.bfloat16, 2.0**-7), (jnp.float16, 2.0**-10)]
)
def test_the_default_tolerance_can_be_met(dtype, tol):
    stats = fixed_point(half, jnp.zeros((2, 3), dtype)).stats
    assert np.all(stats.status == Status.CONVERGED) and np.all(stats.residual <= tol)
    assert np.all(stats.steps < 25)


def test_a_tolerance_that_the_dtype_cannot_resolve_is_said():
    z = jnp.zeros((2, 3), jnp.bfloat16)
    with pytest.warns(UserWarning, match=r"tol: expected at least 3.9e-03.*bfloat16, got 1.0e-05"):
        fixed_point(half, z, tol=1e-5)
    with pytest.warns(UserWarning, match=r"rounding error of float32, got 1.0e-08"):
        fixed_point(half, jnp.zeros(2), tol=np.asarray([1e-3, 1e-8]))
    # Not these: every test takes a warning for an error.
    fixed_point(half, z, tol=1e-2)
    fixed_point(half, z, tol=0.0, max_steps=3)
    jax.jit(lambda tol: fixed_point(half, z, tol=tol).value)(1e-5)
