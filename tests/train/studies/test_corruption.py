"""Evaluation on corrupted images: every image under every corruption, and the figure of it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from sample_records import CORRUPTION
from short_run import begun, tiny

from train.data.types import Split
from train.errors import UserError
from train.evaluate import Report
from train.metrics import MetricWriter
from train.plots import records
from train.studies import corruption as robustness
from train.studies.corruptions import CORRUPTIONS, SEVERITIES, corrupt

pytestmark = pytest.mark.usefixtures("flax_promotion")

SMALL = {"model.widths": (4, 4), "model.agent_hidden": 1}


def made(correct, confidence, cost=(0.0, 0.0, 4.0, 2.0)):
    each = {"correct": np.array(correct, bool), "confidence": np.array(confidence, np.float32)}
    cost = np.array(cost)
    return Report({**each, "cost": cost, "iterated": cost[:, None] > 0}, 1.0)


def test_a_row_says_what_each_router_did():
    reports = {
        "straight": made([1, 1, 0, 0], [0.5, 0.5, 0.5, 0.5], np.zeros(4)),
        "agent": made([1, 1, 1, 0], [1.0, 1.0, 1.0, 1.0]),
        "all_layers": made([1, 1, 1, 1], [0.9, 0.9, 0.9, 0.9]),
    }
    assert robustness.row(3, reports) == {
        "severity": 3,
        "straight_accuracy": 0.5,
        "agent_accuracy": 0.75,
        "all_layers_accuracy": 1.0,
        "agent_cost": 1.5,
        "no_operation": 0.5,
        "agent_ece": 0.25,
        "straight_ece": 0.0,
    }


IMAGES = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 1), np.uint8)


def brightness(params, data, router):
    """The agent's cost is an image's mean; it is right where that is of the original."""
    images = np.asarray(data.images[0])
    mean = images.mean((1, 2, 3)) * (router == "agent")
    return made((images == IMAGES).all((1, 2, 3)), np.ones(6), mean)


def test_every_image_is_seen_under_every_corruption():
    split = Split(IMAGES, np.zeros(6, np.int32))
    run = SimpleNamespace(dataset=SimpleNamespace(test=split), evaluate=brightness)
    found = robustness.measure(run, None)
    assert list(found["corruptions"]) == list(CORRUPTIONS)
    for name, rows in found["corruptions"].items():
        assert [row["severity"] for row in rows] == [0, *SEVERITIES]
        assert [row["agent_accuracy"] for row in rows] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        wanted = [IMAGES.mean(), *(corrupt(IMAGES, name, s).mean() for s in SEVERITIES)]
        assert [row["agent_cost"] for row in rows] == pytest.approx(wanted)
    costs = [[row["agent_cost"] for row in rows] for rows in found["corruptions"].values()]
    assert [row["agent_cost"] for row in found["mean"]] == pytest.approx(np.mean(costs, 0))
    assert 100 < found["uniform_noise"]["agent_cost"] < 155
    assert found["uniform_noise"]["agent_cost"] != costs[0][0]


@pytest.fixture
def run(tmp_path):
    """Workdir of a run whose weights are those it began with."""
    MetricWriter(tmp_path, 0).close()
    return begun(tiny(**SMALL), tmp_path)


def test_a_run_is_measured_and_drawn(run, monkeypatch, capsys):
    monkeypatch.setattr(robustness, "SEVERITIES", (5,))
    original, measured = robustness.measure, []
    monkeypatch.setattr(
        robustness, "measure", lambda *what: measured.append(what) or original(*what)
    )
    record = robustness.robustness(run)
    assert json.loads((run / "robustness.json").read_text()) == record
    assert (record["step"], record["test_examples"]) == (1, 500)
    assert (run / "figures" / "robustness.png").exists()
    opened, params = measured[0]
    alone = opened.evaluate(params, "test")
    clean, severe = record["corruptions"]["Gaussian noise"]
    assert clean == record["corruptions"]["contrast"][0]
    assert (clean["agent_accuracy"], clean["agent_cost"]) == (alone.accuracy, alone.mean_cost)
    assert severe != clean
    said = capsys.readouterr().out
    assert "Test set of 500: mean over Gaussian noise, Gaussian blur, contrast" in said
    assert "On images of uniform noise: mean cost" in said


def test_figure_has_a_column_for_each_corruption():
    figure = records.robustness(CORRUPTION)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["noise", "fog"]
    assert all(axes.get_ylabel() for axes in figure.axes[::2])
    assert all("severity" in axes.get_xlabel() for axes in figure.axes[4:])
    finite = lambda axes: {
        line.get_label() for line in axes.lines if np.isfinite(line.get_ydata()).all()
    }
    accuracy, cost, error = figure.axes[1::2]
    assert finite(accuracy) == {"agent", "straight pass", "all layers"}
    assert finite(cost) == {"agent"} and finite(error) == {"agent", "straight pass"}
    np.testing.assert_allclose(cost.lines[0].get_ydata(), 3 + np.arange(6) / 10)
    assert len(figure.legends[0].get_texts()) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data.name": "connectivity"}, "expected a run on images (digits, cifar10, cifar100)"),
        ({"router": "all"}, "expected a run with an agent, got a baseline's"),
        ({}, "train first"),
    ],
)
def test_runs_that_cannot_be_measured_say_why(tmp_path, changes, said):
    (tmp_path / "config.json").write_text(tiny(**SMALL, **changes).to_json_best_effort())
    (tmp_path / "data.json").write_text('{"mean": [0.3], "std": [0.4]}')
    with pytest.raises(UserError) as caught:
        robustness.robustness(tmp_path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_mistakes_are_answered_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["robustness", str(tmp_path)])
    with pytest.raises(SystemExit) as exit:
        robustness.main()
    error = capsys.readouterr().err
    assert exit.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1
    assert "expected the workdir of a run" in error
