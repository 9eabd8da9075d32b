"""The ledger: what finished runs say about each claim.

Each claim is looked up in every run it can be looked up in; where none was made it says so.
"""

from collections.abc import Sequence
import dataclasses
import itertools
import json
from pathlib import Path
import re
from typing import Any

from benchmarks.paper import published as paper
from benchmarks.paper.claim import Claim, Summaries
from benchmarks.paper.claims import CLAIMS
from benchmarks.support import timed
from train.analysis import seeds
from train.analysis.seeds import Group
from train.workdir import read_record

# Fields of config.data: how large grids and mazes are.
_SIZES = ("grid", "side")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of the ledger."""

    claim: str
    paper: str
    here: str
    n: str
    verdict: str
    why: str


def entries(groups: Sequence[Group], training: Sequence[timed.Arm] = ()) -> list[Entry]:
    """The ledger.

    Args:
        groups: runs by config.
        training: arms whose training steps were timed.
    """
    runs = {group.name: _beside(group, groups) for group in groups}
    return [*(_entry(claim, runs) for claim in CLAIMS), *_training(training)]


def _beside(group: Group, groups: Sequence[Group]) -> Summaries:
    """Summaries of a config with more that claims are about.

    `curve` is the agent's over its prices, `layer_costs` are those of each layer alone, iterated
    for every sample, `solves` is what `train.solves` found of each. Of variants there are
    VARIANT_accuracy and VARIANT_all_layers_accuracy; the variant is called model_all if it is the
    model_L that iterates all layers, and wide_macs, deep_macs, residual_macs if it is a wide_2.5x,
    deep_2.5x, residual_2.5x of as many MACs as the agent has. A first run is beside the variant's
    first, and so on; one without such has no such key. VARIANT_largest_accuracy, and beside it the
    config's own VARIANT_beside_largest_accuracy, are on the largest test data, larger than in
    training, that `train.extrapolate` was asked about for both runs.
    """
    out = [dict(summary) for summary in group.summaries]
    for summary, workdir in zip(out, group.workdirs, strict=False):
        curve = json.loads((workdir / "curve.json").read_text())
        summary["curve"] = sorted(curve["agent"], key=lambda point: point["price"]) or None
        alone = (f"layer {i + 1}" for i in range(len(summary["layer_accuracies"])))
        points = [curve.get("routers", {}).get(name) for name in alone]
        summary["layer_costs"] = [p["mean_cost"] for p in points] if all(points) else None
        summary["solves"] = (read_record(workdir, "fixed_points") or {}).get("layers")
        summary["larger"] = _larger(workdir, "agent")
    for other in (other for other in groups if other.task == group.name and other.variant):
        layers = len(out[0]["layer_accuracies"])
        name = "model_all" if other.variant == f"model_{layers}" else other.variant
        if sized := re.fullmatch(r"(\w+)_[\d.]+x", name):
            matched = seeds.as_many_macs(group.summaries, other.summaries)
            name = f"{sized[1]}_macs" if matched else name
        for summary, theirs in zip(out, other.summaries, strict=False):
            summary[f"{name}_accuracy"] = theirs["test_accuracy"]
            summary[f"{name}_all_layers_accuracy"] = theirs["all_layers_accuracy"]
        for summary, workdir in zip(out, other.workdirs, strict=False):
            static = _larger(workdir, "straight")
            both = summary["larger"].keys() & static.keys()
            if both:
                summary[f"{name}_beside_largest_accuracy"] = summary["larger"][max(both)]
                summary[f"{name}_largest_accuracy"] = static[max(both)]
    return out


def _larger(workdir: Path, router: str) -> dict[int, float]:
    """Accuracies on grids or mazes larger than in training, by their size."""
    records = (read_record(workdir, f"extrapolate_{field}") or {} for field in _SIZES)
    return {
        row["value"]: row[f"{router}_accuracy"]
        for record in records
        if record
        for row in record["rows"]
        if row["value"] > record["trained"] and f"{router}_accuracy" in row
    }


def _training(arms: Sequence[timed.Arm]) -> list[Entry]:
    """Table 1's training cost: the arms of DynaLay against the plain CNN's and every DEQ's."""
    backward, whole = list[timed.Ratio](), list[timed.Ratio]()
    against_deqs = list[timed.Ratio]()
    told: dict[str, list[str]] = {"backward": [], "whole": [], "deqs": []}
    for config, known in itertools.groupby(arms, key=lambda arm: arm.config):
        named = {arm.name: arm for arm in known}
        plain = named[timed.PLAIN]
        passes = {name: timed.ratio(arm.backward, plain.backward) for name, arm in named.items()}
        steps = {name: timed.ratio(arm.whole, plain.whole) for name, arm in named.items()}
        ours = [name for name in named if name.startswith("DynaLay")]
        pairs = {
            f"{name} / {deq.name}": timed.ratio(named[name].backward, deq.backward)
            for name in ours
            for deq in named.values()
            if deq.name.startswith("DEQ")
        }
        for part, ratios in zip(told.values(), (passes, steps, pairs), strict=True):
            shown = ", ".join(f"{name} {ratio}" for name, ratio in ratios.items())
            of = "" if ratios is pairs else ", in multiples of the plain CNN"
            part.append(f"{config}{of}: {shown}")
        backward += [passes[name] for name in ours]
        whole += [steps[name] for name in ours]
        against_deqs += pairs.values()
    here, times = told["backward"], paper.BACKWARD
    said = f"{times['DynaLay']} against {times['plain CNN']} and {times['DEQ']}, seconds or minutes"
    return [
        _timed(
            "The backward pass is cheaper than the plain CNN's (Table 1)",
            said,
            (backward, 1.0, "arms"),
            here,
            "Of one step. The units differ between the paper's table and text. What is iterated "
            "comes on top of the straight pass, which is a plain CNN's.",
        ),
        _timed(
            "The backward pass costs at most 1.5 times the plain CNN's",
            said,
            (backward, 1.5, "arms"),
            here,
            "What is iterated comes on top of the straight pass.",
        ),
        _timed(
            "A training step costs at most 1.5 times the plain CNN's",
            "not given",
            (whole, 1.5, "arms"),
            told["whole"],
            "Its forward and its backward pass.",
        ),
        _timed(
            "The backward pass is 5 times cheaper than a DEQ's (Table 1)",
            said,
            (against_deqs, 1 / 5, "pairs of arms"),
            told["deqs"],
            "DEQs of one layer have the middle layer's cell alone; those of all layers have all.",
        ),
    ]


def _timed(
    claim: str,
    said: str,
    asked: tuple[Sequence[timed.Ratio], float, str],
    here: Sequence[str],
    why: str,
) -> Entry:
    """Whether ratios, of arms or of pairs of them, are at most so large."""
    ratios, bound, of = asked
    held = sum(ratio.high <= bound for ratio in ratios)
    open_ = sum(ratio.low <= bound < ratio.high for ratio in ratios)
    verdict = f"holds in {held} of {len(ratios)} {of}" if ratios else "not measured"
    verdict += f", undecided in {open_}" * (open_ > 0)
    why += " With 95 % confidence intervals; undecided where the bound is inside."
    return Entry(claim, said, "; ".join(here), ", ".join("1" for _ in here), verdict, why)


def _entry(claim: Claim, runs: dict[str, Summaries]) -> Entry:
    here: list[str] = []
    asked: list[dict[str, Any]] = []
    for name in claim.configs:
        known = [s for s in runs.get(name, ()) if all(s.get(k) is not None for k in claim.needs)]
        if known:
            here.append(f"{name} (n = {len(known)}): {claim.here(known)}")
            asked += known
    verdict = (
        f"holds in {sum(map(claim.holds, asked))} of {len(asked)} runs" if asked else "not run"
    )
    if asked and claim.clear:
        verdict += f", in {sum(map(claim.clear, asked))} by more than 2 standard errors"
    n = str(len(asked)) if asked else ""
    return Entry(claim.claim, claim.paper, "; ".join(here), n, verdict, claim.why)
