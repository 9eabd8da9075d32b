"""One run for all studies."""

import jax
import pytest
from short_run import SMALL, begun, tiny

from train.run import reopen


@pytest.fixture(scope="session")
def opened(tmp_path_factory):
    """A run whose weights are those it began with, and its parameters."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        run = reopen(begun(tiny(**SMALL), tmp_path_factory.mktemp("run")))
        return run, run.restored()[1]
