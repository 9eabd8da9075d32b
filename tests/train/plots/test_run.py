"""Figures: the right lines in them, and none from records that are not there."""

import json

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
import numpy as np
from PIL import Image
import pytest
from sample_records import CURVE, SUMMARY, lines, write

from train.errors import UserError
from train.metrics import MetricWriter
from train.plots.run import draw
from train.workdir import write_record

NAMES = ["loss", "accuracy", "reward", "selection", "price_actions", "price_curve"]


@pytest.fixture
def figures(monkeypatch):
    """What is saved, by name, as figures."""
    kept = {}
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: kept.update({path.stem: figure}))
    return kept


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The figures of sample records."""
    kept = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, path: kept.update({path.stem: figure}))
        workdir = write(tmp_path_factory.mktemp("runs") / "digits-3")
        write_record(workdir, "summary", SUMMARY | {"price": 0.1})
        write_record(workdir, "config", {"data": {"name": "digits", "validation": 200}})
        draw(workdir)
    return kept


def test_draws_all(tmp_path):
    files = draw(write(tmp_path))
    assert files == [tmp_path / "figures" / f"{name}.png" for name in NAMES]
    for file in files:
        with Image.open(file) as image:
            assert image.size == (900, 600)


def test_lines(drawn):
    loss = lines(drawn["loss"])
    total = "training, minus the reward"
    assert list(loss) == ["training, cross-entropy", total, "validation, agent's routes"]
    np.testing.assert_allclose(loss[total], [(s, 1 / s) for s in range(1, 91)])
    on_routes = loss["validation, agent's routes"]
    np.testing.assert_allclose(on_routes, [(30, np.nan), (60, 1.5), (90, 1.5)])
    accuracy = lines(drawn["accuracy"])
    assert list(accuracy) == ["agent", "straight pass", "all layers"]
    assert "± standard error" in drawn["accuracy"].axes[0].get_ylabel()
    # In the first phase the agent is as it began: a gap, not a line that means nothing.
    np.testing.assert_allclose(accuracy["agent"], [(30, np.nan), (60, 0.55), (90, 0.55)])
    gained, subtracted = drawn["reward"].axes
    labels = lambda axes: [line.get_label() for line in axes.lines]
    assert labels(gained) == ["reward", "being right, α"]
    assert labels(subtracted) == ["cost, β·C", "price, λ·n·C"]
    assert subtracted.get_ylim()[1] < 0.1 < gained.get_ylim()[1], "costs would not be seen"
    begins, _ = drawn["reward"].axes[0].get_xlim()
    assert begins > 25, "not before there is a reward, in the second phase"
    areas = drawn["selection"].axes[0].collections
    assert [area.get_label() for area in areas] == ["straight pass", "layer 1", "layer 2"]
    tops = [area.get_paths()[0].vertices[:, 1].max() for area in areas]
    np.testing.assert_allclose(tops, [0.5, 0.8, 1.0])
    (entropy,) = drawn["selection"].axes[1].lines
    np.testing.assert_allclose(entropy.get_xydata(), [(step, 0.7) for step in range(31, 91)])
    for figure in drawn.values():
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert len(labels) == len(set(labels)) >= 3
        assert figure.get_suptitle() and all(axes.get_ylabel() for axes in figure.axes)
        assert any(axes.get_xlabel() for axes in figure.axes)


def test_the_run_and_its_phases_are_named(drawn):
    assert drawn["loss"].get_suptitle() == "digits-3: Loss"
    texts = drawn["loss"].axes[0].texts
    names = [text.get_text().replace("\n", " ") for text in texts]
    assert names == ["model warm-up", "agent warm-up", "joint"]
    assert [text.xy[0] for text in texts] == [16.0, 46.0, 75.5]


def test_price_curve(drawn):
    axes = drawn["price_curve"].axes[0]
    curve = lines(drawn["price_curve"])
    known = [name for name in curve if not name.startswith("_")]
    assert known == ["agent, by price λ", "random", "one route for all"]
    np.testing.assert_allclose(curve["agent, by price λ"][:, 0], [1.8, 1.0, 0.1, 0.1])
    np.testing.assert_allclose(curve["random"][:, 0], [0.9, 1.7])
    np.testing.assert_allclose(curve["one route for all"][:, 0], [0, 5.2])
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["λ = 0.1 (default)", "straight pass", "all layers"]
    agent, *_ = axes.collections
    np.testing.assert_allclose(
        agent.get_segments()[0][:, 1], 0.67 + np.array([-1, 1]) * 0.0149, atol=1e-4
    )


def test_actions_by_price(drawn):
    shares, accuracy = drawn["price_actions"].axes
    assert [text.get_text() for text in shares.get_xticklabels()] == [
        "0",
        "0.1\n(default)",
        "1",
        "2",
    ]
    labels = [bars.get_label() for bars in shares.containers]
    assert labels == ["straight pass", "layer 1", "layer 2"]
    heights = [[bar.get_height() for bar in bars] for bars in shares.containers]
    np.testing.assert_allclose(heights[0], [0.1, 0.5, 0.9, 1.0])
    np.testing.assert_allclose([bar.get_y() for bar in shares.containers[2]], [0.4, 0.8, 1, 1])
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), [0.67, 0.66, 0.62, 0.6201])
    labels = [text.get_text() for text in drawn["price_actions"].legends[0].get_texts()]
    assert labels[-1] == "accuracy (right)"


def test_no_accuracy_is_above_1(tmp_path, figures):
    point = CURVE["agent"][0]
    for accuracy in (0.974, 1.0):
        agent = [point | {"price": price, "accuracy": accuracy} for price in (0.1, 1.0)]
        draw(write(tmp_path / str(accuracy), curve=CURVE | {"agent": agent}))
        low, high = figures["price_actions"].axes[1].get_ylim()
        assert low < accuracy < high < 1.01


def test_routers_that_were_compared(tmp_path, figures):
    """Those with one point are one series; halting rules have a figure of their own."""
    point = {"mean_cost": 0.9, "accuracy": 0.64}
    confidence = [point, point | {"mean_cost": 0.2}]
    routers = CURVE["routers"] | {"two thresholds": point, "shuffled": point}
    routers |= {"layer 1": point, "confidence": confidence, "oracle": confidence}
    workdir = write(tmp_path, curve=CURVE | {"routers": routers})
    points = [{"mean_cost": 3.0, "accuracy": 0.65}, {"mean_cost": 0.0, "accuracy": 0.6}]
    record = {"at_agent_cost": {}, "pondernet": points, "act": points[1:]}
    (workdir / "early_exit.json").write_text(json.dumps(record))
    draw(workdir)
    curve, rules = (lines(figures[name]) for name in ("price_curve", "halting"))
    np.testing.assert_allclose(curve["at the agent's cost"], 2 * [[0.9, 0.64]])
    texts = [text.get_text() for text in figures["price_curve"].axes[0].texts]
    assert {"two thresholds", "shuffled", "layer 1"} <= {*texts}
    np.testing.assert_allclose(rules["PonderNet"], [(0.0, 0.6), (3.0, 0.65)])
    assert "ACT" in rules and "confidence" in rules and "Q-exit" not in rules
    for figure in (figures["price_curve"], figures["halting"]):
        assert len(figure.legends[0].get_texts()) <= 6


def test_nothing_overlaps(tmp_path, figures):
    """Title, phase names, axes with their labels, and legend are apart, and inside the figure."""
    draw(write(tmp_path, phases=("model warm-up", *6 * ["joint"], "agent fine-tuning", "last")))
    assert list(figures) == NAMES
    for figure in figures.values():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        extent = lambda artist, renderer=canvas.get_renderer(): artist.get_tightbbox(renderer)
        title, axes, legend = map(extent, (figure._suptitle, figure.axes[0], figure.legends[0]))
        assert 0 <= legend.y0 < legend.y1 <= axes.y0 < axes.y1 <= title.y0 < title.y1 <= 600
        assert 0 <= axes.x0 < axes.x1 <= 900
        assert 0 <= legend.x0 < legend.x1 <= 900
        right = extent(figure.axes[-1])
        assert axes.y0 >= legend.y1 and right.x1 <= 900 and right.y1 <= title.y0
        texts = [extent(text) for text in figure.axes[0].texts]
        assert len(texts) >= 2 or len(figure.axes) == 2
        assert not any(a.overlaps(b) for i, a in enumerate(texts) for b in texts[:i])


def test_missing_records(tmp_path, figures):
    """A phase turned off, a run that has just begun, values that are not finite."""
    names = lambda workdir: [file.stem for file in draw(workdir)]
    assert names(write(tmp_path / "a", phases=("model warm-up",), curve=None)) == NAMES[:2]
    assert names(write(tmp_path / "b", phases=("joint",), curve={"agent": []})) == NAMES[:4]
    writer = MetricWriter(tmp_path / "c", 0)
    assert names(tmp_path / "c") == []
    nan = float("nan")
    writer.write(1, "train", {"phase": "model", "loss": nan, "action_0": nan, "action_1": 1.0})
    writer.write(1, "validation", {"phase": "joint", "agent_accuracy": 0.5})
    writer.close()
    (tmp_path / "c" / "curve.json").write_text(json.dumps({"agent": CURVE["agent"][:1]}))
    assert names(tmp_path / "c") == ["accuracy", *NAMES[3:]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("curve.json", {"agent": [CURVE["agent"][0], CURVE["agent"][1] | {"actions": [1.0]}]}),
        ("metrics.jsonl", {"step": 1, "split": "train", "loss": "b"}),
    ],
)
def test_records_that_no_run_writes(tmp_path, name, content):
    (write(tmp_path) / name).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"expected records as a run writes them, .*Error: .*again"):
        draw(tmp_path)


def test_errors_are_for_the_user(tmp_path):
    with pytest.raises(UserError, match="expected the workdir of a run"):
        draw(tmp_path)
    write(tmp_path)
    (tmp_path / "curve.json").write_text("{")
    with pytest.raises(UserError, match=r"Cannot read .*curve.json"):
        draw(tmp_path)
    (tmp_path / "curve.json").unlink()
    (tmp_path / "figures").write_text("")
    with pytest.raises(UserError, match=r"Cannot write .*loss.png: File exists"):
        draw(tmp_path)
