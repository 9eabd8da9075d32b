"""Records of timings: found in the workdirs, and refused where they are something else."""

import json

import pytest
from test_seeds import run

from train import seeds, timings
from train.errors import UserError


@pytest.fixture
def workdirs(tmp_path):
    folders = [tmp_path / f"digits-{seed}" for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        run(folder, seed, {"seed": seed})
    return folders


def test_runs_without_records_have_none(workdirs):
    found = seeds.groups(workdirs)
    assert timings.training(found) == [] and timings.routers(found) == {}


def test_any_run_of_a_config_may_have_the_record(workdirs):
    times = {"plain CNN": 8.0, "DEQ": 12.0}
    rows = [{"arm": arm, "backward": {"median_ms": time}} for arm, time in times.items()]
    record = json.dumps({"config": "digits", "rows": rows})
    (workdirs[1] / "training_digits.json").write_text(record)
    (workdirs[1] / "training_other.json").write_text("of something else")
    row = lambda arm: {"config": "digits", "arm": arm}
    assert timings.training(seeds.groups(workdirs)) == [
        row("plain CNN") | {"backward_ms": 8.0, "ratio_to_plain": 1.0},
        row("DEQ") | {"backward_ms": 12.0, "ratio_to_plain": 1.5},
    ]


@pytest.mark.parametrize(
    ("read", "kind", "text", "got"),
    [
        (timings.training, "training", "[]", "TypeError"),
        (timings.routers, "routers", "{}", "KeyError"),
        (timings.routers, "routers", "{", "JSONDecodeError"),
    ],
)
def test_another_file_is_no_record(workdirs, read, kind, text, got):
    (workdirs[0] / f"{kind}_digits.json").write_text(text)
    message = rf"{kind}_digits.json: expected a record of benchmarks/{kind}.py, got {got}"
    with pytest.raises(UserError, match=message):
        read(seeds.groups(workdirs))
