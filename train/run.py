"""Finished runs, for the commands that ask them something."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from train import loop
from train import workdir as setup
from train.cli import Parser
from train.errors import UserError


def reopen(
    workdir: str | Path,
    data_dir: str | None = None,
    changes: Mapping[str, Any] = {},
    baseline: bool = False,
) -> loop.Run:
    """The run in a workdir, as it was configured.

    Args:
        workdir: of the run.
        data_dir: where TFDS keeps its data, if not where it was in training.
        changes: fields of the config to change, as "data.grid"; of the data, only what the test
            split is made of.
        baseline: whether a baseline's run will do.

    Raises:
        UserError: workdir is not that of a trained run, or not of one with an agent.
    """
    config = setup.saved_config(Path(workdir))
    config.update_from_flattened_dict(dict(changes))
    if data_dir is not None:
        config.data.data_dir = data_dir
    run = loop.Run.reopen(config, Path(workdir))
    trained = "agent" in run.task.phases[-1].trains
    if not (trained if config.router == "agent" else baseline):
        raise UserError(f"{workdir}: expected a run with an agent, got a baseline's.")
    return run


def parser(module: str, doc: str) -> Parser:
    """A parser of a command about one run: `workdir`, and `data_dir` as above."""
    made = Parser(f"python -m train.{module}", description=doc.split("\n")[0])
    made.add_argument("workdir", help="of a finished run")
    made.add_argument("--data_dir", help="where TFDS keeps its data, if elsewhere by now")
    return made
