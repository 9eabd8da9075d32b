"""The linear solve of an implicit gradient: failures, tolerances, and the probe's report."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import Anderson, Implicit, ImplicitJVP, Picard, Status, backward_probe, fixed_point
import problems


def test_a_backward_solve_that_fails_is_nan_or_falls_back():
    """Rates 0.5 and 0.99 with twelve backward steps: only the second fails."""
    rate, b = jnp.asarray([0.5, 0.99]), jnp.ones(2)
    f = lambda z, rate, b: rate * z + b

    def grad(adjoint):
        options = {"adjoint": adjoint, "max_steps": 5000}
        loss = lambda b, probe: jnp.sum(
            fixed_point(f, jnp.zeros(2), rate, b, probe=probe, **options).value
        )
        return jax.jit(jax.grad(loss, argnums=(0, 1)))(b, backward_probe(2))

    settings = {"tol": 1e-3, "max_steps": 12, "rescue": None}
    db, backward = grad(Implicit(**settings))
    np.testing.assert_allclose(db[0], 2.0, rtol=2e-3)
    assert np.isnan(db[1])
    np.testing.assert_array_equal(backward.status, [Status.CONVERGED, Status.MAX_STEPS])
    np.testing.assert_array_equal(backward.given_up, [0, 1])
    assert backward.steps[1] == 12 and backward.steps[0] < 12
    assert backward.residual[0] <= 1e-3 < backward.residual[1]

    db, _ = grad(Implicit(on_failure="jacobian_free", **settings))
    np.testing.assert_allclose(db, [2.0, 1.0], rtol=2e-3)

    loss = lambda b: jnp.sum(
        fixed_point(f, jnp.zeros(2), rate, b, adjoint=ImplicitJVP(**settings), max_steps=5000).value
    )
    assert list(np.isnan(jax.grad(loss)(b))) == [False, True]

    # Whoever accepts an error of this size gets the unfinished solution.
    error = float(backward.error[1])
    for max_error, used in ((1.01 * error, True), (0.99 * error, False)):
        db, again = grad(Implicit(max_error=max_error, **settings))
        assert np.isfinite(db[1]) == used and again.given_up[1] == 1 - used
        assert again.status[1] == Status.MAX_STEPS

    # The rescue solves what twelve plain steps do not.
    db, backward = grad(Implicit(tol=1e-3, max_steps=12))
    np.testing.assert_allclose(db, [2.0, 100.0], rtol=2e-3)
    np.testing.assert_array_equal(backward.rescued, [0, 1])
    assert 12 < backward.steps[1] <= 24 and not backward.given_up.any()


def test_adjoint_that_diverges_is_rescued_or_caught():
    """A repelling fixed point that Newton's map finds: Picard backward has no chance."""
    f = lambda z, c: c + 3.0 * (z - c)  # |f'| = 3, fixed point c
    c = jnp.asarray([1.0, 2.0])
    loss = lambda c, adjoint: jnp.sum(fixed_point(f, c, c, adjoint=adjoint).value)
    assert np.all(np.isnan(jax.grad(loss)(c, Implicit(rescue=None))))
    for adjoint in (Implicit(), ImplicitJVP(), Implicit(Anderson(), rescue=None)):
        np.testing.assert_allclose(jax.grad(loss)(c, adjoint), 1.0, rtol=1e-4)


@pytest.mark.parametrize("rate", [1.0, 1.0005, 1.005, 0.999])
def test_a_growing_or_slow_backward_solve_is_not_taken_for_converged(rate):
    """‖w‖ grows with its error: relative to it the residual would fall below tol all the same."""
    start = jnp.full(1, -1 / (rate - 1) if rate != 1 else 0.0)

    def grad(**settings):
        adjoint = Implicit(solver=Picard(), max_steps=500, **settings)
        loss = lambda t: jnp.sum(
            fixed_point(lambda z, t: rate * z + t, start, t, adjoint=adjoint, tol=1e-2).value
        )
        return jax.grad(loss)(jnp.ones(1))[0]

    assert np.isnan(grad(rescue=None))
    # The rescue solves the system, unless it has no solution.
    if rate == 1.0:
        assert np.isnan(grad())
    else:
        np.testing.assert_allclose(grad(), 1 / (1 - rate), rtol=2e-2)


def slow_network(width, batch, slowest, dtype):
    """z ← tanh(r (z W) + x), W orthogonal times 0.99, rates r from 0 to 1 − slowest."""
    rng = np.random.default_rng(0)
    w = 0.99 * np.linalg.qr(rng.normal(size=(width, width)))[0]
    r = 1 - 10 ** rng.uniform(np.log10(slowest), 0, size=(batch, 1))
    x = 0.02 * rng.normal(size=(batch, width))
    w, r, x = (jnp.asarray(value, dtype) for value in (w, r, x))
    f = lambda z, w, x: jnp.tanh(r * (z @ w) + x)

    def loss(x, probe, **options):
        z = fixed_point(f, jnp.zeros_like(x), w, x, max_steps=4000, probe=probe, **options).value
        return jnp.sum(jnp.square(z))

    return x, jax.grad(loss, argnums=(0, 1))


@pytest.mark.parametrize(
    ("dtype", "slowest", "width", "most"),
    [
        (jnp.float32, 1e-2, 64, 1e-4),
        (jnp.float32, 1e-3, 64, 1e-3),
        (jnp.bfloat16, 0.1, 64, 0.1),
        pytest.param(jnp.float32, 1e-3, 512, 1e-3, marks=pytest.mark.slow),
        pytest.param(jnp.float32, 1e-2, 4096, 1e-3, marks=pytest.mark.slow),
        pytest.param(jnp.bfloat16, 0.1, 512, 0.1, marks=pytest.mark.slow),
    ],
)
def test_slow_samples_are_solved_as_far_as_the_dtype_allows(dtype, slowest, width, most):
    """No NaN at the default settings, and an estimate near the error, against float64."""
    batch = 32 if width < 4096 else 4
    x, gradient = slow_network(width, batch, slowest, dtype)
    ours, account = jax.jit(gradient)(x, backward_probe(batch))
    assert not account.given_up.any()
    assert account.steps.max() < 4000
    with jax.enable_x64(True):
        x, gradient = slow_network(width, batch, slowest, jnp.float64)
        exact = jax.jit(lambda x: gradient(x, None, tol=1e-11)[0])(x)
    exact, ours = (np.asarray(value, np.float64) for value in (exact, ours))
    error = np.linalg.norm(ours - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert error.max() < most
    # The forward solve has an error of its own, so only what is much too small is wrong.
    assert np.all(account.error > error / 20 - 1e-6)
    assert np.median(account.error / error) < 20


def test_a_stalled_backward_solve_ends_before_its_budget():
    """Its residual stands above tol where rounding leaves it; without the stop 4,000 steps."""
    x, gradient = slow_network(64, 32, 1e-3, jnp.float32)
    _, account = jax.jit(lambda *args: gradient(*args, tol=1e-6))(x, backward_probe(32))
    assert account.residual.max() > 1e-6
    assert account.steps.max() < 4000 and not account.given_up.any()


def test_zero_cotangent_needs_no_solve():
    """A sample out of the loss is skipped going back, whatever its Jacobian (here inf)."""
    f = lambda z, w: jnp.sqrt(z) * w
    loss = lambda w, probe: fixed_point(f, jnp.asarray([1.0, 0.0]), w, probe=probe).value[0]
    _, backward = jax.grad(loss, argnums=(0, 1))(jnp.ones(2), backward_probe(2))
    np.testing.assert_array_equal(backward.status, [Status.CONVERGED, Status.SKIPPED])


def test_probe_reports_every_sample_and_leaves_the_gradient_alone(x64):
    p = problems.many_rates()
    options = p.solve_options()
    loss = lambda rate, b, probe: jnp.sum(
        fixed_point(p.f, p.z0, rate, b, probe=probe, **options).value
    )
    db, backward = jax.jit(jax.grad(loss, argnums=(1, 2)))(*p.args, backward_probe(5))
    np.testing.assert_allclose(db, 1 / (1 - p.args[0]), rtol=1e-9)
    assert np.all(np.diff(backward.steps) > 0)
    assert np.all(backward.residual <= 2e-13)  # the slowest stops where rounding leaves it
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


@pytest.mark.parametrize("rate", [0.999, 0.9999, 0.99999])
def test_the_rescue_of_a_long_solution_does_not_drown_in_its_rounding(rate):
    """Plain steps stop short at a long w, where f(w) − w has few digits left."""
    f = lambda z, x: rate * z + x
    adjoint = Implicit(Picard(), max_steps=200)

    def loss(x, probe):
        z0 = jnp.full_like(x, 1 / (1 - rate))
        return jnp.sum(fixed_point(f, z0, x, adjoint=adjoint, probe=probe).value)

    dx, account = jax.grad(loss, argnums=(0, 1))(jnp.ones((2, 1)), backward_probe(2))
    np.testing.assert_allclose(dx, 1 / (1 - rate), rtol=1e-2)
    assert np.all(account.rescued == 1) and not np.any(account.given_up)
