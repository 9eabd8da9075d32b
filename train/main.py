"""python -m train.main --config=configs/digits.py [--workdir=DIR] [--mode=eval] [--config.x=y ...]

Parses flags and says what went wrong in one line; `train.loop` does the work.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from train import loop
from train.cli import friendly
from train.errors import UserError

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, see configs/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; workdir/NAME by default.")
_MODE = flags.DEFINE_enum("mode", "train", ["train", "eval"], "Train, or evaluate a checkpoint.")


def main(argv: Sequence[str]) -> None:
    """Runs a config; exits 2 with one line for what the user can cure."""
    if len(argv) > 1:
        raise UserError(f"Unknown argument {argv[1]!r}; options start with --.")
    config = _CONFIG.value
    name = config_flags.get_config_filename(flags.FLAGS["config"])
    workdir = Path(_WORKDIR.value or Path("workdir") / label(name))
    run = loop.train_and_evaluate if _MODE.value == "train" else loop.evaluate_only
    run(config, workdir)


def run() -> None:
    """The command: flags, friendly errors, exit codes."""
    with friendly():
        app.run(main, flags_parser=_parse)


def label(config: str) -> str:
    """What a run is called: NAME of configs/NAME.py, NAME_BASELINE of configs/NAME.py:BASELINE."""
    file, _, baseline = config.partition(":")
    return "_".join(filter(None, (Path(file).stem, baseline)))


def load(options: Sequence[str]) -> ConfigDict:
    """The config that these options of the command, --config and --config.x, make.

    Raises:
        UserError: there is no such file, field or option, or a value of the wrong type.
    """
    argv, values = ["", *options], flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", values, sys_argv=argv)
    _parse(argv, values)
    return values.config


def _parse(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> list[str]:
    try:
        rest = values(argv)
        if values.config is None:
            raise UserError("--config is missing; for example --config=configs/digits.py.")
        # A config that could not be loaded says so at its first use.
        _ = values.config.items
    except (flags.Error, LookupError, AttributeError, TypeError, ValueError) as error:
        # A KeyError's own text is a repr, and the hint is on a line of its own.
        text = str(error.args[0] if isinstance(error, LookupError) and error.args else error)
        # An error in a config file comes with its traceback; what it says is in the last line.
        last = text.rstrip().rpartition("\n")[2].partition(": ")[2]
        raise UserError(last if "Traceback" in text else " ".join(text.split())) from error
    except OSError as error:
        name = " ".join(argv).partition("--config=")[2].partition(" ")[0]
        files = Path("configs").glob("[!_]*.py")
        known = ", ".join(sorted(map(str, files)))
        raise UserError(f"--config: no file {name}; there are {known or 'none here'}.") from error
    return rest


if __name__ == "__main__":
    run()
