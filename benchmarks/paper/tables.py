"""What tables are made of: means over seeds as text, a row for each config and variant."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.paper.results import Records, frame, static_nets
from train.analysis.seeds import spread

# Heading → key of the rows, format, factor.
Columns = Mapping[str, tuple[str, str, float]]
STRAIGHT: Columns = {"straight pass": ("straight_accuracy", ".1f", 100)}
AGENT: Columns = {"agent": ("test_accuracy", ".1f", 100)}
ALL_LAYERS: Columns = {"all layers": ("all_layers_accuracy", ".1f", 100)}


@dataclasses.dataclass(frozen=True)
class Section:
    """A question and its answer.

    Attributes:
        title: the question.
        table: of text; may be empty.
        note: what a reader must know about the table.
        pictures: kinds of pictures that belong to it, as in CONFIG_KIND.png.
    """

    title: str
    table: pd.DataFrame
    note: str = ""
    pictures: Sequence[str] = ()


def per_layer(values: Iterable[Sequence[float]], form: str = ".0f", factor: float = 100) -> str:
    """Means over runs, of lists with an entry for each route or layer."""
    return " / ".join(f"{factor * mean:{form}}" for mean in np.mean(list(values), axis=0))


def averaged(rows: pd.DataFrame, by: Sequence[str], columns: Columns) -> pd.DataFrame:
    """A row for each group of runs, in the order of the rows: n, and each column's `spread`."""
    if rows.empty:
        return pd.DataFrame()
    groups = rows.groupby(list(by), sort=False)
    table = groups.size().astype(str).rename("n").to_frame()
    for heading, (key, form, factor) in columns.items():
        known = rows[key] if key in rows else pd.Series(np.nan, rows.index)
        table[heading] = known.groupby([rows[name] for name in by], sort=False).agg(
            lambda values, form=form, factor=factor: spread(values, form, factor)
        )
    return table.reset_index().rename(columns={"name": "config"})


def unfolded(
    records: Records, study: str, parts: Callable[[dict[str, Any]], Iterable[dict[str, Any]]]
) -> pd.DataFrame:
    """A row for each part of each run's record of a study, beside the run's `name` and summary."""
    runs = frame(records, study).to_dict("records")
    return pd.DataFrame([run | part for run in runs for part in parts(run)])


def routes(layers: int) -> list[str]:
    """Names of the straight pass and of each layer alone."""
    return ["straight pass", *(f"layer {i}" for i in range(1, layers + 1))]


def in_order(rows: pd.DataFrame, records: Records) -> pd.DataFrame:
    """The rows, sorted by their `name` in the order of the records."""
    if rows.empty:
        return rows
    order = list(records)
    return rows.sort_values("name", key=lambda names: names.map(order.index), kind="stable")


def summary_table(records: Records) -> pd.DataFrame:
    """The README's table: the agent beside its ends and the best static net."""
    runs, rows = frame(records), []
    for config in dict.fromkeys(runs.config):
        own = runs[runs.name == config]
        percent = lambda rows, key: f"{spread(rows[f'{key}_accuracy'])} %"
        macs = ((1 + own.mean_cost) / (1 + own.all_layers_cost)).mean()
        net = runs[runs.name.isin(static_nets(runs, config)[:1])]
        ends = (percent(own, key) for key in ("straight", "all_layers"))
        rows.append(
            {
                "config": f"`{config}`",
                "straight pass → all layers": " → ".join(ends),
                "agent (its MACs, of all layers')": f"{percent(own, 'test')} ({macs:.0%})",
                "static net of the agent's MACs": percent(net, "test") if len(net) else "—",
            }
        )
    return pd.DataFrame(rows)
