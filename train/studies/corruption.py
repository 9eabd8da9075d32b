"""What a finished run does with images that are worse than those it was trained on.

    python -m train.studies.corruption WORKDIR

The whole test split under noise, blur and loss of contrast, at severities 1 to 5 and, as it is, 0:
does the agent spend more where that is needed, and do its answers remain as sure as they are right?
The corruptions are drawn with one seed, so that all runs see the same images.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from train import run as finished
from train.analysis.routes import calibration_error
from train.cli import friendly
from train.console import percent, print_table
from train.errors import UserError
from train.evaluate import COMPARED, Report
from train.parallel import Resident
from train.plots import run as figures
from train.run import Run
from train.studies import corruptions
from train.studies.corruptions import CORRUPTIONS, SEVERITIES
from train.workdir import trained_config, versions, write_record

# Data sets of images; what is made here has marks for pixels, which a blur makes another task.
_IMAGES = ("digits", "cifar10", "cifar100")


def measure(run: Run, params: Any) -> dict[str, Any]:
    """Accuracy, cost and calibration on the corrupted test split.

    Args:
        run: of images, with an agent.
        params: replicated.

    Returns:
        "corruptions": by name of the corruption a row for each severity from 0, as of `row`;
        "mean": such rows of the mean over corruptions; "uniform_noise": `agent_cost` and
        `no_operation` on as many images of noise, whose pixels are drawn uniformly.
    """
    test = run.dataset.test

    def reports(images: np.ndarray) -> dict[str, Report]:
        data = Resident(dataclasses.replace(test, images=images))
        return {name: run.evaluate(params, data, router) for name, router in COMPARED.items()}

    clean = row(0, reports(test.images))
    rows = {
        name: [
            clean,
            *(row(s, reports(corruptions.corrupt(test.images, name, s))) for s in SEVERITIES),
        ]
        for name in CORRUPTIONS
    }
    mean = [
        {key: float(np.mean([each[key] for each in same])) for key in clean}
        for same in zip(*rows.values(), strict=True)
    ]
    noise = np.random.default_rng(0).integers(0, 256, test.images.shape, np.uint8)
    strange = row(0, reports(noise))
    return {
        "corruptions": rows,
        "mean": mean,
        "uniform_noise": {key: strange[key] for key in ("agent_cost", "no_operation")},
    }


def row(severity: int, reports: dict[str, Report]) -> dict[str, float]:
    """What the routers did with the same images.

    Args:
        severity: of the corruption.
        reports: of straight, agent and all_layers.

    Returns:
        `severity`; `ROUTER_accuracy` of each; `agent_cost`, mean, in multiples of the straight
        pass; `no_operation`, the share of samples for which the agent iterated nothing; `agent_ece`
        and `straight_ece`, expected calibration errors.
    """
    agent, straight = reports["agent"], reports["straight"]
    error = lambda report: calibration_error(report.each["confidence"], report.each["correct"])
    return {
        "severity": severity,
        **{f"{name}_accuracy": report.accuracy for name, report in reports.items()},
        "agent_cost": agent.mean_cost,
        "no_operation": agent.actions[0],
        "agent_ece": error(agent),
        "straight_ece": error(straight),
    }


def robustness(workdir: str | Path, data_dir: str | None = None) -> dict[str, Any]:
    """Measures a run, prints and draws what came out.

    Args:
        workdir: of the run; gets robustness.json and figures/robustness.png.
        data_dir: where TFDS keeps its data, if not where it was in training.

    Returns:
        What is written: `step` of the checkpoint, which is the one that the config has evaluated,
        `price`, `test_examples`, `versions`, and the rest as of `measure`.

    Raises:
        UserError: workdir is not a trained run's, or the run is not of images or has no agent.
    """
    name = trained_config(Path(workdir)).data.name
    if name not in _IMAGES:
        raise UserError(
            f"{workdir}: expected a run on images ({', '.join(_IMAGES)}), got one on {name}. Give "
            "another workdir."
        )
    run = finished.reopen(workdir, data_dir)
    step, params = run.restored()
    record = {
        "step": step,
        "price": run.config.price,
        "test_examples": len(run.dataset.test.labels),
        "versions": versions(),
        **measure(run, params),
    }
    write_record(run.workdir, "robustness", record)
    figures.draw(run.workdir)
    _say(record)
    return record


def _say(record: dict[str, Any]) -> None:
    shares = ("straight_accuracy", "agent_accuracy", "all_layers_accuracy", "no_operation")
    rows = [
        [
            f"{each['severity']:.0f}",
            *(percent(each[key]) for key in shares),
            f"{each['agent_cost']:.2f}",
            f"{each['straight_ece']:.3f}",
            f"{each['agent_ece']:.3f}",
        ]
        for each in record["mean"]
    ]
    columns = ["severity", "straight pass", "agent", "all layers", "no operation", "mean cost",
               "ECE, straight pass", "ECE, agent"]  # fmt: skip
    title = f"Test set of {record['test_examples']}: mean over {', '.join(record['corruptions'])}"
    print_table(title, columns, rows)
    strange = record["uniform_noise"]
    print(
        f"On images of uniform noise: mean cost {strange['agent_cost']:.2f}, no operation "
        f"{percent(strange['no_operation'])}."
    )


def main() -> None:
    """The command."""
    with friendly():
        robustness(**vars(finished.parser("studies.corruption", __doc__).parse_args()))


if __name__ == "__main__":
    main()
