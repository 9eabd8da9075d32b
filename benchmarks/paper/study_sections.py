"""What follow-up studies of runs say: one table a question, over the runs that have the study."""

from collections.abc import Iterator
import functools
from typing import Any

import pandas as pd

from benchmarks.paper.results import Records
from benchmarks.paper.tables import (
    ALL_LAYERS,
    CONVERGED,
    STRAIGHT,
    Columns,
    Section,
    averaged,
    in_order,
    unfolded,
)
from train.analysis.seeds import spread
from train.plots.cost_curves import HALTING

Run = dict[str, Any]


def early_exit(records: Records) -> Section:
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
    )


def calibrate(records: Records) -> Section:
    columns: Columns = {
        "cost": ("cost", ".2f", 1),
        "cost: all layers": ("all_layers_cost", ".2f", 1),
        "accuracy (%)": ("accuracy", ".1f", 100),
        "extra error (points)": ("extra_error", ".2f", 100),
    }

    tables = []
    for router in ("agent", "confidence"):
        rows = unfolded(records, f"calibrate_{router}", functools.partial(_calibrated, router))
        by = ["name", "router", "risk (points), δ"]
        table = averaged(rows, by, columns)
        if len(table):
            table["all layers chosen"] = rows.groupby(by, sort=False).fell.sum().to_numpy()
        tables.append(table)
    return Section(
        "What is the cheapest setting that keeps an error bound?",
        in_order(pd.concat(tables), "config"),
        "Chosen on the validation split: with probability 1 − δ the extra error against all layers "
        "is at most the risk. Measured on the test split. Where no setting can be shown to keep "
        "the bound, all layers are iterated; the last column counts these runs.",
    )


def _calibrated(router: str, run: Run) -> Iterator[Run]:
    record = run[f"calibrate_{router}"]
    bound = f"{100 * record['risk']:g}, {record['delta']:g}"
    fell = record["choice"]["router"] == "all"
    yield {"router": router, "risk (points), δ": bound, "fell": fell, **record["test"]}


def difficulty_judge(records: Records) -> Section:
    fifths = ("easiest fifth", "second", "third", "fourth", "hardest")
    columns: Columns = {
        "Spearman: agent's cost": ("cost_spearman", ".2f", 1),
        "Spearman: straight pass unsure": ("unsure_spearman", ".2f", 1),
        **{f"cost: {fifth}": (fifth, ".2f", 1) for fifth in fifths},
    }

    def parts(run: Run) -> Iterator[Run]:
        record = run["difficulty_judge"]
        yield record | dict(zip(fifths, (p["agent_cost"] for p in record["parts"]), strict=True))

    return Section(
        "Does the agent spend more on what another model finds hard?",
        averaged(unfolded(records, "difficulty_judge", parts), ["name", "judge"], columns),
        "The judge is a static net. An example is as hard as the judge's loss on it. The second "
        "correlation, of the loss with the straight pass's doubt, is what a threshold could use.",
    )


def larger(records: Records) -> Section:
    studies = {name for best, *_ in records.values() for run in best["runs"] for name in run}
    fields = sorted(name for name in studies if name.startswith("extrapolate_"))
    asked = [unfolded(records, name, functools.partial(_extrapolated, name)) for name in fields]
    if not asked:
        return Section("", pd.DataFrame())
    rows = pd.concat(asked)
    columns: Columns = {
        **STRAIGHT,
        "agent": ("agent_accuracy", ".1f", 100),
        **ALL_LAYERS,
        "agent's cost": ("agent_cost", ".2f", 1),
        "agent's steps": ("agent_steps", ".1f", 1),
    }
    table = averaged(rows[rows.router == "agent"], ["name", "test data"], columns)
    nets = rows[rows.router == "none"]
    accuracies = nets.groupby(["config", "test data", "variant"]).straight_accuracy.agg(spread)
    beside = lambda at: ", ".join(
        f"{variant} {accuracy}"
        for (*where, variant), accuracy in accuracies.items()
        if where == [at["config"], at["test data"]]
    )
    table.insert(6, "static nets", table.apply(beside, axis=1).replace("", "—"))
    order = [name for name in records if name in {*table.config}]
    table = table.sort_values("config", key=lambda names: names.map(order.index), kind="stable")
    return Section(
        "What happens on larger test data than in training?",
        table,
        "Accuracy (%) with the same weights and price. The static nets have the agent's MACs on "
        "data as in training.",
        tuple(fields),
    )


def _extrapolated(study: str, run: Run) -> Iterator[Run]:
    record, field = run[study], study.removeprefix("extrapolate_")
    for row in record["rows"]:
        training = " (as in training)" * (row["value"] == record["trained"])
        yield row | {"test data": f"{field} = {row['value']}{training}"}


def corruption(records: Records) -> Section:
    tables = []
    for quantity, form, factor in (
        ("accuracy", ".1f", 100),
        ("cost", ".2f", 1),
        ("ece", ".1f", 100),
    ):
        rows = unfolded(records, "corruption", functools.partial(_corrupted, quantity))
        severities = [name for name in rows if name.isdigit()]
        columns = {severity: (severity, form, factor) for severity in severities}
        tables.append(averaged(rows, ["name", "corruption", "quantity"], columns))
    return Section(
        "What does the agent do with corrupted images, by severity?",
        in_order(pd.concat(tables), "config", "corruption"),
        "Severity 0 are the images as they are. Accuracy in %; ece: expected calibration error, in "
        "points.",
        ("corruption",),
    )


def _corrupted(quantity: str, run: Run) -> Iterator[Run]:
    for name, rows in run["corruption"]["corruptions"].items():
        values = {f"{row['severity']:g}": row[f"agent_{quantity}"] for row in rows}
        yield {"corruption": name, "quantity": quantity, **values}


def noise(records: Records) -> Section:
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


def fixed_points(records: Records) -> Section:
    columns: Columns = {
        **CONVERGED,
        "median distance": ("median_distance", ".0e", 1),
        "99 % within": ("far_distance", ".0e", 1),
        "same answer (%)": ("same_answer", ".1f", 100),
        "gradient error": ("gradient_error", ".0e", 1),
        "gradient error, unrolled": ("stopped_error", ".0e", 1),
    }
    layers = lambda run: (
        {"iterated": f"layer {i}", **layer}
        for i, layer in enumerate(run["fixed_points"]["layers"], 1)
    )
    return Section(
        "Do solves end at one fixed point, and are their gradients right?",
        averaged(unfolded(records, "fixed_points", layers), ["name", "iterated"], columns),
        "Each layer is iterated for every test example, from the straight pass and from a random "
        "start. Distance: between the two ends, relative. Gradient error: relative distance to "
        "the gradient through twice as many steps as are allowed, on 64 examples. The last column "
        "is the same for the gradient unrolled to where the solve stops. If both errors are large, "
        "the solve stops too early.",
    )
