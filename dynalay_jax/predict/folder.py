"""A trained model as a folder: `model.json` says what it is, `weights.safetensors` has its arrays.

Nothing in it is pickled or executed, and every field is checked when it is read. `model.json` holds
the SHA-256 of the weights: damage is found, and so are files that do not belong together.
"""

from collections.abc import Mapping
import dataclasses
import hashlib
import json
import math
from pathlib import Path
import textwrap
from typing import Any, NamedTuple, get_args, get_origin

from flax import traverse_util
import jax
import numpy as np
from safetensors.numpy import load, save

from dynalay_jax.adaptive import inspect, names
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.adaptive.names import NAMED
from dynalay_jax.layers import validate
from dynalay_jax.predict.inputs import check_price

PyTree = Any
MODEL, WEIGHTS = "model.json", "weights.safetensors"
_FORMAT, _VERSION = "dynalay_jax model", 1
_CURE = "Export the model again, with python -m train.export, or put back a copy of the folder."


class Point(NamedTuple):
    """What was measured at a price.

    Attributes:
        price: λ.
        accuracy: share of the test examples that are right.
        macs: mean MACs of an example, for the whole pass; the agent's are included.
    """

    price: float
    accuracy: float
    macs: float


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """What a model's folder holds.

    Attributes:
        model: the architecture.
        variables: its weights, as of `inspect.init`.
        input_shape: of one sample.
        classes: name of each class.
        mean, std: of the images as numbers from 0 to 1, for each channel; of no use for tokens.
        router: "agent", or that of a model without an agent, by its name in `routers.by_name`.
        price: λ unless another one is asked for.
        curve: of the agent, by price.
        about: where the weights and the curve come from, in words.
    """

    model: DynaLay
    variables: PyTree
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    router: str
    price: float
    curve: tuple[Point, ...]
    about: str


# Everything in model.json beside format and version, with its type. `classes` of the architecture
# is their number.
_DOCUMENT = {
    "about": str,
    "architecture": dict,
    "input_shape": tuple[int, ...],
    "classes": tuple[str, ...],
    "mean": tuple[float, ...],
    "std": tuple[float, ...],
    "router": str,
    "price": float,
    "curve": tuple[dict, ...],
    "weights_sha256": str,
}
_NOUNS = {int: "whole number", float: "number", bool: "true or false", str: "text", dict: "object"}


def write(folder: str | Path, saved: SavedModel) -> None:
    """Writes the folder. A kill leaves the old model, the new one, or one that `read` refuses.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the model has a solver or dtype without a name.
    """
    folder = Path(folder)
    # In C order, which safetensors takes for granted.
    arrays = {name: np.array(leaf, order="C") for name, leaf in _flat(saved.variables).items()}
    weights = save(arrays)
    own = {name: getattr(saved, name) for name in _DOCUMENT if hasattr(saved, name)}
    document = {"format": _FORMAT, "version": _VERSION} | own
    document["architecture"] = _architecture(saved.model)
    document["curve"] = [point._asdict() for point in saved.curve]
    document["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / WEIGHTS, weights)
    write_bytes(folder / MODEL, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces a file at once."""
    scratch = path.with_name(path.name + ".tmp")
    scratch.write_bytes(content)
    scratch.replace(path)


def read(folder: str | Path) -> SavedModel:
    """What is in a model's folder, or in the folder `model` of a workdir.

    Raises:
        OSError: a file cannot be read.
        ValueError: the folder is no model's, or is damaged.
    """
    folder = _find(Path(folder))
    try:
        document = _document(json.loads((folder / MODEL).read_bytes()))
        model = _model(document["architecture"])
        curve = tuple(
            Point(**_fields(f"curve.{i}", point, Point.__annotations__))
            for i, point in enumerate(document["curve"])
        )
        _check(document, model, curve)
    except (TypeError, ValueError, RecursionError) as error:
        said = textwrap.shorten(str(error), 300, placeholder=" …").rstrip(".")
        raise ValueError(f"Cannot read {folder / MODEL}: {said}. {_CURE}") from error
    about = {name: document[name] for name in SavedModel.__annotations__ if name in document}
    variables = _weights(folder / WEIGHTS, document["weights_sha256"], model, about["input_shape"])
    return SavedModel(**{**about, "model": model, "variables": variables, "curve": curve})


def _find(folder: Path) -> Path:
    for place in (folder, folder / "model"):
        if (place / MODEL).is_file():
            return place
    if (folder / "checkpoints").is_dir():
        cure = f"Finish the run, or write its model with python -m train.export {folder}"
    else:
        cure = "Train a model with python -m train.main, or export one with python -m train.export"
    there = "there is no such folder" if not folder.exists() else f"{MODEL} is not there"
    raise ValueError(f"{folder}: expected a model's folder or a workdir, but {there}. {cure}.")


def _document(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise ValueError(f'expected "format": "{_FORMAT}", got another kind of file')
    if found.get("version") != _VERSION:
        got = validate.shown(found.get("version"))
        raise ValueError(f"version: expected {_VERSION}, got {got}, of another dynalay_jax")
    rest = {name: value for name, value in found.items() if name not in ("format", "version")}
    return _fields("", rest, _DOCUMENT)


def _fields(
    where: str, found: dict[str, Any], kinds: Mapping[str, Any], optional: bool = False
) -> dict[str, Any]:
    """The fields of an object, each of its kind; lists become tuples.

    Raises:
        ValueError: a field is unknown or missing, or has another kind.
    """
    dotted = {name: f"{where}.{name}".lstrip(".") for name in {**found, **kinds}}
    if unknown := found.keys() - kinds.keys():
        raise ValueError(f"{dotted[min(unknown)]}: no such field in this version")
    if not optional and (missing := kinds.keys() - found.keys()):
        raise ValueError(f"{dotted[min(missing)]} is missing")
    return {name: _of_kind(dotted[name], kinds[name], value) for name, value in found.items()}


def _of_kind(name: str, kind: Any, value: Any) -> Any:
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{name}: expected a list, got {validate.shown(value)}")
        return tuple(_of_kind(f"{name}.{i}", get_args(kind)[0], v) for i, v in enumerate(value))
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits or (kind is float and not math.isfinite(value)):
        raise ValueError(f"{name}: expected {_NOUNS[kind]}, got {validate.shown(value)}")
    return kind(value)


def _check(document: dict[str, Any], model: DynaLay, curve: tuple[Point, ...]) -> None:
    """Raises TypeError or ValueError unless the values are possible and fit each other."""
    validate.integers("input_shape", document["input_shape"])
    channels = document["input_shape"][-1]
    for name, count in (("mean", channels), ("std", channels), ("classes", model.classes)):
        if len(document[name]) != count:
            raise ValueError(f"{name}: expected {count}, got {len(document[name])}")
    if min(document["std"]) <= 0:
        raise ValueError(f"std: expected numbers above 0, got {min(document['std'])}")
    validate.not_negative("tol", model.tol)
    names.router(document["router"], len(model.widths), model.rounds)
    check_price(document["price"])
    for point in curve:
        check_price(point.price)
        validate.share("curve: accuracy", point.accuracy)
        validate.not_negative("curve: macs", point.macs)


def _architecture(model: DynaLay) -> dict[str, Any]:
    """The fields of a model, as JSON holds them."""
    fields = {name: getattr(model, name) for name in _kinds()}
    for name, known in NAMED.items():
        called = [key for key, value in known.items() if value == fields[name]]
        if not called:
            raise ValueError(
                f"{name}: expected one of {', '.join(known)}, the ones that can be saved, got "
                f"{validate.shown(fields[name])}."
            )
        fields[name] = called[0]
    return fields


def _model(fields: dict[str, Any]) -> DynaLay:
    """Undoes `_architecture`. Fields that a model of an older version lacks have their defaults."""
    found = _fields("architecture", fields, _kinds(), optional=True)
    for name in NAMED.keys() & found.keys():
        validate.one_of(f"architecture.{name}", found[name], NAMED[name])
        found[name] = NAMED[name][found[name]]
    return DynaLay(**found)


def _kinds() -> dict[str, Any]:
    """Type of each field of `DynaLay`; what has a name is text."""
    fields = {field.name: field.type for field in dataclasses.fields(DynaLay)}
    return {
        name: str if name in NAMED else kind
        for name, kind in fields.items()
        if name not in ("parent", "name")  # Linen's own
    }


def _flat(variables: PyTree) -> dict[str, Any]:
    """Leaves by name, as params/classifier/kernel."""
    return traverse_util.flatten_dict(variables, sep="/")


def _weights(path: Path, sha256: str, model: DynaLay, shape: tuple[int, ...]) -> PyTree:
    """The variables of the model, checked.

    Raises:
        OSError: the file cannot be read.
        ValueError: they are others than those that were written, or not the model's.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path}: damaged, or not the weights of this {MODEL}. {_CURE}")
    try:
        found = load(content)
    except Exception as error:  # whatever it stumbles over, the file is no safetensors file
        said = textwrap.shorten(str(error), 200, placeholder=" …")
        raise ValueError(f"{path}: expected safetensors, got {said}. {_CURE}") from error
    try:
        wanted = _flat(inspect.shapes(model, shape))
    except (TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{path.with_name(MODEL)}: {said} {_CURE}") from error
    for name in wanted | found:
        here, there = (validate.shown(part.get(name)) for part in (wanted, found))
        if here != there:
            raise ValueError(f"{path}: {name}: expected {here}, got {there}. {_CURE}")
    if wrong := [name for name, array in found.items() if not np.isfinite(array).all()]:
        raise ValueError(f"{path}: {wrong[0]}: expected finite numbers, got nan or inf. {_CURE}")
    return jax.tree.map(jax.numpy.asarray, traverse_util.unflatten_dict(found, sep="/"))
