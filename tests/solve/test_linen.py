"""Linen modules inside of f: their parameters, and modules that update variables."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import Anderson, Compaction, ImplicitJVP, Unrolled, fixed_point

pytestmark = pytest.mark.usefixtures("flax_promotion")
X = jnp.linspace(-1.0, 1.0, 12).reshape(3, 4)


class Compact(nn.Module):
    options: dict

    @nn.compact
    def __call__(self, x):
        dense = nn.Dense(4)
        f = lambda z, x: jnp.tanh(0.5 * dense(z) + x)
        return fixed_point(f, jnp.zeros_like(x), x, **self.options).value


class SetUp(nn.Module):
    def setup(self):
        self.dense = nn.Dense(4)

    def __call__(self, x):
        f = lambda z, x: jnp.tanh(0.5 * self.dense(z) + x)
        return fixed_point(f, jnp.zeros_like(x), x).value


class Cell(nn.Module):
    @nn.compact
    def __call__(self, z, x):
        return jnp.tanh(0.5 * nn.Dense(4)(nn.LayerNorm()(z)) + x)


class Nested(nn.Module):
    @nn.compact
    def __call__(self, x):
        return fixed_point(Cell(), jnp.zeros_like(x), x).value


class Normalised(nn.Module):
    train: bool

    @nn.compact
    def __call__(self, x):
        norm = nn.BatchNorm(use_running_average=not self.train)
        f = lambda z, x: jnp.tanh(0.3 * norm(z) + x)
        return fixed_point(f, jnp.zeros_like(x), x).value


@pytest.mark.parametrize(
    "module",
    [
        Compact({}),
        Compact({"solver": Anderson(), "compact": Compaction(1)}),
        Compact({"adjoint": Unrolled(), "max_steps": 30}),
        Compact({"adjoint": ImplicitJVP()}),
        Compact({"batched": False}),
        SetUp(),
        Nested(),
        Normalised(train=False),
    ],
    ids=lambda m: type(m).__name__,
)
def test_a_module_is_initialised_and_trained(module):
    variables = jax.jit(module.init)(jax.random.key(0), X)
    loss = lambda variables: jnp.sum(jnp.square(module.apply(variables, X)))
    grads = jax.jit(jax.grad(loss))(variables)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(grads["params"]))


def test_the_value_is_that_of_the_plain_function():
    module = Compact({})
    variables = module.init(jax.random.key(0), X)
    kernel, bias = variables["params"]["Dense_0"]["kernel"], variables["params"]["Dense_0"]["bias"]
    plain = fixed_point(lambda z, x: jnp.tanh(0.5 * (z @ kernel + bias) + x), jnp.zeros_like(X), X)
    np.testing.assert_allclose(module.apply(variables, X), plain.value, rtol=1e-6)


def test_a_module_that_updates_variables_is_an_error():
    module = Normalised(train=False)
    variables = module.init(jax.random.key(0), X)
    with pytest.raises(ValueError, match=r"f: expected Linen modules that keep.*BatchNorm"):
        Normalised(train=True).apply(variables, X, mutable=["batch_stats"])
