"""Figures of `metrics.jsonl`: loss, accuracy, reward and selection over the steps of training.

Each function draws on axes, and returns whether there was anything to draw: a phase may be off.
"""

from collections.abc import Sequence
import itertools
import textwrap

from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
import numpy as np

from train.console import action_names
from train.plots import style
from train.plots.style import BLACK, BLUE, GREEN, ORANGE, PINK, ROUTERS

Metrics = list[dict]


def of_trained_agent(metrics: Metrics) -> Metrics:
    """The metrics without validations on the agent's routes before the agent was trained."""
    begins = next((m["step"] for m in metrics if m["split"] == "train" and action_names(m)), 0)
    of_agent = lambda key: key.startswith(("agent_", "action_")) or key in ("loss", "mean_cost")
    return [
        {key: value for key, value in line.items() if not of_agent(key)}
        if line["split"] == "validation" and line["step"] < begins
        else line
        for line in metrics
    ]


def loss(axes: Axes, metrics: Metrics) -> bool:
    """Cross-entropy and total loss in training, and the loss on the validation split."""
    lines = [
        ("train", "cross_entropy", "training, cross-entropy", BLUE),
        ("train", "loss", "training, minus the reward", ORANGE),
        ("validation", "loss", "validation, agent's routes", BLACK),
    ]
    axes.set_ylabel("loss (nats)")
    return _lines(axes, metrics, lines)


def accuracy(axes: Axes, metrics: Metrics, examples: int | None) -> bool:
    """Validation accuracy, on this number of examples, of the agent and of fixed routes."""
    lines = [("validation", f"{name}_accuracy", *shown) for name, shown in ROUTERS.items()]
    style.accuracies(axes, examples)
    return _lines(axes, metrics, lines, examples=examples)


def reward(axes: Axes, costs: Axes, metrics: Metrics) -> bool:
    """The reward and its terms, from the step where the agent has one; costs on their own scale."""
    begins = next((m["step"] for m in metrics if "reward" in m), 0)
    shown = [line for line in metrics if line["step"] >= begins]
    terms = {"reward": ("reward", BLACK), "reward_correct": ("being right, α", GREEN)}
    drawn = _lines(axes, shown, [("train", key, *term) for key, term in terms.items()])
    subtracted = {"reward_cost": ("cost, β·C", ORANGE), "reward_penalty": ("price, λ·n·C", PINK)}
    lines = [("train", key, *term) for key, term in subtracted.items()]
    _lines(costs, shown, lines, phases=False)
    axes.set(xlabel="", ylabel="mean a sample")
    costs.set(ylabel="subtracted", ylim=(0, None))
    return drawn


def selection(axes: Axes, metrics: Metrics) -> bool:
    """Shares of the agent's actions, and the entropy of its choice on an axis of its own."""
    chosen = [m for m in metrics if m["split"] == "train" and action_names(m)]
    if not chosen:
        return False
    names = max((action_names(line) for line in chosen), key=len)
    shares = np.array([[line.get(name, 0.0) for line in chosen] for name in names])
    steps = [line["step"] for line in chosen]
    style.stack(axes, steps, shares)
    entropy = [line.get("routing_entropy", np.nan) for line in chosen]
    if np.isfinite(entropy).any():
        right = style.right_axes(axes, "entropy of the policy (nats)")
        outlined = [patheffects.withStroke(linewidth=3, foreground="white")]
        right.plot(steps, entropy, color=BLACK, label="entropy (right)", path_effects=outlined)
        right.set_ylim(0.0, np.log(len(names)))
    _steps(axes, [line for line in metrics if line["step"] >= chosen[0]["step"]])
    return True


def _lines(
    axes: Axes,
    metrics: Metrics,
    lines: Sequence[tuple[str, str, str, str]],
    phases: bool = True,
    examples: int | None = None,
) -> bool:
    """Draws `(split, key, label, colour)` over steps; returns whether there was any data.

    Phases are named above the axes if asked for. Values are accuracies if `examples` is given.
    """
    drawn = False
    for split, key, label, colour in lines:
        # What a phase does not measure is a gap.
        points = [(m["step"], m.get(key, np.nan)) for m in metrics if m["split"] == split]
        if np.isfinite([value for _, value in points]).any():
            # A single evaluation is a point, which no line would show.
            marker = "." if len(points) < 30 else None
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, color=colour, label=label, marker=marker)
            style.error_bars(axes, steps, values, examples, colour)
            drawn = True
    if drawn:
        _steps(axes, metrics, phases)
    return drawn


def _steps(axes: Axes, metrics: Metrics, names: bool = True) -> None:
    """The axis of steps: every other phase is shaded, with the phases' names above the axes."""
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    marks = sorted(((m["step"], m["phase"]) for m in metrics if "phase" in m), key=lambda m: m[0])
    starts = [(next(run)[0], name) for name, run in itertools.groupby(marks, key=lambda m: m[1])]
    if len(starts) < 2:
        return
    ends = [step for step, _ in starts[1:]] + [marks[-1][0]]
    whole = max(1, ends[-1] - starts[0][0])
    for i, ((start, name), end) in enumerate(zip(starts, ends, strict=True)):
        if i % 2 == 0:
            axes.axvspan(start, end, color="black", alpha=0.05, linewidth=0, zorder=0)
        if not names:
            continue
        width = max(8, round(60 * (end - start) / whole))
        axes.annotate(
            textwrap.fill(name, width, break_long_words=False),
            ((start + end) / 2, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7,
            color="#555555",
        )
