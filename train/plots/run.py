"""Figures of one run, from what it wrote: `metrics.jsonl`, and JSON of what was evaluated.

Each is drawn if its records are there; a phase that was turned off leaves a figure out, or a line.
"""

from collections.abc import Callable, Sequence
import itertools
import json
from pathlib import Path
import textwrap
from typing import Any

import matplotlib
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter
import numpy as np

from train.console import action_names
from train.errors import UserError
from train.metrics import read_metrics
from train.plots import cost_curves
from train.plots import records as figures_records
from train.plots import style as drawing
from train.plots.style import BLACK, BLUE, GREEN, ORANGE, PINK, RED, ROUTERS

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.xmargin": 0.02,
    "figure.titlesize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.3,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
Records = list[dict]


def draw(workdir: Path) -> list[Path]:
    """Draws loss, accuracy, reward, selection, price_actions, price_curve, and one figure of each
    of difficulty.json, gallery.json, residuals.json and robustness.json, as PNG.

    Args:
        workdir: of a run; the figures go to its folder `figures`.

    Returns:
        The files written, in this order; those without records are left out.

    Raises:
        UserError: there is no `metrics.jsonl`, a JSON file is damaged, or a figure cannot be
            written.
    """
    workdir = Path(workdir)
    records, curve = of_trained_agent(read_metrics(workdir)), read(workdir / "curve.json")
    halting, summary = read(workdir / "halting.json"), read(workdir / "summary.json")
    painters: list[tuple[str, str, Callable[[Axes], bool]]] = [
        ("loss", "Loss", lambda axes: _loss(axes, records)),
        ("accuracy", "Validation accuracy by router", lambda axes: _accuracy(axes, records)),
        ("reward", "Reward and its terms", lambda axes: _reward(axes, records)),
        (
            "selection",
            "What the agent chooses, at random prices",
            lambda axes: _selection(axes, records),
        ),
        ("price_actions", "What the agent chooses, by price", lambda a: _price_actions(a, curve)),
        (
            "price_curve",
            "Accuracy against cost",
            lambda axes: cost_curves.by_cost(axes, curve, halting, summary),
        ),
    ]
    composers: dict[str, Callable[[dict], Figure]] = {
        "difficulty": _difficulty,
        "gallery": figures_records.gallery,
        "residuals": figures_records.residuals,
        "robustness": figures_records.robustness,
        "extrapolation_*": figures_records.extrapolation,
    }
    written = []
    with matplotlib.rc_context(STYLE):
        for name, title, paint in painters:
            figure = painted(title, paint)
            if figure:
                written.append(_save(figure, workdir, name))
        for name, compose in composers.items():
            for path in sorted(workdir.glob(f"{name}.json")):
                figure = compose(read(path))
                written.append(_save(figure, workdir, path.stem))
    return written


def of_trained_agent(records: Records) -> Records:
    """Records without what was validated on the agent's routes before the agent was trained."""
    begins = next((r["step"] for r in records if r["split"] == "train" and action_names(r)), 0)
    of_agent = lambda key: key.startswith(("agent_", "action_")) or key in ("loss", "mean_cost")
    return [
        {key: value for key, value in record.items() if not of_agent(key)}
        if record["split"] == "validation" and record["step"] < begins
        else record
        for record in records
    ]


def painted(title: str, paint: Callable[[Axes], bool]) -> Figure | None:
    """A figure with a title, and a legend below its axes; None where there is nothing to paint.

    Args:
        title: of the figure.
        paint: draws on the axes; says whether there was anything to draw.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6, 4), dpi=150, layout="constrained")
        figure.suptitle(title)
        if not paint(figure.subplots()):
            return None
        _legend(figure)
    return figure


def _loss(axes: Axes, records: Records) -> bool:
    lines = [
        ("train", "cross_entropy", "training, cross-entropy", BLUE),
        ("train", "loss", "training, total less reward", ORANGE),
        ("validation", "loss", "validation, agent's routes", BLACK),
    ]
    axes.set_ylabel("loss (nats)")
    return _lines(axes, records, lines)


def _accuracy(axes: Axes, records: Records) -> bool:
    lines = [("validation", f"{name}_accuracy", *shown) for name, shown in ROUTERS.items()]
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return _lines(axes, records, lines)


def _reward(axes: Axes, records: Records) -> bool:
    lines = [
        ("train", "reward", "reward", BLACK),
        ("train", "reward_correct", "being right, α", GREEN),
        ("train", "reward_cost", "− cost, β·C", ORANGE),
        ("train", "reward_penalty", "− price, λ·n·C", PINK),
    ]
    axes.set_ylabel("reward (mean a sample)")
    begins = next((r["step"] for r in records if "reward" in r), 0)
    return _lines(axes, [record for record in records if record["step"] >= begins], lines)


def _selection(axes: Axes, records: Records) -> bool:
    """What the agent chooses, from when it is trained on; the entropy of its choice of its own."""
    chosen = [r for r in records if r["split"] == "train" and action_names(r)]
    if not chosen:
        return False
    names = max((action_names(record) for record in chosen), key=len)
    shares = np.array([[record.get(name, 0.0) for record in chosen] for name in names])
    steps = [record["step"] for record in chosen]
    drawing.stack(axes, steps, shares)
    entropy = [record.get("routing_entropy", np.nan) for record in chosen]
    if np.isfinite(entropy).any():
        right = _right(axes, "entropy of the policy (nats)")
        outlined = [patheffects.withStroke(linewidth=3, foreground="white")]
        right.plot(steps, entropy, color=BLACK, label="entropy (right)", path_effects=outlined)
        right.set_ylim(0.0, np.log(len(names)))
    _steps(axes, [record for record in records if record["step"] >= chosen[0]["step"]])
    return True


def _price_actions(axes: Axes, curve: dict) -> bool:
    """Stacked shares of the actions at each price; accuracy has an axis of its own."""
    points = sorted(curve.get("agent", []), key=lambda point: point["price"])
    if not points or any("actions" not in point for point in points):
        return False
    x, shares = range(len(points)), np.array([point["actions"] for point in points])
    drawing.bars(axes, shares.T)
    axes.set(xlabel="price λ of the penalty")
    axes.set_xticks(x, [f"{point['price']:.3g}" for point in points])
    accuracy = _right(axes, "accuracy")
    values = [point["accuracy"] for point in points]
    style: dict[str, Any] = {"markeredgecolor": "white", "markersize": 7, "linewidth": 2}
    accuracy.plot(x, values, color=RED, marker="o", label="accuracy (right)", **style)
    low, high = accuracy.get_ylim()
    # No room for more than 100 %, but for the markers there.
    accuracy.set_ylim(low, min(high, 1 + 0.03 * (1 - low)))
    accuracy.yaxis.set_major_locator(MaxNLocator(6))
    for one in (axes, accuracy):
        one.yaxis.set_major_formatter(PercentFormatter(1.0))
    return True


def _right(axes: Axes, label: str) -> Axes:
    """Axes with the same x and a scale of their own, on the right."""
    right = axes.twinx()
    right.set_ylabel(label)
    right.grid(visible=False)
    right.spines.right.set_visible(True)
    return right


def _difficulty(record: dict[str, Any]) -> Figure:
    """Examples from easy to hard, and accuracy and steps against difficulty."""
    figure = Figure(figsize=(11, 5.5), dpi=150, layout="constrained")
    figure.suptitle("From easy to hard: examples, accuracy, and steps spent")
    examples, bins = record["examples"], record["bins"]
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 2))[:, 0]
    for axes, example in zip(top.subplots(1, len(examples)), examples, strict=True):
        _grid(axes, example)
    accuracy, steps, actions = bottom.subplots(1, 3)
    x = [(row["first"] + row["last"]) / 2 for row in bins]
    for name, (label, colour) in ROUTERS.items():
        style: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 3, "label": label}
        # The agent above the others.
        style["zorder"] = 3 if name == "agent" else 2
        share = np.array([row[f"{name}_accuracy"] for row in bins])
        error = np.sqrt(share * (1 - share) / [row["examples"] for row in bins])
        accuracy.plot(x, share, **style)
        accuracy.fill_between(x, share - error, share + error, color=colour, alpha=0.2, linewidth=0)
        steps.plot(x, [row[f"{name}_steps"] for row in bins], **style)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
    what = textwrap.fill(record["difficulty"], 36)
    accuracy.set(xlabel=what, ylabel="accuracy ± standard error")
    steps.set(xlabel=what, ylabel="evaluations of cells a sample")
    actions.set(xlabel=what)
    drawing.stack(actions, x, np.array([row["actions"] for row in bins]).T)
    shown = [axes.get_legend_handles_labels() for axes in (accuracy, actions)]
    handles, labels = ([*first, *second] for first, second in zip(*shown, strict=True))
    bottom.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _grid(axes: Axes, example: dict[str, Any]) -> None:
    title = f"difficulty {example['difficulty']}\n{drawing.steps(example)}"
    drawing.show(axes, drawing.marks(example["image"]), title, example["correct"])


def _lines(axes: Axes, records: Records, lines: Sequence[tuple[str, str, str, str]]) -> bool:
    """Draws `(split, key, label, colour)` over steps; says whether there was anything to draw."""
    drawn = False
    for split, key, label, colour in lines:
        # What a phase does not measure is a gap.
        points = [(r["step"], r.get(key, np.nan)) for r in records if r["split"] == split]
        if np.isfinite([value for _, value in points]).any():
            # A single evaluation is a point that no line would show.
            marker = "." if len(points) < 30 else None
            axes.plot(*zip(*points, strict=True), color=colour, label=label, marker=marker)
            drawn = True
    if drawn:
        _steps(axes, records)
    return drawn


def _steps(axes: Axes, records: Records) -> None:
    """The axis of steps: every other phase is shaded, and phases are named above the axes."""
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    marks = sorted(((r["step"], r["phase"]) for r in records if "phase" in r), key=lambda m: m[0])
    starts = [(next(run)[0], name) for name, run in itertools.groupby(marks, key=lambda m: m[1])]
    if len(starts) < 2:
        return
    ends = [step for step, _ in starts[1:]] + [marks[-1][0]]
    whole = max(1, ends[-1] - starts[0][0])
    for i, ((start, name), end) in enumerate(zip(starts, ends, strict=True)):
        if i % 2 == 0:
            axes.axvspan(start, end, color="black", alpha=0.05, linewidth=0, zorder=0)
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


def _legend(figure: Figure) -> None:
    """Below the axes, where it covers nothing."""
    each = [axes.get_legend_handles_labels() for axes in figure.axes]
    handles, labels = ([*itertools.chain(*parts)] for parts in zip(*each, strict=True))
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))


def read(path: Path) -> dict:
    """Content of a JSON file of a run, {} if it is not there."""
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}). Evaluate the run again.") from error


def name_run(figure: Figure, workdir: Path) -> None:
    """Puts the run's name before the title."""
    size = STYLE["figure.titlesize"]
    figure.suptitle(f"{workdir.resolve().name}: {figure.get_suptitle()}", fontsize=size)


def _save(figure: Figure, workdir: Path, name: str) -> Path:
    path = workdir / "figures" / f"{name}.png"
    name_run(figure, workdir)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise UserError(
            f"Cannot write {path}: {error.strerror}. Check that the disk has room and the folder "
            "may be written."
        ) from error
    return path
