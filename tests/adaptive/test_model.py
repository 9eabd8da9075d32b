"""DynaLay: routes, rounds, masks, traces, and which layers gradients reach (Eq. 4)."""

import functools

import jax
import jax.numpy as jnp
import pytest

import dynalay_jax
from dynalay_jax import fixed_point
from dynalay_jax.adaptive import macs, routers
from dynalay_jax.adaptive.inspect import call, costs, init, probes, shapes
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.layers.registry import CELLS, STATIC
from dynalay_jax.solve.solution import Status
import problems

pytestmark = pytest.mark.usefixtures("flax_promotion")

SHAPE = (8, 8, 3)
KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (6, *SHAPE))
ACTIONS = jnp.array([0, 1, 2, 3, 0, 2])


@functools.cache
def built(**fields):
    settings = dict(widths=(8, 8, 16), strides=(1, 2, 1), tol=1e-4, max_steps=60) | fields
    model = DynaLay(classes=5, **settings)
    return model, init(model, jax.random.key(2), SHAPE)


@functools.cache
def routed(model):
    return jax.jit(lambda params, x, actions: model.apply(
        params, x, problems.route(actions), 0.1, KEY))  # fmt: skip


@functools.cache
def begun(model):
    return jax.jit(lambda params: call(model, params, DynaLay.begin, X))


@functools.cache
def swept(model):
    return jax.jit(lambda params, *args: call(model, params, DynaLay.sweep, *args))


def run(actions=ACTIONS, **fields):
    model, params = built(**fields)
    return routed(model)(params, X, actions)


def test_action_0_is_the_straight_pass():
    model, params = built()
    logits, trace = run(jnp.zeros(6, jnp.int32))
    straight = begun(model)(params).logits
    assert jnp.allclose(logits, straight, atol=1e-5)
    assert jnp.allclose(trace.straight_logits, straight, atol=1e-5)
    assert not trace.sweeps.iterate.any() and not trace.sweeps.steps.any()
    assert not trace.actions.any()


def test_every_sample_gets_its_own_route():
    logits, trace = run()
    for i, action in enumerate(ACTIONS):
        alone, _ = run(jnp.full(6, action))
        assert jnp.allclose(logits[i], alone[i], atol=1e-4)
    assert trace.sweeps.iterate[0].tolist() == routers.as_mask(ACTIONS, 3).tolist()
    assert trace.actions[0].tolist() == ACTIONS.tolist()
    assert ((trace.sweeps.steps[0] > 0) == trace.sweeps.iterate[0]).all()
    assert (trace.sweeps.status[0][trace.sweeps.iterate[0]] == 0).all()
    assert float(trace.sweeps.residual.max()) < 1e-4


def test_iterated_layer_is_at_its_fixed_point_and_those_above_ran_again():
    model, params = built()
    state = begun(model)(params)
    after, _ = swept(model)(params, state, routers.as_mask(jnp.full(6, 2), 3))

    def by_hand(m):
        w, u = m.layers[1](state.hs[1])
        h2 = fixed_point(
            m.layers[1].step, m.layers[1].straight(w, u), w, u, tol=1e-4, max_steps=60
        ).value
        return h2, m.layers[2].straight(*m.layers[2](h2))

    h2, h3 = jax.jit(lambda params: call(model, params, by_hand))(params)
    assert jnp.array_equal(after.hs[1], state.hs[1])
    assert jnp.allclose(after.hs[2], h2, atol=1e-5)
    assert jnp.allclose(after.hs[3], h3, atol=1e-5)
    assert not jnp.allclose(h3, state.hs[3], atol=1e-3)


def test_compaction_changes_nothing():
    plain, compact = run(), run(compact=2)
    assert jnp.allclose(plain[0], compact[0], atol=1e-5)
    assert jnp.array_equal(plain[1].sweeps.steps, compact[1].sweeps.steps)


@functools.cache
def differentiated(**fields):
    """Compiled gradients of two layers in parameters and probe, from the actions [rounds, B]."""
    model, params = built(widths=(8, 8), strides=(1, 2), tol=1e-6, max_steps=80, **fields)

    def loss(params, probe, actions):
        logits, _ = model.apply(params, X, problems.route(*actions), 0.1, KEY, probe)
        return jnp.sum(jnp.sin(logits))

    gradient = jax.jit(jax.grad(loss, (0, 1)))
    return lambda *actions: gradient(params, probes(model, 6), jnp.array(actions))


def assert_gradients_close(got, wanted, tol):
    for (path, a), b in zip(jax.tree.leaves_with_path(got), jax.tree.leaves(wanted), strict=True):
        assert jnp.allclose(a, b, atol=tol * float(jnp.abs(b).max() + 1e-6)), path


def test_gradients_reach_only_iterated_cells():
    """Eq. 4: a sample contributes an FPI gradient only to the layer that it chose."""
    for chosen, other in ((1, 2), (2, 1)):
        grads = differentiated()([chosen] * 6)[0]["params"]
        assert grads[f"layers_{chosen - 1}"]["kernel"].any()
        assert not grads[f"layers_{other - 1}"]["kernel"].any()
        assert not any(leaf.any() for leaf in jax.tree.leaves(grads["agent"]))


def test_probes_report_every_backward_solve():
    _, backward = differentiated()(ACTIONS % 3)
    iterated = routers.as_mask(ACTIONS % 3, 2).T[None]
    assert ((backward.steps > 0) == iterated).all()
    assert ((backward.status == Status.CONVERGED) == iterated).all()
    assert float(jnp.where(iterated, backward.residual, 0.0).max()) < 1e-3


def test_implicit_gradient_is_that_of_unrolling():
    adjoints = {}, {"adjoint": dynalay_jax.Unrolled()}
    implicit, unrolled = (differentiated(**fields)(ACTIONS % 3)[0] for fields in adjoints)
    assert_gradients_close(implicit, unrolled, 2e-3)


@pytest.mark.slow
def test_gradients_of_two_rounds_are_the_same_compacted():
    actions = [1, 0, 2, 2, 1, 2], [2, 0, 1, 0, 1, 0]
    plain, compacted = (differentiated(rounds=2, compact=size)(*actions)[0] for size in (0, 1))
    assert_gradients_close(compacted, plain, 1e-4)


def test_later_rounds_go_on_from_the_new_activations():
    model, params = built()
    state, sweep = begun(model)(params), functools.partial(swept(model), params)
    mask = lambda *actions: routers.as_mask(jnp.array(actions), 3)
    first, _ = sweep(state, mask(2, 2, 2, 1, 3, 0))
    second, done = sweep(first, mask(2, 3, 1, 1, 1, 0))
    # Chosen again: already at its fixed point, so one evaluation tells.
    assert done.steps[0, 1] == 1 and done.steps[3, 0] == 1
    assert second.streak.tolist() == [2, 1, 1, 2, 1, 0]
    # Layer 2 stays as iterated while layer 3 is; it is lost when layer 1 changes below it.
    assert jnp.array_equal(second.hs[2][1], first.hs[2][1])
    fresh, _ = sweep(state, mask(1, 1, 1, 1, 1, 1))
    assert jnp.allclose(second.logits[2], fresh.logits[2], atol=1e-4)
    assert jnp.allclose(second.logits[5], state.logits[5], atol=1e-5)


def test_action_0_ends_the_rounds_of_a_sample():
    model, params = built(rounds=2, widths=(8, 8), strides=(1, 2))
    router = problems.route(jnp.array([1, 0]), jnp.array([2, 2]))
    _, trace = jax.jit(lambda params, x: model.apply(params, x, router, 0.1, KEY))(params, X[:2])
    assert trace.sweeps.iterate[:, :, :2].any(-1).tolist() == [[True, False], [True, False]]
    assert trace.log_probs.shape == (2, 2, 3)


def test_trace_and_cost_agree_with_what_was_done():
    model, _ = built()
    counted = costs(model, SHAPE)
    sweeps = run()[1].sweeps
    spent = macs.spent(counted, sweeps.iterate, sweeps.steps)
    steps = sweeps.steps[0]
    assert spent[0] == spent[4] == 0
    expected = steps[2, 1] * counted.step[1] + counted.inject[2] + counted.head
    assert spent[2] == pytest.approx(float(expected))


@pytest.mark.parametrize("cell", CELLS | STATIC)
def test_every_cell_makes_a_model(cell):
    shape = (3,) if cell == "dense" else SHAPE
    rounds = 1 if cell == "stage" else 2
    model = DynaLay(classes=5, widths=(8, 8), strides=(1, 1), cell=cell, rounds=rounds)
    run = lambda params, x: model.apply(params, x, routers.Constant(), 0.1, KEY)
    logits, trace = jax.eval_shape(run, shapes(model, shape), jnp.zeros((6, *shape)))
    assert logits.shape == (6, 5) and trace.sweeps.steps.shape == (rounds, 6, 2)


def test_static_cells_are_not_swept():
    """Nor is anything above them injected again: the pass costs what the straight one does."""
    model, params = built(cell="plain")
    logits, trace = run(cell="plain")
    assert jnp.array_equal(logits, trace.straight_logits)
    assert not trace.sweeps.iterate.any()
    assert (trace.sweeps.status == Status.SKIPPED).all()
    straight = lambda params: call(model, params, DynaLay.begin, X).logits
    routed = lambda params: model.apply(params, X, routers.Constant(), 0.1, KEY)[0]
    decisions = 6 * costs(model, SHAPE).agent
    assert macs.macs(routed, params) == macs.macs(straight, params) + decisions


def test_bfloat16_computes_in_it_and_answers_in_float32():
    model = built()[0].clone(dtype=jnp.bfloat16)
    params = shapes(model, SHAPE)
    state = jax.eval_shape(lambda params: call(model, params, DynaLay.begin, X), params)
    assert {h.dtype for h in state.hs} == {jnp.dtype("bfloat16")}
    assert state.logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def test_kernels_start_with_the_spread_that_the_settings_say():
    """Row sums of `gain`, of which `own` is a channel's own share, up to their random entries."""
    _, params = built(gain=4.0, own=0.9, widths=(32,), strides=(1,))
    (kernel,) = (
        leaf**2
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if path[-1].key == "kernel" and leaf.shape == (3, 3, 32, 32)
    )
    total = jnp.sum(kernel, axis=(0, 1))
    assert jnp.mean(jnp.sum(total, axis=0)) == pytest.approx(4.0, rel=0.1)
    assert jnp.trace(total) / jnp.sum(total) == pytest.approx(0.9 + 0.1 / 32, rel=0.02)
