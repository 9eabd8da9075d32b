"""The choice of a setting: from reports made up so that the right one is known, and of a run."""

import json

import numpy as np
import pytest
from short_run import begun, tiny

from train import loop
from train import workdir as workdirs
from train.errors import UserError
from train.evaluate import Report
from train.studies import calibrate
from train.studies.calibrate import Setting

pytestmark = pytest.mark.usefixtures("flax_promotion")

# As many validation as test examples, so that both are evaluated with one program.
SMALL = {"model.widths": (4, 4), "model.agent_hidden": 1, "data.validation": 500}
ALL = Setting("all", 0.1)
PRICES = (0.01, 0.1, 1.0, 10.0)
CANDIDATES = [[Setting("agent", price) for price in PRICES]]


def reports(wrong, costs=(4.0, 3.0, 2.0, 1.0)):
    """All layers are always right and cost 9; the agent is wrong where wrong[price] says so."""
    n, cost = len(next(iter(wrong.values()))), dict(zip(PRICES, costs, strict=True))

    def report(split, router="agent", price=0.1):
        everything = router == "all"
        correct = np.ones(n, bool) if everything else ~wrong[price]
        return Report({"correct": correct, "cost": np.full(n, 9 if everything else cost[price])}, 1)

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
    """In 1,000 worlds the choice exceeds the risk in no more than delta of them, but for chance."""
    rng, rates, risk, delta = np.random.default_rng(0), (0.01, 0.0501, 0.06), 0.05, 0.1
    candidates = [CANDIDATES[0][:split], CANDIDATES[0][split:3]] if split < 3 else CANDIDATES
    candidates = [sequence[:3] for sequence in candidates]
    broken = useful = 0
    for _ in range(1000):
        place = rng.random(300)  # a cheaper setting is wrong where a dearer one is, and elsewhere
        wrong = {price: place < rate for price, rate in zip(PRICES, rates, strict=False)}
        choice, _ = calibrate.choose(reports(wrong), ALL, candidates, risk, delta)
        broken += choice.router == "agent" and rates[PRICES.index(choice.price)] > risk
        useful += choice != ALL
    assert 0 < broken <= 1000 * (delta + 2 * np.sqrt(delta * (1 - delta) / 1000))
    assert useful > 950


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


@pytest.fixture(scope="module")
def run(tmp_path_factory, flax_promotion):
    """Workdir of a run whose weights are those it began with."""
    return begun(tiny(**SMALL), tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("router", ["agent", "confidence"])
def test_a_run_is_calibrated(run, capsys, monkeypatch, router):
    monkeypatch.setattr(calibrate, "_COUNT", 3)
    record = calibrate.calibrate(run, 0.3, 0.1, router)
    assert json.loads((run / f"calibrated_{router}.json").read_text()) == record
    assert record["validation_examples"] == 500
    assert len(record["settings"]) == 1 + 3 * (1 if router == "agent" else 3)
    # As the choice does in an evaluation of its own.
    choice, test = record["choice"], record["test"]
    assert choice["router"].startswith(router)
    alone = loop.evaluate_only(tiny(**SMALL, **choice), run)
    assert (test["accuracy"], test["cost"]) == (alone["accuracy"], alone["mean_cost"])
    everything = loop.evaluate_only(tiny(**SMALL, router="all"), run)
    assert test["extra_error"] == pytest.approx(everything["accuracy"] - alone["accuracy"])
    assert test["all_layers_cost"] == everything["mean_cost"]
    said = capsys.readouterr().out
    assert f"Chosen at risk 0.3, delta 0.1: {router}" in said and "Test split of 500" in said


def test_a_baseline_has_nothing_to_calibrate(run, monkeypatch):
    original = workdirs.trained_config
    monkeypatch.setattr(workdirs, "trained_config", lambda w: tiny(**SMALL, router="all"))
    with pytest.raises(UserError, match=r"expected a run with an agent, got a baseline's"):
        calibrate.calibrate(run, 0.3, 0.1, "agent")
    assert original(run).router == "agent"


def test_where_nothing_passes_it_is_told(run, capsys, monkeypatch):
    monkeypatch.setattr(calibrate, "_COUNT", 3)
    monkeypatch.setattr(calibrate, "p_value", lambda x, risk: 1.0)
    record = calibrate.calibrate(run, 0.3, 0.1, "agent")
    said = " ".join(capsys.readouterr().out.split())
    assert record["choice"]["router"] == "all" and record["test"]["extra_error"] == 0.0
    assert "No setting passed" in said and "500 examples do not suffice" in said


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--risk=0"], "--risk: expected a number between 0 and 1, got 0."),
        (["--delta=1.5"], "--delta: expected a number between 0 and 1, got 1.5."),
        (["--risk=nan"], "--risk: expected a number between 0 and 1, got nan."),
        (["--risk=some"], "--risk: invalid float value: 'some'"),
        (["--router=agnt"], "Did you mean 'agent'?"),
        (["--rsk=0.1"], "unrecognized arguments: --rsk=0.1"),
        ([], "expected the workdir of a run, but config.json or data.json is missing"),
    ],
)
def test_mistakes_are_answered_in_one_line(tmp_path, monkeypatch, capsys, args, said):
    monkeypatch.setattr("sys.argv", ["calibrate", str(tmp_path), *args])
    with pytest.raises(SystemExit) as exit:
        calibrate.main()
    error = capsys.readouterr().err
    assert exit.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1
    assert said in error


def test_a_run_that_cannot_be_calibrated_says_why(run, tmp_path):
    for name in ("config", "data"):
        (tmp_path / f"{name}.json").write_text((run / f"{name}.json").read_text())
    with pytest.raises(UserError, match=r"No checkpoint in .*: train first"):
        calibrate.calibrate(tmp_path, 0.1, 0.1, "agent")
    config = workdirs.trained_config(run)
    config.data.validation = 0
    (tmp_path / "config.json").write_text(config.to_json_best_effort())
    with pytest.raises(UserError, match=r"config\.data\.validation: expected 1 or more, got 0"):
        calibrate.calibrate(tmp_path, 0.1, 0.1, "agent")
