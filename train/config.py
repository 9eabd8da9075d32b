"""The fields of a config: checks their values, and prints the reference page of all of them.

python -m train.config    the reference page of all fields, in Markdown
"""

from collections.abc import Mapping
import dataclasses
import difflib
import functools
import types
from typing import Any, Literal, NoReturn, get_args, get_origin

import annotated_types
import ml_collections
import pydantic

from configs import _schema
from configs._datasets import DATA
from configs._groups import Group, OneOf
from dynalay_jax.adaptive import routers
from train.errors import UserError, expect_one_of


def check(
    config: ml_collections.ConfigDict | ml_collections.FrozenConfigDict, devices: int = 1
) -> ml_collections.FrozenConfigDict:
    """The config, frozen, with defaults for fields that it lacks.

    Args:
        config: of a run.
        devices: among which a batch is divided.

    Raises:
        UserError: a field is unknown, out of range, or does not fit another one.
    """
    # Frozen first: a list from JSON becomes a tuple.
    fields = _schema.completed(ml_collections.FrozenConfigDict(config).to_dict())
    try:
        _schema.Config.model_validate(fields)
    except pydantic.ValidationError as error:
        _explain(error.errors()[0], fields)
    parse_router(fields["router"], len(fields["model"]["widths"]), fields["model"]["rounds"])
    batch = fields["train"]["batch_size"]
    if batch % devices:
        raise UserError(
            f"config.train.batch_size: expected a multiple of the {devices} devices, got {batch}; "
            f"the nearest is {max(1, round(batch / devices)) * devices}."
        )
    return ml_collections.FrozenConfigDict(fields)


def parse_router(router: str, layers: int, rounds: int) -> tuple[str, float]:
    """Name and setting of a router as config.router names it; the setting is 0 if it has none.

    Raises:
        UserError: no such router of a model with these layers and rounds, or a wrong setting.
    """
    name, _, setting = router.partition(":")
    low, high = (routers.by_name(number, layers, rounds) for number in (0.0, 1.0))
    expect_one_of("config.router", low, name)
    needs = low[name] != high[name]
    try:
        number = float(setting) if setting or needs else 0.0
    except ValueError:
        number = -1.0
    if not 0 <= number <= (layers if name == "random" else 1) or bool(setting) != needs:
        raise UserError(
            f"config.router: random takes a mean number of layers up to {layers}, confidence a "
            'threshold up to 1, as "random:0.5" or "confidence:0.9"; other routers take no '
            f"setting; got {router!r}."
        )
    return name, number


def _explain(error: Any, fields: Mapping[str, Any]) -> NoReturn:
    """Raises the UserError for an error of pydantic."""
    # Places in a tuple are not named, nor is the data set, which follows "data".
    keys = [key for key in error["loc"] if isinstance(key, str)]
    keys = keys[:1] + keys[2:] if keys[:1] == ["data"] else keys
    path = ".".join(keys)
    match error["type"]:
        case "value_error" if str(error["ctx"]["error"]).startswith("config."):
            raise UserError(str(error["ctx"]["error"]))
        case "extra_forbidden":
            raise no_field(path, fields["data"]["name"])
        case "union_tag_invalid" | "union_tag_not_found":
            expect_one_of("config.data.name", DATA, str(fields["data"].get("name")))
        case "model_type" | "model_attributes_type":
            raise UserError(f"config.{path}: expected a group of fields, got {error['input']!r}.")
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            expect(path, fields, error["input"] if isinstance(error["loc"][-1], str) else None)
    expect(path, fields)
    raise AssertionError(error)


def expect(
    path: str, fields: Mapping[str, Any], number: Any = None, text: str | None = None
) -> NoReturn:
    """Raises the UserError for a field with a wrong value.

    Args:
        path: of the field, as "train.clip".
        fields: of the config.
        number: the value, if only its range is wrong.
        text: the value as it was written, if it could not be read.
    """
    info = _field(path, fields)
    metadata = info.metadata
    value: Any = functools.reduce(lambda node, key: node[key], path.split("."), fields)
    value = value if text is None else text
    for names in (part.names for part in metadata if isinstance(part, OneOf)):
        expect_one_of(f"config.{path}", names, value)
    limits = _limits(metadata)
    kind = limits if number is not None else _joined(*_kind(info.annotation, metadata))
    if isinstance(info.default, tuple) and info.default:
        kind += f", as --config.{path}='{info.default}'"
    raise UserError(f"config.{path}: expected {kind}, got {value!r}.")


def no_field(path: str, data: str) -> UserError:
    """The error for a field that does not exist, with the nearest that does.

    Args:
        path: of the field.
        data: name of the data set.
    """
    known = [field.path for _, fields in groups(data).values() for field in fields]
    known = [*known, "data.name"]
    group, _, last = path.rpartition(".")
    inside = [name for name in known if name.startswith(f"{group}.") or not group]
    names = lambda paths: {name.rpartition(".")[2]: name for name in reversed(paths)}
    near = [last] if last in names(known) else difflib.get_close_matches(last, names(inside), 1)
    near = near or difflib.get_close_matches(last, names(known), 1, 0.7)
    said = f"config.{path}: no such field{f' of {data}' if group == 'data' else ''}."
    if near:
        found = {**names(known), **names(inside)}[near[0]]
        return UserError(f"{said} Did you mean config.{found}?")
    inside = inside or known
    keys = [name.removeprefix(f"{group}.").partition(".")[0] for name in inside]
    where = f"config.{group}" if group and inside is not known else "config"
    return UserError(f"{said} {where} has {', '.join(dict.fromkeys(keys))}.")


def _field(path: str, fields: Mapping[str, Any]) -> pydantic.fields.FieldInfo:
    """Type, constraints and default of a field."""
    kind: Any = _schema.Config
    for key in path.split("."):
        info = kind.model_fields[key]
        kind = DATA[fields["data"]["name"]] if key == "data" else info.annotation
    return info


def _kind(annotation: Any, metadata: list[Any]) -> tuple[str, str]:
    """What a value has to be, and its range, in words: ("a whole number", "1 or more")."""
    names = [part.names for part in metadata if isinstance(part, OneOf)]
    if names:
        return "one of", ", ".join(names[0])
    if get_origin(annotation) is not tuple:
        nouns = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
        return nouns[annotation], _limits(metadata)
    item, *others = get_args(annotation)
    inner, limits = (item, []) if item in (int, float, bool) else get_args(item)[:2]
    limits = limits.metadata if isinstance(limits, pydantic.fields.FieldInfo) else limits
    nouns = {int: "whole numbers", float: "numbers", bool: "True or False"}
    count = "" if others == [...] else "two "
    if any(isinstance(part, annotated_types.MinLen) for part in metadata):
        count = "one or more "
    return f"{count}{nouns[inner]}", f"{_limits(limits)} each".strip()


def _joined(kind: str, limits: str) -> str:
    separator = " " if kind == "one of" else ", "
    return separator.join(filter(None, (kind, limits)))


def _limits(metadata: list[Any]) -> str:
    """Constraints of a number in words: "0 to 1", "more than 0, at most 10"."""
    found = {}
    for part in metadata:
        for name in ("ge", "gt", "le", "lt"):
            if getattr(part, name, None) is not None:
                found[name] = f"{getattr(part, name):,}"
    if set(found) == {"ge", "le"}:
        return f"{found['ge']} to {found['le']}"
    words = {"ge": "{} or more", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
    return ", ".join(words[name].format(value) for name, value in found.items())


@dataclasses.dataclass(frozen=True)
class Field:
    """What a user may know of a field. `kind` is its type in words, `limits` its range or names."""

    path: str
    kind: str
    limits: str
    default: str
    meaning: str


def fields_of(group: type[Group], prefix: str = "") -> list[Field]:
    """The fields of a group, those of its inner groups included; without the data set's."""
    found = []
    for name, info in group.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, Group):
            found += fields_of(inner, f"{prefix}{name}.")
        elif get_origin(inner) not in (types.UnionType, Literal):
            kind, limits = _kind(inner, info.metadata)
            default = repr(info.default) if info.default != "" else '""'
            kind = kind.removeprefix("a ")
            found.append(Field(f"{prefix}{name}", kind, limits, default, info.description or ""))
    return found


def groups(data: str = "") -> dict[str, tuple[str, list[Field]]]:
    """Meaning and fields of each group, by name; "" for the fields in none.

    Args:
        data: name of the data set whose fields are listed; all data sets if empty.
    """
    # Groups in groups are part of the outer one.
    inner = {
        name: info.annotation
        for name, info in _schema.Config.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, Group)
    }
    single = [field for field in fields_of(_schema.Config) if "." not in field.path]
    sets = {data: DATA[data]} if data else DATA
    return {
        "": ("Fields outside groups.", single),
        **{
            f"data ({name})": (kind.__doc__ or "", fields_of(kind, "data."))
            for name, kind in sets.items()
        },
        **{name: (kind.__doc__ or "", fields_of(kind, f"{name}.")) for name, kind in inner.items()},
    }


def reference() -> str:
    """The reference page of all fields, in Markdown."""
    lines = [
        "# Every field of a config",
        "",
        "Set a field on the command line, `--config.train.batch_size=128`, or in a file in "
        "`configs/`. The table shows the general defaults; the files in `configs/` change "
        "some of them. A value out of range is refused with one line that says what is expected. "
        "`python -m train.main --config=configs/digits.py --help` shows the values of one config.",
    ]
    for name, (about, fields) in groups().items():
        title = f"`config.{name}`" if name else "`config`"
        lines += ["", f"## {title}", "", about, ""]
        lines += ["| Field | Type and range | Default | Meaning |", "|---|---|---|---|"]
        for field in fields:
            kind = _joined(field.kind, field.limits)
            lines.append(f"| `{field.path}` | {kind} | `{field.default}` | {field.meaning} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference())
