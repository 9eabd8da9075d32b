"""DynaLay: routes, rounds, masks, traces, and which layers gradients reach (Eq. 4)."""

import functools

import jax
import jax.numpy as jnp
import pytest

import dynalay_jax
from dynalay_jax import fixed_point
from dynalay_jax.adaptive import macs, routers
from dynalay_jax.adaptive.inspect import call, certificate, costs, init, shapes
from dynalay_jax.adaptive.model import DynaLay, probes
from dynalay_jax.layers.registry import CELLS, STATIC
from dynalay_jax.solve.solution import Status

pytestmark = pytest.mark.usefixtures("flax_promotion")

SHAPE = (8, 8, 3)
KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (6, *SHAPE))
ACTIONS = jnp.array([0, 1, 2, 3, 0, 2])


@functools.cache
def built(**fields):
    settings = dict(widths=(8, 8, 16), strides=(1, 2, 1), tol=1e-4, max_steps=60) | fields
    model = DynaLay(classes=5, **settings)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        return model, init(model, jax.random.key(2), SHAPE)


@functools.cache
def routed(model):
    return jax.jit(lambda params, x, actions: model.apply(
        params, x, routers.Fixed(actions), 0.1, KEY))  # fmt: skip


@functools.cache
def begun(model):
    return jax.jit(lambda params: call(model, params, DynaLay.begin, X))


def run(actions=ACTIONS, x=X, **fields):
    model, params = built(**fields)
    return routed(model)(params, x, actions)


def test_no_operation_is_the_straight_pass():
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
    sweep = jax.jit(lambda params, *args: call(model, params, DynaLay.sweep, *args))
    after, _ = sweep(params, state, routers.as_mask(jnp.full(6, 2), 3))

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


def test_gradients_reach_only_iterated_cells():
    """Eq. 4: a sample contributes an FPI gradient only to the layer that it chose."""
    model, params = built()

    def loss(params, actions):
        return jnp.sum(jnp.sin(routed(model)(params, X, actions)[0]))

    grads = jax.grad(loss)(params, jnp.full(6, 2))["params"]
    size = lambda name: float(jnp.abs(grads[name]["kernel"]).max())
    assert size("layers_1") > 0
    assert size("layers_0") == size("layers_2") == 0
    everything = jax.tree.leaves(grads["agent"])
    assert all(float(jnp.abs(leaf).max()) == 0 for leaf in everything)


def test_backward_solves_are_accounted_for():
    model, params = built()
    loss = lambda params, probe: jnp.sum(
        jnp.sin(model.apply(params, X, routers.Fixed(ACTIONS), 0.1, KEY, probe)[0])
    )
    backward = jax.jit(jax.grad(loss, 1))(params, probes(model, 6))
    iterated = routers.as_mask(ACTIONS, 3).T[None]
    assert ((backward.steps > 0) == iterated).all()
    assert ((backward.status == Status.CONVERGED) == iterated).all()
    assert float(jnp.where(iterated, backward.residual, 0.0).max()) < 1e-3
    assert probes(model.clone(adjoint=dynalay_jax.Unrolled()), 6) is None


def test_implicit_gradient_is_that_of_unrolling():
    fields = dict(tol=1e-6, max_steps=80)
    grads = []
    for adjoint in ("Implicit", "Unrolled"):
        model, params = built(adjoint=getattr(dynalay_jax, adjoint)(), **fields)
        loss = lambda params, model=model: jnp.sum(jnp.sin(routed(model)(params, X, ACTIONS)[0]))
        grads.append(jax.grad(loss)(params)["params"])
    implicit, unrolled = (g | {"agent": None} for g in grads)
    for (path, a), b in zip(
        jax.tree.leaves_with_path(implicit), jax.tree.leaves(unrolled), strict=True
    ):
        assert jnp.allclose(a, b, atol=2e-3 * float(jnp.abs(b).max() + 1e-6)), path


def test_later_rounds_go_on_from_the_new_activations():
    model, params = built(rounds=2)
    state = begun(model)(params)
    sweep = jax.jit(lambda state, mask: call(model, params, DynaLay.sweep, state, mask))
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


def test_gradients_of_two_rounds_are_the_same_compacted():
    class Script:
        def __call__(self, key, seen):
            actions = jnp.array([[1, 0, 2, 3, 1, 2], [2, 0, 1, 0, 3, 0]])
            return routers.as_mask(actions[seen.round], 3)

    def gradient(compact):
        model, params = built(rounds=2, compact=compact, tol=1e-6, max_steps=80)
        loss = lambda params: jnp.sum(jnp.sin(model.apply(params, X, Script(), 0.1, KEY)[0]))
        return jax.jit(jax.grad(loss))(params)["params"]

    plain, compacted = gradient(0), gradient(1)
    close = lambda a, b: bool(jnp.allclose(a, b, atol=1e-4 * float(jnp.abs(a).max() + 1e-6)))
    assert jax.tree.all(jax.tree.map(close, plain, compacted))


def test_no_operation_ends_a_samples_thinking():
    class Script:
        def __call__(self, key, seen):
            action = jnp.array([1, 0]) if seen.round == 0 else jnp.array([2, 2])
            return routers.as_mask(action, 3)

    model, params = built(rounds=2)
    run = jax.jit(lambda params, x: model.apply(params, x, Script(), 0.1, KEY))
    _, trace = run(params, X[:2])
    assert trace.sweeps.iterate[:, :, :2].any(-1).tolist() == [[True, False], [True, False]]
    assert trace.log_probs.shape == (2, 2, 4)


@pytest.mark.parametrize("residuals", [False, True])
def test_costs_are_counted_from_shapes(residuals):
    model, _ = built(residual_features=residuals)
    counted = costs(model, SHAPE)
    # Injection: a 3×3 and, for the gate, a convolution of the stride's size.
    assert counted.inject[0] == 64 * (9 + 1) * 3 * 8
    assert counted.inject[1] == 16 * (9 + 4) * 8 * 8
    assert counted.step == (64 * 9 * 64, 16 * 9 * 64, 16 * 9 * 256)
    assert counted.head == 2 * 16 * 5
    net = counted.agent - (sum(counted.step) + sum(counted.inject)) * residuals
    assert 0 < net < 60_000


def test_shared_weights_cost_a_sample_nothing():
    counted = costs(built(cell="orthogonal")[0], SHAPE)
    assert counted.inject[0] == 64 * 9 * 3 * 8
    assert counted.step[0] == 64 * (9 * 8 + 64)


def test_trace_and_cost_agree_with_what_was_done():
    model, _ = built()
    counted = costs(model, SHAPE)
    sweeps = run()[1].sweeps
    spent = macs.spent(counted, sweeps.iterate, sweeps.steps)
    steps = sweeps.steps[0]
    assert spent[0] == spent[4] == 0
    expected = steps[2, 1] * counted.step[1] + counted.inject[2] + counted.head
    assert spent[2] == pytest.approx(float(expected))


def test_certificate_says_what_each_cell_promises():
    model, params = built(cell="bounded")
    assert certificate(model, params, X[:1]) == pytest.approx([0.99] * 3, abs=1e-3)
    model, params = built()
    assert certificate(model, params, X[:1]) == [None] * 3


@pytest.mark.parametrize("cell", [name for name in CELLS | STATIC if name != "dense"])
def test_every_cell_makes_a_model(cell):
    logits, trace = run(ACTIONS % 2, cell=cell, stem=4, widths=(8,), strides=(2,))
    assert logits.shape == (6, 5) and bool(jnp.isfinite(logits).all())
    assert trace.sweeps.steps.any() == (cell in CELLS)


def test_static_cells_are_not_swept():
    """Nor is anything above them injected again: the pass costs what the straight one does."""
    model, params = built(cell="plain")
    logits, trace = run(cell="plain")
    assert jnp.array_equal(logits, trace.straight_logits)
    assert not trace.sweeps.iterate.any()
    assert (trace.sweeps.status == Status.SKIPPED).all()
    straight = lambda params: call(model, params, DynaLay.begin, X).logits
    routed = lambda params: model.apply(params, X, routers.Constant(), 0.1, KEY)[0]
    asked = 6 * costs(model, SHAPE).agent
    assert macs.macs(routed, params) == macs.macs(straight, params) + asked


def test_dense_cells_take_vectors():
    model = DynaLay(classes=3, widths=(8, 8), strides=(1, 1), cell="dense")
    params = init(model, KEY, (5,))
    run = jax.jit(lambda params, x: model.apply(params, x, routers.Constant(), 0.1, KEY))
    logits, _ = run(params, jnp.ones((2, 5)))
    assert logits.shape == (2, 3)


def test_bfloat16_computes_in_it_and_answers_in_float32():
    model, params = built(dtype=jnp.bfloat16, tol=1e-2)
    state = begun(model)(params)
    assert {h.dtype for h in state.hs} == {jnp.dtype("bfloat16")}
    assert state.logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def test_shapes_are_those_of_init():
    model, params = built()
    same = lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype)
    assert jax.tree.all(jax.tree.map(same, shapes(model, SHAPE), params))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(strides=(1, 2)), "strides: expected one for each of the 3 widths, got 2"),
        (dict(windows=(3,)), "windows: expected one for each of the 3 widths, got 1"),
        (dict(cell="convolution"), "cell: expected one of concave, .*, got 'convolution'"),
    ],
    ids=["strides", "windows", "cell"],
)
def test_bad_settings_are_named(fields, message):
    model = DynaLay(classes=2, **(dict(widths=(8, 8, 8), strides=(1, 1, 1)) | fields))
    with pytest.raises(ValueError, match=message):
        shapes(model, SHAPE)


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
