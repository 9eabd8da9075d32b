"""Does the agent spend more on corrupted images, and is it as sure as it is right?

    python -m train.studies.corruption WORKDIR

The whole test split is evaluated under noise, blur and loss of contrast, at severities 1 to 5.
Severity 0 is the original. All runs see the same corrupted images.

Kinds and strengths follow the spirit of Hendrycks & Dietterich, Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations (ICLR 2019, arXiv 1903.12261). They are milder
than theirs for ImageNet, since the images are small, so results cannot be compared with CIFAR-10-C.
"""

from collections.abc import Callable
import dataclasses

import numpy as np
from scipy import ndimage

from train.analysis.calibration import expected_error
from train.console import percent
from train.errors import UserError
from train.evaluate import COMPARED, Report
from train.parallel import Resident
from train.run import Run
from train.step import PyTree
from train.studies.runner import COST, Record, Study, Table, tabulate

# Data sets of images. Generated tasks have marks for pixels; a blur would make another task.
_IMAGES = ("digits", "cifar10", "cifar100", "images")
SEVERITIES = (1, 2, 3, 4, 5)


def measure(run: Run, params: PyTree) -> Record:
    """Accuracy, cost and calibration on the corrupted test split.

    Returns:
        `test_examples`; "corruptions": by name of the corruption a row for each severity from 0, as
        of `row`; "mean": such rows, the mean over corruptions; "uniform_noise": `agent_cost` and
        `straight_share` on the same number of images of noise, whose pixels are uniform.

    Raises:
        UserError: the run is not of images.
    """
    if run.config.data.name not in _IMAGES:
        raise UserError(
            f"{run.workdir}: expected a run on images ({', '.join(_IMAGES)}), got one on "
            f"{run.config.data.name}. Give another workdir."
        )
    test = run.dataset.test

    def at(severity: int, images: np.ndarray) -> dict[str, float]:
        data = Resident(dataclasses.replace(test, images=images))
        reports = {name: run.evaluate(params, data, router) for name, router in COMPARED.items()}
        return row(severity, reports)

    clean = at(0, test.images)
    rows = {
        name: [clean, *(at(s, corrupt(test.images, name, s)) for s in SEVERITIES)]
        for name in CORRUPTIONS
    }
    mean = [
        {key: float(np.mean([each[key] for each in same])) for key in clean}
        for same in zip(*rows.values(), strict=True)
    ]
    noise = at(0, np.random.default_rng(0).integers(0, 256, test.images.shape, np.uint8))
    return {
        "test_examples": len(test.labels),
        "corruptions": rows,
        "mean": mean,
        "uniform_noise": {key: noise[key] for key in ("agent_cost", "straight_share")},
    }


def row(severity: int, reports: dict[str, Report]) -> dict[str, float]:
    """`severity`, and what the routers did with the same images.

    `ROUTER_accuracy` of straight, agent and all_layers; `agent_cost`, mean; `straight_share`, of
    the samples for which the agent chose the straight pass; `agent_ece` and `straight_ece`,
    expected calibration errors.
    """
    agent, straight = reports["agent"], reports["straight"]
    error = lambda report: expected_error(report.each["confidence"], report.each["correct"])
    return {
        "severity": severity,
        **{f"{name}_accuracy": report.accuracy for name, report in reports.items()},
        "agent_cost": agent.mean_cost,
        "straight_share": agent.actions[0],
        "agent_ece": error(agent),
        "straight_ece": error(straight),
    }


def table(record: Record) -> Table:
    """A row for each severity."""
    columns = {
        "severity": ("severity", ".0f"),
        "accuracy: straight pass": ("straight_accuracy", "%"),
        "agent": ("agent_accuracy", "%"),
        "all layers": ("all_layers_accuracy", "%"),
        "agent takes the straight pass": ("straight_share", "%"),
        "agent's mean cost": ("agent_cost", ".2f"),
        "ECE: straight pass": ("straight_ece", ".3f"),
        "ECE: agent": ("agent_ece", ".3f"),
    }
    noise = record["uniform_noise"]
    return tabulate(
        f"Test set of {record['test_examples']}: mean over {', '.join(record['corruptions'])}",
        columns,
        record["mean"],
        "ECE: expected calibration error. " + COST,
        f"On images of uniform noise the agent's mean cost is {noise['agent_cost']:.2f}; it takes "
        f"the straight pass for {percent(noise['straight_share'])}.",
    )


def gaussian_noise(images: np.ndarray, scale: float, seed: int) -> np.ndarray:
    """Adds independent normal noise of this standard deviation."""
    noise = np.random.default_rng(seed).standard_normal(images.shape, np.float32)
    return images + np.float32(scale) * noise


def gaussian_blur(images: np.ndarray, width: float, seed: int) -> np.ndarray:
    """Convolves with a Gaussian of this standard deviation in pixels; edges are repeated."""
    return ndimage.gaussian_filter(images, (0, width, width, 0), mode="nearest")


def contrast(images: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Keeps this share of each pixel's distance to the mean of its image and channel."""
    mean = images.mean(axis=(1, 2), keepdims=True)
    return mean + np.float32(share) * (images - mean)


# What is done to float32 images from 0 to 1, and its strength at each severity.
_Corruption = Callable[[np.ndarray, float, int], np.ndarray]
CORRUPTIONS: dict[str, tuple[_Corruption, tuple[float, ...]]] = {
    "Gaussian noise": (gaussian_noise, (0.04, 0.06, 0.09, 0.13, 0.18)),
    "Gaussian blur": (gaussian_blur, (0.4, 0.5, 0.6, 0.75, 0.9)),
    "contrast": (contrast, (0.75, 0.55, 0.4, 0.25, 0.15)),
}


def corrupt(images: np.ndarray, name: str, severity: int, seed: int = 0) -> np.ndarray:
    """Images with a corruption; a pure function of its arguments.

    Args:
        images: uint8 [n, height, width, channels].
        name: in `CORRUPTIONS`.
        severity: 1 to 5, mild to severe.
        seed: of what is random. All severities use the same pattern of noise.

    Returns:
        uint8 [n, height, width, channels].
    """
    change, strengths = CORRUPTIONS[name]
    changed = change(images.astype(np.float32) / 255, strengths[severity - 1], seed)
    return np.clip(np.round(255 * changed), 0, 255).astype(np.uint8)


STUDY = Study("corruption", __doc__, measure, table)

if __name__ == "__main__":
    STUDY.main()
