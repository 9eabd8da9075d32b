"""Values, per-sample settings, failures and costs of the forward solve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import Anderson, Broyden, Picard, Status, fixed_point
import problems


def halve(z, b):
    return 0.5 * z + b


def test_picard_cannot_rotate(x64):
    p = problems.rotation(Picard())
    sol = fixed_point(p.f, p.z0, *p.args, **p.solve_options())
    assert np.all(sol.stats.status == Status.MAX_STEPS)


def test_value_after_k_steps_is_k_applications():
    b = jnp.ones(3)
    for k in (1, 2, 5):
        sol = fixed_point(halve, jnp.zeros(3), b, tol=0.0, max_steps=k)
        z = jnp.zeros(3)
        for _ in range(k):
            last, z = z, halve(z, b)
        np.testing.assert_array_equal(sol.value, z)
        np.testing.assert_array_equal(sol.stats.steps, k)
        np.testing.assert_allclose(sol.stats.residual, jnp.abs(z - last) / jnp.abs(z), rtol=1e-6)
        assert np.all(sol.stats.status == Status.MAX_STEPS)


def test_samples_stop_by_themselves():
    """A batch gives what each of its samples gives alone, in value and in steps."""
    rate = jnp.asarray([0.1, 0.9, 0.5, 0.99])
    f = lambda z, rate: z * rate[:, None] + 1
    z0 = jnp.zeros((4, 3))
    together = fixed_point(f, z0, rate, max_steps=5000)
    assert len(set(np.asarray(together.stats.steps))) == 4
    for i in range(4):
        alone = fixed_point(f, z0[i : i + 1], rate[i : i + 1], max_steps=5000)
        np.testing.assert_array_equal(together.value[i], alone.value[0])
        assert together.stats.steps[i] == alone.stats.steps[0]


def test_tolerance_and_budget_per_sample():
    b = jnp.ones(4)
    tol = jnp.asarray([1e-1, 1e-3, 1e-5, 1e-5])
    budget = jnp.asarray([100, 100, 100, 3])
    sol = fixed_point(halve, jnp.zeros(4), b, tol=tol, max_steps=budget)
    residual, steps = np.asarray(sol.stats.residual), np.asarray(sol.stats.steps)
    assert np.all(residual[:3] <= tol[:3])
    assert np.all(residual[:3] > tol[:3] / 4), "stopped later than it had to"
    assert steps[0] < steps[1] < steps[2]
    assert steps[3] == 3
    assert list(sol.stats.status) == [Status.CONVERGED] * 3 + [Status.MAX_STEPS]


def test_skipped_samples_are_returned_as_they_came():
    z0 = jnp.asarray([3.0, 4.0, 5.0, jnp.nan])
    mask = jnp.asarray([True, False, True, False])
    sol = fixed_point(halve, z0, jnp.ones(4), mask=mask, max_steps=jnp.asarray([100, 100, 0, 100]))
    np.testing.assert_array_equal(sol.value[1:], z0[1:])
    np.testing.assert_array_equal(sol.stats.steps[1:], 0)
    np.testing.assert_array_equal(sol.stats.residual[1:], np.inf)
    np.testing.assert_array_equal(sol.stats.status, [Status.CONVERGED] + [Status.SKIPPED] * 3)


def test_damped_residual_is_the_true_one():
    """‖f(z) − z‖ is tested, not the damped step, which is ten times smaller."""
    sol = fixed_point(halve, jnp.zeros(1), jnp.ones(1), solver=Picard(damping=0.1), max_steps=1000)
    plain = fixed_point(halve, jnp.zeros(1), jnp.ones(1), max_steps=1000)
    np.testing.assert_allclose(sol.value, plain.value, rtol=3e-5)
    np.testing.assert_allclose(sol.value, 2.0, rtol=3e-5)


@pytest.mark.parametrize("solver", [Picard(), Anderson(), Broyden()])
@pytest.mark.parametrize("compact", [False, True])
def test_one_bad_sample_harms_no_other(solver, compact):
    """NaN at once, NaN later, Inf, and a runaway beside eighteen good samples."""
    n = 24

    def f(z, kind, b):
        at_once = jnp.where(kind == 1, jnp.nan, 0.5 * z + b)
        later = jnp.where((kind == 2) & (z > 0.8), jnp.nan, at_once)
        infinite = jnp.where(kind == 3, jnp.inf, later)
        return jnp.where(kind == 4, z * z + 2, infinite)

    kind = jnp.zeros(n, jnp.int32).at[:6].set(jnp.asarray([1, 2, 3, 4, 4, 1]))
    b = jnp.linspace(0.5, 1.5, n)
    z0 = jnp.zeros(n).at[5].set(jnp.nan)
    sol = fixed_point(f, z0, kind, b, solver=solver, compact=compact)
    status = np.asarray(sol.stats.status)
    bad = [Status.DIVERGED] * 3
    assert list(status[[0, 2, 5]]) == bad
    assert status[1] == Status.DIVERGED and status[3] != Status.CONVERGED
    assert sol.stats.steps[0] == 1
    assert np.all(status[6:] == Status.CONVERGED)
    np.testing.assert_allclose(sol.value[6:], 2 * b[6:], rtol=1e-4)
    assert np.all(np.isfinite(sol.value[:5])), "a finite iterate there was is kept"
    good = fixed_point(f, z0[6:], kind[6:], b[6:], solver=solver)
    np.testing.assert_allclose(sol.value[6:], good.value, rtol=1e-6)


def test_divergence_keeps_the_best_finite_iterate():
    """The residual falls towards 1 and rises after; the iterate with the smallest comes back."""
    f = lambda z: jnp.where(z > 8, jnp.inf, jnp.where(z < 4, z + 1, 2 * z))
    sol = fixed_point(f, jnp.ones(1))
    assert sol.stats.status[0] == Status.DIVERGED
    np.testing.assert_array_equal(sol.value, 4.0)  # 1 → 2 → 3 → 4 → 8 → 16 → inf
    np.testing.assert_allclose(sol.stats.residual, 0.25, rtol=1e-6)


def test_overflow_ends_the_loop():
    sol = fixed_point(lambda z: 10 * z + 1, jnp.ones((2, 3)), max_steps=10_000)
    assert np.all(sol.stats.status == Status.DIVERGED)
    assert np.all(sol.stats.steps < 100)


def test_tolerance_below_machine_precision_does_not_hang():
    solve = jax.jit(
        lambda tol: fixed_point(jnp.cos, jnp.linspace(0.0, 1.0, 7), tol=tol, max_steps=300)
    )
    for tol in (0.0, 1e-30):
        sol = solve(tol)
        converged = np.asarray(sol.stats.status == Status.CONVERGED)
        assert np.all(converged | (np.asarray(sol.stats.steps) == 300))
        assert np.all(np.asarray(sol.stats.residual)[converged] <= (5e-7 if tol else 0))
        np.testing.assert_allclose(sol.value, 0.7390851, rtol=1e-6)


@pytest.mark.parametrize("solver", [Picard(), Anderson(), Broyden()])
def test_starting_at_the_fixed_point(solver):
    """Differences of zero must not become 0/0."""
    sol = fixed_point(halve, jnp.full((2, 3), 2.0), jnp.ones((2, 3)), solver=solver, tol=0.0)
    np.testing.assert_array_equal(sol.value, 2.0)
    np.testing.assert_array_equal(sol.stats.steps, 1)
    np.testing.assert_array_equal(sol.stats.residual, 0.0)


@pytest.mark.parametrize("solver", [Picard(), Anderson(), Broyden()])
@pytest.mark.parametrize("batch", [0, 1])
def test_empty_batch_and_batch_of_one(solver, batch):
    f = lambda z, b: 0.5 * jnp.tanh(z) + b
    z0, b = jnp.zeros((batch, 3)), jnp.ones((batch, 3))
    loss = lambda b: jnp.sum(fixed_point(f, z0, b, solver=solver, compact=True).value)
    value, grad = jax.jit(jax.value_and_grad(loss))(b)
    sol = fixed_point(f, z0, b, solver=solver)
    assert sol.value.shape == grad.shape == (batch, 3)
    assert sol.stats.steps.shape == (batch,)
    assert np.isfinite(value) and np.all(np.isfinite(grad))
    assert np.all(sol.stats.status == Status.CONVERGED)


def test_atol_sets_the_size_that_counts_as_zero():
    """A fixed point at 1e-16: a state of that size is noise by default, not with atol=0."""
    run = lambda atol: fixed_point(
        lambda z: 0.9 * z + 1e-17, jnp.zeros(2), atol=atol, tol=1e-2, max_steps=500
    )
    assert np.all(run(1e-12).stats.steps == 1)
    np.testing.assert_allclose(run(0.0).value, 1e-16, rtol=0.1)
    for start, atol in ((1.0, 1e-12), (0.0, 0.0)):
        at_zero = fixed_point(lambda z: 0.1 * z, jnp.full(2, start), atol=atol)
        assert np.all(at_zero.stats.status == Status.CONVERGED)
        np.testing.assert_allclose(at_zero.value, 0.0, atol=1e-12)


@pytest.mark.parametrize("solver", [Picard(), Anderson(), Broyden()])
def test_bfloat16_state_has_float32_residual(solver):
    """A bfloat16 norm would lose the contributions of all but the largest entries."""
    n = 4096
    b = jnp.linspace(0.5, 1.0, n, dtype=jnp.bfloat16)[None]
    f = lambda z, b: (0.5 * z + b).astype(jnp.bfloat16)
    sol = fixed_point(f, jnp.zeros((1, n), jnp.bfloat16), b, solver=solver, tol=1e-2)
    assert sol.value.dtype == jnp.bfloat16
    assert sol.stats.residual.dtype == jnp.float32
    assert sol.stats.status[0] == Status.CONVERGED
    np.testing.assert_allclose(sol.value.astype(np.float32), 2 * b.astype(np.float32), rtol=3e-2)
    one = fixed_point(f, jnp.zeros((1, n), jnp.bfloat16), b, solver=solver, max_steps=2)
    fz = np.asarray(one.value, np.float64)
    z = np.asarray(b, np.float64)
    if isinstance(solver, Picard):
        wanted = np.linalg.norm(fz - z) / np.linalg.norm(fz)
        np.testing.assert_allclose(one.stats.residual[0], wanted, rtol=1e-3)


@pytest.mark.parametrize("solver", [Picard(), Anderson(), Broyden()])
def test_complex_state(x64, solver):
    """z = a z + b with a complex rate, in value and gradient."""
    angle = jnp.linspace(0.0, 3.0, 4)
    a = jax.lax.complex(0.6 * jnp.cos(angle), 0.6 * jnp.sin(angle))
    b = jnp.ones(4, jnp.complex128)
    solve = lambda a: (
        fixed_point(lambda z, a, b: a * z + b, 0 * b, a, b, tol=1e-13, solver=solver).value
    )
    np.testing.assert_allclose(solve(a), b / (1 - a), rtol=1e-12)
    loss = lambda z: jnp.sum(jnp.square(z.real) + z.imag)
    got = jax.grad(lambda a: loss(solve(a)))(a)
    np.testing.assert_allclose(got, jax.grad(lambda a: loss(b / (1 - a)))(a), rtol=1e-10)


def test_f_is_traced_once():
    calls = []

    def f(z, b):
        calls.append(z.shape)
        return 0.5 * z + b

    jax.jit(lambda b: fixed_point(f, jnp.zeros(3), b).value)(jnp.ones(3))
    assert len(calls) == 1
    calls.clear()
    jax.jit(jax.grad(lambda b: jnp.sum(fixed_point(f, jnp.zeros(3), b).value)))(jnp.ones(3))
    assert len(calls) == 1


def test_no_retrace_when_values_change():
    """Not of f either, and with Python numbers as well as arrays."""
    calls = []

    def f(z, b):
        calls.append(1)
        return 0.5 * z + b

    @jax.jit
    def solve(tol, max_steps, mask):
        z0, b = jnp.zeros(2), jnp.ones(2)
        return fixed_point(f, z0, b, tol=tol, max_steps=max_steps, mask=mask)

    for tol, steps, on in ((1e-2, 10, True), (1e-5, 50, False), (0.0, 7, True)):
        solution = solve(tol, steps, on)
        assert np.all(solution.stats.steps <= (steps if on else 0))
    assert len(calls) == 1


def test_equal_solvers_do_not_retrace():
    traces = []

    def solve(b, solver):
        traces.append(1)
        return fixed_point(halve, jnp.zeros(2), b, solver=solver).value

    solve = jax.jit(solve, static_argnames="solver")
    solve(jnp.ones(2), solver=Anderson(memory=3))
    solve(jnp.ones(2), solver=Anderson(memory=3))
    assert len(traces) == 1


def test_status_prints_by_name():
    assert f"{Status.CONVERGED} {Status(2):>9}" == "CONVERGED  DIVERGED"
    assert str([str(Status.SKIPPED), int(Status.SKIPPED)]) == "['SKIPPED', 3]"
