"""What runs and their follow-up studies say: one table a question, over seeds."""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

import pandas as pd

from benchmarks import routed_pass
from benchmarks.paper.results import Records, frame
from benchmarks.paper.tables import (
    AGENT,
    ALL_LAYERS,
    STRAIGHT,
    Columns,
    Section,
    averaged,
    in_order,
    per_layer,
    unfolded,
)
from dynalay_jax.layers.certified import LipschitzCell
from dynalay_jax.layers.registry import CELLS
from train.analysis.seeds import spread
from train.plots.cost_curves import HALTING

Run = dict[str, Any]


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
        "early_exit": _early_exit(records),
        "calibrate": _calibrate(records),
        "thinking": _thinking(agents),
        "difficulty_judge": _difficulty_judge(records),
        "static": _static(runs, passes),
        "larger": _larger(records),
        "corruption": _corruption(records),
        "noise": _noise(records),
        "certificate": _certificate(agents),
        "fixed_points": _fixed_points(records),
    }
    return {name: section for name, section in made.items() if len(section.table)}


def _accuracy(agents: pd.DataFrame) -> Section:
    columns: Columns = {
        **STRAIGHT,
        "random": ("random_accuracy", ".1f", 100),
        "confidence": ("confidence_accuracy", ".1f", 100),
        "finer rule": ("finer_rule_accuracy", ".1f", 100),
        **AGENT,
        **ALL_LAYERS,
    }
    return Section(
        "Is the agent more accurate than simple rules at its cost?",
        averaged(agents, ["name"], columns),
        "Accuracy (%) of the same weights. Random: every layer as often as the agent takes it. "
        "Confidence: the samples of which the straight pass is least sure iterate the one route "
        "that gains most. Finer rule: the better of two. With two thresholds the least sure "
        "samples take one route, the next another. With two rounds the least sure iterate one "
        "layer; those still unsure iterate another. Thresholds and routes are chosen on "
        "validation data.",
        ("price_curve",),
    )


def _gap(agents: pd.DataFrame) -> Section:
    columns: Columns = {
        "shuffled": ("shuffled_accuracy", ".1f", 100),
        **AGENT,
        "surest route": ("surest_accuracy", ".1f", 100),
        "oracle": ("oracle_accuracy", ".1f", 100),
        "gap closed (%)": ("gap_closed", "z.0f", 100),
    }
    return Section(
        "Does the agent pick the right samples, and how far is it from an oracle?",
        averaged(agents, ["name"], columns),
        "Accuracy (%). Shuffled: the agent's choices shuffled across samples (control). Surest "
        "route: each sample takes the route that would be surest of its answer, if that were known "
        "beforehand. Oracle: each sample takes its best route, by its label. Both spend what the "
        "agent spends. Gap closed: the agent's share of the way from random routing to the oracle.",
    )


def _cost(agents: pd.DataFrame) -> Section:
    rows = [
        {
            "config": name,
            "straight pass / layer 1 / … (%)": per_layer(runs.actions),
            "cost: agent": spread(runs.mean_cost, ".2f", 1, False),
            "cost: all layers": spread(runs.all_layers_cost, ".2f", 1, False),
            "accuracy of each layer alone (%)": per_layer(runs.layer_accuracies, ".1f"),
            "training (minutes)": spread(runs.train_seconds, ".1f", 1 / 60, False),
        }
        for name, runs in agents.groupby("name", sort=False)
    ]
    return Section(
        "What does the agent iterate, and what does it cost?",
        pd.DataFrame(rows),
        "Costs are MACs beyond the straight pass, as multiples of it. A sample that iterates two "
        "layers counts for both. Each layer alone: iterated for every sample.",
        ("gallery",),
    )


def _early_exit(records: Records) -> Section:
    columns: Columns = {
        "confidence": ("confidence_accuracy", ".1f", 100),
        **{label: (name, ".1f", 100) for name, (label, _) in HALTING.items()},
        "agent": ("agent", ".1f", 100),
    }
    compared = lambda run: [
        {name: at["accuracy"] for name, at in run["early_exit"]["at_agent_cost"].items()}
    ]
    return Section(
        "Do learned halting rules do better at the agent's cost?",
        averaged(unfolded(records, "early_exit", compared), ["name"], columns),
        "Accuracy (%) of the same weights. Early exit needs no network of its own; the networks of "
        "the others are trained afterwards.",
        ("halting",),
    )


def _calibrate(records: Records) -> Section:
    def parts(router: str, run: Run) -> Iterator[Run]:
        record = run[f"calibrate_{router}"]
        bound = f"{100 * record['risk']:g}, {record['delta']:g}"
        yield {"router": router, "risk (points), δ": bound, **record["test"]}

    rows = [
        unfolded(records, f"calibrate_{router}", functools.partial(parts, router))
        for router in ("agent", "confidence")
    ]
    columns: Columns = {
        "cost": ("cost", ".2f", 1),
        "cost: all layers": ("all_layers_cost", ".2f", 1),
        "extra error (points)": ("extra_error", ".2f", 100),
    }
    by = ["name", "router", "risk (points), δ"]
    return Section(
        "What is the cheapest setting that keeps an error bound?",
        averaged(in_order(pd.concat(rows), records), by, columns),
        "Chosen on the validation split: with probability 1 − δ the extra error against all layers "
        "is at most the risk. Measured on the test split. Where no setting can be shown to keep "
        "the bound, all layers are iterated.",
    )


def _thinking(agents: pd.DataFrame) -> Section:
    columns: Columns = {
        "steps, straight pass wrong": ("steps_when_straight_wrong", ".2f", 1),
        "steps, straight pass right": ("steps_when_straight_right", ".2f", 1),
        "rescued (%)": ("rescued", ".1f", 100),
        "overthought (%)": ("overthought", ".1f", 100),
        "Spearman": ("difficulty_spearman", ".2f", 1),
    }
    return Section(
        "Do hard samples get more steps?",
        averaged(agents, ["name"], columns),
        "Rescued: only the agent's route is right. Overthought: only the straight pass is right. "
        "Spearman: correlation of the steps with the task's own measure of difficulty.",
        ("difficulty", "residuals"),
    )


def _difficulty_judge(records: Records) -> Section:
    columns: Columns = {
        "Spearman: agent's cost": ("cost_spearman", ".2f", 1),
        "Spearman: straight pass unsure": ("unsure_spearman", ".2f", 1),
        "cost: easiest fifth": ("easiest", ".2f", 1),
        "cost: hardest fifth": ("hardest", ".2f", 1),
    }

    def parts(run: Run) -> Iterator[Run]:
        record = run["difficulty_judge"]
        costs = [part["agent_cost"] for part in record["parts"]]
        yield record | {"easiest": costs[0], "hardest": costs[-1]}

    return Section(
        "Does the agent spend more on what another model finds hard?",
        averaged(unfolded(records, "difficulty_judge", parts), ["name", "judge"], columns),
        "The judge is a static net. An example is as hard as the judge's loss on it. The second "
        "correlation, of the loss with the straight pass's doubt, is what a threshold could use.",
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
        "Is a static net with the agent's MACs or parameters better?",
        table,
        "A config and its variants, in the order of their MACs. Each variant is trained for its "
        "own route, on the same data and for the same number of epochs. Rows with an agent have "
        "its mean MACs. Times are the first seed's, in batches of up to 512.",
        ("times",),
    )


def _larger(records: Records) -> Section:
    studies = {name for best, *_ in records.values() for run in best["runs"] for name in run}
    studies = sorted(name for name in studies if name.startswith("extrapolate_"))
    tested = [unfolded(records, name, functools.partial(_extrapolated, name)) for name in studies]
    if not tested:
        return Section("", pd.DataFrame())
    rows = in_order(pd.concat(tested), records)
    columns: Columns = {
        "agent": ("agent_accuracy", ".1f", 100),
        **ALL_LAYERS,
        "agent's cost": ("agent_cost", ".2f", 1),
    }
    table = averaged(rows[rows.router == "agent"], ["name", "test data"], columns)
    nets = rows[rows.router == "none"]
    accuracies = nets.groupby(["config", "test data", "variant"]).straight_accuracy.agg(spread)
    beside = lambda at: ", ".join(
        f"{variant} {accuracy}"
        for (*where, variant), accuracy in accuracies.items()
        if where == [at["config"], at["test data"]]
    )
    table["static nets"] = table.apply(beside, axis=1).replace("", "—")
    return Section(
        "What happens on larger test data than in training?",
        table,
        "Accuracy (%) with the same weights and price. The static nets have the agent's MACs on "
        "data as in training.",
        tuple(studies),
    )


def _extrapolated(study: str, run: Run) -> Iterator[Run]:
    record, field = run[study], run[study]["field"]
    for row in record["rows"]:
        training = " (as in training)" * (row["value"] == record["trained"])
        yield row | {"test data": f"{field} = {row['value']}{training}"}


def _corruption(records: Records) -> Section:
    def parts(run: Run) -> Iterator[Run]:
        for name, rows in run["corruption"]["corruptions"].items():
            kinds = {
                kind: [row[f"agent_{kind}"] for row in rows] for kind in ("accuracy", "cost", "ece")
            }
            yield {"corruption": name, **kinds}

    runs = unfolded(records, "corruption", parts)
    groups = runs.groupby(["name", "corruption"], sort=False) if len(runs) else ()
    rows = [
        {
            "config": name,
            "corruption": corruption,
            "n": str(len(group)),
            "accuracy (%)": per_layer(group.accuracy, ".1f"),
            "cost": per_layer(group.cost, ".2f", 1),
            "calibration error (points)": per_layer(group.ece, ".1f"),
        }
        for (name, corruption), group in groups
    ]
    return Section(
        "What does the agent do with corrupted images?",
        pd.DataFrame(rows),
        "Means at severity 0 / 1 / … / 5. Severity 0 are the images as they are. The calibration "
        "error is the expected one.",
        ("corruption",),
    )


def _noise(records: Records) -> Section:
    columns: Columns = {
        "cost: test set": ("mean_cost", ".2f", 1),
        "cost: noise": ("agent_cost", ".2f", 1),
        "straight pass on noise (%)": ("straight_share", ".1f", 100),
    }
    parts = lambda run: filter(None, [run["corruption"].get("uniform_noise")])
    return Section(
        "Does the agent spend more on images of nothing?",
        averaged(unfolded(records, "corruption", parts), ["name"], columns),
        "Images of uniform noise, unlike anything in training.",
    )


def _certificate(agents: pd.DataFrame) -> Section:
    columns: Columns = {**AGENT, **ALL_LAYERS, "cost": ("mean_cost", ".2f", 1)}
    cells = agents[agents.variant.astype(str).str.match(r"cell_|$")]
    cells = cells[cells.config.isin(cells[cells.variant != ""].config)]
    certified = lambda cell: "yes" if issubclass(CELLS[cell], LipschitzCell) else "no"
    cells = cells.assign(contraction=cells.cell.map(certified)).drop(columns="name")
    return Section(
        "What does a certified contraction cost?",
        averaged(cells, ["config", "cell", "contraction"], columns),
        "Contraction: the cell has a certified Euclidean factor below 1 (Eq. 6). The first row of "
        "a config is its own cell. Free cells promise nothing and are solved by Anderson's method.",
    )


def _fixed_points(records: Records) -> Section:
    columns: Columns = {
        "converged (%)": ("converged", ".1f", 100),
        "99 % within": ("far_distance", ".0e", 1),
        "same answer (%)": ("same_answer", ".1f", 100),
        "gradient error": ("gradient_error", ".0e", 1),
    }
    layers = lambda run: (
        {"iterated": f"layer {i}", **layer}
        for i, layer in enumerate(run["fixed_points"]["layers"], 1)
    )
    return Section(
        "Do solves end at one fixed point, and are their gradients right?",
        averaged(unfolded(records, "fixed_points", layers), ["name", "iterated"], columns),
        "Each layer is iterated for every test example, from the straight pass and from a random "
        "start. 99 % within: the relative distance between the two ends, which 99 % of the "
        "examples keep. Gradient error: relative distance to the gradient through twice the "
        "allowed number of steps, on 64 examples.",
    )
