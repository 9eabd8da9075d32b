"""Models of stage cells: an action iterates all layers from its own up, with own statistics."""

import functools

import jax
import jax.numpy as jnp
import pytest

from dynalay_jax.adaptive import losses, macs
from dynalay_jax.adaptive.inspect import call, costs, init, probes
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.solve.solution import Status
import problems

pytestmark = pytest.mark.usefixtures("flax_promotion")

SHAPE = (12, 12, 3)
ACTIONS = jnp.array([0, 1, 2, 3, 0, 2])
X = jax.random.normal(jax.random.key(1), (6, *SHAPE))
MODEL = DynaLay(
    classes=5,
    widths=(8, 12, 16),
    strides=(2, 2, 1),
    blocks=(1, 2, 1),
    cell="stage",
    whitening=2,
    agent_hidden=8,
)


def train(variables, actions):
    """Logits [A, 6, 5] of the actions, and variables with the statistics of this batch."""
    measured = jax.jit(
        lambda variables: MODEL.apply(
            variables, X, actions, method=DynaLay.every_action, mutable=["statistics"]
        )
    )
    for _ in range(40):  # the running averages converge, as the batch stays the same
        logits, new = measured(variables)
        variables = {**variables, **new}
    return logits, variables


@functools.cache
def trained():
    variables = init(MODEL, jax.random.key(2), SHAPE)
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(3), len(leaves))
    # Offsets and classifiers that differ between the routes.
    moved = [x + 0.2 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return train(jax.tree.unflatten(tree, moved), (0, 1, 2, 3))


@functools.cache
def routed(**fields):
    model, (_, variables) = MODEL.clone(**fields), trained()
    run = lambda v, actions: model.apply(v, X, problems.route(actions), 0.1, jax.random.key(0))
    return jax.jit(functools.partial(run, variables))


def test_training_and_evaluation_compute_the_same_network_for_each_action():
    logits, _ = trained()
    for action, expected in enumerate(logits):
        assert jnp.allclose(routed()(jnp.full(6, action))[0], expected, atol=2e-3)
    assert float(jnp.abs(logits[1:] - logits[0]).min(axis=-1).max()) > 0.1, "routes differ"


@pytest.mark.parametrize("compact", [0, 2])
def test_each_sample_takes_its_own_route(compact):
    mixed, trace = routed(compact=compact)(ACTIONS)
    logits, _ = trained()
    assert jnp.allclose(mixed, logits[ACTIONS, jnp.arange(6)], atol=2e-3)
    (sweep,) = (jax.tree.map(lambda leaf: leaf[0], trace.sweeps),)
    above = (jnp.arange(1, 4) >= ACTIONS[:, None]) & (ACTIONS[:, None] > 0)
    assert jnp.array_equal(sweep.iterate, above)
    assert jnp.array_equal(sweep.steps, above.astype(jnp.int32)), "one evaluation is the solve"
    assert jnp.array_equal(sweep.status == Status.CONVERGED, above)
    assert trace.actions[0].tolist() == ACTIONS.tolist()


def test_costs_are_those_of_the_blocks_and_of_what_runs_again():
    counted = costs(MODEL, SHAPE)
    block = lambda side, width: 9 * side**2 * width**2
    assert counted.step == (block(5, 8), 2 * block(2, 12), block(2, 16))
    _, trace = routed()(jnp.full(6, 2))
    spent = macs.spent(counted, trace.sweeps.iterate, trace.sweeps.steps)
    assert spent[0] == sum(counted.step[1:]) + counted.inject[2] + counted.head
    assert costs(MODEL.clone(factors=jnp.bfloat16), SHAPE) == counted
    assert MODEL.most_steps() == 1 and probes(MODEL, 6) is None


def test_only_what_the_trained_actions_use_is_measured():
    variables = init(MODEL, jax.random.key(2), SHAPE)
    _, after = train(variables, (0, 3))
    changed = jax.tree.map(
        lambda a, b: jnp.any(a != b, axis=-1), after["statistics"], variables["statistics"]
    )
    for j in range(3):
        layer = changed[f"layers_{j}"]
        # Layer 3 is iterated on the straight output of those below: row 0.
        assert layer["inject_norm"]["mean"].tolist() == [True] + [False] * j
        assert layer["norms_0"]["mean"].tolist() == [j == 2] + [False] * j
    assert not changed["first"]["kernel"].any()


LABELS = jnp.array([0, 1, 2, 3, 4, 0])


def loss(weights, variables=None, **options):
    variables = variables or trained()[1]
    return losses.all_routes_loss(MODEL, variables, X, LABELS, weights, **options)


def test_the_loss_weighs_the_routes_and_distils_all_layers_into_the_others():
    logits, _ = trained()
    log_p = jax.nn.log_softmax(logits)
    right = -log_p[:, jnp.arange(6), LABELS].mean(-1)
    (value, (metrics, _)) = loss((0.5, 0.25, 0.0, 0.25))
    assert value == pytest.approx(float(right @ jnp.array([0.5, 0.25, 0.0, 0.25])), rel=1e-3)
    assert set(metrics) == {"cross_entropy", "accuracy", "accuracy_0", "accuracy_1", "accuracy_3"}
    taught = -(jax.nn.softmax(logits[1]) * log_p[0]).sum(-1).mean()
    (value, _) = loss((1.0, 0.0, 0.0, 0.0), distillation=0.5)
    assert value == pytest.approx(float(right[0]), rel=1e-3), "without a teacher"
    (value, _) = loss((1.0, 1.0, 0.0, 0.0), distillation=0.25)
    expected = 0.75 * right[0] + 0.25 * taught + right[1]
    assert value == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.slow
def test_the_teacher_does_not_learn_from_its_pupils():
    _, variables = trained()
    gradient = lambda weights, d: jax.grad(
        lambda params: loss(weights, {**variables, "params": params}, distillation=d)[0]
    )(variables["params"])
    # The blocks of layer 1 are in no route but the teacher's.
    kernel = lambda *args: gradient(*args)["layers_0"]["kernel_0"]
    assert jnp.allclose(kernel((1.0, 1.0, 0.0, 0.0), 0.9), kernel((0.0, 1.0, 0.0, 0.0), 0.0))
    assert not gradient((1.0, 0.0, 0.0, 0.0), 0.0)["layers_0"]["kernel_0"].any()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rounds": 2}, "rounds: expected 1 for stage cells, got 2"),
        ({"stem": 8}, "stem: expected 0 with whitening=2, got 8"),
        ({"blocks": (1, 1)}, "blocks: expected one for each of the 3 widths, got 2"),
        ({"pool_first": (True,)}, "pool_first: expected one for each of the 3 widths, got 1"),
        ({"norm": False}, "norm: expected True"),
    ],
)
def test_settings_that_do_not_fit_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        init(MODEL.clone(**fields), jax.random.key(0), SHAPE)


def test_other_cells_and_other_numbers_of_weights_are_refused():
    with pytest.raises(ValueError, match="weights: expected one for each of 4 actions, got 2"):
        loss((0.5, 0.5))
    plain = DynaLay(classes=5, widths=(8,), strides=(1,), cell="plain")
    params = init(plain, jax.random.key(0), SHAPE)
    with pytest.raises(ValueError, match="cell: expected stage for every_action, got plain"):
        call(plain, params, DynaLay.every_action, X, (0,))
