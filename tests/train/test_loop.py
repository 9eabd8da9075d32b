"""A whole run, small: what it writes, that it resumes bit by bit, what it says when it cannot."""

import dataclasses
import json
import os
import shutil
import signal
import types

import numpy as np
import pytest
from short_run import PER_CALL, tiny

from dynalay_jax import Predictor
from train import loop
from train.cli import Interrupted
from train.config import check
from train.console import Clock
from train.data import batches, loading
from train.data.types import Parts, Split
from train.errors import UserError
from train.evaluate import Report
from train.loop import Recorder
from train.metrics import read_metrics
from train.run import Run, reopen
from train.schedule import Phase
from train.state import fingerprint

pytestmark = pytest.mark.usefixtures("flax_promotion")


slow = lambda value: pytest.param(value, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, flax_promotion):
    """Workdir and summary of a run that nothing happened to."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    return workdir, loop.train_and_evaluate(tiny(), workdir)


def test_arrays_from_python_train_the_same_model(undisturbed, tmp_path):
    data = loading.load(check(tiny()).data)
    parts = Parts(data.train, data.validation, data.test, data.classes)
    summary = loop.train_and_evaluate(tiny(), tmp_path, loading.complete(parts, "mine"))
    assert summary["data"] == "mine"
    assert summary["params_sha256"] == undisturbed[1]["params_sha256"]
    with pytest.raises(UserError, match="pass them again, in Python"):
        reopen(tmp_path)


def test_arrays_that_are_no_images_are_refused(tmp_path):
    data = loading.load(check(tiny()).data)
    floats = Split(data.train.images.astype(np.float32), data.train.labels)
    wrong = dataclasses.replace(data, train=floats)
    with pytest.raises(UserError, match=r"expected images of uint8 .* got float32"):
        loop.train_and_evaluate(tiny(), tmp_path, wrong)


def at_step(monkeypatch, wanted, action):
    """Calls action() when training asks for the examples of that step."""
    original = batches.batch_indices

    def batch_indices(count, batch, seed, first, steps):
        if first == wanted:
            action()
        return original(count, batch, seed, first, steps)

    monkeypatch.setattr(batches, "batch_indices", batch_indices)


def test_summary_holds_the_comparison(undisturbed):
    workdir, summary = undisturbed
    assert json.loads((workdir / "summary.json").read_text()) == json.loads(json.dumps(summary))
    shares = [v for k, v in summary.items() if k.endswith("_accuracy")]
    assert len(shares) == 9 and all(0 <= share <= 1 for share in shares)
    assert summary["test_examples"] == 500 and summary["steps"] == 18
    assert len(summary["params_sha256"]) == 64
    keys = {"steps_when_straight_wrong", "steps_when_straight_right"}
    assert keys <= set(summary)


def test_workdir_holds_the_run(undisturbed):
    workdir, _ = undisturbed
    files = {"config.json", "versions.json", "metrics.jsonl", "curve.json", "summary.json",
             "gallery.json", "residuals.json"}  # fmt: skip
    assert files <= {path.name for path in workdir.iterdir()}
    assert len(list((workdir / "figures").glob("*.png"))) == 8
    records = read_metrics(workdir)
    steps = [r["step"] for r in records if r["split"] == "train"]
    assert steps == list(range(PER_CALL, 19, PER_CALL))
    assert [r["phase"] for r in records if r["split"] == "train"][::3] == ["main", "agent", "joint"]


def test_the_model_of_a_run_predicts_as_its_summary_says(undisturbed):
    workdir, summary = undisturbed
    predictor, test = Predictor.load(workdir), Run.prepare(tiny(), workdir).dataset.test
    found = predictor.predict(test.images)
    assert np.mean(found.labels == test.labels) == pytest.approx(summary["test_accuracy"], abs=0.01)
    assert found.macs.mean() == pytest.approx(summary["mean_macs"], rel=0.01)
    assert {point.price for point in predictor.curve} == {0.03, 0.1, 1.0}


def test_a_run_that_has_its_summary_has_everything(undisturbed, tmp_path, monkeypatch):
    trained = shutil.copytree(undisturbed[0], tmp_path / "run")
    for name in ("summary", "curve"):
        (trained / f"{name}.json").unlink()

    def draw(workdir):
        assert (workdir / "curve.json").exists()
        raise UserError("disk full")

    monkeypatch.setattr(loop, "draw", draw)
    with pytest.raises(UserError, match="disk full"):
        loop.train_and_evaluate(tiny(), trained)
    assert not (trained / "summary.json").exists()


@pytest.mark.parametrize("wanted", [slow(4), 10, slow(16)])
def test_sigterm_saves_and_the_run_goes_on_bit_by_bit(undisturbed, tmp_path, monkeypatch, wanted):
    with monkeypatch.context() as patch:
        at_step(patch, wanted, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted, match=f"SIGTERM at step {wanted + PER_CALL}; saved"):
            loop.train_and_evaluate(tiny(), tmp_path)
    assert (tmp_path / "checkpoints" / str(wanted + PER_CALL)).is_dir()
    summary = loop.train_and_evaluate(tiny(), tmp_path)
    assert summary["params_sha256"] == undisturbed[1]["params_sha256"]
    steps = [r["step"] for r in read_metrics(tmp_path) if r["split"] == "train"]
    assert steps == list(range(PER_CALL, 19, PER_CALL))


@pytest.mark.slow
def test_a_crash_loses_only_what_came_after_the_last_checkpoint(undisturbed, tmp_path, monkeypatch):
    def crash():
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        at_step(patch, 12, crash)
        with pytest.raises(RuntimeError, match="power cut"):
            loop.train_and_evaluate(tiny(), tmp_path)
    summary = loop.train_and_evaluate(tiny(), tmp_path)
    assert summary["params_sha256"] == undisturbed[1]["params_sha256"]


@pytest.mark.slow
def test_corrupt_newest_checkpoint_falls_back(undisturbed, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        at_step(patch, 10, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted):
            loop.train_and_evaluate(tiny(), tmp_path)
    for path in (tmp_path / "checkpoints" / "12").rglob("*"):
        if path.is_file():
            path.write_bytes(b"junk")
    capsys.readouterr()
    summary = loop.train_and_evaluate(tiny(), tmp_path)
    said = capsys.readouterr().out
    assert "12" in said.split("Resumed from step")[0]
    assert "Resumed from step 10" in said
    assert summary["params_sha256"] == undisturbed[1]["params_sha256"]


def test_non_finite_loss_stops_the_run(tmp_path):
    # Every update multiplies kernels by up to -99.
    diverging = {f"train.{name}": 10.0 for name in ("learning_rate", "weight_decay", "epochs.main")}
    with pytest.raises(UserError, match=r"not finite at step \d+; last good checkpoint: .*\. Try"):
        loop.train_and_evaluate(tiny(**diverging), tmp_path)


def test_seeds_differ():
    starts = (Run.prepare(tiny(seed=seed), None).initial().params for seed in (0, 1))
    assert len(set(map(fingerprint, starts))) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {
            # On CPUs every step of a call is compiled by itself.
            "train.steps_per_call": 1,
            "train.ema": 0.9,
            "train.accumulate": 2,
            "objective.estimator": "gumbel",
            "model.cell": "concave",
            "model.widths": (4, 4),
            "model.strides": (2, 1),
        },
        {
            "train.epochs.main": 0.0,
            "train.epochs.agent": 0.0,
            "model.dtype": "bfloat16",
            "model.residual_features": True,
            "model.rounds": 2,
            "objective.estimator": "reinforce",
        },
    ],
    ids=lambda changes: "+".join(changes),
)
def test_every_option_runs(tmp_path, changes):
    summary = loop.train_and_evaluate(tiny(**changes), tmp_path)
    assert np.isfinite(summary["test_loss"])


def test_evaluation_of_a_checkpoint_with_another_router(undisturbed):
    workdir, summary = undisturbed
    evaluate = lambda router, price=0.1: loop.evaluate_only(
        tiny(router=router, price=price), workdir
    )
    assert evaluate("agent")["accuracy"] == summary["test_accuracy"]
    speed = {"images_per_second": 0}
    assert evaluate("none", 3.0) | speed == {
        "router": "none",
        "price": 3.0,
        "step": 18,
        "data": {"name": "digits", "validation": 200},
        "test_examples": 500,
        "mean_cost": 0.0,
        "accuracy": summary["straight_accuracy"],
        "actions": [1.0, 0.0, 0.0],
        **speed,
    }
    names = {path.stem for path in workdir.glob("eval_*.json")}
    assert {"eval_agent_0.1", "eval_none_3"} <= names
    assert evaluate("all")["mean_cost"] == summary["all_layers_cost"]
    assert 0 < evaluate("random:0.5")["mean_cost"] < evaluate("random:1.5")["mean_cost"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.batch_size": 66}, "multiple of the 4 devices, got 66; the nearest is 64"),
        ({"train.batch_size": 4096}, "at most the 1097 training examples, got 4096"),
        ({"train.accumulate": 10_000}, r"accumulate: expected at most the \d+ steps of the run"),
        (
            {"model.cell": "cascade", "model.widths": (8, 30)},
            "config.model.widths: expected multiples of the cascade's 4 groups, got 30",
        ),
        ({"data.name": "digit"}, "Did you mean 'digits'"),
        (
            {"price_range": (0.1,)},
            "config.price_range: expected two numbers, 1e-06 to 1,000,000 each",
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_bad_configs_are_answered_in_one_line(tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        loop.train_and_evaluate(tiny(**changes), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "router",
    ["agnt", "random", "random:x", "random:-1", "random:nan", "random:9", "confidence:2", "all:3"],
)
def test_bad_routers_are_answered_in_one_line(undisturbed, router):
    with pytest.raises(UserError, match=r"config\.router") as caught:
        loop.evaluate_only(tiny(router=router), undisturbed[0])
    assert "\n" not in str(caught.value)


def test_the_best_checkpoint_can_be_evaluated(undisturbed):
    records = read_metrics(undisturbed[0])
    rated = {
        r["step"]: r["agent_accuracy"]
        for r in records
        if r["split"] == "validation" and r["phase"] != "main"
    }
    result = loop.evaluate_only(tiny(**{"checkpoint.evaluate": "best"}), undisturbed[0])
    assert rated[result["step"]] == max(rated.values())


# What is written down, warned of and refused while a run goes.
AGENT, MAIN = Phase("agent", 0, 9), Phase("main", 0, 9)


class Said(list):
    """Takes any call and remembers it."""

    def __getattr__(self, name):
        return lambda *args: self.append((name, *args))


def report(router, loss=0.5):
    """Straight is right for half, all layers for all; the agent iterates nothing."""
    correct = np.arange(100) < (100 if router == "all" else 50)
    iterated = np.full((100, 2), router == "all")
    each = {"correct": correct, "iterated": iterated, "cost": np.zeros(100)}
    return Report({**each, "loss": np.full(100, loss)}, 1.0)


def recorder(loss=0.5, router="agent"):
    evaluate = lambda params, split, router: report(router, loss)
    checkpoints = types.SimpleNamespace(newest=lambda: "checkpoints/4")
    writer = Said()
    task = types.SimpleNamespace(config=types.SimpleNamespace(router=router))
    return Recorder(task, evaluate, checkpoints, writer, None, Clock()), writer


STATE = types.SimpleNamespace(evaluated=None)


def test_a_collapsed_agent_is_warned_of(capsys):
    watch, _ = recorder()
    assert watch._validate(5, AGENT, STATE) == 0.5
    text = capsys.readouterr().out
    assert "the agent takes action 0 for 100" in text and "50.0 % would be right" in text


def test_no_checkpoint_is_rated_before_the_agent_is_trained(capsys):
    watch, writer = recorder()
    assert watch._validate(5, MAIN, STATE) is None
    assert "Warning" not in capsys.readouterr().out
    assert writer[0][:3] == ("write", 5, "validation")
    assert writer[0][3]["all_layers_accuracy"] == 1.0


def test_a_variant_without_an_agent_is_rated_by_its_route():
    watch, writer = recorder(router="all")
    assert watch._validate(5, MAIN, STATE) == 1.0
    assert writer[0][3]["all_accuracy"] == 1.0 and "agent_accuracy" not in writer[0][3]


def test_a_validation_loss_that_is_not_finite_is_refused():
    watch, _ = recorder(loss=np.nan)
    with pytest.raises(
        UserError, match=r"validation loss .* step 5; last good .*: checkpoints/4\."
    ):
        watch._validate(5, AGENT, STATE)
