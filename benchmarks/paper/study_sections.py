"""Sections of the page about what runs were asked since: halting, calibration, other data.

They have no rows where nothing was asked.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from benchmarks.paper.sections import Columns, Found, Row, Section, row
from train.analysis import seeds
from train.analysis.seeds import Group
from train.plots import cost_curves, style
from train.plots import records as figures_records
from train.workdir import read_record

Record = dict[str, Any]


def halting(groups: Sequence[Group]) -> Section:
    """Accuracy of the halting routers at the agent's cost, where they were compared."""
    columns: Columns = {
        "confidence": ("confidence_accuracy", ".1f", 100),
        **{label: (name, ".1f", 100) for name, (label, _) in cost_curves.HALTING.items()},
        "agent": ("agent", ".1f", 100),
    }
    compared = lambda found: {name: at["accuracy"] for name, at in found["at_agent_cost"].items()}
    return Section(
        "Halting routers at the agent's cost",
        ["config", "n", *columns],
        _beside(groups, columns, "early_exit", compared),
        "Accuracy (%) of the same weights; but for early exit, networks are trained afterwards.",
    )


def calibrated(groups: Sequence[Group]) -> Section:
    """What `train.calibrate` chose for the agent and for confidence routing."""
    columns: Columns = {
        "cost": ("cost", ".2f", 1),
        "cost of all layers": ("all_layers_cost", ".2f", 1),
        "accuracy (%)": ("accuracy", ".1f", 100),
        "extra error (points)": ("extra_error", ".2f", 100),
    }
    rows = []
    for group in groups:
        for name, records in _records(group, "calibrate"):
            tests = [record["test"] for record in records]
            bounds = {f"{100 * record['risk']:g}, {record['delta']:g}" for record in records}
            fell = sum(record["choice"]["router"] == "all" for record in records)
            at = row(dataclasses.replace(group, summaries=tuple(tests)), columns)
            rows.append([group.name, name, ", ".join(sorted(bounds)), *at, str(fell)])
    return Section(
        "Calibrated: the cheapest setting that keeps an error bound",
        ["config", "router", "risk (points), δ", "n", *columns, "all layers chosen"],
        rows,
        "Chosen on the validation split, so that with probability 1 − δ the extra error against "
        "all layers is at most the risk; measured on the test split. What unsure samples iterate "
        "is chosen with the threshold. Where no setting can be shown to keep it, all layers are "
        "iterated: in how many of the runs the last column says.",
        kind="two",
    )


def extrapolated(groups: Sequence[Group]) -> Section:
    """Accuracy on other test data than in training."""
    columns: Columns = {
        **{
            f"{name} (%)": (f"{key}_accuracy", ".1f", 100)
            for key, name in (
                ("straight", "no operation"), ("agent", "agent"), ("all_layers", "all layers")
            )
        },
        "agent's cost": ("agent_cost", ".2f", 1),
        "cost of all layers": ("all_layers_cost", ".2f", 1),
        "agent's steps": ("agent_steps", ".1f", 1),
    }  # fmt: skip
    rows: list[Row] = []
    for group in groups:
        for field, records in _records(group, "extrapolate"):
            by_value: dict[str, list[Record]] = {}
            for at in (at for record in records for at in record["rows"]):
                by_value.setdefault(str(at["value"]), []).append(at)
            for value, found in by_value.items():
                as_trained = value == str(records[0]["trained"])
                about = f"{field} = {value}" + " as in training" * as_trained
                at_value = dataclasses.replace(group, summaries=tuple(found))
                rows.append([group.name, about, *row(at_value, columns)])
    return Section(
        "Other test data than in training",
        ["config", "test data", "n", *columns],
        rows,
        "The same weights, price and scale of the images.",
        kind="two",
    )


def corrupted(groups: Sequence[Group]) -> Section:
    """Accuracy and cost of the agent by corruption and severity."""
    rows: list[Row] = []
    severities: dict[str, None] = {}
    for group in groups:
        records = _answers(group, "corruption")
        for name in records[0]["corruptions"] if records else ():
            by_severity: dict[str, list[Record]] = {}
            for at in (at for record in records for at in record["corruptions"][name]):
                by_severity.setdefault(f"{at['severity']:g}", []).append(at)
            severities |= dict.fromkeys(by_severity)
            for what, key, form, factor in (
                ("accuracy (%)", "agent_accuracy", ".1f", 100), ("cost", "agent_cost", ".2f", 1),
                ("ECE (points)", "agent_ece", ".1f", 100),
            ):  # fmt: skip
                means = (seeds.mean(at, key, form, factor) for at in by_severity.values())
                rows.append([group.name, f"{name}: {what}", str(len(records)), *means])
    return Section(
        "Corrupted images, by severity",
        ["config", "corruption", "n", *severities],
        rows,
        "Of the agent; severity 0 are the images as they are. Costs rise with the severity where "
        "it makes the agent unsure, and fall where images leave all that it was trained on.",
        kind="two",
    )


def noise(groups: Sequence[Group]) -> Section:
    """The agent's cost on images of uniform noise, beside that on the test set."""
    columns: Columns = {
        "cost: test set": ("mean_cost", ".2f", 1),
        "cost: noise": ("agent_cost", ".2f", 1),
        "no operation on noise (%)": ("no_operation", ".1f", 100),
    }
    return Section(
        "Images of nothing: uniform noise",
        ["config", "n", *columns],
        _beside(groups, columns, "corruption", lambda found: found.get("uniform_noise")),
        "Unlike anything in training. An agent that thinks about what it does not know would spend "
        "more on them.",
    )


def judged(groups: Sequence[Group]) -> Section:
    """The agent's cost along the order of difficulty that another model gives the test set."""
    rows: list[Row] = []
    for group in groups:
        if records := _answers(group, "difficulty_judge"):
            keys = "cost_spearman", "unsure_spearman"
            spearman = (seeds.mean(records, key, ".2f", 1) for key in keys)
            fifths = zip(*(record["parts"] for record in records), strict=True)
            costs = (seeds.mean(fifth, "agent_cost", ".2f", 1) for fifth in fifths)
            judges = ", ".join(dict.fromkeys(record["judge"] for record in records))
            rows.append([group.name, judges, str(len(records)), *spearman, *costs])
    return Section(
        "What another model finds hard",
        ["config", "judge", "n", "Spearman: agent's cost", "Spearman: straight pass unsure",
         "cost: easiest fifth", "second", "third", "fourth", "hardest"],
        rows,
        "The judge is a static net trained by itself; how hard an example is, is its loss there. "
        "Spearman: correlation of that with the agent's cost, and with how unsure the straight "
        "pass is, which is as much as routing by a threshold could know.",
        kind="two",
    )  # fmt: skip


def solved(groups: Sequence[Group]) -> Section:
    """Where solves end that begin at random, and how far gradients are from unrolled ones."""
    columns: Columns = {
        "converged (%)": ("converged", ".1f", 100),
        "median distance": ("median_distance", ".0e", 1),
        "99 % within": ("far_distance", ".0e", 1),
        "same answer (%)": ("same_answer", ".1f", 100),
        "gradient's error": ("gradient_error", ".0e", 1),
        "unrolled to the stop": ("stopped_error", ".0e", 1),
    }
    rows: list[Row] = []
    for group in groups:
        by_layer = zip(
            *(record["layers"] for record in _answers(group, "fixed_points")), strict=True
        )
        for number, layers in enumerate(by_layer, 1):
            of_layer = dataclasses.replace(group, summaries=layers)
            rows.append([group.name, f"layer {number}", *row(of_layer, columns)])
    return Section(
        "Solves from random starts, and their gradients",
        ["config", "iterated", "n", *columns],
        rows,
        "Each layer iterated alone for every test example, from a random start beside the straight "
        "pass: the relative distance of where they end, and whether the answer is the same. "
        "The gradient's error is its relative distance to that through twice as many iterations as "
        "are allowed, of the loss of the first 64 examples; beside it, that of unrolling to where "
        "the solves stop. Where both are as large, what is at fault is where they stop.",
        kind="two",
    )


def extrapolation_figures(groups: Sequence[Group]) -> dict[str, Figure]:
    """Of each config's first run, with its static nets beside it: by CONFIG_extrapolation_FIELD."""
    out, found = {}, Found(groups)
    for own in found.agents:
        nets = found.static(own.task)
        first = dataclasses.replace(own, workdirs=own.workdirs[:1])
        for field, (record,) in _records(first, "extrapolate"):
            static = {net.variant: _straight(net, field, record["rows"]) for net in nets}
            known = {name: shown for name, shown in static.items() if shown}
            with matplotlib.rc_context(style.STYLE):
                figure = figures_records.extrapolate(record, known)
            style.name_run(figure, own.workdirs[0])
            out[f"{own.name}_extrapolate_{field}"] = figure
    return out


def _straight(net: Group, field: str, rows: Sequence[Record]) -> list[float]:
    """A static net's accuracies on the rows' data; none where it was not asked about them."""
    record = read_record(net.workdirs[0], f"extrapolate_{field}") or {"rows": ()}
    known = {str(row["value"]): row["straight_accuracy"] for row in record["rows"]}
    values = [str(row["value"]) for row in rows]
    return [known[value] for value in values] if known.keys() >= set(values) else []


def _beside(
    groups: Sequence[Group], columns: Columns, name: str, told: Callable[[Record], Record | None]
) -> list[Row]:
    """A row of each config: summaries of the runs that have NAME.json, with what is told of it."""
    rows = []
    for group in groups:
        known = tuple(
            summary | more
            for workdir, summary in zip(group.workdirs, group.summaries, strict=False)
            if (found := read_record(workdir, name)) and (more := told(found))
        )
        if known:
            rows.append([group.name, *row(dataclasses.replace(group, summaries=known), columns)])
    return rows


def _records(group: Group, kind: str) -> Iterator[tuple[str, list[Record]]]:
    """What follows the kind in the files' names, and their contents, over the runs that have it."""
    names = {
        path.stem.removeprefix(f"{kind}_")
        for workdir in group.workdirs
        for path in workdir.glob(f"{kind}_*.json")
    }
    for name in sorted(names):
        yield name, _answers(group, f"{kind}_{name}")


def _answers(group: Group, name: str) -> list[Record]:
    """Contents of NAME.json, over the runs that have it."""
    found = (read_record(workdir, name) for workdir in group.workdirs)
    return [record for record in found if record]
