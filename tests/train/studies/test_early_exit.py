"""Halting routers on exits made up so that their results are known, and on a run."""

import numpy as np
import pytest

from dynalay_jax.adaptive import agent
from train.studies import early_exit, halting_nets
from train.studies.exits import Exits

pytestmark = pytest.mark.usefixtures("flax_promotion")

# Two examples, exits 0, 1 and 2, three classes; class 0 is right.
PROBS = np.array(
    [[[0.4, 0.5, 0.1], [0.8, 0.1, 0.1], [0.9, 0.1, 0.0]],
     [[0.6, 0.2, 0.2], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1]]]
)  # fmt: skip
COST = np.array([[0.1, 2.0, 5.0], [0.1, 3.0, 6.0]])
HALT = np.array([[0.5, 0.4], [0.2, 0.5]])
LOGITS = np.log(HALT / (1 - HALT))
PHI = agent.Phi(np.zeros((2, 3, 7), np.float32), np.zeros((2, 3, 4), np.float32))
SEEN = Exits(PHI, np.log(PROBS + 1e-9), COST, np.zeros(2, np.int32))


def test_pondernet_is_its_expectation():
    correct, cost = early_exit.sample(LOGITS, SEEN)
    # p is 0.5, 0.2, 0.3 and 0.2, 0.4, 0.4; exits 1 and 2 are right, and exit 0.
    np.testing.assert_allclose(correct, [0.5, 0.2], rtol=1e-6)
    np.testing.assert_allclose(cost, [0.05 + 0.4 + 1.5, 0.02 + 1.2 + 2.4], rtol=1e-6)


def test_q_exit_stops_where_the_sum_passes_q():
    costs = [early_exit.threshold(LOGITS, SEEN, q)[1].tolist() for q in (0.1, 0.4, 0.65, 0.9)]
    assert costs == [[0.1, 0.1], [0.1, 3.0], [2.0, 6.0], [5.0, 6.0]]
    assert early_exit.threshold(LOGITS, SEEN, 0.4)[0].tolist() == [False, False]


def test_act_answers_with_the_mixture():
    correct, cost = early_exit.mixed(np.log(np.array([[1.0, 1.0], [1.5, 1.0]])), SEEN)
    # h is 0.5, 0.5 and 0.6, 0.5: both halt at exit 1. Class 0 has 0.6 and 0.48, class 1 0.3, 0.36.
    assert correct.tolist() == [True, True] and cost.tolist() == [2.0, 3.0]
    correct, cost = early_exit.mixed(np.full((2, 2), -9.0), SEEN)
    assert correct.tolist() == [True, False] and cost.tolist() == [5.0, 6.0]


def test_between_settings_accuracy_is_interpolated():
    points = [{"mean_cost": c, "accuracy": a} for c, a in ((4.0, 0.9), (0.0, 0.5), (2.0, 0.8))]
    assert early_exit.at_cost(points, 1.0) == {"mean_cost": 1.0, "accuracy": pytest.approx(0.65)}
    assert early_exit.at_cost(points, 9.0) == {"mean_cost": 4.0, "accuracy": 0.9}


def test_early_exit_halts_where_it_is_sure():
    confident = np.array([[0.9, 0.6, 0.5], [0.6, 0.8, 0.5], [0.6, 0.7, 0.9]])
    log_probs = np.log(np.stack([confident, 1 - confident], -1))
    log_probs[1, 1] = log_probs[1, 1, ::-1]  # sure of the other class
    cost = np.tile([0.0, 1.0, 3.0], (3, 1))
    seen = Exits(None, log_probs, cost, np.array([0, 1, 0]))
    straight, *points = early_exit.early({"validation": seen, "test": seen}, thresholds=6)
    assert straight["accuracy"] == pytest.approx(2 / 3)
    # The confidences are 0.6 (three times), 0.7, 0.8, 0.9. At 0.8 the second halts in the middle.
    found = {round(p["theta"], 6): (p["accuracy"], p["mean_cost"]) for p in points}
    expected = {0.6: (2 / 3, 0.0), 0.7: (1.0, 2 / 3), 0.8: (1.0, 4 / 3), 0.9: (2 / 3, 2.0)}
    assert found == {theta: pytest.approx(point) for theta, point in expected.items()}


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(halting_nets, "_STEPS", 3)
    monkeypatch.setattr(early_exit, "_PRIORS", (0.1, 0.5, 0.9))
    monkeypatch.setattr(early_exit, "_TAUS", (0.01,))
    monkeypatch.setattr(early_exit, "_QUANTILES", (0.3, 0.6))


def test_no_test_label_has_a_say(short):
    rng = np.random.default_rng(0)

    def split(count):
        probs = rng.dirichlet(np.ones(3), (count, 3))
        cost = np.cumsum(rng.random((count, 3)), axis=1).astype(np.float32)
        features = rng.normal(size=(count, 3, 4)).astype(np.float32)
        labels = rng.integers(0, 3, count).astype(np.int32)
        return Exits(agent.Phi(features, features), np.log(probs).astype(np.float32), cost, labels)

    splits = {name: split(60) for name in ("train", "validation", "test")}
    other = splits["test"]
    other = Exits(other.phi, other.log_probs, other.cost, (other.labels + 1) % 3)
    net = halting_nets.HaltingNet(4)
    found = early_exit.trained(net, splits, 0.7, 0)
    again = early_exit.trained(net, splits | {"test": other}, 0.7, 0)
    assert {name: len(points) for name, points in found.items()} == {
        "pondernet": 4, "q_exit": 3, "act": 2
    }  # fmt: skip
    for name, points in found.items():
        assert (points[0]["mean_cost"], points[0]["validation_mean_cost"]) == (0.0, 0.0)
        assert points[0]["accuracy"] == splits["test"].correct[:, 0].mean()
        for point, without in zip(points, again[name], strict=True):
            assert point | {"accuracy": 0} == without | {"accuracy": 0}
        assert points != again[name]
    # The test split has no say in Q-exit's prior; the validation split has.
    assert len({point["prior"] for point in found["q_exit"][1:]}) == 1


@pytest.mark.slow
def test_a_run_is_compared(opened, short):
    record = early_exit.measure(*opened)
    assert record["examples"] == {"train": 797, "validation": 500, "test": 500}
    assert list(record["at_agent_cost"]) == ["agent", "early_exit", "pondernet", "q_exit", "act"]
    budget = record["at_agent_cost"]["agent"]["mean_cost"]
    assert all(0 <= at["mean_cost"] <= budget for at in record["at_agent_cost"].values())
    names = [name for name, *_ in early_exit.table(record).rows]
    assert names == ["agent", "early exit", "PonderNet", "Q-exit", "ACT"]
