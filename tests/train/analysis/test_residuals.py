"""Histograms of residuals: every iterated sample is counted once."""

import json

import numpy as np
from sample_records import RESIDUALS

from train.analysis import residuals
from train.evaluate import Report


def test_every_iterated_sample_is_counted_once():
    record = json.loads(json.dumps(RESIDUALS, allow_nan=False))
    agent, edges = record["routers"]["agent"], np.array(record["edges"])
    assert (agent["samples"], agent["zero"]) == (10, 3)
    counts = {tuple(edges[[i, i + 1]]): n for i, n in enumerate(agent["counts"]) if n}
    assert sum(counts.values()) == 5, "two are not finite"
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
