"""Maps that do not read their state: one evaluation is there, and autodiff gives its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import (
    Compaction,
    Implicit,
    ImplicitJVP,
    JacobianFree,
    Phantom,
    Status,
    Unrolled,
    backward_probe,
    fixed_point,
)

ADJOINTS = [Implicit(), ImplicitJVP(), JacobianFree(), Phantom(), Unrolled()]
COMPACT = Compaction(min_bucket=2, arg_axes=(None, 0))
PAIRS = [(adjoint, False) for adjoint in ADJOINTS] + [
    (adjoint, COMPACT) for adjoint in ADJOINTS[:4]
]
MASK = jnp.asarray([True, False, True, True, False, False, True, False])
X = jnp.linspace(-1.0, 2.0, 24).reshape(8, 3)
W = jnp.linspace(0.5, -1.0, 9).reshape(3, 3)
Z0 = jnp.full((8, 3), 3.0)


def f(z, w, x):
    return jnp.sin(x @ w) + jnp.zeros_like(z)


def solve(w, x, z0=Z0, **options):
    return fixed_point(f, z0, w, x, mask=MASK, **options)


@pytest.mark.parametrize(("adjoint", "compact"), PAIRS)
def test_value_and_gradient(adjoint, compact):
    def loss(value):
        return jnp.sum(value**2)

    def of_solution(w, x, z0):
        sol = solve(w, x, z0, adjoint=adjoint, compact=compact, max_steps=9, tol=0.0)
        return loss(sol.value), sol.stats

    plain = lambda w, x, z0: loss(jnp.where(MASK[:, None], f(z0, w, x), z0))
    got, stats = jax.jit(jax.grad(of_solution, (0, 1, 2), has_aux=True))(W, X, Z0)
    for ours, wanted in zip(got, jax.grad(plain, (0, 1, 2))(W, X, Z0), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)
    assert stats.steps.tolist() == MASK.astype(int).tolist()
    outcome = jnp.where(MASK, Status.CONVERGED, Status.SKIPPED)
    assert stats.status.tolist() == outcome.tolist()
    assert stats.residual.tolist() == jnp.where(MASK, 0, jnp.inf).tolist()


@pytest.mark.parametrize("compact", [False, COMPACT])
def test_values_that_are_not_finite_have_a_status(compact):
    x = X.at[2, 1].set(jnp.nan)
    value, stats = solve(W, x, compact=compact)
    assert stats.status[:4].tolist() == [
        Status.CONVERGED,
        Status.SKIPPED,
        Status.DIVERGED,
        Status.CONVERGED,
    ]
    assert value[2].tolist() == Z0[2].tolist() and jnp.isinf(stats.residual[2])
    np.testing.assert_allclose(value[0], f(Z0, W, X)[0], rtol=1e-6)


def test_a_budget_of_0_skips():
    budget = jnp.where(jnp.arange(8) == 0, 0, 5)
    stats = solve(W, X, max_steps=budget).stats
    assert stats.status[:3].tolist() == [Status.SKIPPED, Status.SKIPPED, Status.CONVERGED]


@pytest.mark.parametrize("compact", [False, COMPACT])
def test_the_probe_reports_a_backward_solve_without_steps(compact):
    def loss(probe):
        value = solve(W, X, probe=probe, compact=compact).value
        # The third sample's cotangent is 0, and the fourth's not finite.
        return jnp.sum(value.at[2].set(0.0)) + jnp.inf * value[3, 0]

    report = jax.grad(loss)(backward_probe(8))
    done = [Status.CONVERGED, Status.SKIPPED, Status.SKIPPED, Status.DIVERGED]
    assert report.status[:4].tolist() == done
    assert not report.steps.any() and report.residual[:2].tolist() == [0, jnp.inf]


@pytest.mark.parametrize(
    ("adjoint", "compact"), [(ImplicitJVP(), False), (ImplicitJVP(), COMPACT), (Unrolled(), False)]
)
def test_forward_mode(adjoint, compact):
    value = lambda w: solve(w, X, adjoint=adjoint, compact=compact).value
    plain = lambda w: jnp.where(MASK[:, None], f(Z0, w, X), Z0)
    for ours, wanted in zip(jax.jvp(value, (W,), (W,)), jax.jvp(plain, (W,), (W,)), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)


def scanned(loss):
    """Gradient of a sum of losses in a loop, which the counts come from."""
    total = lambda w, counts: jax.lax.scan(lambda sum, c: (sum + loss(w, c), None), 0.0, counts)[0]
    return lambda w, counts: jax.grad(total)(w, counts)


GRADIENTS = {
    "vmap": lambda loss: jax.vmap(jax.grad(loss), (None, 0)),
    "jit of vmap": lambda loss: jax.jit(jax.vmap(jax.grad(loss), (None, 0))),
    "of jit": lambda loss: jax.vmap(jax.grad(jax.jit(loss)), (None, 0)),
    "of checkpoint": lambda loss: jax.vmap(jax.grad(jax.checkpoint(loss)), (None, 0)),
    "of scan": scanned,
}


@pytest.mark.parametrize("way", GRADIENTS)
def test_what_f_reads_may_be_of_any_kind(way):
    """Integers, keys and Python numbers, by argument and by closure."""
    count, key = jnp.arange(8, dtype=jnp.int32), jax.random.key(0)

    def g(z, w, x, count, key, factor):
        noise = factor * jax.random.normal(key, (1, 3))
        return f(z, w, x) * count[:, None].astype(jnp.float32) + noise

    def of_solution(w, count):
        scale, turns = jnp.sum(w), count[0] + 1
        by_closure = lambda *args: scale * turns.astype(jnp.float32) * g(*args)
        axes = Compaction(min_bucket=2, arg_axes=(None, 0, 0, None, None))
        sol = fixed_point(by_closure, Z0, w, X, count, key, 2.0, mask=MASK, compact=axes)
        return jnp.sum(sol.value**2)

    def plain(w, count):
        scale = jnp.sum(w) * (count[0] + 1).astype(jnp.float32)
        return jnp.sum(jnp.where(MASK[:, None], scale * g(Z0, w, X, count, key, 2.0), Z0) ** 2)

    counts = jnp.stack([count, count + 1])
    got, wanted = (GRADIENTS[way](loss)(W, counts) for loss in (of_solution, plain))
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-3)


def test_second_derivatives():
    value = lambda w: jnp.sum(solve(w, X, compact=COMPACT).value ** 2)
    plain = lambda w: jnp.sum(jnp.where(MASK[:, None], f(Z0, w, X), Z0) ** 2)
    twice = lambda loss: jax.grad(lambda w: jnp.sum(jax.grad(loss)(w) ** 2))(W)
    np.testing.assert_allclose(twice(value), twice(plain), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(jax.hessian(value)(W), jax.hessian(plain)(W), rtol=1e-4, atol=1e-4)


def test_few_samples_are_evaluated_in_a_small_bucket():
    """Forward and backward."""
    sizes = []

    def counted(z, w, x):
        jax.debug.callback(lambda x: sizes.append(x.shape[0]), x)
        return f(z, w, x)

    x, mask = jnp.ones((64, 3)), jnp.arange(64) % 13 == 0
    options = {"mask": mask, "compact": Compaction(min_bucket=4, arg_axes=(None, 0))}
    loss = lambda w: jnp.sum(fixed_point(counted, jnp.zeros((64, 3)), w, x, **options).value)
    jax.jit(jax.grad(loss))(W)
    jax.effects_barrier()
    assert set(sizes) == {6}


@pytest.mark.parametrize("shared", [True, False])
def test_shard_map(shared):
    """Each device has its own number of samples to iterate, one of them none."""
    mesh = jax.make_mesh((4,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    here, everywhere = jax.sharding.PartitionSpec("i"), jax.sharding.PartitionSpec()
    mask = (jnp.arange(4)[None] < jnp.asarray([[0], [1], [2], [4]])).reshape(-1)
    x, probe = jnp.concatenate([X, -X]), backward_probe(16)
    w = W if shared else jnp.stack([W, 0.5 * W, -W, 2 * W])
    compact = Compaction(min_bucket=1, arg_axes=(None, 0))

    def gradient(w, x, mask, probe):
        def loss(w, x, probe):
            one, z0 = w if shared else w[0], jnp.zeros(x.shape)
            sol = fixed_point(f, z0, one, x, mask=mask, compact=compact, probe=probe)
            return jnp.sum(sol.value**2)

        return jax.grad(loss, (0, 1, 2))(w, x, probe)

    weights = everywhere if shared else here
    specs = {"in_specs": (weights, here, here, here), "out_specs": (weights, here, here)}
    got = jax.jit(jax.shard_map(gradient, mesh=mesh, **specs))(w, x, mask, probe)

    def plain(w, x):
        each = jnp.broadcast_to(w, (4, 3, 3)) if shared else w
        value = jnp.sin(x.reshape(4, 4, 3) @ each).reshape(16, 3)
        return jnp.sum(jnp.where(mask[:, None], value, 0.0) ** 2)

    for ours, wanted in zip(got[:2], jax.grad(plain, (0, 1))(w, x), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)
    outcome = jnp.where(mask, Status.CONVERGED, Status.SKIPPED)
    assert got[2].status.tolist() == outcome.tolist()
