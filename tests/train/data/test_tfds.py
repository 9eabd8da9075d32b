"""Data sets of TFDS: read without TensorFlow, or refused with one line that says what to do."""

import importlib.util
import io
import os
from pathlib import Path
import re
import sys

from array_record.python import array_record_module
from ml_collections import ConfigDict
import numpy as np
from PIL import Image
import pytest
import requests
import tensorflow_datasets as tfds

from train.data import loading
from train.errors import UserError

SIZES = {"train": 23, "test": 12}


def config(name, **changes):
    return ConfigDict({"name": name, "data_dir": "", "validation": 5, **changes})


def write_tfds(folder, name, file_format="array_record", side=lambda split, i: 32):
    """A tiny prepared CIFAR, written without TensorFlow: image i is all i, its label i % 10."""
    builder = tfds.builder(name, data_dir=folder, file_format=file_format)
    features = builder.info.features
    Path(builder.data_dir).mkdir(parents=True)
    splits = []
    for split, count in SIZES.items():
        template = tfds.core.ShardedFileTemplate(
            data_dir=builder.data_path,
            dataset_name=name,
            split=split,
            filetype_suffix=file_format,
        )
        splits.append(
            tfds.core.SplitInfo(
                name=split, shard_lengths=[count], num_bytes=0, filename_template=template
            )
        )
        path = str(splits[-1].filepaths[0])
        writer = array_record_module.ArrayRecordWriter(path, "group_size:1")
        for i in range(count):
            png = io.BytesIO()
            Image.fromarray(np.full((side(split, i), 32, 3), i, np.uint8)).save(png, "PNG")
            png.seek(0)
            example = {"id": str(i), "image": png, "label": i % 10, "coarse_label": 19}
            writer.write(features.serialize_example({key: example[key] for key in features}))
        writer.close()
    for key in {"label", "coarse_label"} & set(features):
        features[key].names = [f"{key} {i}" for i in range(features[key].num_classes)]
    builder.info.set_splits(tfds.core.splits.SplitDict(splits))
    builder.info.write_to_directory(builder.data_dir)
    return Path(builder.data_dir)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(requests, "head", refuse)


def the_error(*args, **kwargs):
    with pytest.raises(UserError) as caught:
        loading.load(config(*args, **kwargs))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_is_read_without_tensorflow(tmp_path, monkeypatch, name, classes):
    write_tfds(tmp_path, name)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    dataset = loading.load(config(name, data_dir=str(tmp_path)))
    assert "tensorflow" not in sys.modules
    parts = (dataset.train, dataset.validation, dataset.test)
    for part, numbers in zip(parts, (range(18), range(18, 23), range(12)), strict=True):
        expected = np.array(numbers, np.uint8)[:, None, None, None]
        np.testing.assert_array_equal(part.images, np.broadcast_to(expected, part.images.shape))
        np.testing.assert_array_equal(part.labels, np.array(numbers) % 10)
        assert part.images.shape[1:] == (32, 32, 3)
        assert (part.images.dtype, part.labels.dtype) == (np.uint8, np.int32)
        assert part.difficulty is None
    assert dataset.difficulty == ""
    assert dataset.classes == tuple(f"label {i}" for i in range(classes))


@pytest.mark.skipif(
    "DYNALAY_TFDS_DIR" not in os.environ,
    reason="DYNALAY_TFDS_DIR does not name a folder with CIFAR-10 as prepared by TFDS",
)
def test_real_cifar10():
    folder = os.environ["DYNALAY_TFDS_DIR"]
    dataset = loading.load(config("cifar10", data_dir=folder, validation=5000))
    held_in, held_out = (np.bincount(s.labels) for s in (dataset.train, dataset.validation))
    np.testing.assert_array_equal(held_in + held_out, np.full(10, 5000))
    np.testing.assert_array_equal(np.bincount(dataset.test.labels), np.full(10, 1000))
    assert np.abs(held_out - 500).max() < 100
    assert dataset.classes[:2] == ("airplane", "automobile")
    np.testing.assert_allclose(dataset.mean, [0.4914, 0.4822, 0.4465], atol=2e-3)
    np.testing.assert_allclose(dataset.std, [0.247, 0.2435, 0.2616], atol=2e-3)


def test_missing_data_without_a_network(tmp_path, no_network):
    message = the_error("cifar10", data_dir=str(tmp_path))
    assert f"cifar10: not found in {tmp_path}" in message
    assert "tfds.builder('cifar10', data_dir='DIR', file_format='array_record')" in message
    assert "--config.data.data_dir=DIR" in message


def test_missing_data_names_the_default_folder(tmp_path, no_network, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    assert f"not found in {tmp_path}, and" in the_error("cifar10")


def test_missing_data_and_no_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setattr(requests, "head", lambda *args, **kwargs: requests.Response())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "needs TensorFlow" in the_error("cifar100", data_dir=str(tmp_path))


def test_missing_data_are_downloaded_where_possible(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        requests, "head", lambda url, **kwargs: asked.append(url) or requests.Response()
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(
        tfds.core.DatasetBuilder,
        "download_and_prepare",
        lambda self: write_tfds(self.data_dir_root, self.name, self.info.file_format.value),
    )
    dataset = loading.load(config("cifar10", data_dir=str(tmp_path)))
    assert len(dataset.train.labels) == 18
    assert asked == ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"]


def test_a_folder_that_does_not_exist(tmp_path):
    message = the_error("cifar10", data_dir=str(tmp_path / "nowhere"))
    assert "config.data.data_dir" in message
    assert f"no folder '{tmp_path}/nowhere'" in message


def test_another_file_format(tmp_path):
    folder = write_tfds(tmp_path, "cifar10", "tfrecord")
    message = the_error("cifar10", data_dir=str(tmp_path))
    assert f"expected ArrayRecord files in {folder}, got tfrecord" in message


def test_a_half_copied_data_set(tmp_path):
    folder = write_tfds(tmp_path, "cifar10")
    (folder / "cifar10-test.array_record-00000-of-00001").unlink()
    message = the_error("cifar10", data_dir=str(tmp_path))
    assert "expected 2 files" in message and "but 1 are missing" in message
    assert "cifar10-test.array_record-00000-of-00001" in message


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _folder_instead(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("file", "damage", "said"),
    [
        ("train", _cut, "expected 23 examples in .*train.array_record-00000-of-00001, got 0"),
        ("test", _folder_instead, "expected 12 examples in .*test.array_record.*, got 0"),
        ("test", lambda path: path.write_bytes(b""), "expected 12 examples in .*, got 0"),
        ("info", lambda path: path.write_text(path.read_text().replace('"23"', '"22"')),
         "expected 22 examples in .*, got 23"),
        ("info", _cut, r"cannot read the data set in .*Copy or prepare .*again. \(ParseError: "),
        ("info", lambda path: path.write_text("{}"), "cannot read the data set in "),
        ("names", lambda path: path.write_text("a\nb\n"), "expected labels from 0 to 1, got .2"),
    ],
)  # fmt: skip
def test_damaged_files(tmp_path, file, damage, said):
    folder = write_tfds(tmp_path, "cifar10")
    shard = lambda split: f"cifar10-{split}.array_record-00000-of-00001"
    named = {"info": "dataset_info.json", "names": "label.labels.txt"}
    damage(folder / named.get(file, shard(file)))
    assert re.search(said, the_error("cifar10", data_dir=str(tmp_path)))


@pytest.mark.parametrize(
    ("side", "said"),
    [
        (lambda split, i: 28 if split == "test" else 32,
         "cifar10, test examples: expected the shape (32, 32, 3), got (28, 32, 3)"),
        (lambda split, i: 28, "train examples: expected the shape (32, 32, 3), got (28, 32, 3)"),
        (lambda split, i: 32 + (i == 3), "cannot read the data set in"),
    ],
)  # fmt: skip
def test_images_of_another_size(tmp_path, side, said):
    write_tfds(tmp_path, "cifar10", side=side)
    assert said in the_error("cifar10", data_dir=str(tmp_path))


def test_another_data_set_in_the_folder(tmp_path):
    folder = write_tfds(tmp_path, "cifar100")
    folder.parent.rename(tmp_path / "cifar10")
    message = the_error("cifar10", data_dir=str(tmp_path))
    assert "expected at most 10 classes, got 100" in message


def test_validation_examples_leave_some_for_training(tmp_path):
    write_tfds(tmp_path, "cifar10")
    message = the_error("cifar10", data_dir=str(tmp_path), validation=23)
    assert "config.data.validation: expected fewer than the 23 training examples" in message


def test_a_constant_channel_can_be_divided_by(tmp_path, monkeypatch):
    monkeypatch.setitem(SIZES, "train", 2)
    write_tfds(tmp_path, "cifar10")
    dataset = loading.load(config("cifar10", data_dir=str(tmp_path), validation=1))
    np.testing.assert_allclose(dataset.std, 1 / 255)
