"""What the JSON files of a workdir hold, as far as a command reads them, and what cures damage.

`train.workdir.read_record` checks a file against its shape here, so that a damaged file is named
with the value that is wrong, whoever reads it. A file without a shape may be any JSON object.
"""

from collections.abc import Iterator
import contextlib
import fnmatch
import functools
import re
import textwrap
from typing import Annotated, Any

import pydantic
from pydantic import Field

from train.errors import UserError

_Share = Annotated[float, Field(ge=0, le=1)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]
_Known = _Number | None
_STRICT = pydantic.ConfigDict(strict=True)


def _each(kind: Any, *names: str) -> dict[str, Any]:
    return dict.fromkeys(names, kind)


# Shapes are types, or made of shapes: {"key": shape} is an object, which may lack "key?" and may
# have other keys; {str: shape} has keys of any name; [shape] is a list that is not empty,
# [shape, ...] any list, and (shape,) one entry or a list.
_ACCURACIES = _each(_Share, "straight_accuracy?", "agent_accuracy?", "all_layers_accuracy?")
_STEPS = _each(_Number, "straight_steps?", "agent_steps?", "all_layers_steps?")
_POINT = {"mean_cost": _Number, "accuracy": _Share}
_PICTURE = {"image": [[[_Number]]], "correct": bool, "steps": int}
_EXAMPLE = {**_PICTURE, "label": str, "layers": [int, ...], "predicted?": str}
_START = {
    **_each(str, "processor", "device", "python", "jax", "flax", "date"),
    "commit": str | None,
    "cores": int | None,
}
_SUMMARY = {
    "router": str,
    "seed": int,
    "starts": [_START],
    "test_examples": Annotated[int, Field(ge=1)],
    **_each(_Share, "test_accuracy", "straight_accuracy", "all_layers_accuracy"),
    **_each(_Share, "random_accuracy", "confidence_accuracy"),
    **_each([_Share], "actions", "layer_accuracies"),
    "first_accuracies": [_Share, ...],
    **_each(Annotated[_Number, Field(ge=0)], "mean_cost", "all_layers_cost", "mean_macs"),
    "train_seconds": _Number,
    **_each(_Known, "steps_when_straight_wrong", "steps_when_straight_right", "converged"),
    # Of runs with an agent, or of newer versions.
    "price?": _Number,
    "parameters?": _Count,
    **_each([_Share], "routes?"),
    **_each(_Share, "shuffled_accuracy?", "oracle_accuracy?", "surest_accuracy?"),
    **_each(_Share, "two_thresholds_accuracy?", "two_rounds_accuracy?"),
    **_each(_Share, "rescued?", "overthought?"),
    **_each(_Number, "test_loss?", "straight_loss?", "all_layers_loss?"),
    "layer_losses?": [_Number],
    "gap_closed?": _Known,
    "difficulty_spearman?": float | None,
}
_CURVE = {
    "agent": [{**_POINT, "price": _Number, "actions?": [_Share]}, ...],
    "routers?": {str: (_POINT,)},
}
_RESIDUALS = {
    "tolerance": _Number,
    "edges": [_Number],
    "routers": {
        str: {**_each(_Count, "samples", "zero"), "counts": [_Count], "unconverged": _Known}
    },
}
_BIN = {
    **_each(_Number, "first", "last"),
    "examples": _Count,
    **_ACCURACIES,
    **_STEPS,
    "actions": [_Number],
}
_SEVERITY = _each(_Number, "severity", "agent_cost", "agent_ece", "straight_ece")
_CORRUPTION = {
    "corruptions": {str: [_SEVERITY | _ACCURACIES]},
    "uniform_noise?": _each(_Number, "agent_cost", "straight_share"),
}
_LARGER = {
    **_ACCURACIES,
    **_STEPS,
    "value": Any,
    "test_examples?": _Count,
    "agent_cost?": _Number,
    "actions?": [_Share],
}
_FIXED_POINTS = {
    "layers": [_each(_Number, "converged", "same_answer", "far_distance", "gradient_error")]
}
_JUDGE = {
    "judge": str,
    **_each(float | None, "cost_spearman", "unsure_spearman"),
    "parts": [{"agent_cost": _Number}],
}
_CALIBRATE = {
    **_each(_Number, "risk", "delta"),
    "test": _each(_Number, "cost", "all_layers_cost", "extra_error"),
}
_TRAIN_STEP = {
    "config": str,
    "rows": [{"arm": str, **_each({"samples_ms": [_Number]}, "forward", "gradient")}],
}
_ROUTED_PASS = {
    "config": str,
    "rows": [
        {
            **_each(str, "router", "kind"),
            **_each(_Known, "accuracy", "price"),
            **_each(_Number, "macs", "median_ms", "p10_ms", "p90_ms"),
        }
    ],
}

# What is measured at the end of a training, and by whom each other record is made.
_COPY = "Put back a copy of the file"
_MEASURED = (
    f"{_COPY}, or move summary.json away and repeat the command that trained the run, which then "
    "measures the run anew."
)
_WHAT_IT_IS = f"{_COPY}; only a new training in another workdir writes it again."
_STUDY = f"{_COPY}, or remove it and repeat python -m train.studies."
_BENCHMARK = f"{_COPY}, or remove it and repeat python -m benchmarks."
# By the record's name: its shape, and what cures damage.
SHAPES: dict[str, tuple[Any, str]] = {
    "config": ({str: Any}, _WHAT_IT_IS),
    "data": (
        {"mean": [_Number], "std": [Annotated[_Number, Field(gt=0)]]},
        _WHAT_IT_IS,
    ),
    "versions": ([{str: Any}, ...], f"{_COPY}, or remove it: it lists the starts of the run."),
    "summary": (_SUMMARY, _MEASURED),
    "curve": (_CURVE, _MEASURED),
    "gallery": (
        {"marks": bool, **_each([_EXAMPLE, ...], "easiest", "hardest", "mistakes?")},
        _MEASURED,
    ),
    "residuals": (_RESIDUALS, _MEASURED),
    "difficulty": (
        {"difficulty": str, "bins": [_BIN], "examples": [{**_PICTURE, "difficulty": _Number}]},
        _MEASURED,
    ),
    "early_exit": (
        {
            "at_agent_cost": {str: _POINT},
            **_each([_POINT], "early_exit?", "pondernet?", "q_exit?", "act?"),
        },
        f"{_STUDY}early_exit.",
    ),
    "corruption": (_CORRUPTION, f"{_STUDY}corruption."),
    "fixed_points": (_FIXED_POINTS, f"{_STUDY}fixed_points."),
    "difficulty_judge": (_JUDGE, f"{_STUDY}difficulty_judge."),
    "extrapolate_*": ({"field": str, "trained": Any, "rows": [_LARGER]}, f"{_STUDY}extrapolate."),
    "calibrate_*": (_CALIBRATE, f"{_STUDY}calibrate."),
    "train_step_*": (_TRAIN_STEP, f"{_BENCHMARK}train_step."),
    "routed_pass_*": (_ROUTED_PASS, f"{_BENCHMARK}routed_pass."),
    "eval_*": ({str: Any}, f"{_COPY}, or remove it and repeat the command with --mode=eval."),
    "*": ({str: Any}, f"{_COPY}, or remove it and measure again."),
}


def check(name: str, record: Any) -> None:
    """Raises ValueError, which says what is wrong, unless this can be the content of NAME.json."""
    try:
        _adapter(_kind(name)).validate_python(record)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise ValueError(f"{where} is missing") from error
        said = re.sub(" or instance of .*|valid | after validation.*", "", first["msg"])
        said = re.sub("Input should be|List should have", "expected", said)
        got = textwrap.shorten(repr(first["input"]), 60, placeholder=" …")
        raise ValueError(f"{where}: {said}, got {got}".removeprefix(": ")) from error


def known(name: str) -> bool:
    """Whether NAME.json is a record that pages and figures show."""
    return _kind(name) not in ("eval_*", "*")


def cure(name: str) -> str:
    """What the user can do if NAME.json is damaged."""
    return SHAPES[_kind(name)][1]


@contextlib.contextmanager
def as_written(where: str) -> Iterator[None]:
    """An error at values that have the right shape and yet no run writes becomes a `UserError`."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{where}: expected records as a run writes them, got values that cannot be shown "
            f"({type(error).__name__}: {' '.join(str(error).split())}). Put back copies of its "
            "JSON files, or measure again."
        ) from error


def _kind(name: str) -> str:
    return next(known for known in SHAPES if fnmatch.fnmatchcase(name, known))


@functools.cache
def _adapter(kind: str) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(_type(SHAPES[kind][0]))


def _type(shape: Any) -> Any:
    """The type of a shape."""
    match shape:
        case dict() if str in shape:
            return dict[str, _type(shape[str])]  # type: ignore[misc]
        case dict():
            optional = lambda key: None if key.endswith("?") else ...
            fields: Any = {
                key.removesuffix("?"): (_type(of), optional(key)) for key, of in shape.items()
            }
            return pydantic.create_model("Record", __config__=_STRICT, **fields)
        case [of, *rest] if isinstance(shape, list):
            limits = Field(min_length=0 if rest else 1, strict=True)
            return Annotated[list[_type(of)], limits]  # type: ignore[misc]
        case (of,):
            several = lambda given: [given] if isinstance(given, dict) else given
            return Annotated[list[_type(of)], pydantic.BeforeValidator(several)]  # type: ignore[misc]
    return shape
