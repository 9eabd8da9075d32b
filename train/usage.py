"""`python -m train.main --help`: options, configs, fields, variants, and all commands."""

import ast
from collections.abc import Mapping
import functools
from pathlib import Path
import re
import textwrap
from typing import Any

from ml_collections import ConfigDict

from configs import _base
from train.config import groups

_WIDTH = 100
_ROOT = Path(__file__).parents[1]
_USAGE = """
Trains a config and evaluates it.

  python -m train.main --config=FILE[:VARIANT] [--workdir=DIR] [--config.FIELD=VALUE]
  python -m train.main --mode=eval --workdir=DIR [--config.FIELD=VALUE]
"""
_OPTIONS = {
    "--config": "File in configs/, as configs/digits.py or digits; FILE:VARIANT for a variant.",
    "--workdir": "Folder of the run; workdir/NAME by default. The same command resumes a run.",
    "--mode": "train (default), or eval: evaluates the run in the workdir with config.router.",
    "--config.FIELD": "Sets a field: --config.train.batch_size=128, --config.prices='(0.1, 1)'.",
    "--help": "This text; with --config, the values and variants of that config.",
}


def text(path: str | None, config: ConfigDict | None, variants: Mapping[str, str] | None) -> str:
    """The help; with a config, given by its path, its values, and the meanings of its variants."""
    parts = [_USAGE, _section("Options", _OPTIONS)]
    if config is None:
        values, title = _base.base(), "Fields and their defaults"
        parts.append(_section("Configs, as --config=configs/digits.py", configs()))
    else:
        values, title = config, f"Fields of {path}"
    parts.append(f"\n{title}")
    for name, (about, fields) in groups(values.data.name).items():
        group = name.partition(" ")[0]
        rows = {}
        for field in fields:
            value = functools.reduce(lambda node, key: node[key], field.path.split("."), values)
            shown = value if value != "" else '""'
            limits = f" [{field.limits}]" if field.limits else ""
            rows[f"{field.path.removeprefix(f'{group}.')}={shown}"] = field.meaning + limits
        parts.append(_section(f"  config.{name}: {about}" if name else "  config", rows, "    "))
    if path and variants:
        title = f"Variants, as --config={path.partition(':')[0]}:model_0"
        more = {"wide_6.5x, …": "Any number may stand in place of 2.5."}
        parts.append(_section(title, {**variants, **more}))
    names = {f"python -m {name}": meaning for name, meaning in commands().items()}
    parts.append(_section("Commands", names))
    return "\n".join(parts).strip()


def configs() -> dict[str, str]:
    """First line of each config's docstring, by name."""
    files = sorted((_ROOT / "configs").glob("[!_]*.py"))
    return {file.stem: _first_line(file) for file in files}


def commands() -> dict[str, str]:
    """First line of the docstring of each module that is a command, by its dotted name."""
    folders = ("train", "train/studies", "benchmarks", "benchmarks/paper")
    files = [file for folder in folders for file in sorted((_ROOT / folder).glob("*.py"))]
    return {
        ".".join(file.relative_to(_ROOT).with_suffix("").parts): _first_line(file)
        for file in files
        if '\nif __name__ == "__main__"' in file.read_text()
    }


def _first_line(file: Path) -> str:
    line = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
    return re.sub("^`python -m .*`: ", "", line)


def _section(title: str, rows: Mapping[str, Any], indent: str = "  ") -> str:
    """A title and two columns; a name that is too long has a line of its own."""
    column = len(indent) + min(34, max(map(len, rows))) + 2
    lines = [f"\n{title}"]
    for name, meaning in rows.items():
        head = f"{indent}{name}  ".ljust(column)
        if len(head) > column:
            lines.append(head.rstrip())
            head = ""
        wrapped = textwrap.wrap(
            meaning, _WIDTH, initial_indent=" " * column, subsequent_indent=" " * column
        )
        lines += [head.ljust(column) + wrapped[0][column:], *wrapped[1:]]
    return "\n".join(lines)
