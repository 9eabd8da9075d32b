"""Pictures of several runs: Fig. 4 of the paper, static nets, larger data, and times."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    LogLocator,
    NullFormatter,
    PercentFormatter,
    StrMethodFormatter,
)
import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.paper.results import Records, frame
from train.analysis.seeds import Group
from train.metrics import read_metrics
from train.plots import cost_curves, records, run, style
from train.plots.style import painted
from train.plots.training import of_trained_agent


def of_records(found: Records, timed: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """All pictures that need records alone, by CONFIG_KIND.

    Args:
        found: of runs.
        timed: records of `benchmarks.routed_pass`.
    """
    runs = frame(found)
    agents = runs[(runs.router == "agent") & (runs.variant == "")]
    drawn, prices = {}, {}
    for config, rows in agents.groupby("config", sort=False):
        own, nets = rows.iloc[0].dropna(), runs[(runs.config == config) & (runs.router == "none")]
        prices[config] = own.get("price")
        drawn[f"{config}_price_curve"] = costs(own, nets)
        choices = f"The agent's choices by price: {config}, seed {own['seed']}"
        drawn[f"{config}_price_actions"] = painted(
            choices, cost_curves.actions_by_price, own["curve"], own
        )
        if "early_exit" in own:
            rules = f"Accuracy against cost: halting rules: {config}, seed {own['seed']}"
            drawn[f"{config}_halting"] = painted(
                rules, cost_curves.halting, own["early_exit"], own["curve"], own
            )
        if "corruption" in own:
            drawn[f"{config}_corruption"] = records.corruption(own["corruption"])
        for study in own.index[own.index.str.startswith("extrapolate_")]:
            drawn[f"{config}_{study}"] = larger(own, study, nets)
    for record in timed:
        config = record["config"]
        drawn[f"{config}_times"] = times(config, record, prices.get(config))
    return {name: figure for name, figure in drawn.items() if figure}


def of_workdirs(groups: Sequence[Group], folder: Path) -> None:
    """Draws the pictures of each config's first run, and Fig. 4, into a folder: CONFIG_KIND.png."""
    by_name = {group.name: group for group in groups}
    for name, group in by_name.items():
        if group.variant:
            continue
        print(f"drawing {name}", flush=True)
        for kind, figure in run.figures(workdir := group.workdirs[0]).items():
            style.name_run(figure, workdir)
            save(figure, folder / f"{name}_{kind}.png")
        if other := by_name.get(f"{name}_no_warmup"):
            schedules = {"warm-up, then joint": group, "all epochs joint": other}
            save(warmup(name, schedules), folder / f"{name}_warmup.png")


def save(figure: Figure, path: Path) -> None:
    """Writes a picture as PNG with 256 colours, which takes a third of the space."""
    figure.savefig(path)
    with Image.open(path) as image:
        image.convert("RGB").quantize(256).save(path, optimize=True)


def warmup(config: str, schedules: Mapping[str, Group]) -> Figure | None:
    """Fig. 4: the agent's validation accuracy over training, a line a seed.

    Args:
        config: for the title.
        schedules: runs by the name of their schedule.
    """

    def paint(axes: Axes) -> bool:
        colours = (style.BLUE, style.RED)
        for (label, group), colour in zip(schedules.items(), colours, strict=True):
            for i, workdir in enumerate(group.workdirs):
                metrics = of_trained_agent(read_metrics(workdir))
                known = [record for record in metrics if record["split"] == "validation"]
                points = [(r["step"], r.get("agent_accuracy", np.nan)) for r in known]
                line: dict[str, Any] = {"color": colour, "marker": ".", "alpha": 0.8}
                axes.plot(*zip(*points, strict=True), **line, label=None if i else label)
        axes.set(xlabel="step", ylabel="validation accuracy of the agent's routes")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        return True

    return painted(f"With and without warm-up: {config}", paint)


def costs(own: Mapping[str, Any], nets: pd.DataFrame) -> Figure | None:
    """Accuracy against MACs of one run's routers, and of static nets.

    Args:
        own: the run: its summary and studies.
        nets: runs of static nets; the means of each variant are shown.
    """
    straight = own["mean_macs"] / (1 + own["mean_cost"])
    means = nets.groupby("variant")[["mean_macs", "test_accuracy"]].mean()
    points = {
        variant: {"mean_cost": macs / straight - 1, "accuracy": accuracy}
        for variant, macs, accuracy in means.itertuples()
    }
    routers = own["curve"].get("routers", {}) | points
    if points:  # in place of others, so that the picture is not full
        routers = {name: of for name, of in routers.items() if name not in cost_curves.PEERS}
    curve = own["curve"] | {"routers": routers}

    def paint(axes: Axes) -> bool:
        if points:
            # Nets may cost many times what routers do. Set before the curves, which place the
            # prices by the scale.
            axes.set_xscale("function", functions=(np.log1p, np.expm1))
            axes.xaxis.set_major_locator(FixedLocator((0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)))
        return cost_curves.by_cost(axes, curve, own)

    static = ", with static nets" if points else ""
    return painted(f"Accuracy against cost{static}: {own['config']}, seed {own['seed']}", paint)


def larger(own: Mapping[str, Any], study: str, nets: pd.DataFrame) -> Figure:
    """One run on other test data than in training, and the static nets that were tested there."""
    record, static = own[study], {}
    for net in nets.drop_duplicates("variant").to_dict("records"):
        if isinstance(net.get(study), dict):
            known = {str(row["value"]): row["straight_accuracy"] for row in net[study]["rows"]}
            values = [str(row["value"]) for row in record["rows"]]
            if known.keys() >= {*values}:
                static[net["variant"]] = [known[value] for value in values]
    return records.extrapolate(record, static)


def times(config: str, record: Mapping[str, Any], price: float | None) -> Figure | None:
    """Accuracy against measured time, by router.

    Args:
        config: for the title.
        record: of `benchmarks.routed_pass`.
        price: the default one, which is marked.
    """
    curve: dict[str, Any] = {"agent": [], "routers": {"confidence": [], "random": []}}
    for row in record["rows"]:
        kind, routers = row["kind"], curve["routers"]
        point = {"milliseconds": row["median_ms"], "mean_cost": row["macs"], **row}
        several = curve["agent"] if kind == "agent" else routers.get(kind)
        if several is not None:
            several.append(point)
        elif kind:
            routers[kind] = point

    def paint(axes: Axes) -> bool:
        axes.set_xlabel("time an example, in batches (milliseconds; bars: 10 % to 90 %)")
        # Set before the curves, which place the prices by the scale.
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        for row in record["rows"]:
            if row["kind"]:
                bar: dict[str, Any] = {"color": "#bbbbbb", "linewidth": 0.8, "zorder": 1}
                axes.hlines(row["accuracy"], row["p10_ms"], row["p90_ms"], **bar)
        return cost_curves.draw(axes, curve, "milliseconds", {"price": price})

    return painted(f"Accuracy against time: {config}", paint)
