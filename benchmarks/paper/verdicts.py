"""The ledger: what finished runs say about each claim."""

from collections.abc import Mapping, Sequence
import itertools
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import train_step
from benchmarks.paper.claims import OURS, PAPERS, Claim, Facts, TimedClaim
from benchmarks.paper.results import Records, frame, static_nets
from benchmarks.support.timing import ratio
from train.analysis.seeds import spread

Timed = Sequence[dict[str, Any]]


def ledger(records: Records, timed: Timed = ()) -> pd.DataFrame:
    """A row for each claim: whose it is, what the paper says, the verdict, and what was measured.

    `held` of `count` runs or ratios decide the verdict.

    Args:
        records: of finished runs.
        timed: records of `benchmarks.train_step`.
    """
    found, rows = facts(records), []
    for whose, claims in (("paper", PAPERS), ("ours", OURS)):
        for claim in claims:
            judged = (
                _judge_times(claim, timed)
                if isinstance(claim, TimedClaim)
                else _judge(claim, found)
            )
            about = {"whose": whose, "claim": claim.text, "the paper": claim.paper}
            rows.append({**about, **judged, "note": claim.why})
    return pd.DataFrame(rows)


def facts(records: Records) -> dict[str, list[Facts]]:
    """By config, what claims need to know about each run: its summary and more.

    Runs of a variant are beside the config's by their order: the first beside the first, and so on.
    """
    runs = frame(records)
    found = {}
    for config in dict.fromkeys(runs.get("config", ())):
        families = runs[runs.config == config].groupby("variant")
        variants = {variant: rows.to_dict("records") for variant, rows in families}
        nets = [name.removeprefix(f"{config}_") for name in static_nets(runs, config)]
        own = variants.pop("", [])
        every = f"model_{len(own[0]['layer_accuracies'])}" if own else ""
        names = {name: name for name in variants} | {"model_all": every}
        names |= {"static": nets[0]} if nets else {}
        for i, run in enumerate(own):
            run |= _of_run(run)
            for name, variant in names.items():
                if i < len(others := variants.get(variant, ())):
                    run[f"{name}_accuracy"] = others[i]["test_accuracy"]
                    run |= _on_larger_data(run, others[i]) if name == "static" else {}
        found[config] = own
    return found


def _of_run(run: Mapping[str, Any]) -> Facts:
    """Facts that follow from one run's summary and studies."""
    known = lambda key: isinstance(run.get(key), list | dict)
    layers, actions = run["layer_accuracies"], run["actions"]
    routes = run["routes"] if known("routes") else actions
    out = {
        "cost_share": run["mean_cost"] / run["all_layers_cost"],
        "layer_best": max(layers),
        "layer_worst": min(layers),
        "action_none": actions[0],
        "action_top": max(actions[1:]),
        "route_second": sorted([0.0, *routes[1:]])[-2],
    }
    if known("curve") and run["curve"]["agent"]:
        curve = sorted(run["curve"]["agent"], key=lambda point: point["price"])
        costs = [point["mean_cost"] for point in curve]
        falls = costs[-1] < costs[0] and all(a >= b for a, b in itertools.pairwise(costs))
        out |= {"cost_lowest": costs[0], "cost_highest": costs[-1], "cost_falls": falls}
        out["accuracy_lowest"] = curve[0]["accuracy"]
        out["macs_share"] = (1 + costs[0]) / (1 + run["all_layers_cost"])
    if known("fixed_points"):
        layers = run["fixed_points"]["layers"]
        out["gradient_error"] = max(layer["gradient_error"] for layer in layers)
        out["same_answer"] = min(layer["same_answer"] for layer in layers)
        out["layer_converged"] = min(layer["converged"] for layer in layers)
    return out


def _on_larger_data(run: Mapping[str, Any], net: Mapping[str, Any]) -> Facts:
    """Accuracies on the largest grids or mazes beyond training that both were tested on."""

    def larger(run: Mapping[str, Any], router: str) -> dict[int, float]:
        studies = (run.get(f"extrapolate_{field}") for field in ("grid", "side"))
        return {
            row["value"]: row[f"{router}_accuracy"]
            for study in studies
            if isinstance(study, dict)
            for row in study["rows"]
            if row["value"] > study["trained"]
        }

    own, static = larger(run, "agent"), larger(net, "straight")
    if not (both := own.keys() & static.keys()):
        return {}
    return {"larger_accuracy": own[max(both)], "static_larger_accuracy": static[max(both)]}


def _judge(claim: Claim, found: Mapping[str, Sequence[Facts]]) -> dict[str, Any]:
    needed = [fact for fact, _, _ in claim.shown.values()]
    here, held, clear, count = [], 0, 0, 0
    for config in claim.configs:
        runs = [run for run in found.get(config, ()) if all(_known(run.get(n)) for n in needed)]
        if not runs:
            continue
        shown = [
            text.format(spread([run[fact] for run in runs], form, factor))
            for text, (fact, form, factor) in claim.shown.items()
        ]
        here.append(f"{config} (n = {len(runs)}): {', '.join(shown)}")
        held += sum(
            bool(_ahead(run, claim.ahead) > 0 if claim.ahead else claim.holds(run)) for run in runs
        )
        clear += sum(_clearly_ahead(run, claim.ahead) for run in runs) if claim.ahead else 0
        count += len(runs)
    verdict = f"holds in {held} of {count} runs" if count else "not run"
    # Larger data need not have the same number of examples.
    if count and claim.ahead and claim.ahead[0] == "test_accuracy":
        verdict += f", in {clear} by more than 2 standard errors"
    return {"verdict": verdict, "measured": "; ".join(here), "held": held, "count": count}


def _known(value: Any) -> bool:
    return value is not None and value == value  # NaN is not equal to itself


def _ahead(run: Facts, accuracies: Sequence[str]) -> float:
    own, *others = (run[name] for name in accuracies)
    return own - max(others)


def _clearly_ahead(run: Facts, accuracies: Sequence[str]) -> bool:
    """Whether the difference exceeds two standard errors, as of independent test examples."""
    own, *others = (run[name] for name in accuracies)
    right = np.array([own, max(others)])
    error = np.sqrt(np.sum(right * (1 - right)) / run["test_examples"])
    return bool(_ahead(run, accuracies) > 2 * error)


def _judge_times(claim: TimedClaim, timed: Timed) -> dict[str, Any]:
    """Counts ratios whose 95 % interval is below the bound, or contains it."""
    here, ratios = [], []
    for record in timed:
        arms = train_step.times(record)
        pairs = {
            f"{own} / {other}": ratio(arms[own][claim.part], arms[other][claim.part])
            for own in arms
            for other in arms
            if own.startswith("DynaLay") and other.startswith(claim.other)
        }
        if pairs:
            here.append(f"{record['config']}: {', '.join(f'{k} {v}' for k, v in pairs.items())}")
        ratios += pairs.values()
    held = sum(found.high <= claim.bound for found in ratios)
    undecided = sum(found.low <= claim.bound < found.high for found in ratios)
    verdict = f"holds in {held} of {len(ratios)} ratios" if ratios else "not measured"
    verdict += f", undecided in {undecided}" if undecided else ""
    measured = "; ".join(here)
    return {"verdict": verdict, "measured": measured, "held": held, "count": len(ratios)}
