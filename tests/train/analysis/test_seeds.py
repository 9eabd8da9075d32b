"""Runs that differ in their seeds are taken together, and no others."""

import pytest
from sample_records import run

from train.analysis import seeds
from train.errors import UserError


def test_seeds_of_a_config_are_a_group(tmp_path):
    folders = [run(tmp_path / f"digits-{seed}", seed) for seed in range(2)]
    baseline = run(tmp_path / "digits_wide_2x", 0, {"router": "none"})
    two, one = seeds.groups([*folders, baseline])
    assert (two.name, two.workdirs, two.variant) == ("digits", tuple(folders), "")
    assert (one.name, len(one.summaries), one.variant) == ("digits_wide_2x", 1, "wide_2x")
    assert two.ran.startswith("P, 2 cores, cpu: cpu, Python 3.11, jax 1.2") and "abc" in two.ran


def test_the_same_run_is_not_two(tmp_path):
    first = run(tmp_path / "a" / "digits-0", 0)
    assert len(seeds.groups([first, first])[0].summaries) == 1
    with pytest.raises(UserError, match=r"digits: expected .* different seeds, got seeds 0, 0"):
        seeds.groups([first, run(tmp_path / "b" / "digits-0", 0)])


def test_another_ending_of_the_name_is_no_seed(tmp_path):
    folders = [run(tmp_path / name, seed) for name, seed in (("my", 0), ("my-run", 0), ("my-3", 3))]
    assert [group.name for group in seeds.groups(folders)] == ["my", "my-run"]


def test_other_settings_are_another_config(tmp_path):
    folders = [run(tmp_path / f"digits-{seed}", seed, price=0.1 + seed) for seed in range(2)]
    with pytest.raises(UserError, match=r"digits: expected runs of one config"):
        seeds.groups(folders)


def test_what_is_no_finished_run_is_refused(tmp_path):
    folder = run(tmp_path / "digits", 0)
    (folder / "summary.json").unlink()
    with pytest.raises(UserError, match=r"digits: expected the workdir of a finished run"):
        seeds.groups([folder])


def test_means_say_what_they_are_of():
    values = [0.92, 0.96, None, float("nan")]
    assert seeds.spread(values[:1]) == "92.0"
    assert seeds.spread(values[:2]) == "94.0 ± 2.8"
    assert seeds.spread(values, ".2f", 1) == "0.94 ± 0.03 (2 of 4)"
    assert seeds.spread(values[2:]) == seeds.spread([]) == "—"
    assert seeds.spread(values[:3], deviation=False) == "94.0 (2 of 3)"
