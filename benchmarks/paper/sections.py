"""What runs say about the agent: one table a question, over the seeds of configs and variants."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks import routed_pass
from benchmarks.paper import study_sections
from benchmarks.paper.results import Records, frame
from benchmarks.paper.tables import (
    AGENT,
    ALL_LAYERS,
    CONVERGED,
    STRAIGHT,
    Columns,
    Section,
    averaged,
    per_layer,
    routes,
)
from dynalay_jax.layers.certified import LipschitzCell
from dynalay_jax.layers.registry import CELLS
from train.analysis.seeds import spread

_STEPS = {
    "steps, straight pass wrong": ("steps_when_straight_wrong", ".2f", 1),
    "steps, straight pass right": ("steps_when_straight_right", ".2f", 1),
}


def sections(records: Records, passes: Sequence[Mapping[str, Any]]) -> dict[str, Section]:
    """Every table that has rows, by the name that pages have for it.

    Args:
        records: of finished runs.
        passes: records of `benchmarks.routed_pass`.
    """
    runs = frame(records)
    if runs.empty:
        return {}
    agents = runs[runs.router == "agent"]
    made = {
        "accuracy": _accuracy(agents),
        "gap": _gap(agents),
        "cost": _cost(agents),
        "early_exit": study_sections.early_exit(records),
        "calibrate": study_sections.calibrate(records),
        "thinking": _thinking(agents),
        "difficulty_judge": study_sections.difficulty_judge(records),
        "static": _static(runs, passes),
        "larger": study_sections.larger(records),
        "corruption": study_sections.corruption(records),
        "noise": study_sections.noise(records),
        "ece": _ece(agents),
        "certificate": _certificate(agents),
        "fixed_points": study_sections.fixed_points(records),
    }
    return {name: section for name, section in made.items() if len(section.table)}


def _accuracy(agents: pd.DataFrame) -> Section:
    columns: Columns = {
        **STRAIGHT,
        "random": ("random_accuracy", ".1f", 100),
        "confidence": ("confidence_accuracy", ".1f", 100),
        "two thresholds": ("two_thresholds_accuracy", ".1f", 100),
        "two rounds": ("two_rounds_accuracy", ".1f", 100),
        **AGENT,
        **ALL_LAYERS,
    }
    table = averaged(agents, ["name"], columns)
    if len(table):
        examples = agents.groupby("name", sort=False).test_examples.first()
        table.insert(1, "test examples", [f"{examples[name]:.0f}" for name in table.config])
    return Section(
        "Is the agent more accurate than simple rules at its cost?",
        table,
        "Accuracy (%) of the same weights. Random: every layer as often as the agent takes it. "
        "Confidence: the samples of which the straight pass is least sure iterate the one route "
        "that gains most. Two thresholds: the least sure take one route, the next another. Two "
        "rounds: the least sure iterate one layer; those still unsure iterate another. Thresholds "
        "and routes are chosen on validation data.",
        ("price_curve",),
    )


def share_of_gap(run: Mapping[str, Any], router: str) -> float | None:
    """The share of the way from random routing to the oracle that a router goes."""
    known = [run.get(f"{name}_accuracy") for name in ("random", "oracle", router)]
    # Without `gap_closed` the oracle has no more than random routing: there is no gap.
    if pd.isna([run.get("gap_closed"), *known]).any():
        return None
    random, oracle, own = known
    return (own - random) / (oracle - random)


def _gap(agents: pd.DataFrame) -> Section:
    for router in ("confidence", "surest"):
        shares = [share_of_gap(run, router) for run in agents.to_dict("records")]
        agents = agents.assign(**{f"{router}_gap": shares})
    columns: Columns = {
        "shuffled": ("shuffled_accuracy", ".1f", 100),
        "random": ("random_accuracy", ".1f", 100),
        **AGENT,
        "surest route": ("surest_accuracy", ".1f", 100),
        "oracle": ("oracle_accuracy", ".1f", 100),
        "gap closed: confidence": ("confidence_gap", "z.0f", 100),
        "gap closed: agent": ("gap_closed", "z.0f", 100),
        "gap closed: surest route": ("surest_gap", "z.0f", 100),
    }
    return Section(
        "Does the agent pick the right samples, and how far is it from an oracle?",
        averaged(agents, ["name"], columns),
        "Accuracy, and the share of the way from random routing to the oracle (%). Shuffled: the "
        "agent's choices shuffled across samples (control). Surest route: each sample takes the "
        "route that would be surest of its answer, if that were known beforehand. Oracle: each "
        "sample takes its best route, by its label. Both spend what the agent spends.",
    )


def _cost(agents: pd.DataFrame) -> Section:
    rows = []
    for name, runs in agents.groupby("name", sort=False):
        layers = [f"layer {i + 1}" for i in range(len(runs.layer_accuracies.iloc[0]))]
        points = [curve["routers"] for curve in runs.get("curve", pd.Series()).dropna()]
        points = [[at[layer] for layer in layers] for at in points if {*layers} <= at.keys()]
        of = lambda key, points=points: [[point[key] for point in run] for run in points]
        rows.append(
            {
                "config": name,
                "straight pass / layer 1 / … (%)": per_layer(runs.actions),
                "cost: agent": spread(runs.mean_cost, ".2f", 1, False),
                "cost: all layers": spread(runs.all_layers_cost, ".2f", 1, False),
                "each layer alone (%)": per_layer(of("accuracy"), ".1f") if points else "—",
                "its cost": per_layer(of("mean_cost"), ".2f", 1) if points else "—",
                "training (minutes)": spread(runs.train_seconds, ".1f", 1 / 60, False),
            }
        )
    return Section(
        "What does the agent iterate, and what does it cost?",
        pd.DataFrame(rows),
        "Costs are MACs beyond the straight pass, as multiples of it. A sample that iterates two "
        "layers counts for both. Each layer alone: iterated for every sample.",
        ("gallery",),
    )


def _thinking(agents: pd.DataFrame) -> Section:
    columns: Columns = {
        **_STEPS,
        "rescued (%)": ("rescued", ".1f", 100),
        "overthought (%)": ("overthought", ".1f", 100),
        "Spearman": ("difficulty_spearman", ".2f", 1),
        "median residual": ("median_residual", ".0e", 1),
        **CONVERGED,
    }
    return Section(
        "Do hard samples get more steps?",
        averaged(agents, ["name"], columns),
        "Rescued: only the agent's route is right. Overthought: only the straight pass is right. "
        "Spearman: correlation of the steps with the task's own measure of difficulty.",
        ("difficulty", "residuals"),
    )


def _static(runs: pd.DataFrame, passes: Sequence[Mapping[str, Any]]) -> Section:
    columns: Columns = {
        "accuracy (%)": ("test_accuracy", ".1f", 100),
        "parameters (k)": ("parameters", ",.1f", 1e-3),
        "MACs an example (M)": ("mean_macs", ",.3f", 1e-6),
    }
    macs = runs.groupby("name").mean_macs.transform("mean")
    runs = runs.assign(place=pd.factorize(runs.config)[0], macs=macs).sort_values(["place", "macs"])
    compared = runs[runs.variant != ""].config
    table = averaged(runs[runs.config.isin(compared)], ["name"], columns)
    if len(table):
        for column in ("parameters (k)", "MACs an example (M)"):
            table[column] = table[column].str.partition(" ± ")[0]
        times = {}
        for record in passes:
            for row in record["rows"]:
                known = {"agent": "", routed_pass.STRAIGHT: "_model_0"}
                variant = known.get(row["router"], f"_{row['router']}")
                times[f"{record['config']}{variant}"] = f"{1e3 * row['median_ms']:.3g}"
        table["µs an example"] = [times.get(name, "—") for name in table.config]
    return Section(
        "Is a static net with as many MACs or parameters better?",
        table,
        "A config and its variants, in the order of their MACs. Each variant is trained for its "
        "own route, on the same data for as many epochs. Rows with an agent have its mean MACs. "
        "Times are the first seed's, in batches of up to 512.",
        ("times",),
    )


def _ece(agents: pd.DataFrame) -> Section:
    most = max((len(actions) for actions in agents.get("actions", ())), default=1)
    names = routes(most - 1)
    runs = agents.to_dict("records")
    known = lambda run: run["ece"] if isinstance(run.get("ece"), list) else []
    rows = pd.DataFrame([run | dict(zip(names, known(run), strict=False)) for run in runs])
    return Section(
        "Is the agent's confidence calibrated on each route?",
        averaged(rows, ["name"], {name: (name, ".1f", 100) for name in names}),
        "Expected calibration error on the test split, in points of confidence, 15 bins, of the "
        "samples on that route. Where few samples took a route, the number is noise.",
    )


def _certificate(agents: pd.DataFrame) -> Section:
    columns: Columns = {
        **STRAIGHT, **AGENT, **ALL_LAYERS, "cost": ("mean_cost", ".2f", 1), **_STEPS,
        "median residual": ("median_residual", ".0e", 1), **CONVERGED,
    }  # fmt: skip
    cells = agents[agents.variant.astype(str).str.match(r"cell_|$")]
    cells = cells[cells.config.isin(cells[cells.variant != ""].config)]
    table = averaged(cells.drop(columns="name", errors="ignore"), ["config", "cell"], columns)
    if len(table):
        certified = [
            "yes" if issubclass(CELLS[cell], LipschitzCell) else "no" for cell in table.cell
        ]
        table.insert(2, "contraction", certified)
    return Section(
        "What does a certified contraction cost?",
        table,
        "Contraction: the cell has a certified Euclidean factor below 1 (Eq. 6). The first row of "
        "a config is its own cell. Free cells promise nothing and are solved by Anderson's method.",
    )
