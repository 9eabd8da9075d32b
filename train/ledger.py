"""The ledger: what finished runs say about each claim.

Each claim is looked up in every run it can be looked up in; where none was made it says so.
"""

from collections.abc import Sequence
import dataclasses
import itertools
import json
import re
from typing import Any

from train import paper
from train.claims import CLAIMS, Claim, Summaries
from train.seeds import Group


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of the ledger."""

    claim: str
    paper: str
    here: str
    n: str
    verdict: str
    why: str


def entries(groups: Sequence[Group], training: Sequence[dict[str, Any]] = ()) -> list[Entry]:
    """The ledger.

    Args:
        groups: runs by config.
        training: rows {"config", "arm", "backward_ms", "ratio_to_plain"} of what training steps
            cost.
    """
    runs = {group.name: _beside(group, groups) for group in groups}
    return [*(_entry(claim, runs) for claim in CLAIMS), _training(training)]


def _beside(group: Group, groups: Sequence[Group]) -> Summaries:
    """Summaries of a config with `curve`, the agent's over prices, and its variants' accuracies.

    These are VARIANT_accuracy, model_all_accuracy of the model_L that iterates all layers, and
    wide_macs_accuracy, deep_macs_accuracy of wide_2.5x, deep_2.5x, whatever the number. A first run
    is beside the variant's first, and so on; one without such has no such key.
    """
    out = [dict(summary) for summary in group.summaries]
    for summary, workdir in zip(out, group.workdirs, strict=False):
        points = json.loads((workdir / "curve.json").read_text())["agent"]
        summary["curve"] = sorted(points, key=lambda point: point["price"]) or None
    for other in groups:
        if other.task == group.name and other.variant:
            for summary, theirs in zip(out, other.summaries, strict=False):
                layers = len(summary["layer_accuracies"])
                name = "model_all" if other.variant == f"model_{layers}" else other.variant
                name = re.sub(r"_[\d.]+x$", "_macs", name)
                summary[f"{name}_accuracy"] = theirs["test_accuracy"]
    return out


def _training(rows: Sequence[dict[str, Any]]) -> Entry:
    """Table 1's training cost: every arm of DynaLay against the plain CNN and every DEQ."""
    here, held = [], []
    for config, known in itertools.groupby(rows, key=lambda row: row["config"]):
        ratios = {row["arm"]: row["ratio_to_plain"] for row in known}
        of = lambda arm, ratios=ratios: [r for name, r in ratios.items() if name.startswith(arm)]
        bound = min([1.0, *of("DEQ")])
        held += [ratio < bound for ratio in of("DynaLay")]
        shown = ", ".join(f"{arm} {ratio:.2f}" for arm, ratio in ratios.items())
        here.append(f"{config}, in multiples of the plain CNN: {shown}")
    times = paper.BACKWARD
    return Entry(
        "Training is cheaper than the plain CNN's, and than a DEQ's (Table 1)",
        f"{times['DynaLay']} against {times['plain CNN']} and {times['DEQ']}, in seconds or "
        "minutes",
        "; ".join(here),
        ", ".join("1" for _ in here),
        f"holds in {sum(held)} of {len(held)} arms" if held else "not measured",
        "Backward passes of one step. The units differ between the paper's table and text.",
    )


def _entry(claim: Claim, runs: dict[str, Summaries]) -> Entry:
    here, held = [], []
    for name in claim.configs:
        known = [s for s in runs.get(name, ()) if all(s.get(k) is not None for k in claim.needs)]
        if known:
            here.append(f"{name} (n = {len(known)}): {claim.here(known)}")
            held += [claim.holds(summary) for summary in known]
    verdict = f"holds in {sum(held)} of {len(held)} runs" if held else "not run"
    n = str(len(held)) if held else ""
    return Entry(claim.claim, claim.paper, "; ".join(here), n, verdict, claim.why)
