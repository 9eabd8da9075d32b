"""Trains a config and evaluates it; the command of this project.

    python -m train.main --config=configs/digits.py [--workdir=DIR] [--config.x=y ...]
    python -m train.main --mode=eval --workdir=DIR [--config.router=x ...]
    python -m train.main --config=configs/digits.py --help

`train.loop` does the work. This module turns options into a config, and says in one line what is
wrong with them.
"""

from collections.abc import Sequence
import difflib
from pathlib import Path
import re
import runpy
import traceback

from absl import flags
from ml_collections import ConfigDict, FrozenConfigDict, config_flags

from configs import _variants
from configs._datasets import DATA
from train import loop, usage
from train import workdir as workdirs
from train.cli import Parser, folder, friendly
from train.config import check, expect, no_field
from train.errors import UserError, expect_one_of
from train.workdir import in_words

_OPTIONS = ("--config", "--workdir", "--mode", "--help")
# How an option begins that sets a field.
_FIELD = ("--config.", "--noconfig.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; exits 2 with one line for what the user can cure."""
    parser = Parser("python -m train.main", add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    parser.add_argument("--workdir", type=folder)
    parser.add_argument("--mode", choices=["train", "eval"], default="train")
    parser.add_argument("-h", "--help", action="store_true")
    options, overrides = parser.parse_known_args(arguments)
    config = load(options.config, overrides) if options.config else None
    if options.help:
        path = find(options.config) if options.config else None
        plain = _read(path.partition(":")[0]) if path else None
        print(usage.text(path, config, plain and _variants.described(plain)))
        return
    if config is None and not (options.workdir and options.mode == "eval"):
        _refuse_unknown(overrides)
        raise UserError("--config is missing; for example --config=configs/digits.py.")
    workdir = options.workdir or Path("workdir") / label(options.config)
    if options.mode == "train":
        loop.train_and_evaluate(config, workdir)
    else:
        _evaluate(config, overrides, workdir)


def _evaluate(named: ConfigDict | None, overrides: Sequence[str], workdir: Path) -> None:
    """Evaluates a run as it was trained, not as its config's file is `named` now."""
    config = changed(workdirs.trained_config(workdir), overrides)
    workdirs.print_defaults(workdir)
    given = tuple(option.partition("=")[0].partition(".")[2] for option in overrides)
    if named and (others := workdirs.differences(workdir, named, given)):
        print(
            f"The run in {workdir} is evaluated as it was trained, not as --config says: "
            f"{in_words(others)}."
        )
    loop.evaluate_only(config, workdir)


def label(config: str) -> str:
    """What a run is called: NAME of configs/NAME.py, NAME_VARIANT of configs/NAME.py:VARIANT."""
    file, _, variant = config.partition(":")
    return "_".join(filter(None, (Path(file).stem, variant)))


def find(config: str) -> str:
    """FILE.py or FILE.py:VARIANT of a config that may be given as NAME or NAME:VARIANT.

    Raises:
        UserError: there is no such file.
    """
    name, colon, variant = config.partition(":")
    for file in (Path(name), Path("configs", name), Path("configs", f"{name}.py")):
        if file.is_file() and file.suffix == ".py":
            return f"{file}{colon}{variant}"
    known = sorted(map(str, Path("configs").glob("[!_]*.py")))
    near = difflib.get_close_matches(Path(name).stem, [Path(file).stem for file in known], 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UserError(f"--config: no file {name}; there are {', '.join(known) or 'none here'}.{hint}")


def load(path: str, overrides: Sequence[str] = ()) -> FrozenConfigDict:
    """The config in a file, named as for `find`, changed and checked.

    Raises:
        UserError: there is no such variant, field or option, or a field has a wrong value.
    """
    return changed(_read(find(path)), overrides)


def changed(config: ConfigDict, overrides: Sequence[str]) -> FrozenConfigDict:
    """The config, changed by options "--config.x=y", and checked. Raises as `load`."""
    name = config.data.name
    for option in overrides:
        if option.startswith(_FIELD):
            _check_field(option.partition("=")[0].partition(".")[2], config)
    _refuse_unknown(overrides)
    # The last value of a field counts. absl would join the values of a tuple.
    names = [option.partition("=")[0] for option in overrides]
    last = [o for i, o in enumerate(overrides) if "=" not in o or names[i] not in names[i + 1 :]]
    argv, values = ["", *last], flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config, "", values, sys_argv=argv)
    try:
        rest = values(argv)
    except (flags.Error, ValueError) as error:
        wrong = re.match(r"flag --config\.([\w.]+)=(.*?): ", str(error))
        if not wrong:
            raise UserError(" ".join(str(error).split())) from error
        expect(wrong[1], config, text=wrong[2])
    if rest[1:]:
        raise UserError(f"Unknown argument {rest[1]!r}; options start with --.")
    if config.data.name != name:
        expect_one_of("config.data.name", DATA, config.data.name)
        raise UserError(
            f"config.data.name: expected {name}, the data set that this config is made for, got "
            f"{config.data.name!r}. Choose the --config of the other data set."
        )
    return check(config)


def _refuse_unknown(overrides: Sequence[str]) -> None:
    """Raises UserError for an option that is no field's."""
    for option in overrides:
        name = option.partition("=")[0]
        if option.startswith("--") and not option.startswith(_FIELD):
            near = difflib.get_close_matches(name, _OPTIONS, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UserError(f"{name}: no such option; there are {', '.join(_OPTIONS)}.{hint}")


def _read(path: str) -> ConfigDict:
    """What get_config of a file returns, with the variant as its argument.

    Raises:
        UserError: the file cannot be run, or there is no such variant.
    """
    file, colon, variant = path.partition(":")
    try:
        made = runpy.run_path(file)
        if "get_config" not in made:
            raise TypeError("expected a config with a function get_config, got none")
        config = made["get_config"](*([variant] if colon else []))
        if not isinstance(config, ConfigDict):
            raise TypeError(f"expected get_config to return a ConfigDict, got {config!r}")
    except Exception as error:
        text = " ".join(str(error).split())
        if isinstance(error, ValueError) and text.startswith("--config"):
            raise UserError(text) from error
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == file]
        where = f"{file}, line {lines[-1]}" if lines else file
        raise UserError(f"{where}: {type(error).__name__}: {text}") from error
    return config


def _check_field(path: str, config: ConfigDict) -> None:
    """Raises UserError unless the config has this field."""
    node = config
    for key in path.split("."):
        if not isinstance(node, ConfigDict) or key not in node:
            raise no_field(path, config.data.name)
        node = node[key]
    if isinstance(node, ConfigDict):
        raise UserError(
            f"config.{path}: expected a field of this group, such as "
            f"--config.{path}.{min(node)}=VALUE; the group itself cannot be set."
        )


if __name__ == "__main__":
    with friendly():
        main()
