"""Histograms of residuals: every iterated sample in one place, and the figure of them."""

import json

import numpy as np
from sample_records import RESIDUALS

from train.analysis import residuals
from train.evaluate import Report
from train.plots import records


def test_every_iterated_sample_is_counted_once():
    record = json.loads(json.dumps(RESIDUALS, allow_nan=False))
    agent, edges = record["routers"]["agent"], np.array(record["edges"])
    assert (agent["samples"], agent["zero"], agent["not_finite"]) == (10, 3, 2)
    counts = {tuple(edges[[i, i + 1]]): n for i, n in enumerate(agent["counts"]) if n}
    assert sum(counts.values()) == 5
    inside = lambda value: sum(n for (low, high), n in counts.items() if low <= value < high)
    assert [inside(v) for v in (9e-4, 1.1e-3, 2e-3)] == [1, 1, 1]
    assert agent["counts"][0] == agent["counts"][-1] == 1, "beyond the ends"
    assert agent["unconverged"] == 0.5
    assert record["routers"]["all_layers"]["samples"] == 12
    assert record["routers"]["all_layers"]["unconverged"] == 0.0
    assert record["tolerance"] == 1e-3


def test_tolerance_is_an_edge_where_it_is_a_power_of_ten():
    assert np.isclose(RESIDUALS["edges"], 1e-3, rtol=1e-12).any()


def test_nothing_iterated():
    each = {"iterated": np.zeros((3, 1), bool), "residual": np.full(3, np.nan, np.float32)}
    found = residuals.histogram(Report({**each, "converged": np.ones(3, bool)}, 1.0))
    assert found["samples"] == 0 == sum(found["counts"]) and found["unconverged"] is None
    record = RESIDUALS | {"routers": RESIDUALS["routers"] | {"agent": found}}
    labels = [t.get_text() for t in records.residuals(record).legends[0].get_texts()]
    assert labels == ["all layers: 12 iterated, 0.0% not converged", "tolerance"]


def test_figure_shows_shares_zeros_and_the_tolerance():
    figure = records.residuals(RESIDUALS)
    zero, axes = figure.axes
    assert [bar.get_height() for bar in zero.patches] == [0.3, 0.0]
    shares = [stairs.get_data().values.sum() for stairs in axes.patches]
    np.testing.assert_allclose(shares, [0.5, 1.0])
    assert list(axes.lines[0].get_xdata()) == [1e-3, 1e-3]
    assert axes.get_xscale() == "log" and "residual" in axes.get_xlabel()
    assert len(figure.legends[0].get_texts()) == 3
