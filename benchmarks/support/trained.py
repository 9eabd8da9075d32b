"""Runs with trained weights, for the benchmarks that time them."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from train import parallel
from train.analysis import seeds
from train.run import Run, reopen

PyTree = Any


class Trained(NamedTuple):
    """A run, and its weights on one device.

    Attributes:
        name: of the config, with its variant.
        run: reopened.
        step: that the weights are of.
        params: the weights.
    """

    name: str
    run: Run
    step: int
    params: PyTree


def trained(workdir: Path, without_agent: bool = False) -> Trained:
    """The run in a workdir.

    Raises:
        UserError: the workdir is not a trained run's, or not of one with an agent.
    """
    run = reopen(workdir, without_agent=without_agent)
    step, replicated = run.restored()
    params = jax.tree.map(jnp.asarray, parallel.unreplicate(replicated))
    return Trained(seeds.name(workdir, run.config.seed), run, step, params)
