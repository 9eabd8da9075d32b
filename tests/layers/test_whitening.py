"""The whitening stem: patches without correlations, and not trained."""

import jax
import jax.numpy as jnp
import pytest

from dynalay_jax.layers import Whitening, whiten

pytestmark = pytest.mark.usefixtures("flax_promotion")
NOISE = jax.random.normal(jax.random.key(0), (64, 9, 9, 3))
# Neighbours and channels that are much alike.
IMAGES = (NOISE + jnp.roll(NOISE, 1, 1) + jnp.roll(NOISE, 1, 2)) @ jnp.array(
    [[1.0, 0.9, 0.8], [0.0, 0.3, 0.2], [0.0, 0.0, 0.1]]
)


def test_whitened_patches_have_variance_1_and_no_correlations():
    kernel = whiten(IMAGES, 2, epsilon=0.0)
    ahead = Whitening(2).apply({"statistics": {"kernel": kernel}}, IMAGES)
    back = Whitening(2).apply({"statistics": {"kernel": -kernel}}, IMAGES)
    assert ahead.shape == (64, 8, 8, 24)
    assert jnp.array_equal(ahead, jnp.roll(back, 12, -1)), "each direction and its negative"
    white = (ahead - back)[..., :12].reshape(-1, 12)  # gelu(x) − gelu(−x) = x
    assert jnp.allclose(white.T @ white / len(white), jnp.eye(12), atol=1e-3)


def test_the_stem_has_no_parameters_and_passes_no_gradient_to_its_kernel():
    variables = Whitening(2).init(jax.random.key(0), IMAGES)
    assert set(variables) == {"statistics"}
    gradient = jax.grad(lambda v: Whitening(2).apply(v, IMAGES).sum())(variables)
    assert not gradient["statistics"]["kernel"].any()
