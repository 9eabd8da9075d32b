"""Routers: masks that do what their names say, at the rates they promise."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax.adaptive import routers
from dynalay_jax.adaptive.routers import Observation

BATCH, LAYERS = 4096, 3
KEY = jax.random.key(0)


def seen(log_probs=None, logits=None):
    if log_probs is None:
        log_probs = jnp.log(jnp.tile(jnp.array([[0.4, 0.3, 0.2, 0.1]]), (BATCH, 1)))
    if logits is None:
        logits = jnp.zeros((len(log_probs), 2))
    return Observation(logits, log_probs, 0)


def test_agent_takes_the_most_probable_action():
    log_probs = jnp.log(jnp.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.2, 0.1, 0.6]]))
    mask = routers.Agent()(KEY, seen(log_probs))
    assert mask.tolist() == [[False] * 3, [False, False, True]]


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
def test_exploring_agent_draws_from_its_behaviour(epsilon):
    mask = routers.Agent(epsilon)(KEY, seen())
    shares = np.asarray([1 - mask.any(-1).mean(), *mask.mean(0)])
    expected = (1 - epsilon) * np.array([0.4, 0.3, 0.2, 0.1]) + epsilon / 4
    assert shares == pytest.approx(expected, abs=0.03)
    assert int(mask.sum(-1).max()) == 1
    assert routers.behaviour(seen().log_probs, epsilon)[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("router", "expected"),
    [
        (routers.Constant(()), [False, False, False]),
        (routers.Constant((0,)), [True, False, False]),
        (routers.Constant((0, 1)), [True, True, False]),
        (routers.Constant(), [True, True, True]),
    ],
    ids=["Model 0", "Model 1", "Model 2", "Model 3"],
)
def test_constant(router, expected):
    assert (router(KEY, seen()) == jnp.array([expected])).all()


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0, 1.6, 3.0])
def test_random_iterates_its_rate_of_layers(rate):
    mask = routers.Random(rate)(KEY, seen())
    number = np.asarray(mask.sum(-1))
    assert number.mean() == pytest.approx(rate, abs=0.04)
    assert set(number) <= {np.floor(rate), np.ceil(rate)}
    assert np.asarray(mask.mean(0)) == pytest.approx([rate / 3] * 3, abs=0.04)


def test_confidence_iterates_only_the_unsure():
    logits = jnp.log(jnp.array([[0.9, 0.1], [0.6, 0.4]]))
    observed = seen(seen().log_probs[:2], logits)
    assert routers.Confidence(0.8)(KEY, observed).tolist() == [[False] * 3, [True] * 3]
    one = routers.Confidence(0.8, (1,))(KEY, observed)
    assert one.tolist() == [[False] * 3, [False, True, False]]
    assert not routers.Confidence(0.5)(KEY, observed).any()


@pytest.mark.parametrize("straight", [0.5, 0.8])
def test_warmup_shares_are_those_of_the_batch(straight):
    router = routers.Warmup(straight=straight, all_layers=0.2)
    mask, other = (np.asarray(router(jax.random.key(i), seen())) for i in range(2))
    number = mask.sum(-1)
    shares = [(number == n).mean() for n in range(4)]
    one = 1 - straight - 0.2
    assert shares == pytest.approx([straight, one, 0.0, 0.2], abs=2 / len(mask))
    each = (mask & (number == 1)[:, None]).mean(0)
    assert each == pytest.approx([one / 3] * 3, abs=2 / len(mask))
    assert (mask != other).any()


def test_warmup_can_iterate_the_first_layers_alone():
    mask = routers.Warmup(straight=0.25, all_layers=0.75, layers=2)(KEY, seen())
    iterated = mask.any(-1)
    assert float(iterated.mean()) == pytest.approx(0.75, abs=0.02)
    assert (mask[iterated] == jnp.array([[True, True, False]])).all()


def test_mixture_takes_the_first_router_for_its_share():
    mask = routers.Mixture(0.25, routers.Constant(), routers.Constant(()))(KEY, seen())
    assert float(mask.mean()) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    "router",
    [
        routers.Constant(),
        routers.Random(2.0),
        routers.Confidence(1.0),
        routers.Warmup(straight=0.0),
    ],
    ids=lambda router: type(router).__name__,
)
def test_only_the_agent_iterates_in_later_rounds(router):
    first = routers.Observation(jnp.zeros((8, 4)), jnp.zeros((8, LAYERS + 1)), 0)
    assert router(KEY, first).any(-1).all()
    assert not router(KEY, first._replace(round=1)).any()
    chosen = first.log_probs.at[:, 1].set(1.0)
    assert routers.Agent()(KEY, first._replace(log_probs=chosen, round=1)).any(-1).all()


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_every_set_of_layers_has_a_name(layers):
    named = routers.by_name(0.5, layers, rounds=2)
    for size in {*range(min(layers, 2) + 1), layers}:
        for some in itertools.combinations(range(layers), size):
            router = named[routers.constant_name(some, layers)]
            assert router in (routers.Constant(some), routers.Constant())
            if router == routers.Constant():
                assert size == layers
    assert "constant_1_2" not in routers.by_name(0.5, layers)


def test_one_program_serves_every_router():
    named = routers.by_name(0.7, LAYERS)

    @jax.jit
    def program(kind, setting):
        choices = tuple(routers.by_name(setting, LAYERS).values())
        return routers.Switch(kind, choices)(KEY, seen())

    for kind, router in enumerate(named.values()):
        assert (program(kind, 0.7) == router(KEY, seen())).all()
    assert program._cache_size() == 1
