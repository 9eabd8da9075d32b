"""Records of runs as commands write them, small, for the tests of what reads them."""

import json

import numpy as np

from train.analysis import gallery, residuals
from train.data.types import Split
from train.evaluate import Report
from train.metrics import MetricWriter

START = {
    "commit": "abc",
    "processor": "P",
    "cores": 2,
    "device": "cpu: cpu",
    "python": "3.11",
    "jax": "1.2",
    "flax": "0.1",
    "date": "2026-11-21",
}


def run(folder, seed, summary=(), **config):
    folder.mkdir(parents=True)
    values = SUMMARY | dict(summary) | {"seed": seed}
    settings = {"seed": seed, "data": {"name": "digits", "data_dir": str(folder)}, **config}
    (folder / "summary.json").write_text(json.dumps(values))
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


SUMMARY = {
    "router": "agent",
    "seed": 0,
    "starts": [START],
    "train_seconds": 60.0,
    "test_examples": 1000,
    "test_accuracy": 0.93,
    "straight_accuracy": 0.9,
    "layer_accuracies": [0.91, 0.934],
    "first_accuracies": [],
    "all_layers_accuracy": 0.935,
    "random_accuracy": 0.91,
    "shuffled_accuracy": 0.905,
    "confidence_accuracy": 0.92,
    "mean_cost": 1.0,
    "mean_macs": 2e6,
    "all_layers_cost": 4.0,
    "actions": [0.5, 0.2, 0.3],
    "steps_when_straight_wrong": 5.0,
    "steps_when_straight_right": 2.0,
    "converged": 1.0,
}

CURVE = {
    "agent": [
        {"price": price, "mean_cost": cost, "accuracy": accuracy} | {"actions": actions}
        for price, cost, accuracy, actions in (
            (1.0, 0.1, 0.62, [0.9, 0.1, 0.0]),
            (0.0, 1.8, 0.67, [0.1, 0.3, 0.6]),
            (0.1, 1.0, 0.66, [0.5, 0.3, 0.2]),
            (2.0, 0.1, 0.6201, [1.0, 0.0, 0.0]),
        )
    ],
    "routers": {
        "none": {"mean_cost": 0.0, "accuracy": 0.6},
        "all layers": {"mean_cost": 5.2, "accuracy": 0.675},
        "random": [
            {"rate": 1.0, "mean_cost": 1.7, "accuracy": 0.63},
            {"rate": 0.5, "mean_cost": 0.9, "accuracy": 0.61},
        ],
    },
}


def write(workdir, phases=("model warm-up", "agent warm-up", "joint"), curve=CURVE):
    writer = MetricWriter(workdir, 0)
    for step in range(1, 91):
        phase = phases[(step - 1) * len(phases) // 90]
        values = {"phase": phase, "loss": 1 / step, "cross_entropy": 2 / step}
        if phase != "model warm-up":
            values |= {"action_0": 0.5, "action_1": 0.3, "action_2": 0.2, "reward": 0.4}
            values |= {"routing_entropy": 0.7}
            values |= {"reward_correct": 0.5, "reward_cost": -0.08, "reward_penalty": -0.02}
        writer.write(step, "train", values)
        if step % 30 == 0:
            accuracies = {"straight_accuracy": 0.5, "all_layers_accuracy": 0.6}
            agent = {"agent_accuracy": 0.55, "loss": 1.5}
            writer.write(step, "validation", {"phase": phase} | accuracies | agent)
    writer.close()
    if curve is not None:
        (workdir / "curve.json").write_text(json.dumps(curve))
    return workdir


def lines(figure):
    return {line.get_label(): line.get_xydata() for line in figure.axes[0].lines}


def training_record(**times):
    """A record of `benchmarks.training`, given each arm's forward and whole times by round."""
    part = lambda samples: {"samples_ms": list(samples)}
    rows = [
        {"arm": arm, "forward": part(forward), "gradient": part(whole)}
        for arm, (forward, whole) in times.items()
    ]
    return {"config": "digits", "rows": rows}


# 20 samples: ten on which nothing was spent, five with layer 1 and five, dearer, with layer 2.
ACTION = np.repeat([0, 1, 2], [10, 5, 5])
SURE = np.random.default_rng(0).permutation(20) / 20
CLASSES = ("cat", "dog")


def gallery_split(channels=1, difficulty=None):
    numbers = np.arange(20, dtype=np.uint8)[:, None, None, None]
    images = numbers * np.ones((4, 4, channels), np.uint8)
    return Split(images, np.arange(20, dtype=np.int32) % 2, difficulty)


def gallery_report(split_name, router="agent"):
    assert (split_name, router) == ("test", "agent")
    each = {
        "cost": np.array([0.1, 2.1, 5.1])[ACTION],
        # The layer that takes fewer steps is the dearer one.
        "steps": np.array([0, 8, 1])[ACTION],
        "correct": ACTION < 2,
        # Of the two classes, see `gallery_split`.
        "predicted": (np.arange(20) + (ACTION == 2)) % 2,
        "confidence": SURE,
        "straight_confidence": SURE,
        "iterated": np.eye(3, dtype=bool)[ACTION][:, 1:],
    }
    return Report(each, 1.0)


GALLERY = gallery.measure(gallery_report, gallery_split(), CLASSES)


NAN, INF = np.nan, np.inf
# Two that were not iterated; exactly 0; below, at and above 1e-3; beyond both ends; not finite.
RESIDUAL = np.array([NAN, NAN, 0, 0, 0, 9e-4, 1.1e-3, 2e-3, 1e-20, 1e3, INF, NAN], np.float32)
ITERATED = np.arange(12) >= 2


def residuals_report(split, router="agent"):
    assert split == "test"
    on = ITERATED if router == "agent" else np.ones(12, bool)
    residual = RESIDUAL if router == "agent" else np.full(12, 1e-5, np.float32)
    each = {"iterated": np.stack([on, np.zeros(12, bool)], 1), "residual": residual}
    return Report({**each, "converged": ~on | (residual <= 1e-3)}, 1.0)


RESIDUALS = residuals.measure(residuals_report, 1e-3)


KEYS = ("straight_accuracy", "agent_accuracy", "all_layers_accuracy", "agent_cost",
        "agent_ece", "straight_ece")  # fmt: skip
ROWS = [{"severity": s, **{key: s / 100 + i / 10 for i, key in enumerate(KEYS)}} for s in range(6)]
CORRUPTION = {"test_examples": 100, "corruptions": {"noise": ROWS, "fog": ROWS}}

DIFFICULTY = {
    "difficulty": "length (moves)",
    "bins": [
        {"first": first, "last": last, "examples": 60, "actions": actions}
        | {f"{name}_accuracy": 0.9 for name in ("straight", "agent", "all_layers")}
        | {f"{name}_steps": first for name in ("straight", "agent", "all_layers")}
        for first, last, actions in ((1, 1, [1, 0, 0]), (2, 9, [0, 1, 1]))
    ],
    "examples": [
        {"image": np.eye(4)[..., None].repeat(3, -1).tolist(), "correct": True}
        | {"difficulty": difficulty, "steps": steps}
        for difficulty, steps in ((1, 1), (7, 9))
    ],
}

EXTRAPOLATE = {
    "field": "grid",
    "trained": 8,
    "rows": [
        {"value": value, "actions": [0.5, 0.5]}
        | {f"{name}_accuracy": 0.9 for name in ("straight", "agent", "all_layers")}
        | {f"{name}_steps": 3.0 for name in ("straight", "agent", "all_layers")}
        for value in (8, 12)
    ],
}
