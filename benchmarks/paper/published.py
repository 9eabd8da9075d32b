"""The paper's numbers, and its tables and figures with the runs' numbers beside.

The paper is arXiv 2312.12781. It shows many results as curves or in words: these have no number.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import train_step
from benchmarks.paper.results import Records, frame
from benchmarks.paper.tables import Columns, Section, averaged, routes, unfolded
from benchmarks.support.timing import ratio, summary
from train.analysis.seeds import spread

# Table 1: test accuracy in per cent, by data set and arm. There is no DEQ on CIFAR-100.
ACCURACY = {
    "CIFAR-10": {"DynaLay": 92, "plain CNN": 88, "DEQ": 91},
    "CIFAR-100": {"DynaLay": 85, "plain CNN": 82},
}
# Table 1: time of the backward pass.
BACKWARD = {"DynaLay": 87, "plain CNN": 120, "DEQ": 600}
# Fig. 3: share of the samples in per cent, by layer. The straight pass is chosen most.
SELECTION = {1: 25, 2: 20}
# Fig. 6: samples that accuracy is measured on, which gives ± 6 points.
MODELS_SAMPLES = 100
_DATA = {"cifar10": "CIFAR-10", "cifar10_small": "CIFAR-10", "cifar100": "CIFAR-100"}
# Variant → the arm of Table 1, and its name in the paper's table.
_ARMS = {
    "": ("DynaLay, the agent", "DynaLay"),
    "model_0": ("plain CNN", "plain CNN"),
    "deq_anderson": ("DEQ, Anderson", "DEQ"),
    "deq_broyden": ("DEQ, Broyden", "DEQ"),
}
_SCHEDULES = {"": "warm-up, then joint", "no_warmup": "all epochs joint"}
Run = dict[str, Any]


def sections(records: Records, timed: Sequence[Mapping[str, Any]]) -> dict[str, Section]:
    """Table 1 and Figs. 2 to 7, as far as they were run, by the name that pages have for them.

    Args:
        records: of finished runs.
        timed: records of `benchmarks.train_step`.
    """
    runs = frame(records)
    agents = runs[(runs.router == "agent") & (runs.variant == "")]
    made = {
        "table_1": _accuracy(runs),
        "table_1_time": _backward(timed),
        "fig_3": _selection(agents),
        "fig_4": _warmup(runs),
        "fig_5": _prices(records),
        "fig_6": _models(runs),
        "fig_7": _sequences(agents),
    }
    return {name: section for name, section in made.items() if len(section.table)}


def _compared(runs: pd.DataFrame, variants: Sequence[str]) -> pd.DataFrame:
    """The rows of these variants, of configs that have one beside the config itself."""
    rows = runs[runs.variant.isin(variants)]
    return rows[rows.config.isin(rows[rows.variant != ""].config)]


def _accuracy(runs: pd.DataFrame) -> Section:
    columns: Columns = {
        "accuracy (%)": ("test_accuracy", ".1f", 100),
        "parameters (k)": ("parameters", ",.0f", 1e-3),
        "MACs an example (M)": ("mean_macs", ".2f", 1e-6),
    }
    rows = _compared(runs, [*_ARMS])
    table = averaged(rows, ["config", "variant"], columns)
    if len(table):
        said = lambda row: ACCURACY.get(_DATA.get(row.config), {}).get(_ARMS[row.variant][1], "—")
        table.insert(2, "the paper (%)", table.apply(said, axis=1).astype(str))
        table["variant"] = [_ARMS[variant][0] for variant in table.variant]
        table = table.rename(columns={"variant": "arm"})
    return Section(
        "Table 1: accuracy",
        table,
        "The paper's numbers are of its own setting, cifar10 and cifar100; cifar10_small has the "
        "same images and a smaller model. Every arm is trained by itself, for the same number of "
        "epochs.",
    )


def _backward(timed: Sequence[Mapping[str, Any]]) -> Section:
    plain = BACKWARD["plain CNN"]
    # The paper gives the DEQ's time in another unit.
    times = {arm: "—" if arm == "DEQ" else f"{time / plain:.2f}" for arm, time in BACKWARD.items()}
    rows = [["the paper", arm, f"{BACKWARD[arm]}", times[arm]] for arm in BACKWARD]
    for record in timed:
        arms = train_step.times(record)
        for name, arm in arms.items():
            at = summary(arm["backward"])
            spent = f"{at['median_ms']:.3g} ms ({at['p10_ms']:.3g}–{at['p90_ms']:.3g})"
            to_plain = ratio(arm["backward"], arms[train_step.PLAIN]["backward"])
            rows.append([record["config"], name, spent, str(to_plain)])
    columns = ["config", "arm", "backward pass", "÷ plain CNN"]
    return Section(
        "Table 1: time of the backward pass",
        pd.DataFrame(rows if timed else [], columns=columns),
        "The paper gives DynaLay's time in seconds in the table and in minutes in the text, the "
        "DEQ's in minutes, and does not say whether an epoch or the whole training is meant. Here: "
        "one training step, median and 10th to 90th percentile, and the ratio of medians with its "
        "95 % confidence interval.",
    )


def _selection(agents: pd.DataFrame) -> Section:
    names = routes(max(map(len, agents.get("actions", ())), default=1) - 1)
    rows = [
        run | dict(zip(names, run["actions"], strict=False)) for run in agents.to_dict("records")
    ]
    table = averaged(pd.DataFrame(rows), ["name"], {name: (name, ".1f", 100) for name in names})
    if len(table):
        said = {f"layer {layer}": str(share) for layer, share in SELECTION.items()}
        paper = {"config": "the paper", "straight pass": "most", **said}
        table = pd.concat([pd.DataFrame([paper]), table])[table.columns].fillna("—")
    return Section(
        "Figs. 2 and 3: loss, and how often each layer is chosen (%)",
        table,
        "Of the test samples, at the config's price. With two rounds some samples iterate two "
        "layers and count for both. The pictures show the training of the first seed.",
        ("loss", "accuracy", "selection"),
    )


def _warmup(runs: pd.DataFrame) -> Section:
    columns: Columns = {
        "agent (%)": ("test_accuracy", ".1f", 100),
        "its cost": ("mean_cost", ".2f", 1),
        "straight pass (%)": ("straight_accuracy", ".1f", 100),
        "all layers (%)": ("all_layers_accuracy", ".1f", 100),
    }
    rows = _compared(runs, [*_SCHEDULES])
    rows = rows.assign(schedule=rows.variant.map(_SCHEDULES))
    return Section(
        "Fig. 4: with and without pre-training",
        averaged(rows, ["config", "schedule"], columns),
        "Both take the same number of epochs. Without pre-training, main model and agent are "
        "trained together in all epochs.",
        ("warmup",),
    )


def _prices(records: Records) -> Section:
    points = lambda run: (
        {"price λ": f"{point['price']:.3g}", **point}
        for point in run["curve"]["agent"]
        if not run["variant"]
    )
    columns: Columns = {"agent (%)": ("accuracy", ".1f", 100), "cost": ("mean_cost", ".2f", 1)}
    return Section(
        "Fig. 5: reward, and accuracy and selection against the penalty",
        averaged(unfolded(records, "curve", points), ["name", "price λ"], columns),
        "One model serves all prices. On the test split; costs are MACs beyond the straight pass.",
        ("reward", "price_actions"),
    )


def _models(runs: pd.DataFrame) -> Section:
    rows = []
    trained = runs[runs.variant.astype(str).str.match(r"model_\d")]
    for config, of_config in trained.groupby("config", sort=False):
        own = [_first_layers(run) for run in runs[runs.name == config].to_dict("records")]
        for layers in range(len(of_config.layer_accuracies.iloc[0]) + 1):
            alone = of_config[of_config.variant == f"model_{layers}"].test_accuracy
            about = {"config": config, "model": f"Model {layers}", "n": str(len(alone))}
            shared = spread([run.get(layers) for run in own])
            rows.append(
                about | {"trained alone (%)": spread(alone), "DynaLay's weights (%)": shared}
            )
    return Section(
        "Fig. 6: models that iterate the first 0, 1, … layers for every sample",
        pd.DataFrame(rows),
        f"Test accuracy. The paper draws it on {MODELS_SAMPLES} samples, ± 6 points.",
    )


def _first_layers(run: Run) -> dict[int, float]:
    """Accuracy of a run's weights with the first 0, 1, … layers iterated."""
    layers = run["layer_accuracies"]
    return {
        1: layers[0],
        **dict(enumerate(run["first_accuracies"], 2)),
        0: run["straight_accuracy"],
        len(layers): run["all_layers_accuracy"],
    }


def _sequences(agents: pd.DataFrame) -> Section:
    """What the LSTM gains from iterating one layer."""
    rows = agents[agents.cell == "lstm"].to_dict("records")
    return Section(
        "Fig. 7: LSTM with one layer iterated",
        averaged(
            pd.DataFrame([run | part for run in rows for part in _of_routes(run)]),
            ["name", "route"],
            {"accuracy (%)": ("accuracy", ".1f", 100), "perplexity": ("perplexity", ".2f", 1)},
        ),
        "The same weights on every route. A layer's own output is fed back into its input. "
        "Perplexity is e to the mean cross-entropy, on WikiText-2 of every word of the test text.",
    )


def _of_routes(run: Run) -> Iterator[Run]:
    """Accuracy and perplexity by route."""
    names = [*routes(len(run["layer_accuracies"])), "all layers", "agent"]
    accuracies, losses = (
        [run[f"straight_{what}"], *layers, run[f"all_layers_{what}"], run[f"test_{what}"]]
        for what, layers in (("accuracy", run["layer_accuracies"]), ("loss", run["layer_losses"]))
    )
    for name, accuracy, loss in zip(names, accuracies, losses, strict=True):
        yield {"route": name, "accuracy": accuracy, "perplexity": np.exp(loss)}
