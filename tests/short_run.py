"""Configs whose runs are short."""

import contextlib

from configs import digits
from train.run import Run
from train.workdir import claim

PER_CALL = 2
# A smaller model yet. As many validation as test examples: one program evaluates both.
SMALL = {"model.widths": (4, 4), "model.agent_hidden": 1, "data.validation": 500}


def tiny(**changes):
    """Three calls in each phase on the digits, with a model that compiles quickly."""
    config = digits.get_config()
    config.model.update(cell="dense", widths=(8, 8), strides=(1, 1), windows=(), compact=0)
    config.train.update(batch_size=128, steps_per_call=PER_CALL)
    config.train.epochs.update(main=0.75, agent=0.75, joint=0.75)
    config.objective.fraction = 0.25
    config.prices, config.eval_every = (0.1, 1.0), 0.25
    config.update_from_flattened_dict(changes)
    return config


def begun(config, workdir):
    """The workdir of a run whose weights are those it began with."""
    run = Run.prepare(config, workdir)
    claim(workdir, run.config, run.dataset)
    with contextlib.closing(run.checkpoints()) as checkpoints:
        checkpoints.save(1, run.initial(), {})
    return workdir


# One for the command line, of single steps.
TINY = [
    "--config=configs/digits.py",
    "--config.model.cell=dense",
    "--config.model.widths=(8,)",
    "--config.model.strides=(1,)",
    "--config.model.windows=(1,)",
    "--config.model.compact=0",
    "--config.train.steps_per_call=1",
    "--config.train.epochs.main=1.0",
    "--config.train.epochs.agent=1.0",
    "--config.train.epochs.joint=1.0",
    "--config.eval_every=0.06",
    "--config.prices=(0.1,)",
]
