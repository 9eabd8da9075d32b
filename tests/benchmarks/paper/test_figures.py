"""Figures of several configs: a point or a line for every seed, none where a part is missing."""

import json

import numpy as np
from sample_records import SUMMARY, lines, write

from benchmarks.paper import figures
from train.analysis.seeds import Group


def test_models_are_points_and_means_by_layers():
    alone, shared = {0: [0.8, 0.9], 1: [], 2: [0.95]}, {0: [0.7], 1: [0.75], 2: [0.9]}
    figure = figures.models("digits", alone, shared)
    found = lines(figure)
    np.testing.assert_allclose(found["trained on this route alone"][:, 1], [0.85, 0.95])
    np.testing.assert_allclose(found["DynaLay's weights on this route"][:, 1], [0.7, 0.75, 0.9])
    sizes = [len(line.get_ydata()) for line in figure.axes[0].lines]
    assert sizes == [2, 1, 2, 1, 1, 1, 3]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["trained on this route alone", "DynaLay's weights on this route"]
    assert figures.models("digits", {0: []}, shared) is None


def test_warmup_needs_both(tmp_path):
    with_it = write(tmp_path / "a"), write(tmp_path / "b")
    without = (write(tmp_path / "c", phases=("joint",)),)
    runs = [Group("digits", with_it, 2 * (SUMMARY,)), Group("digits_no", without, (SUMMARY,))]
    figure = figures.warmup("digits", dict(zip(("with", "without"), runs, strict=True)))
    assert [line.get_xydata().shape for line in figure.axes[0].lines] == 3 * [(3, 2)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["with", "without"]
    np.testing.assert_allclose(lines(figure)["with"], [(30, np.nan), (60, 0.55), (90, 0.55)])
    np.testing.assert_allclose(lines(figure)["without"][:, 1], [0.55, 0.55, 0.55])
    assert figures.warmup("digits", {"with": runs[0], "without": None}) is None


def test_static_nets_are_beside_the_curve(tmp_path):
    """A net of as many MACs as the config's straight pass costs nothing beyond it."""
    workdir = tmp_path / "digits-0"
    workdir.mkdir()
    points = {"agent": [{"price": 0.1, "mean_cost": 1.0, "accuracy": 0.93}], "routers": {}}
    (workdir / "curve.json").write_text(json.dumps(points))
    own = Group("digits", (workdir,), (SUMMARY | {"mean_macs": 4e6, "mean_cost": 1.0},))
    macs = {"model_0": (2e6, 2e6), "wide_3x": (6e6,)}
    net = lambda name, macs: Group(
        f"digits_{name}",
        (),
        tuple(
            SUMMARY | {"mean_macs": each, "test_accuracy": 0.9 + i / 50}
            for i, each in enumerate(macs)
        ),
    )
    found = lines(figures.static(own, [net(*each) for each in macs.items()]))
    np.testing.assert_allclose(found["agent, by price λ"], [(1.0, 0.93)])
    np.testing.assert_allclose(found["model_0"], [(0.0, 0.91)])
    np.testing.assert_allclose(found["wide_3x"], [(2.0, 0.9)])
    assert figures.static(own, []) is None


def test_times_are_curves_of_agent_random_and_confidence_and_points():
    row = lambda kind, ms, accuracy, price=None: {
        "kind": kind, "median_ms": ms, "accuracy": accuracy, "macs": 10 * ms, "price": price,
        "p10_ms": ms - 0.1, "p90_ms": ms + 0.2,
    }  # fmt: skip
    rows = [
        row("none", 1.0, 0.6),
        row("", 1.1, 0.6),
        row("agent", 3.0, 0.8, 0.3),
        row("agent", 4.0, 0.9, 0.1),
        row("random", 5.0, 0.7),
        row("random", 2.0, 0.65),
        row("all layers", 9.0, 0.95),
    ]
    figure = figures.times("digits", {"rows": rows})
    found = lines(figure)
    assert sorted(found) == ["agent, by price λ", "all layers", "random", "straight pass"]
    np.testing.assert_allclose(found["agent, by price λ"], [(4.0, 0.9), (3.0, 0.8)])
    np.testing.assert_allclose(found["random"], [(2.0, 0.65), (5.0, 0.7)])
    assert "milliseconds" in figure.axes[0].get_xlabel()
    bars = [bar.get_segments()[0].tolist() for bar in figure.axes[0].collections]
    assert len(bars) == 6 and bars[-1] == [[8.9, 0.95], [9.2, 0.95]], "of all that have a kind"
