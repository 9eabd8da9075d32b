"""The loop: its residual, and that finished samples are frozen. See test_api for the rest."""

import jax
import jax.numpy as jnp
import numpy as np

from dynalay_jax import Unrolled, fixed_point
from dynalay_jax.solve.loop import relative_residual


def test_residual_of_bfloat16_is_taken_in_float32():
    """1 + 2⁻⁷ − 2⁻⁹ needs more bits than bfloat16 has; outside jit nothing hides the rounding."""
    z, fz = (jnp.full((1, 3), v, jnp.bfloat16) for v in (2.0**-9, 1 + 2.0**-7))
    wanted = (1 + 2.0**-7 - 2.0**-9) / (1 + 2.0**-7)
    np.testing.assert_allclose(relative_residual(z, fz, jnp.zeros(1)), wanted, rtol=1e-6)


def test_finished_samples_are_frozen():
    """A sample out of its budget is not iterated on: it would overflow, and its gradient be NaN."""
    budget = jnp.asarray([3, 100])
    z0, x = jnp.asarray([2.0, 0.1]), jnp.asarray([0.0, 0.2])

    def loss(w):
        f = lambda z, w, x: w * z**2 + x
        options = {"adjoint": Unrolled(), "max_steps": np.asarray(budget), "tol": 0.0}
        return jnp.sum(fixed_point(f, z0, w, x, **options).value)

    assert np.isfinite(jax.grad(loss)(jnp.float32(1.0)))
