"""Data sets of TensorFlow Datasets (TFDS), read as ArrayRecord without TensorFlow."""

from collections.abc import Iterator, Sequence
import contextlib
import importlib.util
import textwrap
from typing import Any

from array_record.python import array_record_module
from etils import epath
import ml_collections
import numpy as np
import requests
import tensorflow_datasets as tfds

from train.data.types import Parts, Split, hold_out
from train.errors import UserError

# Seconds to wait for an answer of the network. TFDS itself would retry for minutes.
_PROBE_TIMEOUT = 5


def load(config: ml_collections.ConfigDict) -> Parts:
    """Parts of CIFAR-10 or CIFAR-100. TFDS has shuffled them, so the end is a random sample."""
    with readable(config):
        builder = prepared_builder(config.name, config.data_dir)
        rest, test = (
            Split(np.stack([example["image"] for example in part]), labels(part))
            for part in examples(builder)
        )
        classes = tuple(builder.info.features["label"].names)
    return Parts(*hold_out(rest, config.validation), test, classes)


@contextlib.contextmanager
def readable(config: ml_collections.ConfigDict) -> Iterator[None]:
    """An error at a damaged data set becomes a `UserError` with one line."""
    try:
        yield
    except UserError:
        raise
    # TFDS, ArrayRecord, protobuf and PIL raise errors of many kinds.
    except Exception as error:
        folder = config.data_dir or tfds.core.constants.DATA_DIR
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
        raise UserError(
            f"{config.name}: cannot read the data set in {folder}. Copy or prepare the data set "
            f"again. ({reason})"
        ) from error


def prepared_builder(name: str, data_dir: str) -> Any:
    """The TFDS builder of a data set as ArrayRecord, downloaded if it is not there."""
    if data_dir and not epath.Path(data_dir).expanduser().is_dir():
        raise UserError(
            f"config.data.data_dir: expected a folder of TFDS data sets, but there is no folder "
            f"{data_dir!r}. Correct the path, or create the folder: the data are downloaded to it."
        )
    folder = data_dir or None
    if not tfds.builder(name, data_dir=folder).is_prepared():
        _prepare(tfds.builder(name, data_dir=folder, file_format="array_record"))
    builder = tfds.builder(name, data_dir=folder)
    formats = builder.info.available_file_formats()
    if tfds.core.FileFormat.ARRAY_RECORD not in formats:
        raise UserError(
            f"{name}: expected ArrayRecord files in {builder.data_path}, got "
            f"{', '.join(sorted(f.value for f in formats))}, which cannot be read by index. "
            "Prepare it again in another folder, with --config.data.data_dir=DIR."
        )
    files = [file for split in builder.info.splits.values() for file in split.filepaths]
    missing = [file for file in files if not file.exists()]
    if missing:
        raise UserError(
            f"{name}: expected {len(files)} files in {builder.data_path}, but {len(missing)} are "
            f"missing, first {missing[0].name}. Copy or prepare the data set again."
        )
    return builder


def _prepare(builder: Any) -> None:
    """Downloads and prepares, or says within seconds why this is not possible."""
    name, root = builder.info.name, builder.data_dir_root
    url = next(iter(builder.url_infos))
    if not _answers(url):
        obstacle = f"{url} does not answer"
    elif importlib.util.find_spec("tensorflow") is None:
        obstacle = "preparing it needs TensorFlow (reading it does not), which is not installed"
    else:
        builder.download_and_prepare()
        return
    raise UserError(
        f"{name}: not found in {root}, and {obstacle}. On a machine with a network and TensorFlow, "
        'run: python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='DIR', file_format='array_record')"
        '.download_and_prepare()", then pass --config.data.data_dir=DIR.'
    )


def _answers(url: str) -> bool:
    # TFDS downloads with requests, so proxies and certificates are the same.
    try:
        requests.head(url, timeout=_PROBE_TIMEOUT)
    except requests.RequestException:
        return False
    return True


def examples(builder: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    """All examples of the training split, and of the test split."""
    train, test = (builder.as_data_source(split=split) for split in ("train", "test"))
    for split in builder.info.splits.values():
        for path, expected in zip(split.filepaths, split.shard_lengths, strict=True):
            found = array_record_module.ArrayRecordReader(str(path)).num_records()
            if found != expected:
                raise UserError(
                    f"{builder.name}: expected {expected} examples in {path}, got {found}. Copy or "
                    "prepare the data set again."
                )
    # All in one request, which takes half the time of single requests.
    return train.__getitems__(range(len(train))), test.__getitems__(range(len(test)))


def labels(examples: Sequence[Any]) -> np.ndarray:
    """Their labels, [n] int32."""
    return np.array([example["label"] for example in examples], np.int32)
