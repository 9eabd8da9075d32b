"""Cells: shapes, what each promises about its iteration, and that straight output means g(0, u)."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import pytest

from dynalay_jax import fixed_point
from dynalay_jax.adaptive import macs
from dynalay_jax.layers.certified import lipschitz_activation
from dynalay_jax.layers.registry import CELLS

pytestmark = pytest.mark.usefixtures("flax_promotion")

FEATURES = 16
CERTIFIED = ("orthogonal", "bounded", "dense")


@functools.cache
def built(name, stride=1):
    """Cell, parameters, (w, u) of a random input of 4 samples."""
    cell = CELLS[name](features=FEATURES, stride=1 if name == "dense" else stride)
    below = jax.random.normal(jax.random.key(0), (4, 6, 6, 3))
    if name == "dense":
        below = below.reshape(4, -1)
    params = cell.init(jax.random.key(1), below)
    return cell, params, below, cell.apply(params, below)


@pytest.mark.parametrize("name", CELLS)
def test_straight_output_is_the_step_from_zero(name):
    cell, _, _, (w, u) = built(name)
    straight = cell.straight(w, u)
    assert jnp.allclose(cell.step(jnp.zeros_like(straight), w, u), straight, atol=1e-6)
    assert float(jnp.abs(straight).max()) > 0


@pytest.mark.parametrize("name", [name for name in CELLS if name != "dense"])
def test_stride_divides_the_resolution(name):
    cell, _, _, (w, u) = built(name, stride=2)
    assert cell.straight(w, u).shape == (4, 3, 3, FEATURES)
    assert cell.step(cell.straight(w, u), w, u).shape == (4, 3, 3, FEATURES)


@pytest.mark.parametrize("name", CERTIFIED)
def test_certified_cells_contract_by_their_factor(name):
    cell, _, _, (w, u) = built(name)
    factor = float(cell.contraction_factor(w))
    assert factor < 1
    step = jax.jit(cell.step)
    # The worst direction by power iteration on the difference of two states.
    a = jax.random.normal(jax.random.key(2), cell.straight(w, u).shape)
    b = a + jax.random.normal(jax.random.key(3), a.shape)
    for _ in range(30):
        before = jnp.linalg.norm(a - b)
        a, b = step(a, w, u), step(b, w, u)
        after = jnp.linalg.norm(a - b)
        assert float(after) <= factor * float(before) * (1 + 1e-5)
        # Scaled back, so that rounding does not decide.
        b = a + (b - a) / jnp.maximum(after, 1e-3)


def test_certificates_hold_at_any_width_and_gain():
    """At 256 features a looser bound on the orthogonal factor would exceed 1."""
    cell = CELLS["dense"](features=256)
    params = cell.init(jax.random.key(0), jnp.zeros((1, 8)))
    params = {"params": params["params"] | {"k": jnp.float32(8.0)}}
    w, _ = cell.apply(params, jnp.zeros((1, 8)))
    assert 0.98 < float(cell.contraction_factor(w)) < 1


@pytest.mark.parametrize("name", ["concave", "separable", "cascade", "scan", "lstm", "free"])
def test_cells_without_a_certificate_say_so(name):
    cell, _, _, (w, _) = built(name)
    assert cell.contraction_factor(w) is None


@pytest.mark.parametrize("name", ["concave", "separable"])
def test_concave_iterates_rise_to_the_fixed_point(name):
    cell, _, _, (w, u) = built(name)
    z, iterates = jnp.zeros_like(cell.straight(w, u)), []
    for _ in range(60):
        z = cell.step(z, w, u)
        iterates.append(z)
    assert all(
        bool((later >= earlier - 1e-6).all()) for earlier, later in itertools.pairwise(iterates)
    )
    assert float(iterates[-1].max()) <= 1
    solution = fixed_point(cell.step, cell.straight(w, u), w, u, tol=1e-5, max_steps=200)
    assert jnp.allclose(solution.value, z, atol=1e-3)
    assert bool((solution.stats.status == 0).all())


@pytest.mark.parametrize("name", ["concave", "separable"])
@pytest.mark.parametrize("hard", [False, True])
def test_behind_hard_gates_that_are_shut_nothing_spreads(name, hard):
    """A wall through the middle, activity on its left, and a gain with which any leak grows."""
    cell = CELLS[name](features=FEATURES, gain=20.0, hard_gates=hard)
    below = jnp.ones((1, 5, 7, 1)).at[:, :, 3].set(-1.0)
    params = cell.init(jax.random.key(0), below)["params"]
    gate = {"kernel": jnp.full((1, 1, 1, FEATURES), 5.0), "bias": jnp.zeros(FEATURES)}
    w, u = cell.apply({"params": params | {"gate": gate}}, below)
    u |= {"offset": jnp.zeros((1, 5, 7, FEATURES)).at[:, 2, 0].set(1.0)}
    z = fixed_point(cell.step, cell.straight(w, u), w, u, tol=1e-6, max_steps=100).value
    assert float(z[:, :, :3].min()) > 0.8
    behind = z[:, :, 4:]
    assert not behind.any() if hard else float(behind.min()) > 0.8


@pytest.mark.parametrize("name", ["concave", "separable"])
def test_offsets_start_as_spread_as_asked(name):
    below = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))

    def deviation(**fields):
        cell = CELLS[name](features=64, norm=False, **fields)
        _, u = cell.init_with_output(jax.random.key(0), below)[0]
        return float(u["offset"].std())

    assert deviation() == pytest.approx(1, rel=0.2)
    assert deviation(offset=0.1) == pytest.approx(0.1 * deviation(), rel=1e-4)


def test_separable_is_concave_with_a_kernel_that_is_a_product():
    cell, _, below, (w, u) = built("separable")
    z, dense = cell.straight(w, u), CELLS["concave"](features=FEATURES)
    kernel = w["depthwise"][:, :, 0, :, None] * w["pointwise"]
    assert jnp.allclose(cell.step(z, w, u), dense.step(z, kernel, u), atol=1e-5)
    params = dense.init(jax.random.key(1), below)
    rows = lambda kernel: kernel.sum((0, 1, 2)).mean()
    assert rows(kernel) == pytest.approx(float(rows(dense.apply(params, below)[0])), rel=0.2)


def test_cascade_is_at_its_fixed_point_after_as_many_steps_as_groups():
    cell, _, _, (w, u) = built("cascade")
    far = 100 * jax.random.normal(jax.random.key(4), cell.straight(w, u).shape)
    straight, other = (
        functools.reduce(lambda z, _: cell.step(z, w, u), range(steps), start)
        for start, steps in ((cell.straight(w, u), cell.groups - 1), (far, cell.groups))
    )
    assert jnp.array_equal(cell.step(straight, w, u), straight)
    assert jnp.array_equal(straight, other)
    assert not jnp.allclose(straight, cell.straight(w, u), atol=0.1)
    assert jnp.array_equal(cell.iterate(far, w, u), straight), "in one sweep, from anywhere"


def test_a_sweep_of_a_cascade_solves_it_and_its_gradient():
    """Values and gradients as those of the steps that it takes the place of."""
    cell, params, below, (w, u) = built("cascade")

    def loss(params, turn):
        w, u = cell.apply(params, below)
        solution = fixed_point(turn, cell.straight(w, u), w, u, tol=1e-5, max_steps=10)
        return jnp.sum(jnp.sin(solution.value)), solution.stats

    swept, stepped = (
        jax.value_and_grad(loss, has_aux=True)(params, turn) for turn in (cell.iterate, cell.step)
    )
    close = functools.partial(chex.assert_trees_all_close, rtol=1e-4, atol=1e-4)
    close((swept[0][0], swept[1]), (stepped[0][0], stepped[1]))
    stats = swept[0][1]
    assert stats.steps.tolist() == [1] * 4 and not stats.residual.any()
    assert stepped[0][1].steps.tolist() == [cell.groups] * 4
    assert macs.macs(cell.iterate, u, w, u) == macs.macs(cell.step, u, w, u)


def test_cascade_needs_equal_groups():
    cell = CELLS["cascade"](features=18)
    with pytest.raises(ValueError, match="multiples of the cascade's 4 groups, got 18"):
        cell.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))


def test_window_is_how_far_the_straight_output_sees():
    below = jnp.zeros((1, 7, 7, 3))
    for window, sees in ((1, 1), (3, 9)):
        cell = CELLS["cascade"](features=FEATURES, window=window, norm=False)
        params = cell.init(jax.random.key(0), below)
        touched = lambda x, cell=cell, params=params: cell.straight(*cell.apply(params, x))
        change = touched(below.at[0, 3, 3].set(1.0)) - touched(below)
        assert int(jnp.any(change != 0, axis=-1).sum()) == sees


@pytest.mark.parametrize("name", CERTIFIED)
def test_certified_fixed_points_do_not_depend_on_the_start(name):
    cell, _, _, (w, u) = built(name)
    start = jax.random.normal(jax.random.key(4), cell.straight(w, u).shape)
    solve = lambda z: fixed_point(cell.step, z, w, u, tol=1e-5, max_steps=3000).value
    assert jnp.allclose(solve(start), solve(cell.straight(w, u)), atol=2e-3)


@pytest.mark.parametrize("name", CELLS)
def test_gradients_reach_every_parameter(name):
    cell, params, below, _ = built(name)

    def loss(params):
        w, u = cell.apply(params, below)
        solution = fixed_point(cell.step, cell.straight(w, u), w, u, tol=1e-5, max_steps=300)
        return jnp.sum(jnp.sin(solution.value))

    grads = jax.jit(jax.grad(loss))(params)
    for path, grad in jax.tree.leaves_with_path(grads):
        assert bool(jnp.isfinite(grad).all()), path
        assert float(jnp.abs(grad).max()) > 0, path


@pytest.mark.parametrize("name", CELLS)
def test_bfloat16_states_keep_float32_parameters(name):
    _, _, below, _ = built(name)
    cell = CELLS[name](features=FEATURES, dtype=jnp.bfloat16)
    params = cell.init(jax.random.key(1), below)
    w, u = cell.apply(params, below)
    assert cell.step(cell.straight(w, u), w, u).dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", ["abs", "groupsort", "relu", "tanh"])
def test_activations_are_1_lipschitz(name):
    a, b = jax.random.normal(jax.random.key(0), (2, 64, FEATURES))
    change = jnp.linalg.norm(lipschitz_activation(name, a) - lipschitz_activation(name, b), axis=-1)
    assert bool((change <= jnp.linalg.norm(a - b, axis=-1) * (1 + 1e-6)).all())


def test_unknown_activation_is_named():
    with pytest.raises(ValueError, match="expected one of abs, relu, tanh, groupsort, got 'gelu'"):
        lipschitz_activation("gelu", jnp.ones((2, 4)))
