"""What the JSON files of a workdir hold: every committed record passes, damage is named."""

import copy
import json
import math
import re

import pytest
from sample_records import (
    CORRUPTION,
    CURVE,
    DIFFICULTY,
    EXTRAPOLATE,
    GALLERY,
    RESIDUALS,
    SUMMARY,
    training_record,
)

from benchmarks.paper import results
from benchmarks.support import timing
from train import records

SAMPLES = {
    "summary": SUMMARY, "curve": CURVE, "gallery": GALLERY, "residuals": RESIDUALS,
    "difficulty": DIFFICULTY, "corruption": CORRUPTION, "extrapolate_grid": EXTRAPOLATE,
    "train_step_digits": training_record(a=([1.0], [2.0])),
}  # fmt: skip


def test_records_of_runs_pass():
    for name, record in SAMPLES.items():
        records.check(name, json.loads(json.dumps(record)))
    runs = [run for found in results.committed().values() for of in found for run in of["runs"]]
    assert len(runs) > 50
    for name, record in [pair for run in runs for pair in run.items() if pair[0] != "difficulty"]:
        records.check(name, record)
    for kind in ("train_step", "routed_pass"):
        for path in timing.RESULTS.glob(f"{kind}_*.json"):
            records.check(path.stem, json.loads(path.read_text()))


def leaves(value, path=()):
    """The places of all values in a record, by the keys that lead there."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inner:
        yield (*path, key)
        if isinstance(each, dict | list):
            yield from leaves(each, (*path, key))


@pytest.mark.parametrize("wrong", [None, "text", math.nan, {}, ["text"]], ids=str)
@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_wrong_is_named(name, wrong):
    """With a wrong value in any place, the check passes or says one line with the place."""
    record, refused = json.loads(json.dumps(SAMPLES[name])), 0
    for *path, last in leaves(record):
        damaged = copy.deepcopy(record)
        node = damaged
        for key in path:
            node = node[key]
        node[last] = wrong
        try:
            records.check(name, damaged)
        except ValueError as error:
            refused += 1
            said = str(error)
            assert "\n" not in said and str((*path, last)[0]) in said and len(said) < 200
    assert refused >= 2


@pytest.mark.parametrize(
    ("name", "record", "said"),
    [
        ("summary", {}, "router is missing"),
        ("summary", [1], "expected a dictionary, got [1]"),
        ("summary", SUMMARY | {"test_accuracy": 1.5}, "test_accuracy: expected less than or equal"),
        ("summary", SUMMARY | {"mean_cost": "1"}, "mean_cost: expected a number, got '1'"),
        ("summary", SUMMARY | {"starts": []}, "starts: expected at least 1 item, got []"),
        ("curve", {"agent": [], "routers": {"none": 3}}, "routers.none: expected a list, got 3"),
        ("versions", {}, "expected a list, got {}"),
        ("eval_all_0.1", 3, "expected a dictionary, got 3"),
    ],
)
def test_messages(name, record, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        records.check(name, record)


def test_the_cure_is_of_the_record():
    for name, said in {
        "config": "only a new training",
        "curve": "move summary.json away and repeat the command that trained",
        "calibrate_agent_2": "repeat python -m train.studies.calibrate",
        "routed_pass_digits": "repeat python -m benchmarks.routed_pass",
        "eval_all_0.1": "with --mode=eval",
    }.items():
        assert said in records.cure(name)
    assert records.known("calibrate_agent") and not records.known("eval_all_0.1")
