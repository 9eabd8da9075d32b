"""Records of timings: found in the workdirs, and refused where they are something else."""

import json

import numpy as np
import pytest
from sample_records import run, training_record

from benchmarks.support import timed
from train.analysis import seeds
from train.errors import UserError


@pytest.fixture
def workdirs(tmp_path):
    folders = [tmp_path / f"digits-{seed}" for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        run(folder, seed, {"seed": seed})
    return folders


def test_runs_without_records_have_none(workdirs):
    found = seeds.groups(workdirs)
    assert timed.training(found) == [] and timed.routers(found) == {}


def test_any_run_of_a_config_may_have_the_record(workdirs):
    times = {"plain CNN": ([1, 2], [9, 10]), "DEQ": ([1, 1, 1], [13, 12, 14])}
    record = json.dumps(training_record(**times))
    (workdirs[1] / "training_digits.json").write_text(record)
    (workdirs[1] / "training_other.json").write_text("of something else")
    plain, deq = timed.training(seeds.groups(workdirs))
    assert (plain.config, plain.name, deq.name) == ("digits", "plain CNN", "DEQ")
    np.testing.assert_array_equal(plain.backward, [8, 8])
    np.testing.assert_array_equal(deq.backward, [12, 11, 13])
    np.testing.assert_array_equal(deq.whole, [13, 12, 14])


def test_ratios_are_of_medians_with_an_interval():
    rng = np.random.default_rng(0)
    plain, slow = rng.normal(10, 1, 200), 3 * rng.normal(10, 1, 200)
    found = timed.ratio(slow, plain)
    assert found.value == np.median(slow) / np.median(plain)
    assert 2.8 < found.low < 3 < found.high < 3.2
    few = timed.ratio(slow[:8], plain)
    assert few.value == np.median(slow[:8]) / np.median(plain[:8]), "rounds that both were in"
    assert few.high - few.low > 2 * (found.high - found.low)
    # Rounds that are slow for both tell nothing of the ratio.
    uneven = rng.lognormal(size=50)
    assert timed.ratio(2 * uneven, uneven) == pytest.approx((2, 2, 2))
    assert timed.ratio([6.0], [3.0]) == (2, 0, np.inf), "of one round, no interval"


def test_what_may_take_no_time_gives_no_upper_end():
    """Differences of noisy times may be negative, and the ratio to them is no small one."""
    ours, plain = np.full(9, 2.0), np.array([1, 2, -1, 3, -2, 1, -1, 2, 1.0])
    low, high = timed.ratio(ours, plain)[1:]
    assert 0 < low < 2 and high == np.inf
    assert timed.ratio(ours, np.full(9, -0.1)) == 3 * (np.inf,)
    assert timed.ratio(ours, np.zeros(9)) == 3 * (np.inf,)


@pytest.mark.parametrize(
    ("read", "kind", "text", "got"),
    [
        (timed.training, "training", "[]", "TypeError"),
        (timed.training, "training", '{"config": "digits", "rows": []}', "ValueError"),
        (timed.training, "training", json.dumps(training_record(plain=([], []))), "ValueError"),
        (timed.routers, "routers", "{}", "KeyError"),
        (timed.routers, "routers", "{", "JSONDecodeError"),
    ],
)
def test_another_file_is_no_record(workdirs, read, kind, text, got):
    (workdirs[0] / f"{kind}_digits.json").write_text(text)
    message = rf"{kind}_digits.json: expected a record of benchmarks/{kind}.py, got {got}"
    with pytest.raises(UserError, match=message):
        read(seeds.groups(workdirs))
