"""The stage cell: nilpotent, solved with its gradient by one sweep; statistics of each route."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest

from dynalay_jax import fixed_point
from dynalay_jax.adaptive import macs
from dynalay_jax.layers.base import evaluate_once, reinject
from dynalay_jax.layers.stage import RouteNorm, StageConv, partial_identity
from dynalay_jax.solve.compaction import Compaction
from dynalay_jax.solve.solution import Status

pytestmark = pytest.mark.usefixtures("flax_promotion")
ROUTES = jnp.array([0, 1, 1, 0, 1, 0, 0, 1])


@functools.cache
def built():
    """A stage of 3 blocks and 2 routes with random weights and statistics; its input and (w, u)."""
    cell = StageConv(features=16, stride=2, blocks=3, routes=2)
    below = jax.random.normal(jax.random.key(0), (8, 6, 6, 3))
    variables = jax.jit(cell.init)(jax.random.key(1), below)
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    # Offsets and statistics that differ between the routes; variances stay positive.
    moved = [
        jnp.abs(x + 0.3 * jax.random.normal(k, x.shape)) for x, k in zip(leaves, keys, strict=True)
    ]
    variables = jax.tree.unflatten(tree, moved)
    return cell, variables, below, jax.jit(cell.apply)(variables, below, ROUTES)


def close(a, b, tolerance=1e-4):
    chex.assert_trees_all_close(a, b, rtol=tolerance, atol=tolerance)


def test_the_map_of_all_blocks_is_at_its_fixed_point_after_as_many_steps_as_blocks():
    cell, _, _, (w, u) = built()
    shape = (cell.blocks, *cell.straight(w, u).shape)
    step = jax.jit(cell.simultaneous)
    ends = []
    for scale in (0.0, 1.0, 100.0):
        z = tuple(scale * jax.random.normal(jax.random.key(4), shape))
        for _ in range(cell.blocks):
            z = step(z, w, u)
        close(step(z, w, u), z, 1e-6)
        ends.append(u["offset"] + sum(z))
    swept = jax.jit(cell.sweep)(w, u)
    for end in ends:
        close(end, swept)
    assert not jnp.allclose(swept, cell.straight(w, u), atol=0.1)
    assert cell.contraction_factor(w) is None


def test_the_jacobian_of_the_map_is_nilpotent():
    cell = StageConv(features=2, blocks=3)
    below = jax.random.normal(jax.random.key(0), (1, 3, 3, 2))
    w, u = cell.apply(jax.jit(cell.init)(jax.random.key(1), below), below)
    shape = (cell.blocks, *cell.straight(w, u).shape)
    flat = lambda z: jnp.stack(cell.simultaneous(tuple(z.reshape(shape)), w, u)).reshape(-1)
    jacobian = jax.jacobian(flat)(jax.random.normal(jax.random.key(2), (54,)))
    power = functools.reduce(jnp.matmul, [jacobian] * cell.blocks)
    assert float(jnp.abs(jacobian).max()) > 0.1 and not power.any()


def test_a_solve_takes_one_sweep_with_the_gradient_of_the_blocks():
    cell, variables, below, _ = built()

    def loss(params, below, solve):
        w, u = cell.apply({**variables, "params": params}, below, ROUTES)
        h, stats = solve(w, u)
        return jnp.sum(jnp.sin(h)), stats

    def solved(w, u):
        far = 100 * jax.random.normal(jax.random.key(4), cell.straight(w, u).shape)
        return fixed_point(cell.iterate, far, w, u, tol=1e-5, max_steps=10)

    through_blocks = lambda w, u: (cell.sweep(w, u), None)
    differentiate = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True), static_argnums=2)
    (value, stats), gradient = differentiate(variables["params"], below, solved)
    (expected, _), expected_gradient = differentiate(variables["params"], below, through_blocks)
    close((value, gradient), (expected, expected_gradient))
    assert stats.steps.tolist() == [1] * 8 and not stats.residual.any()
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert float(jnp.abs(leaf).max()) > 0, path


def test_compaction_and_masks_change_nothing_else():
    cell, _, _, (w, u) = built()
    mask = jnp.array([1, 0, 0, 1, 0, 0, 1, 0], bool)
    start = cell.straight(w, u)
    run = lambda compact: jax.jit(
        lambda start, w, u: fixed_point(cell.iterate, start, w, u, mask=mask, compact=compact).value
    )(start, w, u)
    gathered, plain = run(Compaction(2, arg_axes=(None, 0))), run(False)
    close(gathered, plain, 1e-5)
    assert jnp.array_equal(gathered[~mask], start[~mask])
    close(plain[mask], cell.sweep(w, u)[mask], 1e-5)


@pytest.mark.parametrize("min_bucket", [0, 2])
def test_samples_whose_layer_below_changed_read_the_statistics_of_their_new_route(min_bucket):
    cell, variables, below, (_, u) = built()
    changed = jnp.arange(8) < 3
    inject = jax.jit(lambda *args: cell.apply(*args[:-1], min_bucket, args[-1], method=reinject))
    again = inject(variables, 2 * below, changed, u, 1 - ROUTES)
    expected = cell.apply(variables, 2 * below, 1 - ROUTES)[1]
    for name, leaf in again.items():
        assert jnp.array_equal(leaf[~changed], u[name][~changed])
        close(leaf[changed], expected[name][changed])
        assert not jnp.allclose(u[name][changed], expected[name][changed], atol=1e-2)


def test_first_blocks_alone_are_a_shorter_stage():
    cell, _, _, (w, u) = built()
    assert jnp.array_equal(cell.sweep(w, u, 0), cell.straight(w, u))
    h = cell.straight(w, u)
    steps = [h]
    for k in range(cell.blocks):
        h = cell.sweep(w, u, k + 1)
        steps.append(h)
        assert not jnp.allclose(steps[k], h, atol=1e-2)
    close(h, cell.iterate(h, w, u), 1e-6)
    per_block = [macs.macs(lambda w, u, k=k: cell.sweep(w, u, k), w, u) for k in range(4)]
    assert per_block == [k * 8 * 3 * 3 * 9 * 16 * 16 for k in range(4)]
    assert macs.macs(cell.step, h, w, u) == per_block[-1]


def test_measuring_writes_the_statistics_of_one_route_and_evaluation_reads_them():
    cell, variables, below, _ = built()

    def both(m, below):
        u = m.measured_injection(below, 1)
        return u, m.measured_blocks(u, 1)

    run = jax.jit(lambda v: cell.apply(v, below, method=both, mutable=["statistics"]))
    (straight, h), after = run(variables)
    before = variables["statistics"]
    for name, tables in after["statistics"].items():
        for key, table in tables.items():
            assert jnp.array_equal(table[0], before[name][key][0])
            assert bool((table[1] != before[name][key][1]).any())
    for _ in range(40):  # the running average converges, as the batch stays the same
        _, after = run({**variables, **after})
    w, u = cell.apply({**variables, **after}, below, 1)
    close((cell.straight(w, u), cell.sweep(w, u)), (straight, h), 1e-4)
    other_w, other_u = cell.apply({**variables, **after}, below, 0)
    assert not jnp.allclose(cell.sweep(other_w, other_u), h, atol=0.1)


def test_statistics_are_those_of_batch_normalisation():
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (16, 4, 4, 5))
    norm = RouteNorm(5, routes=3, memory=0.0)
    variables = norm.init(jax.random.key(1), x, 0, method=RouteNorm.measure)
    (scale, shift), after = norm.apply(
        variables, x, 2, method=RouteNorm.measure, mutable=["statistics"]
    )
    y = x * scale[None, None, None] + shift[None, None, None]
    close(y.mean((0, 1, 2)), jnp.zeros(5), 1e-5)
    close(y.std((0, 1, 2)), jnp.ones(5), 1e-3)
    stored = norm.apply({**variables, **after}, jnp.array([2]), method=RouteNorm.stored)
    close(stored, (scale[None], shift[None]), 1e-5)


@pytest.mark.parametrize("pool_first", [True, False])
def test_pooling_keeps_whole_windows(pool_first):
    cell = StageConv(features=4, stride=2, pool_first=pool_first)
    below = jax.random.normal(jax.random.key(0), (2, 7, 5, 4))
    variables = cell.init(jax.random.key(1), below)
    w, u = cell.apply(variables, below)
    assert cell.straight(w, u).shape == (2, 3, 2, 4)
    # The kernels copy at first, so that the injection is the pooled input.
    pooled = jnp.stack(
        [below[:, i : i + 6 : 2, j : j + 4 : 2] for i in (0, 1) for j in (0, 1)]
    ).max(0)
    close(u["offset"], jax.nn.gelu(pooled * (1 + 1e-5) ** -0.5), 1e-5)


def test_new_channels_of_the_identity_are_random():
    kernel = partial_identity(jax.random.key(0), (3, 3, 4, 6))
    x = jax.random.normal(jax.random.key(1), (1, 1, 1, 4))
    assert jnp.array_equal(jnp.einsum("...i,io->...o", x, kernel[1, 1])[..., :4], x)
    assert not kernel[0, 0, :, :4].any() and bool(kernel[..., 4:].all())


def test_wrong_settings_are_named():
    below = jnp.zeros((1, 4, 4, 3))
    with pytest.raises(ValueError, match="blocks: expected a whole number, 1 or more, got 0"):
        StageConv(features=4, blocks=0).init(jax.random.key(0), below)
    with pytest.raises(ValueError, match="norm: expected True"):
        StageConv(features=4, norm=False).init(jax.random.key(0), below)


@pytest.mark.parametrize("mask", [[True] * 8, [True, False] * 4])
@pytest.mark.parametrize("min_bucket", [0, 2])
def test_one_evaluation_is_the_solve(min_bucket, mask):
    cell, _, _, (w, u) = built()
    mask, start = jnp.array(mask), cell.straight(w, u)
    run = lambda start, w, u: evaluate_once(cell, start, w, u, mask, min_bucket)
    solution = jax.jit(run)(start, w, u)
    expected = jnp.where(mask[:, None, None, None], cell.sweep(w, u), start)
    close(solution.value, expected, 1e-5)
    assert solution.stats.steps.tolist() == mask.tolist()
    assert (solution.stats.status == jnp.where(mask, Status.CONVERGED, Status.SKIPPED)).all()
    total = lambda f: jax.jit(jax.grad(lambda *args: jnp.sum(jnp.sin(f(*args))), (1, 2)))
    select = lambda start, w, u: jnp.where(mask[:, None, None, None], cell.sweep(w, u), start)
    close(total(lambda *args: run(*args).value)(start, w, u), total(select)(start, w, u), 1e-4)


def test_what_is_not_finite_is_reported():
    cell, _, _, (w, u) = built()
    bad = {**u, "offset": u["offset"].at[2].set(jnp.nan)}
    stats = evaluate_once(cell, cell.straight(w, u), w, bad, jnp.ones(8, bool), 0).stats
    assert stats.status.tolist() == [Status.DIVERGED if i == 2 else 0 for i in range(8)]
