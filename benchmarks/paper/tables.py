"""The paper's tables and figures, its numbers beside those of runs; what was not run says so."""

from collections.abc import Iterable, Mapping, Sequence
import json
from typing import Any

import numpy as np

from benchmarks.paper import published
from benchmarks.paper.sections import Columns, Found, Row, Section, by_action, row
from benchmarks.support import timed
from train.analysis import seeds
from train.analysis.seeds import Group
from train.metrics import read_metrics

_DATA = {"cifar10": "CIFAR-10", "cifar10_small": "CIFAR-10", "cifar100": "CIFAR-100"}
# An arm of Table 1, its name in the paper's table, and the baseline that it is here.
_ARMS = (
    ("DynaLay, the agent", "DynaLay", ""),
    ("plain CNN", "plain CNN", "model_0"),
    ("DEQ, Anderson", "DEQ", "deq_anderson"),
    ("DEQ, Broyden", "DEQ", "deq_broyden"),
)


def sections(
    groups: Sequence[Group], training: Sequence[timed.Arm], drawn: Iterable[str]
) -> list[Section]:
    """Sections for Table 1 and Figs. 2 to 7.

    Args:
        groups: runs by config.
        training: arms whose training steps were timed, if there are any.
        drawn: names of the figures that there are, as CONFIG_FIGURE.
    """
    found, drawn = Found(groups), list(drawn)
    pictures = lambda figure, names: [n for n in (f"{x}_{figure}" for x in names) if n in drawn]
    of_agents = lambda figure: pictures(figure, [group.name for group in found.agents])
    return [
        _accuracies(found),
        _backward(training),
        _losses(found, of_agents("loss")),
        _selection(found, of_agents("selection")),
        _warmup(found, pictures("warmup", found.tasks)),
        _reward(found, of_agents("reward")),
        _prices(found, of_agents("price_actions")),
        _models(found, pictures("models", found.tasks)),
        _sequences(found),
    ]


def _accuracies(found: Found) -> Section:
    columns: Columns = {
        "accuracy here (%)": ("test_accuracy", ".1f", 100),
        "parameters (k)": ("parameters", ",.0f", 1e-3),
        "MACs an example (M)": ("mean_macs", ".2f", 1e-6),
        "training (minutes)": ("train_seconds", ".1f", 1 / 60),
    }
    rows = []
    compared = [task for task in found.tasks if any(found.get(task, arm[2]) for arm in _ARMS[1:])]
    for task in dict.fromkeys((*compared, *_DATA)):
        claimed = published.ACCURACY.get(_DATA.get(task, ""), {})
        for arm, name, variant in _ARMS:
            said = str(claimed[name]) if name in claimed else "—"
            rows.append([task, arm, said, *row(found.get(task, variant), columns)])
    return Section(
        "Table 1: accuracy",
        ["config", "arm", "paper (%)", "n", *columns],
        rows,
        "The paper's numbers are of its own setting, which is cifar10's and cifar100's; "
        "cifar10_small has the same images and a smaller model. Plain CNN and DEQ are trained by "
        "themselves, as often as DynaLay's main model. Other configs without these are left out.",
        kind="two",
    )


def _backward(training: Sequence[timed.Arm]) -> Section:
    number = lambda value: "—" if value is None else f"{value:.2f}"
    plain = published.BACKWARD["plain CNN"]
    # The unit of the DEQ's time is another.
    ratio = lambda arm, time: None if arm == "DEQ" else time / plain
    claimed = [
        ["paper", arm, str(time), number(ratio(arm, time))]
        for arm, time in published.BACKWARD.items()
    ]
    plains = {arm.config: arm for arm in training if arm.name == timed.PLAIN}
    measured = [
        [
            arm.config,
            arm.name,
            f"{np.median(arm.backward):.3g} ms "
            f"({np.percentile(arm.backward, 10):.3g}–{np.percentile(arm.backward, 90):.3g})",
            str(timed.ratio(arm.backward, plains[arm.config].backward)),
        ]
        for arm in training
    ]
    return Section(
        "Table 1: backward time",
        ["paper, or config", "arm", "backward pass", "× plain CNN"],
        [*claimed, *(measured or [["all", "all", "not measured", "—"]])],
        f"{published.BACKWARD_UNIT} Here: of one training step, median and 10th to 90th percentile "
        "of interleaved rounds, and the ratio of medians with its 95 % confidence interval, over "
        "the rounds that both were in; DEQs are in fewer.",
        kind="two",
    )


def _tenths(group: Group, key: str) -> list[dict[str, float]]:
    """A metric of the training, mean over the first and the last tenth of its records, by run."""
    out = []
    for workdir in group.workdirs:
        values = [r[key] for r in read_metrics(workdir) if r["split"] == "train" and key in r]
        count = max(1, len(values) // 10)
        ends = {"first": values[:count], "last": values[-count:]}
        out.append({name: float(np.mean(part)) for name, part in ends.items() if part})
    return out


def _ends(group: Group, key: str) -> Row:
    tenths = _tenths(group, key)
    means = (seeds.mean(tenths, name, ".3f", 1) for name in ("first", "last"))
    return [group.name, str(len(tenths)), *means]


def _losses(found: Found, figures: Sequence[str]) -> Section:
    return Section(
        "Fig. 2: loss",
        ["config", "n", "training, first tenth", "training, last tenth", "test"],
        [
            [*_ends(group, "cross_entropy"), seeds.mean(group.summaries, "test_loss", ".3f", 1)]
            for group in found.agents
        ]
        or [["all", "not run", "—", "—", "—"]],
        "Cross-entropy in nats, means over the first and last tenth of the steps, routed as each "
        "phase does; test: on the agent's routes. No number of the paper's is on record.",
        figures,
    )


def _selection(found: Found, figures: Sequence[str]) -> Section:
    most = max((len(g.summaries[0]["actions"]) for g in found.agents), default=3)
    said = [str(published.SELECTION.get(layer, "—")) for layer in range(1, most)]
    rows = [["paper", "—", "most", *said]]
    for group in found.agents:
        shares = [by_action(summary["actions"]) for summary in group.summaries]
        means = [seeds.mean(shares, str(action), ".1f") for action in range(most)]
        rows.append([group.name, str(len(shares)), *means])
    return Section(
        "Fig. 3: how often each layer is chosen (%)",
        ["config", "n", "no operation", *(f"layer {layer}" for layer in range(1, most))],
        rows if found.agents else [*rows, ["all configs", "not run", *("—" * most)]],
        "Of the test samples, at the config's price; with two rounds some iterate two layers, and "
        "count for both. The figures are over training, of the first round, with the entropy of "
        "the agent's choice.",
        figures,
    )


def _warmup(found: Found, figures: Sequence[str]) -> Section:
    columns: Columns = {
        "agent (%)": ("test_accuracy", ".1f", 100),
        "its cost": ("mean_cost", ".2f", 1),
        "no operation (%)": ("straight_accuracy", ".1f", 100),
        "all layers (%)": ("all_layers_accuracy", ".1f", 100),
    }
    rows = [
        [task, label, *row(group, columns)]
        for task in found.tasks
        if found.get(task, "no_warmup")
        for label, group in found.schedules(task).items()
    ]
    return Section(
        "Fig. 4: with and without pre-training",
        ["config", "schedule", "n", *columns],
        rows or [["all", "all", *row(None, columns)]],
        "Both for the same number of epochs in all. Without, all of them train main model and "
        "agent together. Test accuracy; cost beyond the straight pass, in multiples of its MACs.",
        figures,
        kind="two",
    )


def _reward(found: Found, figures: Sequence[str]) -> Section:
    return Section(
        "Fig. 5a: reward over training",
        ["config", "n", "first tenth", "last tenth"],
        [_ends(group, "reward") for group in found.agents] or [["all", "not run", "—", "—"]],
        "Mean return a sample, of all rounds, over the steps in which the agent trains. No "
        "number of the paper's is on record.",
        figures,
    )


def _prices(found: Found, figures: Sequence[str]) -> Section:
    rows = []
    for group in found.agents:
        curves = [json.loads((w / "curve.json").read_text())["agent"] for w in group.workdirs]
        for points in zip(*curves, strict=True):
            known = all("actions" in point for point in points)
            rows.append(
                [
                    group.name,
                    str(len(points)),
                    f"{points[0]['price']:.3g}",
                    seeds.mean(points, "accuracy"),
                    seeds.mean(points, "mean_cost", ".2f", 1),
                    seeds.shares(points) if known else "not recorded",
                ]
            )
    return Section(
        "Fig. 5b: selection and accuracy against the penalty",
        ["config", "n", "price λ", "agent (%)", "cost", "no operation / layer 1 / … (%)"],
        rows or [["all", "not run", *("—" * 4)]],
        "One model takes all prices. On the test split; cost beyond the straight pass, in "
        "multiples of its MACs. No number of the paper's is on record.",
        figures,
    )


def _models(found: Found, figures: Sequence[str]) -> Section:
    rows = []
    mean = lambda values: seeds.mean([{"of": value} for value in values], "of")
    for task in found.tasks:
        alone, shared = found.models(task)
        for layers, values in alone.items():
            here = [str(len(values)), mean(values)] if values else ["not run", "—"]
            own = shared[layers]
            rows.append([task, f"Model {layers}", *here, str(len(own) or "—"), mean(own)])
    return Section(
        "Fig. 6: Models 0, 1, … iterate so many layers for every sample",
        ["config", "model", "n", "trained alone (%)", "n", "DynaLay's weights (%)"],
        rows,
        f"Test accuracy. The paper draws it on {published.MODELS_SAMPLES} samples, ± 6 points.",
        figures,
        kind="two",
    )


def _sequences(found: Found) -> Section:
    """What iterating one of the LSTM's layers gains."""
    agents = {
        group.name: group for group in found.agents if group.config["model"]["cell"] == "lstm"
    }
    rows = []
    for name in dict.fromkeys(("imdb", "wikitext2", *agents)):
        summaries = agents[name].summaries if name in agents else ()
        accuracies = [_by_route(summary, "accuracy", "accuracies") for summary in summaries]
        losses = [_by_route(summary, "loss", "losses") for summary in summaries]
        for route in accuracies[0] if accuracies else ():
            perplexities = [{"of": np.exp(each[route])} for each in losses if route in each]
            rows.append(
                [
                    name,
                    route,
                    str(len(summaries)),
                    seeds.mean(accuracies, route),
                    seeds.mean(perplexities, "of", ".2f", 1),
                ]
            )
        if not summaries:
            rows.append([name, "all", "not run", "—", "—"])
    return Section(
        "Fig. 7: LSTM with one layer iterated",
        ["config", "route", "n", "test accuracy (%)", "perplexity"],
        rows,
        "The same weights on every route. A layer's own output is fed back into its input. "
        "Perplexity is e to the mean cross-entropy in nats; on WikiText-2 of every word of the "
        "test text, which the model tells from the few before it. No number of the paper's is on "
        "record.",
        kind="two",
    )


def _by_route(summary: Mapping[str, Any], one: str, several: str) -> dict[str, float]:
    """A quantity by route, as far as it was recorded; its names for one route and for layers."""
    layers = enumerate(summary.get(f"layer_{several}", ()), 1)
    found = {
        "no operation": summary.get(f"straight_{one}"),
        **{f"layer {layer}": value for layer, value in layers},
        "all layers": summary.get(f"all_layers_{one}"),
        "the agent's": summary.get(f"test_{one}"),
    }
    return {route: value for route, value in found.items() if value is not None}
