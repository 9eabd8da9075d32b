"""What f may close over, be given, and be."""

from flax import nnx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import Compaction, Implicit, ImplicitJVP, JacobianFree, Unrolled, fixed_point

ADJOINTS = [Implicit(), ImplicitJVP(), JacobianFree(), Unrolled()]


@pytest.mark.parametrize(
    ("adjoint", "transform"),
    [(Implicit(), lambda g: g), *[(adjoint, jax.jit) for adjoint in ADJOINTS]],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
def test_closure_over_traced_float_int_and_key(adjoint, transform):
    """The same value and gradient, whether operands come by closure or by argument."""
    x = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)

    def g(z, theta, shift, key, x):
        noise = jax.random.normal(key, z.shape)
        return 0.5 * jnp.tanh(theta * z) + x + 0.1 * noise + shift.astype(z.dtype)

    def by_closure(theta, x, shift, key):
        f = lambda z: g(z, theta, shift, key, x)
        return jnp.sum(fixed_point(f, jnp.zeros((2, 3)), adjoint=adjoint, max_steps=40).value)

    def by_argument(theta, x, shift, key):
        sol = fixed_point(g, jnp.zeros((2, 3)), theta, shift, key, x, adjoint=adjoint, max_steps=40)
        return jnp.sum(sol.value)

    args = (jnp.float32(0.9), x, jnp.int32(1), jax.random.key(3))
    closure = transform(jax.value_and_grad(by_closure, argnums=(0, 1)))(*args)
    argument = transform(jax.value_and_grad(by_argument, argnums=(0, 1)))(*args)
    for a, b in zip(jax.tree.leaves(closure), jax.tree.leaves(argument), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert float(jnp.abs(closure[1][0])) > 0.1


def test_closure_over_the_tracers_of_an_outer_grad_and_vmap(x64):
    """grad of vmap of grad, every level closed over: as with exact fixed points 1/(1 − a)."""

    def solve(a):
        inner = lambda b: (
            fixed_point(
                lambda z: a * z + b, jnp.zeros(()), batched=False, tol=1e-14, max_steps=500
            ).value
        )
        return jax.grad(inner)(1.0)  # d/db of b/(1 − a)

    a = jnp.asarray([0.2, 0.5])
    got = jax.grad(lambda a: jnp.sum(jax.vmap(solve)(a)))(a)
    np.testing.assert_allclose(got, 1 / (1 - a) ** 2, rtol=1e-9)


def test_integer_and_key_arguments_under_grad():
    """Their cotangents are of dtype float0 and get out of the way."""

    def f(z, p):
        table, key = p["table"], p["key"]
        row = jnp.take(p["w"], table, axis=0)
        return 0.5 * z + row + jax.random.uniform(key, row.shape)

    def loss(w, rest):
        return jnp.sum(fixed_point(f, jnp.zeros((3, 2)), {"w": w, **rest}).value)

    rest = {"table": jnp.asarray([2, 0, 2]), "key": jax.random.key(0)}
    grad = jax.jit(jax.grad(loss))(jnp.ones((4, 2)), rest)
    np.testing.assert_allclose(grad, [[2, 2], [0, 0], [4, 4], [0, 0]], rtol=1e-4)
    both = jax.grad(loss, argnums=(0, 1), allow_int=True)(jnp.ones((4, 2)), rest)
    assert both[1]["table"].dtype == jax.dtypes.float0


def test_dropout_has_one_mask_for_all_iterations():
    """The mask can be read off the fixed point: 2·x where kept, 0 where dropped."""
    x = jnp.ones((4, 50))

    def f(z, x, key):
        keep = jax.random.bernoulli(key, 0.5, x.shape)
        return jnp.where(keep, 0.5 * z + x, 0.0)

    solve = jax.jit(lambda key: fixed_point(f, jnp.zeros((4, 50)), x, key))
    a, b, c = (solve(jax.random.key(k)) for k in (0, 0, 1))
    assert np.all(a.stats.status == 0)
    assert np.all(np.isclose(a.value, 2.0, rtol=1e-4) | (a.value == 0.0))
    assert 0.3 < float(jnp.mean(a.value == 0.0)) < 0.7
    np.testing.assert_array_equal(a.value, b.value)
    assert not np.array_equal(a.value, c.value)


def linen():
    """Parameters, and the map as a function of them."""
    layer = nn.Dense(5)
    return layer.init(jax.random.key(0), jnp.ones((3, 5))), layer.apply


def of_nnx():
    graph, state = nnx.split(nnx.Linear(5, 5, rngs=nnx.Rngs(0)))
    return state, lambda state, z: nnx.merge(graph, state)(z)


@pytest.mark.parametrize("make", [linen, of_nnx])
def test_flax_modules(make):
    params, apply = make()
    params = jax.tree.map(lambda w: 0.2 * w, params)
    u = jnp.linspace(-1.0, 1.0, 15).reshape(3, 5)

    def loss(params, adjoint):
        f = lambda z: jnp.tanh(apply(params, z) + u)
        return jnp.sum(fixed_point(f, jnp.zeros_like(u), adjoint=adjoint, max_steps=50).value ** 2)

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    with jax.numpy_rank_promotion("allow"):  # flax broadcasts its bias
        got, wanted = gradient(params, Implicit()), gradient(params, Unrolled())
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_no_tracer_leaks():
    def loss(w, x):
        f = lambda z: jnp.tanh(w * z + x)
        return jnp.sum(fixed_point(f, jnp.zeros(3)).value)

    with jax.checking_leaks():
        jax.jit(jax.grad(loss))(jnp.float32(0.5), jnp.ones(3))


def test_none_among_the_arguments():
    f = lambda z, nothing, x: 0.5 * z + x
    for compact in (True, Compaction(arg_axes=(None, 0))):
        sol = fixed_point(f, jnp.ones(32), None, jnp.ones(32), compact=compact)
        np.testing.assert_allclose(sol.value, 2.0, rtol=1e-4)


def test_inner_custom_derivatives_are_kept():
    """A custom_jvp inside f (here one that lies) is what gets differentiated."""

    @jax.custom_jvp
    def half(z):
        return 0.5 * z

    half.defjvp(lambda p, t: (half(p[0]), 0.25 * t[0]))
    loss = lambda b: jnp.sum(fixed_point(lambda z: half(z) + b, jnp.zeros(2)).value)
    np.testing.assert_allclose(jax.grad(loss)(jnp.ones(2)), 1 / (1 - 0.25), rtol=1e-4)


@pytest.mark.parametrize(
    "f",
    [
        lambda z: jax.lax.fori_loop(0, 3, lambda i, x: x + 0.1 * z[:, :1], jnp.zeros((2, 1))),
        lambda z: jax.lax.cond(z[0, 0] > 0, lambda: jnp.ones((2, 1)), lambda: jnp.zeros((2, 1))),
        lambda z: jax.jit(lambda a, b: a)(0.5 * z, 1.0),
    ],
    ids=["loop", "cond", "jit"],
)
def test_map_that_reads_its_state_within_is_iterated(f):
    stats = fixed_point(f, jnp.full((2, 1), 0.5), tol=1e-3, max_steps=50).stats
    assert stats.steps.min() > 1
