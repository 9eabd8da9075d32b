"""Gradients: against closed forms, finite differences and unrolling."""

import functools

import jax
import jax.numpy as jnp
from jax.test_util import check_grads
import numpy as np
import pytest

from dynalay_jax import (
    Anderson,
    Broyden,
    Compaction,
    Implicit,
    ImplicitJVP,
    JacobianFree,
    Phantom,
    Picard,
    Status,
    Unrolled,
    fixed_point,
)
import problems


def cotangent_loss(tree):
    """A loss with a different weight for every entry."""
    leaves = jax.tree.leaves(tree)
    weights = lambda x: jnp.sin(jnp.arange(1.0, x.size + 1, dtype=x.dtype)).reshape(x.shape)
    return sum(jnp.sum(weights(x) * x) for x in leaves)


def assert_trees_close(got, wanted, tol):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


@functools.cache
def exact(name):
    """Value and gradient of the cotangent loss at the known fixed point."""
    p = problems.ALL[name]()

    def loss(*args):
        value = p.exact(*args)
        return cotangent_loss(value), value

    everything = tuple(range(len(p.args)))
    (_, value), grads = jax.jit(jax.value_and_grad(loss, everything, has_aux=True))(*p.args)
    return value, grads


def differentiated(p, **options):
    """Solution, and gradient of the cotangent loss, in one program."""

    def loss(*args):
        sol = fixed_point(p.f, p.z0, *args, **p.solve_options() | options)
        return cotangent_loss(sol.value), sol

    everything = tuple(range(len(p.args)))
    (_, sol), grads = jax.jit(jax.value_and_grad(loss, everything, has_aux=True))(*p.args)
    return sol, grads


@pytest.mark.parametrize("name", problems.ALL)
def test_value_and_gradient_are_exact(x64, name):
    sol, grads = differentiated(problems.ALL[name]())
    assert np.all(sol.stats.status == Status.CONVERGED)
    assert_trees_close((sol.value, grads), exact(name), 1e-9)


OTHERS = [
    ("affine, not normal", {"adjoint": ImplicitJVP()}),
    ("nested pytree", {"adjoint": ImplicitJVP()}),
    ("single state", {"adjoint": ImplicitJVP()}),
    ("rates 0.1 to 0.999", {"adjoint": ImplicitJVP()}),
    ("rotation, Anderson", {"adjoint": ImplicitJVP()}),
    ("tanh network, Broyden", {"adjoint": ImplicitJVP()}),
    ("nested pytree", {"adjoint": Unrolled(), "max_steps": 300}),
    ("tanh network", {"adjoint": Unrolled(True), "max_steps": 300}),
    ("tanh network", {"adjoint": Implicit(Picard(0.8), tol=1e-13, max_steps=500)}),
    ("tanh network", {"adjoint": Implicit(Anderson(memory=3), tol=1e-13, max_steps=500)}),
    ("tanh network", {"adjoint": Implicit(Broyden(), tol=1e-13, max_steps=500)}),
]


@pytest.mark.parametrize(("name", "options"), OTHERS, ids=repr)
def test_gradients_of_other_adjoints_are_exact(x64, name, options):
    _, grads = differentiated(problems.ALL[name](), **options)
    assert_trees_close(grads, exact(name)[1], 1e-9)


@pytest.mark.parametrize("adjoint", [Implicit(), ImplicitJVP()], ids=repr)
def test_finite_differences(x64, adjoint):
    p = problems.tanh_network()
    solve = lambda *args: fixed_point(p.f, p.z0, *args, adjoint=adjoint, **p.solve_options()).value
    modes = ["rev", "fwd"] if isinstance(adjoint, ImplicitJVP) else ["rev"]
    check_grads(jax.jit(solve), p.args, order=1, modes=modes, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("mode", [jax.jacrev, jax.jacfwd], ids=["reverse", "forward"])
def test_unrolled_differentiates_what_was_computed(x64, checkpoint, mode):
    """After two steps from z0: f(f(z0)), z0 included."""
    f = lambda z, a: jnp.sin(a * z)
    z0, a = jnp.asarray([0.3, 0.7]), jnp.asarray([1.1, 0.9])
    options = {"tol": 0.0, "max_steps": 2, "adjoint": Unrolled(checkpoint)}
    solve = lambda z0, a: fixed_point(f, z0, a, **options).value
    got, wanted = (
        jax.jit(mode(value, argnums=(0, 1)))(z0, a)
        for value in (solve, lambda z0, a: f(f(z0, a), a))
    )
    assert_trees_close(got, wanted, 1e-12)


def test_phantom_is_what_unrolling_at_the_fixed_point_gives(x64):
    p = problems.tanh_network()
    steps, damping = 4, 0.6
    star = exact("tanh network")[0]

    def unrolled(*args):
        z = star
        for _ in range(steps):
            z = z + damping * (p.f(z, *args) - z)
        return cotangent_loss(z)

    _, got = differentiated(p, adjoint=Phantom(steps, damping))
    assert_trees_close(got, jax.jit(jax.grad(unrolled, argnums=(0, 1, 2)))(*p.args), 1e-10)


def test_jacobian_free_is_one_product_at_the_fixed_point(x64):
    p = problems.tanh_network()
    star = exact("tanh network")[0]
    _, got = differentiated(p, adjoint=JacobianFree())
    wanted = jax.grad(lambda *a: cotangent_loss(p.f(star, *a)), argnums=(0, 1, 2))(*p.args)
    assert_trees_close(got, wanted, 1e-10)


REVERSE = [Implicit(), ImplicitJVP(), JacobianFree(), Phantom(), Unrolled()]


@pytest.mark.parametrize(
    ("adjoint", "compact"),
    [(adjoint, False) for adjoint in REVERSE] + [(adjoint, True) for adjoint in REVERSE[:-1]],
    ids=repr,
)
def test_skipped_samples_pass_their_cotangent_to_z0(adjoint, compact):
    """And none to the parameters; iterated samples give z0 none where the adjoint is implicit."""
    mask = jnp.arange(40) % 2 == 0
    budget = jnp.where(jnp.arange(40) == 4, 0, 50)
    ran = mask & (budget > 0)
    v = jnp.linspace(1.0, 2.0, 40)

    def loss(z0, b):
        f = lambda z, b: 0.5 * z + b
        sol = fixed_point(f, z0, b, mask=mask, max_steps=budget, adjoint=adjoint, compact=compact)
        return jnp.sum(v * sol.value)

    dz0, db = jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.ones(40), jnp.ones(40))
    np.testing.assert_allclose(dz0, jnp.where(ran, 0.0, v), atol=1e-4)
    assert np.all(np.asarray(db)[~np.asarray(ran)] == 0)
    assert np.all(np.asarray(db)[np.asarray(ran)] > 0)


@functools.cache
def masked_gradient(compact):
    w, x, v = jnp.full(3, 0.4), jnp.linspace(0.1, 1.0, 96).reshape(32, 3), jnp.linspace(1, 2, 32)

    def loss(w, x, mask):
        f = lambda z, w, x: jnp.tanh(z * w[None] + x)
        options = {"mask": mask, "tol": 1e-12, "max_steps": 200, "compact": compact}
        return v @ jnp.sum(fixed_point(f, jnp.zeros((32, 3)), w, x, **options).value, axis=1)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    return lambda mask: gradient(w, x, mask)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 8, 9, 32])
def test_weights_gradient_from_every_bucket(x64, count):
    """Of the lanes that ran, however many, and at both ends of each bucket: 4, 8, 16, 32."""
    # In no order, so that gathering is not slicing.
    mask = jax.random.permutation(jax.random.key(0), jnp.arange(32) < count)
    got = masked_gradient(Compaction(min_bucket=4, arg_axes=(None, 0)))(mask)
    assert_trees_close(got, masked_gradient(False)(mask), 1e-10)
    assert bool(jnp.any(got[0] != 0)) == (count > 0)


@pytest.mark.parametrize("solver", [Anderson(), Broyden()], ids=repr)
def test_unrolled_through_accelerated_solvers(x64, solver):
    """Lanes that are done have differences of zero: the norm's derivative there must not be NaN."""
    _, got = differentiated(problems.tanh_network(solver), max_steps=120, adjoint=Unrolled())
    # What the accelerated iterates depend on vanishes as they converge, but only as fast.
    assert_trees_close(got, exact("tanh network")[1], 1e-4)


def test_mixed_dtypes_in_one_state():
    """A float32 and a bfloat16 leaf, coupled; each keeps its dtype, forward and backward."""

    def f(z, b):
        a, c = z
        half, low = 0.5 * a + 0.1 * c.astype(jnp.float32), 0.25 * c + b
        return half + 1, low.astype(jnp.bfloat16)

    z0 = jnp.zeros((2, 3)), jnp.zeros((2, 3), jnp.bfloat16)
    loss = lambda b: jnp.sum(fixed_point(f, z0, b, tol=1e-2).value[0])
    b = jnp.ones((2, 3), jnp.bfloat16)
    value, grad = jax.value_and_grad(loss)(b)
    np.testing.assert_allclose(value, 6 * (1 + 0.1 / 0.75) / 0.5, rtol=2e-2)
    np.testing.assert_allclose(grad.astype(jnp.float32), 0.2 / 0.75, rtol=0.12)


def test_a_masked_loss_survives_diverged_samples():
    """A sample that diverged, taken out of the loss, leaves the gradient of the rest intact."""

    def loss(w):
        f = lambda z, w: jnp.where(jnp.arange(3) == 1, 3.0, 0.5) * z + w
        sol = fixed_point(f, jnp.ones(3), w, max_steps=500)
        return jnp.sum(jnp.where(sol.stats.status == Status.CONVERGED, sol.value, 0.0))

    np.testing.assert_allclose(jax.grad(loss)(jnp.float32(1.0)), 4.0, rtol=1e-3)


@pytest.mark.parametrize("adjoint", REVERSE, ids=repr)
def test_skipped_padding_of_nan_does_not_reach_the_weights(adjoint):
    """0 · NaN is NaN: the product rule of a shared weight must not see a masked NaN."""
    z0 = jnp.zeros((3, 2)).at[1].set(jnp.nan)
    mask = jnp.asarray([True, False, True])

    def loss(w):
        sol = fixed_point(lambda z, w: jnp.tanh(w * z) + 0.5, z0, w, mask=mask, adjoint=adjoint)
        return jnp.sum(jnp.where(mask[:, None], sol.value, 0.0))

    assert np.isfinite(jax.grad(loss)(jnp.float32(0.5)))


def test_memory_of_the_implicit_gradient_is_flat_in_the_steps():
    """By the compiler's figures, against unrolling, which grows with them."""
    w = jnp.eye(64) * 0.5
    x = jnp.ones((32, 64))

    def temporary(adjoint, steps):
        solve = lambda w: (
            fixed_point(
                lambda z, w, x: jnp.tanh(z @ w + x),
                jnp.zeros((32, 64)),
                w,
                x,
                adjoint=adjoint,
                max_steps=steps,
            ).value
        )
        compiled = jax.jit(jax.grad(lambda w: jnp.sum(solve(w)))).lower(w).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(Implicit(), 200) == temporary(Implicit(), 10)
    assert temporary(Unrolled(), 200) > 10 * temporary(Unrolled(), 10)
    assert temporary(Unrolled(True), 200) < temporary(Unrolled(), 200) / 3
