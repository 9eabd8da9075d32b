"""Gradients: against closed forms, finite differences and unrolling; failures; the probe."""

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
    backward_probe,
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


def test_a_backward_solve_that_fails_is_nan_or_falls_back():
    """Rates 0.5 and 0.99 with ten backward steps: only the second fails."""
    rate, b = jnp.asarray([0.5, 0.99]), jnp.ones(2)
    f = lambda z, rate, b: rate * z + b

    def grad(adjoint):
        options = {"adjoint": adjoint, "max_steps": 5000}
        loss = lambda b, probe: jnp.sum(
            fixed_point(f, jnp.zeros(2), rate, b, probe=probe, **options).value
        )
        return jax.jit(jax.grad(loss, argnums=(0, 1)))(b, backward_probe(2))

    settings = {"tol": 1e-3, "max_steps": 12}
    db, backward = grad(Implicit(**settings))
    np.testing.assert_allclose(db[0], 2.0, rtol=2e-3)
    assert np.isnan(db[1])
    np.testing.assert_array_equal(backward.status, [Status.CONVERGED, Status.MAX_STEPS])
    assert backward.steps[1] == 12 and backward.steps[0] < 12
    assert backward.residual[0] <= 1e-3 < backward.residual[1]

    db, _ = grad(Implicit(on_failure="jacobian_free", **settings))
    np.testing.assert_allclose(db, [2.0, 1.0], rtol=2e-3)

    loss = lambda b: jnp.sum(
        fixed_point(f, jnp.zeros(2), rate, b, adjoint=ImplicitJVP(**settings), max_steps=5000).value
    )
    assert list(np.isnan(jax.grad(loss)(b))) == [False, True]


def test_adjoint_that_diverges_is_caught():
    """A repelling fixed point that Newton's map finds: Picard backward has no chance."""
    f = lambda z, c: c + 3.0 * (z - c)  # |f'| = 3, fixed point c
    c = jnp.asarray([1.0, 2.0])
    loss = lambda c, adjoint: jnp.sum(fixed_point(f, c, c, adjoint=adjoint).value)
    assert np.all(np.isnan(jax.grad(loss)(c, Implicit())))
    np.testing.assert_allclose(jax.grad(loss)(c, Implicit(Anderson())), 1.0, rtol=1e-4)


@pytest.mark.parametrize("rate", [1.0, 1.0005, 1.005, 0.999])
def test_a_growing_or_slow_backward_solve_is_not_taken_for_converged(rate):
    """‖w‖ grows with its error: relative to it the residual would fall below tol all the same."""
    start = jnp.full(1, -1 / (rate - 1) if rate != 1 else 0.0)
    adjoint = Implicit(solver=Picard(), max_steps=500)
    loss = lambda t: jnp.sum(
        fixed_point(lambda z, t: rate * z + t, start, t, adjoint=adjoint, tol=1e-2).value
    )
    assert np.isnan(jax.grad(loss)(jnp.ones(1)))[0]


def test_zero_cotangent_needs_no_solve():
    """A sample out of the loss is skipped going back, whatever its Jacobian (here inf)."""
    f = lambda z, w: jnp.sqrt(z) * w
    loss = lambda w, probe: fixed_point(f, jnp.asarray([1.0, 0.0]), w, probe=probe).value[0]
    _, backward = jax.grad(loss, argnums=(0, 1))(jnp.ones(2), backward_probe(2))
    np.testing.assert_array_equal(backward.status, [Status.CONVERGED, Status.SKIPPED])


@pytest.mark.parametrize("solver", [Anderson(), Broyden()], ids=repr)
def test_unrolled_through_accelerated_solvers(x64, solver):
    """Lanes that are done have differences of zero: the norm's derivative there must not be NaN."""
    _, got = differentiated(problems.tanh_network(solver), max_steps=120, adjoint=Unrolled())
    # What the accelerated iterates depend on vanishes as they converge, but only as fast.
    assert_trees_close(got, exact("tanh network")[1], 1e-4)


def test_probe_reports_every_sample_and_leaves_the_gradient_alone(x64):
    p = problems.many_rates()
    options = p.solve_options()
    loss = lambda rate, b, probe: jnp.sum(
        fixed_point(p.f, p.z0, rate, b, probe=probe, **options).value
    )
    db, backward = jax.jit(jax.grad(loss, argnums=(1, 2)))(*p.args, backward_probe(5))
    np.testing.assert_allclose(db, 1 / (1 - p.args[0]), rtol=1e-9)
    assert np.all(np.diff(backward.steps) > 0)
    assert np.all(backward.residual <= 1e-13)
    assert np.all(backward.status == Status.CONVERGED)
    without = jax.jit(jax.grad(lambda b: loss(p.args[0], b, None)))(p.args[1])
    np.testing.assert_array_equal(db, without)


def test_probe_of_a_single_state_and_of_a_scan():
    f = lambda z, b: 0.5 * z + b
    loss = lambda b, probe: fixed_point(f, jnp.zeros(()), b, batched=False, probe=probe).value
    _, backward = jax.grad(loss, argnums=(0, 1))(1.0, backward_probe(None))
    assert backward.steps.shape == () and backward.steps > 5

    def scanned(b, probes):
        step = lambda z, probe: (fixed_point(f, z, b, probe=probe).value, None)
        return jnp.sum(jax.lax.scan(step, jnp.zeros(2), probes)[0])

    probes = jax.tree.map(lambda x: jnp.zeros((3, *x.shape)), backward_probe(2))
    _, backward = jax.grad(scanned, argnums=(0, 1))(jnp.ones(2), probes)
    assert backward.steps.shape == (3, 2)
    # Only the last solve gets a cotangent: the ones before are cut off at z0.
    assert np.all(backward.steps[2] > 5) and np.all(backward.steps[:2] == 0)
    assert np.all(backward.status[:2] == Status.SKIPPED)


@pytest.mark.parametrize("adjoint", [Implicit(), ImplicitJVP(), Implicit(Anderson())], ids=repr)
@pytest.mark.parametrize(("dtype", "rtol"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.05)])
def test_gradient_where_the_forward_tolerance_cannot_be_reached(adjoint, dtype, rtol):
    """tol = 0, or float32's tolerance for a bfloat16 state: the backward one stays reachable."""
    f = lambda z, b: (0.5 * z + b).astype(dtype)

    def loss(b):
        z = fixed_point(f, jnp.zeros((2, 3), dtype), b, tol=0.0, adjoint=adjoint).value
        return jnp.sum(z.astype(jnp.float32))

    grad = jax.grad(loss)(jnp.ones((2, 3), dtype))
    assert grad.dtype == dtype
    np.testing.assert_allclose(grad.astype(jnp.float32), 2.0, rtol=rtol)


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


def test_tiny_cotangents_are_solved_to_the_same_relative_tolerance():
    """At 1e-25 the squares of a float32 norm underflow, at 1e38 the reciprocal does."""
    f = lambda z, b: 0.9 * z + b
    loss = lambda b, size: jnp.sum(fixed_point(f, jnp.zeros(3), b, max_steps=500).value) * size
    for size in (1.0, 1e-25, 1e37):
        grad = jax.grad(loss)(jnp.ones(3), jnp.float32(size))
        np.testing.assert_allclose(grad / size, 10.0, rtol=2e-4)


def test_float16_gradient_of_a_mean():
    """1/1e-5 is out of float16's range, the quotient is not."""
    f = lambda z, t: (0.5 * jnp.tanh(z) + t).astype(jnp.float16)

    def loss(t):
        z = fixed_point(f, jnp.zeros(2, jnp.float16), t, tol=1e-2).value
        return jnp.sum(z.astype(jnp.float32)) * 1e-4

    grad = jax.grad(loss)(jnp.full(2, 0.1, jnp.float16))
    assert np.all(np.isfinite(grad)) and np.all(grad > 1e-4)


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
