"""What all studies share: the command, the run, the record, the table.

A study asks one question about a finished run. It is a module of this package with a docstring,
whose first line is the question, and two functions:

    def measure(run: Run, params: PyTree) -> Record: ...
    def table(record: Record) -> Table: ...

    STUDY = Study("early_exit", __doc__, measure, table)

    if __name__ == "__main__":
        STUDY.main()

`python -m train.studies.early_exit WORKDIR` reopens the run, measures, prints the table, writes
early_exit.json into WORKDIR, and draws the run's figures again. A record says what it was made
with; a study with other options gets a record of its own, calibrate_agent_2.json.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

from train.cli import Parser, folder, friendly
from train.console import Progress, percent, print_table
from train.errors import UserError
from train.plots.run import draw
from train.run import Run, reopen
from train.workdir import print_defaults, read_record, write_record

Record = dict[str, Any]
# A remark below tables with a mean cost.
COST = "Mean cost: MACs beyond the straight pass, in multiples of the straight pass."


class Table(NamedTuple):
    """What a study prints: a table, and lines of text below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()


def tabulate(
    title: str, columns: Mapping[str, tuple[str, str]], rows: Iterable[Record], *remarks: str
) -> Table:
    """A table of a record's rows.

    Args:
        title: stands above it.
        columns: by heading, the key of the value in a row and its format; "%" is per cent.
        rows: of the record.
        remarks: stand below it.
    """
    show = lambda value, form: percent(value) if form == "%" else format(value, form)
    cells = [[show(row[key], form) for key, form in columns.values()] for row in rows]
    return Table(title, list(columns), cells, remarks)


@dataclasses.dataclass(frozen=True)
class Study:
    """A question about a finished run, and the command that answers it.

    Attributes:
        name: of the module, and of the record.
        doc: docstring of the module; its first line is the command's description.
        measure: (run, params, **options) → record. The parameters, {"main": ..., "agent": ...},
            are those of the checkpoint that the config has evaluated, replicated over the devices.
        table: record → table.
        options: of `measure`, by name or --flag, as `ArgumentParser.add_argument` takes them.
        ending: key of the record whose value ends the record's name, as in calibrate_agent.json.
            Such a study can have several records in a workdir.
        changes: fields of the config to change before the run is reopened.
        without_agent: whether a run without an agent is accepted.
    """

    name: str
    doc: str | None
    measure: Callable[..., Record]
    table: Callable[[Record], Table]
    options: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    ending: str | None = None
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    without_agent: bool = False

    def run(self, workdir: str | Path, data_dir: str | None = None, **options: Any) -> Record:
        """Measures, prints the table, writes the record, draws the figures.

        Args:
            workdir: of the run.
            data_dir: folder of TFDS data sets, if they are no longer where they were in training.
            options: of `measure`.

        Returns:
            The record: step, router and price that it belongs to, `options`, and what `measure`
            returned.

        Raises:
            UserError: workdir is not a finished run's, or `measure` refused the run or an option.
        """
        run = finished(workdir, data_dir, self.changes, self.without_agent)
        step, params = run.restored()
        # Through JSON, as they will be read: tuples become lists.
        settings = run.settings(step) | {"options": json.loads(json.dumps(options, default=str))}
        with Progress(self.name):
            record = {**settings, **self.measure(run, params, **options)}
        shown = self.table(record)
        print_table(shown.title, shown.columns, shown.rows)
        for remark in shown.remarks:
            print(remark)
        plain = f"{self.name}_{record[self.ending]}" if self.ending else self.name
        name = _own_name(run.workdir, plain, record)
        write_record(run.workdir, name, record)
        kept = "" if name == plain else f" {plain}.json, which has other settings, is kept."
        print(f"Written to {run.workdir / name}.json.{kept}")
        draw(run.workdir)
        return record

    def main(self) -> None:
        """The command."""
        description = (self.doc or "").partition("\n")[0]
        parser = Parser(f"python -m train.studies.{self.name}", description=description)
        parser.add_argument("workdir", type=folder, help="of a finished run")
        parser.add_argument("--data_dir", help="where the data are, if they have moved")
        for name, settings in self.options.items():
            parser.add_argument(name, **settings)
        with friendly():
            self.run(**vars(parser.parse_args()))


def finished(
    workdir: str | Path,
    data_dir: str | None = None,
    changes: Mapping[str, Any] = {},
    without_agent: bool = False,
) -> Run:
    """The finished run in a workdir, see `reopen`.

    Raises:
        UserError: workdir is not a run's, or the run is not finished.
    """
    begun = read_record(Path(workdir), "config")
    if begun and read_record(Path(workdir), "summary") is None:
        raise UserError(
            f"{workdir}: expected a finished run, but summary.json is missing. Finish the run "
            "first, with the command that began it."
        )
    if begun:
        print_defaults(Path(workdir))
    return reopen(workdir, data_dir, changes, without_agent)


def _own_name(workdir: Path, name: str, record: Record) -> str:
    """NAME, or the first of NAME_2, NAME_3, … that is no record with other settings."""
    settings = {key: record[key] for key in ("step", "price", "options")}
    for candidate in itertools.chain([name], (f"{name}_{i}" for i in itertools.count(2))):
        try:
            old = read_record(workdir, candidate)
        except UserError:  # damaged, but perhaps not lost
            continue
        if old is None:
            return candidate
        # Records of older versions have neither price nor options.
        found = {"price": record["price"], "options": {}} | old
        if all(found.get(key) == value for key, value in settings.items()):
            return candidate
    raise AssertionError
