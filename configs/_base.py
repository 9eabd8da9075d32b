"""Where every config begins: all fields with their defaults, see `_schema`."""

from typing import Any

from ml_collections import ConfigDict

from configs import _datasets, _schema


def base() -> ConfigDict:
    """Every field with its default, on CIFAR-10."""
    return ConfigDict(_schema.Config().model_dump())


def data(name: str, **fields: Any) -> dict[str, Any]:
    """The fields of a data set: its defaults, and those given here."""
    return _datasets.DATA[name](**fields).model_dump()
