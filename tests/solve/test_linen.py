"""Linen modules inside of f: their parameters, and modules that update variables."""

import functools

from flax import linen as nn
from flax import nnx
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


class Wrapped(nn.Module):
    """A layer behind one of Flax's transformations, or f behind one of JAX's."""

    wrap: str

    @nn.compact
    def __call__(self, x):
        dense = nn.Dense(4)
        layer = {
            "WeightNorm": lambda: nn.WeightNorm(dense),
            "SpectralNorm": lambda: functools.partial(nn.SpectralNorm(dense), update_stats=False),
            "remat": lambda: nn.remat(nn.Dense)(4),
            "jit": lambda: jax.jit(lambda z: dense(z)),
            "loop": lambda: lambda z: jax.lax.fori_loop(0, 2, lambda _, z: dense(z), z),
            "grad": lambda: jax.grad(lambda z: jnp.sum(jax.nn.softplus(dense(z)))),
        }[self.wrap]()
        f = lambda z, x: jnp.tanh(0.3 * layer(z) + x)
        return fixed_point(f, jnp.zeros_like(x), x, compact=Compaction(1)).value


class Inside(nn.Module):
    """A module that makes something in f."""

    what: str
    options: dict

    @nn.compact
    def __call__(self, x):
        kernel = lambda: self.param("kernel", nn.initializers.zeros, (4, 4), jnp.float32)
        f = {
            "Dense_0": lambda z, x: jnp.tanh(nn.Dense(4)(z) + x),
            "inner": lambda z, x: jnp.tanh(nn.Dense(4, name="inner")(z) + x),
            "kernel": lambda z, x: jnp.tanh(z @ kernel() + x),
            "states": lambda z, x: (self.sow("intermediates", "states", z), 0.5 * z + x)[1],
            "CheckpointDense_0": lambda z, x: jnp.tanh(nn.remat(nn.Dense)(4)(z) + x),
        }[self.what]
        return fixed_point(f, jnp.zeros_like(x), x, **self.options).value


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
        *map(Wrapped, ["WeightNorm", "SpectralNorm", "remat", "jit", "loop", "grad"]),
    ],
    ids=lambda m: getattr(m, "wrap", type(m).__name__),
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


@pytest.mark.parametrize("what", ["Dense_0", "inner", "kernel", "CheckpointDense_0"])
@pytest.mark.parametrize("options", [{}, {"compact": Compaction(1)}], ids=["", "compact"])
def test_what_f_makes_is_an_error(what, options):
    message = rf"f: expected modules, parameters.*made outside of f, got \['{what}'\].*in setup"
    with pytest.raises(ValueError, match=message):
        Inside(what, options).init(jax.random.key(0), X)
    variables = {"params": {what: {"kernel": jnp.eye(4), "bias": jnp.zeros(4)}}}
    variables = {"params": {"kernel": jnp.eye(4)}} if what == "kernel" else variables
    with pytest.raises(ValueError, match=message):
        Inside(what, options).apply(variables, X)


def test_sown_values_are_an_error_and_captured_ones_are_dropped():
    sower = Inside("states", {})
    np.testing.assert_allclose(sower.apply({}, X), 2 * X, rtol=1e-4)
    with pytest.raises(ValueError, match=r"got \['states'\] made in f.*sow sol\.value"):
        sower.apply({}, X, mutable=["intermediates"])
    module = Compact({})
    variables = module.init(jax.random.key(0), X)
    value, state = module.apply(variables, X, capture_intermediates=True)
    np.testing.assert_array_equal(state["intermediates"]["__call__"][0], value)
    assert list(state["intermediates"]) == ["__call__"]


def test_a_module_without_variables_is_an_error():
    with pytest.raises(TypeError, match=r"f: .*Linen module without variables.*module\.apply"):
        fixed_point(nn.Dense(4), X)


def test_a_module_that_updates_variables_is_an_error():
    module = Normalised(train=False)
    variables = module.init(jax.random.key(0), X)
    message = "f: expected modules that keep .*got: update of batch_stats/BatchNorm_0/mean.*freeze"
    with pytest.raises(ValueError, match=message):
        Normalised(train=True).apply(variables, X, mutable=["batch_stats"])


def test_an_nnx_module_that_updates_variables_is_an_error():
    norm = nnx.BatchNorm(4, rngs=nnx.Rngs(0))
    f = lambda z, x: jnp.tanh(0.3 * norm(z) + x)
    with pytest.raises(ValueError, match=r"keep their variables, got: Cannot mutate.*model\.eval"):
        fixed_point(f, jnp.zeros_like(X), X)
    norm.eval()
    assert fixed_point(f, jnp.zeros_like(X), X).value.shape == X.shape


class Noisy(nn.Module):
    options: dict

    @nn.compact
    def __call__(self, x):
        def f(z, x, rate):
            key = self.make_rng("noise")
            return rate * z + x + jax.random.normal(key, (4,), x.dtype)

        rate = jnp.asarray([[0.1], [0.5], [0.9]])
        value = fixed_point(f, jnp.zeros_like(x), x, rate, max_steps=200, **self.options).value
        return value, jax.random.key_data(self.make_rng("noise"))


def test_every_trace_of_f_draws_the_same_keys():
    run = lambda **options: Noisy(options).apply({}, X, rngs={"noise": jax.random.key(0)})
    (plain, later), (compact, later_compact) = run(), run(compact=Compaction(1))
    np.testing.assert_allclose(compact, plain, rtol=1e-3)
    np.testing.assert_array_equal(later_compact, later)
