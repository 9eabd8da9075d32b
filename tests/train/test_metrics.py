"""metrics.jsonl and TensorBoard events: each step once, whatever happens to the run."""

import json
import math
import resource
import struct

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from train.errors import UserError
from train.metrics import MetricWriter, read_metrics


def events(workdir):
    """Every event of every file, in the order in which TensorBoard reads them."""
    found = []
    for file in sorted((workdir / "tensorboard").iterdir(), key=lambda f: f.suffix):
        content, at = file.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("Q", content, at)
            found.append(Event.FromString(content[at + 12 : at + 12 + length]))
            at += length + 16
    return found


def scalars(workdir):
    return [(e.step, v.tag, v.simple_value) for e in events(workdir) for v in e.summary.value]


def test_writes_both(tmp_path):
    writer = MetricWriter(tmp_path / "deep" / "run", 0)
    writer.write(10, "train", {"phase": "joint", "loss": np.float32(1.5), "steps": 3})
    # A process that is killed now has left its lines.
    assert read_metrics(tmp_path / "deep" / "run") == [
        {"step": 10, "split": "train", "phase": "joint", "loss": 1.5, "steps": 3.0}
    ]
    writer.write(10, "validation", {"accuracy": 0.5})
    writer.close()
    assert [r["split"] for r in read_metrics(tmp_path / "deep" / "run")] == ["train", "validation"]
    assert scalars(tmp_path / "deep" / "run") == [
        (10, "train/loss", 1.5),
        (10, "train/steps", 3.0),
        (10, "validation/accuracy", 0.5),
    ]


def test_not_finite_is_valid_json(tmp_path):
    writer = MetricWriter(tmp_path, 0)
    writer.write(1, "train", {"a": math.nan, "b": -math.inf, "c": np.float32(np.inf), "d": 1.0})
    writer.close()

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    line = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    assert line == {"step": 1, "split": "train", "a": None, "b": None, "c": None, "d": 1.0}
    (record,) = read_metrics(tmp_path)
    assert all(math.isnan(record[key]) for key in "abc") and record["d"] == 1.0
    assert math.isnan(scalars(tmp_path)[0][2]) and scalars(tmp_path)[1][2] == -math.inf


def test_a_resumed_run_has_each_step_once(tmp_path):
    """Killed at step 5 in the middle of a line, resumed from the checkpoint of step 3."""
    writer = MetricWriter(tmp_path, 0)
    for step in range(1, 6):
        writer.write(step, "train", {"loss": float(step)})
    writer.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "spl')
    assert len(read_metrics(tmp_path)) == 5
    writer = MetricWriter(tmp_path, 3)
    for step in (4, 5):
        writer.write(step, "train", {"loss": 10.0 * step})
    writer.close()
    assert [(r["step"], r["loss"]) for r in read_metrics(tmp_path)] == [
        (1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0), (5, 50.0)
    ]  # fmt: skip
    # TensorBoard drops what it has of the step of a START event and later ones.
    starts = [e.step for e in events(tmp_path) if e.session_log.status == SessionLog.START]
    assert starts == [1, 4]
    assert scalars(tmp_path)[-2:] == [(4, "train/loss", 40.0), (5, "train/loss", 50.0)]
    assert not list(tmp_path.glob("*.tmp"))


def test_errors_are_for_the_user(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match=r"Not a directory. Check that") as error:
        MetricWriter(file / "run", 0)
    assert str(file) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"No metrics.jsonl in .*: expected the workdir of a run"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("file", ["metrics.jsonl", "tensorboard"])
def test_a_full_disk(tmp_path, file):
    """As a limit on the size of files, reached by the one or by the other."""
    values = {"loss": 1.0} if file == "tensorboard" else {"text": "long" * 1000}
    writer = MetricWriter(tmp_path, 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        with pytest.raises(UserError, match=r"File too large. Check that the disk has room"):
            for step in range(2000):
                writer.write(step, "train", values)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    written = len(read_metrics(tmp_path))
    assert written in (step, step + 1)
    writer.close()
