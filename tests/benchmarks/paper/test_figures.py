"""Pictures of several runs: a line for every seed, a point for every static net."""

import numpy as np
import pandas as pd
from sample_records import SUMMARY, lines, write

from benchmarks.paper import figures
from benchmarks.paper.results import frame
from train.analysis.seeds import Group


def test_schedules_have_a_line_a_seed(tmp_path):
    both = write(tmp_path / "a"), write(tmp_path / "b")
    without = (write(tmp_path / "c", phases=("joint",)),)
    runs = [Group("digits", both, 2 * (SUMMARY,)), Group("digits_no", without, (SUMMARY,))]
    figure = figures.warmup("digits", dict(zip(("with", "without"), runs, strict=True)))
    assert [line.get_xydata().shape for line in figure.axes[0].lines] == 3 * [(3, 2)]
    np.testing.assert_allclose(lines(figure)["with"], [(30, np.nan), (60, 0.55), (90, 0.55)])
    np.testing.assert_allclose(lines(figure)["without"][:, 1], [0.55, 0.55, 0.55])


def test_static_nets_are_beside_the_curve():
    """A net with the MACs of the config's straight pass costs nothing beyond it."""
    curve = {"agent": [{"price": 0.1, "mean_cost": 1.0, "accuracy": 0.93}]}
    own = SUMMARY | {"mean_macs": 4e6, "config": "digits", "seed": 0, "curve": curve}
    rows = [("model_0", 2e6, 0.9), ("model_0", 2e6, 0.92), ("wide_3x", 6e6, 0.9)]
    nets = pd.DataFrame(rows, columns=["variant", "mean_macs", "test_accuracy"])
    figure = figures.costs(own, nets)
    np.testing.assert_allclose(lines(figure)["agent, by price λ"], [(1.0, 0.93)])
    np.testing.assert_allclose(lines(figure)["static nets"], [(0.0, 0.91), (2.0, 0.9)])
    assert [text.get_text() for text in figure.axes[0].texts] == ["model_0", "wide_3x"]
    assert "static nets" not in lines(figures.costs(own, nets[:0]))


def test_larger_data_have_the_static_nets_that_were_tested_on_them(record):
    of = lambda router, **values: {
        "extrapolate_grid": {
            "field": "grid",
            "trained": 10,
            "rows": [{"value": int(v[1:]), f"{router}_accuracy": a} for v, a in values.items()],
        }
    }
    static = lambda values: record(({"router": "none"}, of("straight", **values)))
    records = {
        "scales": record(({}, of("agent", v10=0.9, v20=0.8))),
        "scales_wide_2x": static({"v20": 0.2, "v10": 0.1, "v30": 0.3}),
        "scales_deep_2x": static({"v10": 0.1}),
    }
    drawn = figures.of_records(records, [])
    kinds = "price_curve", "price_actions", "extrapolate_grid"
    assert drawn.keys() == {f"scales_{kind}" for kind in kinds}
    found = lines(drawn["scales_extrapolate_grid"])
    np.testing.assert_allclose(found["wide_2x"], [(0, 0.1), (1, 0.2)])
    assert "deep_2x" not in found and len(frame(records)) == 3


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
    figure = figures.times("digits", {"rows": rows}, 0.3)
    found = lines(figure)
    known = [name for name in found if not name.startswith("_")]
    assert known == ["agent, by price λ", "random", "one route for all"]
    assert figure.axes[0].texts[0].get_text() == "λ = 0.3 (default)"
    np.testing.assert_allclose(found["agent, by price λ"], [(4.0, 0.9), (3.0, 0.8)])
    np.testing.assert_allclose(found["random"], [(2.0, 0.65), (5.0, 0.7)])
    bars = [bar.get_segments()[0].tolist() for bar in figure.axes[0].collections]
    assert len(bars) == 6 and bars[-1] == [[8.9, 0.95], [9.2, 0.95]], "of all that have a kind"
