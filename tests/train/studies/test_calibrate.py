"""The choice of a setting from made-up reports, and of a run; the exact test."""

import numpy as np
import pytest
from scipy import stats
from short_run import tiny

from train.errors import UserError
from train.evaluate import Report
from train.studies import calibrate
from train.studies.calibrate import Setting

pytestmark = pytest.mark.usefixtures("flax_promotion")

ALL = Setting("all", 0.1)
PRICES = (0.01, 0.1, 1.0, 10.0)
CANDIDATES = [[Setting("agent", price) for price in PRICES]]


def reports(wrong, costs=(4.0, 3.0, 2.0, 1.0)):
    """All layers are always right and cost 9; the agent is wrong where wrong[price] says so."""
    n, cost = len(next(iter(wrong.values()))), dict(zip(PRICES, costs, strict=True))

    def report(split, router="agent", price=0.1):
        all_layers = router == "all"
        correct = np.ones(n, bool) if all_layers else ~wrong[price]
        return Report({"correct": correct, "cost": np.full(n, 9 if all_layers else cost[price])}, 1)

    return report


def mistakes(*counts, n=1000):
    return {price: np.arange(n) < count for price, count in zip(PRICES, counts, strict=True)}


def test_the_cheapest_that_passes_is_chosen():
    choice, rows = calibrate.choose(reports(mistakes(0, 1, 2, 50)), ALL, CANDIDATES, 0.02, 0.1)
    assert choice == Setting("agent", 1.0)
    assert [row["passed"] for row in rows] == [True, True, True, True, False]
    assert [row["validation_cost"] for row in rows] == [9, 4, 3, 2, 1]
    assert [row["validation_extra_error"] for row in rows] == [0, 0, 0.001, 0.002, 0.05]


def test_the_first_that_fails_ends_the_sequence():
    choice, rows = calibrate.choose(reports(mistakes(0, 50, 0, 0)), ALL, CANDIDATES, 0.02, 0.1)
    assert choice == Setting("agent", 0.01)
    assert [row["p_value"] <= 0.1 for row in rows] == [True, True, False]
    assert [row["passed"] for row in rows] == [True, True, False]


def test_the_cheapest_of_several_sequences_each_at_its_share_of_delta():
    report = reports(mistakes(0, 50, 3, 50))
    two = [CANDIDATES[0][:2], CANDIDATES[0][2:]]
    choice, rows = calibrate.choose(report, ALL, two, 0.02, 0.1)
    assert choice == Setting("agent", 1.0), "the end of one sequence is not that of the other"
    assert [row["passed"] for row in rows] == [True, True, False, True, False]
    p = rows[3]["p_value"]
    assert calibrate.choose(report, ALL, two, 0.02, 2.01 * p)[0] == Setting("agent", 1.0)
    assert calibrate.choose(report, ALL, two, 0.02, 1.99 * p)[0] != Setting("agent", 1.0)


def test_all_layers_where_nothing_passes_or_nothing_is_cheaper():
    assert calibrate.choose(reports(mistakes(*[50] * 4)), ALL, CANDIDATES, 0.02, 0.1)[0] == ALL
    dear = reports(mistakes(0, 50, 50, 50), [10.0] * 4)
    assert calibrate.choose(dear, ALL, CANDIDATES, 0.02, 0.1)[0] == ALL


@pytest.mark.parametrize("split", [3, 1], ids=["one sequence", "two"])
def test_the_promise_holds(split):
    """In 300 worlds the choice exceeds the risk in no more than delta of them, except by chance."""
    rng, rates, risk, delta = np.random.default_rng(0), (0.01, 0.0501, 0.06), 0.05, 0.1
    candidates = [CANDIDATES[0][:split], CANDIDATES[0][split:3]] if split < 3 else CANDIDATES
    candidates = [sequence[:3] for sequence in candidates]
    broken = useful = 0
    for _ in range(300):
        place = rng.random(300)  # a cheaper setting is wrong where a dearer one is, and elsewhere
        wrong = {price: place < rate for price, rate in zip(PRICES, rates, strict=False)}
        choice, _ = calibrate.choose(reports(wrong), ALL, candidates, risk, delta)
        broken += choice.router == "agent" and rates[PRICES.index(choice.price)] > risk
        useful += choice != ALL
    assert 0 < broken <= 300 * (delta + 2 * np.sqrt(delta * (1 - delta) / 300))
    assert useful > 285


def test_sequences_go_from_dear_to_cheap():
    config = tiny()
    (agent,) = calibrate.sequences("agent", config, 10)
    assert agent == sorted(agent, key=lambda s: s.price)
    assert (agent[0].price, agent[-1].price) == config.price_range
    confidence = calibrate.sequences("confidence", config, 10)
    names = ["confidence", *(f"confidence_{i + 1}" for i in range(len(config.model.widths)))]
    assert [sequence[0].router.partition(":")[0] for sequence in confidence] == names
    for sequence in confidence:
        thresholds = [float(setting.router.partition(":")[2]) for setting in sequence]
        assert thresholds == sorted(thresholds, reverse=True)
        assert thresholds[0] == 0.99999 and thresholds[-1] == 0.1


@pytest.mark.parametrize("router", ["agent", "confidence"])
def test_a_run_is_calibrated(opened, monkeypatch, router):
    monkeypatch.setattr(calibrate, "_COUNT", 3)
    run, params = opened
    record = calibrate.measure(run, params, 0.3, 0.1, router)
    assert (record["router"], record["validation_examples"]) == (router, 500)
    assert len(record["settings"]) == 1 + 3 * (1 if router == "agent" else 3)
    # As the choice does in an evaluation of its own.
    choice, test = record["choice"], record["test"]
    assert choice["router"].startswith(router)
    alone, all_layers = run.evaluate(params, "test", **choice), run.evaluate(params, "test", "all")
    assert (test["accuracy"], test["cost"]) == (alone.accuracy, alone.mean_cost)
    assert test["extra_error"] == pytest.approx(all_layers.accuracy - alone.accuracy)
    assert test["all_layers_cost"] == all_layers.mean_cost
    remarks = calibrate.table(record).remarks
    assert remarks[1].startswith(f"Choice at risk 0.3 and delta 0.1: {router}")
    assert "Test split of 500" in remarks[2]


def test_the_table_says_that_nothing_passed(opened, monkeypatch):
    run, params = opened
    monkeypatch.setattr(calibrate, "_COUNT", 1)
    monkeypatch.setattr(calibrate, "p_value", lambda x, risk: float(x.any()))
    wrong = lambda report, split, setting: np.ones(500, int) * (setting.router != "all")
    monkeypatch.setattr(calibrate, "extra_errors", wrong)
    record = calibrate.measure(run, params, 0.3, 0.1, "agent")
    assert record["choice"]["router"] == "all" and record["test"]["extra_error"] == 0.0
    assert "No setting passed" in " ".join(calibrate.table(record).remarks)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"router": "agnt"}, "--router: .* Did you mean 'agent'"),
        (
            {"risk": 0.005},
            r"--risk=0.005: expected at least 753 validation examples, got 500; .*--risk=0.008 or",
        ),
        ({"risk": 1e-9}, r"expected at least 128,000 validation"),
        ({"delta": 0.003, "router": "confidence"}, "--delta: expected more than 0.003, got 0.003"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_evaluated(opened, monkeypatch, options, said):
    monkeypatch.setattr(calibrate, "choose", None)
    with pytest.raises(UserError, match=said):
        calibrate.measure(*opened, **options)


@pytest.mark.parametrize(("needed", "risk"), [(376, 0.01), (753, 0.005), (10, 0.4)])
def test_one_example_fewer_than_needed_is_too_few(needed, risk):
    calibrate._expect_enough(needed, risk, 0.1, 1)
    with pytest.raises(UserError, match=f"at least {needed} validation examples"):
        calibrate._expect_enough(needed - 1, risk, 0.1, 1)


def differences(ones, minus, n):
    return np.repeat([1, -1, 0], [ones, minus, n - ones - minus])


def chances(mean, differing, n):
    """Probability [n + 1, n + 1] of every number of 1s and of −1s."""
    ones, minus = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    zeros = np.maximum(n - ones - minus, 0)
    up, down = (differing + mean) / 2, (differing - mean) / 2
    counts = np.stack([ones, minus, zeros], -1)
    return stats.multinomial.pmf(counts, n, [up, down, max(0.0, 1 - up - down)])


@pytest.mark.parametrize(("ones", "minus"), [(0, 0), (1, 0), (1, 2), (3, 3), (0, 4)])
def test_p_value_is_the_probability_of_so_small_a_sum_in_the_worst_case(ones, minus):
    n, risk, doubt = 60, 0.1, 1e-3
    x = differences(ones, minus, n)
    bound = stats.beta.ppf(1 - doubt, ones + minus + 1, n - ones - minus)
    tails = []
    for differing in np.linspace(risk, max(risk, bound), 9):
        probability = chances(risk, differing, n)
        sums = np.subtract.outer(np.arange(n + 1), np.arange(n + 1))
        tails.append(probability[sums <= x.sum()].sum())
    assert calibrate.p_value(x, risk) == pytest.approx(doubt + max(tails), rel=1e-9)
    assert max(tails) == tails[-1]


def test_level_holds_exactly():
    """Every outcome of 40 examples is weighed, at the edge of the hypothesis and inside it."""
    n, risk = 40, 0.1
    p = np.ones((n + 1, n + 1))
    for ones in range(n + 1):
        for minus in range(n + 1 - ones):
            p[ones, minus] = calibrate.p_value(differences(ones, minus, n), risk)
    for mean in (0.1, 0.1001, 0.15):
        for differing in (mean, 0.16, 0.2, 0.3, 0.5, 0.8, 1.0):
            probability = chances(mean, differing, n)
            assert probability.sum() == pytest.approx(1)
            for level in (0.002, 0.01, 0.05, 0.1, 0.2, 0.5):
                assert probability[p <= level].sum() <= level


def test_it_finds_what_is_there():
    # All agree, and that is next to impossible for 5 % of 1,000: only β is left.
    assert calibrate.p_value(differences(0, 0, 1000), 0.05) == pytest.approx(1e-3)
    # Half a per cent where one is allowed, of 2,000: found in two of three cases.
    rng, found = np.random.default_rng(0), []
    for _ in range(300):
        counts = rng.multinomial(2000, [0.007, 0.002, 0.991])
        found.append(calibrate.p_value(differences(*counts[:2], 2000), 0.01) <= 0.1)
    assert np.mean(found) > 0.55


def test_what_speaks_for_the_hypothesis_gives_one():
    assert calibrate.p_value(differences(30, 10, 1000), 0.01) == 1.0
    assert calibrate.p_value(differences(300, 300, 1000), 0.05) == 1.0  # too noisy to say
    assert calibrate.p_value(differences(0, 0, 20), 0.01) == 1.0  # too few
