"""A whole run of the task that knows its difficulty, and its evaluation on larger grids."""

import json

import jax
import pytest

from configs import connectivity
from train import loop
from train.errors import UserError


def tiny(**changes):
    config = connectivity.get_config()
    config.data.update(grid=6, train=300, validation=60, test=80)
    config.model.update(cell="cascade", widths=(4,), strides=(1,), compact=0)
    config.train.update(batch_size=32, steps_per_call=2)
    config.train.epochs.update(main=0.5, agent=0.0, joint=0.5)
    config.prices, config.eval_every = (0.1,), 1.0
    config.update_from_flattened_dict(changes)
    return config


@pytest.mark.slow
def test_difficulty_is_reported_and_grids_may_be_larger_at_evaluation(tmp_path):
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        summary = loop.train_and_evaluate(tiny(), tmp_path)
        larger = loop.evaluate_only(tiny(**{"data.grid": 8, "router": "all"}), tmp_path)
        with pytest.raises(UserError, match=r"config\.data\.seed is 0, not 1"):
            loop.evaluate_only(tiny(**{"data.seed": 1}), tmp_path)
    assert "difficulty_spearman" in summary
    record = json.loads((tmp_path / "difficulty.json").read_text())
    # Half of the 80 grids are connected.
    assert sum(row["examples"] for row in record["bins"]) == 40
    assert (tmp_path / "figures" / "difficulty.png").exists()
    assert (tmp_path / "eval_all_0.1_grid_8.json").exists()
    assert larger["test_examples"] == 80 and larger["mean_cost"] > 0
