"""Metrics over a training: `metrics.jsonl` for figures, event files for TensorBoard.

One record a line: `{"step": 100, "split": "train", "phase": "joint", "loss": 1.5}`. After a kill
and a resume, both have each step once.
"""

from collections.abc import Iterator, Mapping
import contextlib
import json
import math
from pathlib import Path
import time

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from train.errors import UserError

FILE = "metrics.jsonl"


class MetricWriter:
    """Writes `metrics.jsonl` and TensorBoard events under a workdir; one process of a run does."""

    def __init__(self, workdir: Path, resume_step: int) -> None:
        """Removes records after `resume_step`, and opens both files for more.

        Args:
            workdir: is created if need be; events go to its folder `tensorboard`.
            resume_step: step of the checkpoint that the run goes on from; 0 for a new run.

        Raises:
            UserError: the workdir cannot be written.
        """
        self._workdir = Path(workdir)
        path, events = self._workdir / FILE, self._workdir / "tensorboard"
        with self._reported():
            events.mkdir(parents=True, exist_ok=True)
            kept = [r for r in _records(path) if r["step"] <= resume_step] if path.exists() else []
            renamed = path.with_suffix(".tmp")
            renamed.write_text("".join(map(_line, kept)))
            renamed.replace(path)
            self._lines = path.open("a")
            # The synchronous part of tensorboardX: on a full disk the thread of its SummaryWriter
            # dies and training hangs. The time keeps a quick restart from overwriting the file.
            self._events = EventsWriter(str(events / "events"), f".{time.time_ns()}")
            # TensorBoard forgets what it has read of this step and later ones.
            start = SessionLog(status=SessionLog.START)
            self._events.write_event(Event(step=resume_step + 1, session_log=start))
            self._events.flush()

    def write(self, step: int, split: str, values: Mapping[str, float | str]) -> None:
        """Appends a record. A kill at any later moment leaves the record in `metrics.jsonl`.

        Args:
            step: optimiser steps taken, > `resume_step`.
            split: `train`, `validation` or `test`; TensorBoard's tags are `train/loss`.
            values: numbers, and words such as the phase, which TensorBoard does not get. A number
                that is not finite is written as null.

        Raises:
            UserError: the disk is full or the workdir cannot be written.
        """
        numbers = {key: float(v) for key, v in values.items() if not isinstance(v, str)}
        summary = [Summary.Value(tag=f"{split}/{k}", simple_value=v) for k, v in numbers.items()]
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=summary))
        finite = {key: v if math.isfinite(v) else None for key, v in numbers.items()}
        with self._reported():
            self._lines.write(_line({"step": step, "split": split} | dict(values) | finite))
            self._lines.flush()
            self._events.write_event(event)

    def close(self) -> None:
        """Closes both files; nothing may be written after."""
        with self._reported(), contextlib.closing(self._lines):
            self._events.close()

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"Cannot write metrics in {self._workdir}: {error.strerror}. Check that the disk "
                "has room and the folder may be written, then resume."
            ) from error


def read_metrics(workdir: Path) -> list[dict]:
    """The records of a run in the order in which they were written; null is read as NaN.

    Raises:
        UserError: there is no `metrics.jsonl`.
    """
    path = Path(workdir) / FILE
    if not path.is_file():
        raise UserError(f"No {FILE} in {workdir}: expected the workdir of a run.")
    return [
        {key: math.nan if value is None else value for key, value in record.items()}
        for record in _records(path)
    ]


def _line(record: Mapping) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _records(path: Path) -> Iterator[dict]:
    """Parsed lines. What a kill or a full disk has cut, and what is no record, is left out."""
    for line in path.read_text(errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            record = json.loads(line)
            kinds = {"step": int, "split": str}
            if isinstance(record, dict) and all(
                isinstance(record.get(key), kind) for key, kind in kinds.items()
            ):
                yield record
