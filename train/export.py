"""Writes the model of a finished run as a folder for `dynalay_jax.Predictor`.

    python -m train.export WORKDIR [--out=DIR]

A run ends with its model in WORKDIR/model. This command writes it there for runs of older versions,
or into another folder, which needs neither the workdir nor the data set.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dynalay_jax.predict import folder as folders
from dynalay_jax.predict.folder import Point, SavedModel
from train.cli import Parser, folder, friendly
from train.errors import UserError
from train.parallel import unreplicate
from train.run import Run
from train.state import PyTree, join
from train.studies.runner import finished
from train.workdir import read_record

FOLDER = "model"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    description = (__doc__ or "").partition("\n")[0]
    parser = Parser("python -m train.export", description=description)
    parser.add_argument("workdir", type=folder, help="of a finished run")
    parser.add_argument("--out", type=folder, help=f"folder to write; WORKDIR/{FOLDER} if left out")
    parser.add_argument("--data_dir", help="folder of TFDS data sets, if they have moved")
    options = parser.parse_args(arguments)
    run = finished(options.workdir, options.data_dir, without_agent=True)
    step, params = run.restored()
    curve = read_record(run.workdir, "curve") or {"agent": []}
    # Records of older versions have no step; they are of the last one.
    if curve.get("step", run.task.phases[-1].last) != step:
        print(f"curve.json is of another checkpoint than step {step}: no prices are written.")
        curve = {"agent": []}
    out = options.out or run.workdir / FOLDER
    write(run, unreplicate(params), step, curve, out)
    print(f"Written to {out}. In Python: dynalay_jax.Predictor.load({str(out)!r})")


def write(run: Run, params: PyTree, step: int, curve: Mapping[str, Any], out: Path) -> None:
    """Writes the model's folder.

    Args:
        run: trained.
        params: {"main": ..., "agent": ...}, of that step.
        step: of training.
        curve: as of `analysis.summary.curve`, measured with these parameters.
        out: the folder.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    dataset, task, config = run.dataset, run.task, run.config
    straight = task.costs.straight
    points = [
        Point(point["price"], point["accuracy"], straight * (1 + point["mean_cost"]))
        for point in curve["agent"]
    ]
    saved = SavedModel(
        model=task.model,
        variables=join(params),
        input_shape=dataset.train.images.shape[1:],
        classes=dataset.classes,
        mean=tuple(dataset.mean.tolist()),
        std=tuple(dataset.std.tolist()),
        router="agent" if task.phases[-1].trains_agent else config.router,
        price=config.price,
        curve=tuple(points),
        about=f"{dataset.name}, seed {config.seed}, step {step}; the curve is of its "
        f"{len(dataset.test.labels):,} test examples",
    )
    try:
        folders.write(out, saved)
    except OSError as error:
        raise UserError(f"Cannot write {out}: {error.strerror}.") from error


if __name__ == "__main__":
    with friendly():
        main()
