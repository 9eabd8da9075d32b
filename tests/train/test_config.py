"""Every wrong value of a field is answered in one line that names the field and the cure."""

import importlib
import json

from ml_collections import FrozenConfigDict
import pytest

from configs import _base, _datasets
from train import main, usage
from train import workdir as workdirs
from train.config import check, groups, reference
from train.errors import UserError

DIGITS = "configs/digits.py"
WRONG = [
    # Not the range.
    ("seed=-1", "config.seed: expected 0 to 2,147,483,647, got -1."),
    ("seed=99999999999", "config.seed: expected 0 to 2,147,483,647, got 99999999999."),
    ("data.validation=0", "config.data.validation: expected 10 to 1,287, got 0."),
    ("augment.crop=-1", "config.augment.crop: expected 0 or more, got -1."),
    ("augment.cutout=-2", "config.augment.cutout: expected 0 or more, got -2."),
    ("model.gain=-1", "config.model.gain: expected more than 0, at most 100, got -1.0."),
    ("model.own=7", "config.model.own: expected 0 to 1, got 7.0."),
    ("model.offset=-1", "config.model.offset: expected 0 to 100, got -1.0."),
    ("model.stem=-1", "config.model.stem: expected 0 to 16,384, got -1."),
    ("model.rounds=0", "config.model.rounds: expected 1 to 20, got 0."),
    ("model.tol=-1e-3", "config.model.tol: expected 0 to 1, got -0.001."),
    ("model.max_steps=0", "config.model.max_steps: expected 1 to 1,000,000, got 0."),
    ("model.compact=-1", "config.model.compact: expected 0 or more, got -1."),
    ("model.agent_hidden=0", "config.model.agent_hidden: expected 1 to 16,384, got 0."),
    ("objective.alpha=-1", "config.objective.alpha: expected 0 to 1,000, got -1.0."),
    ("objective.beta=-0.3", "config.objective.beta: expected 0 to 1,000, got -0.3."),
    ("objective.gamma=-1", "config.objective.gamma: expected 0 to 1,000, got -1.0."),
    ("objective.fraction=-3", "config.objective.fraction: expected more than 0, at most 1, got"),
    ("objective.temperature=0", "config.objective.temperature: expected 0.001 to 1,000, got 0.0."),
    ("exploration.share=0", "config.exploration.share: expected more than 0, at most 1, got 0.0."),
    ("exploration.floor=-0.1", "config.exploration.floor: expected 0 or more, less than 1, got"),
    ("price=0", "config.price: expected 1e-06 to 1,000,000, got 0.0."),
    ("train.batch_size=0", "config.train.batch_size: expected 1 or more, got 0."),
    ("train.epochs.main=-1", "config.train.epochs.main: expected 0 to 100,000, got -1.0."),
    ("train.epochs.joint=1e12", "config.train.epochs.joint: expected 0 to 100,000, got"),
    ("train.learning_rate=-1", "config.train.learning_rate: expected more than 0, at most 10, got"),
    ("train.agent_learning_rate=0", "config.train.agent_learning_rate: expected more than 0"),
    ("train.warmup=-1", "config.train.warmup: expected 0 to 1, got -1.0."),
    ("train.weight_decay=-1", "config.train.weight_decay: expected 0 to 10, got -1.0."),
    ("train.clip=-1", "config.train.clip: expected more than 0, got -1.0."),
    ("train.clip=nan", "config.train.clip: expected more than 0, got nan."),
    ("train.smoothing=2", "config.train.smoothing: expected 0 or more, less than 1, got 2.0."),
    ("train.ema=2", "config.train.ema: expected 0 or more, less than 1, got 2.0."),
    ("train.accumulate=0", "config.train.accumulate: expected 1 or more, got 0."),
    ("train.steps_per_call=0", "config.train.steps_per_call: expected 1 to 10,000, got 0."),
    ("train.straight=1.5", "config.train.straight: expected 0 to 1, got 1.5."),
    ("train.everything=-0.1", "config.train.everything: expected 0 to 1, got -0.1."),
    ("train.everything_layers=-1", "config.train.everything_layers: expected 0 or more, got -1."),
    ("train.exploring=1.1", "config.train.exploring: expected 0 to 1, got 1.1."),
    ("eval_batch=0", "config.eval_batch: expected 1 or more, got 0."),
    ("eval_every=0", "config.eval_every: expected more than 0, got 0.0."),
    ("checkpoint.keep=0", "config.checkpoint.keep: expected 1 or more, got 0."),
    # Not a finite number.
    ("eval_every=nan", "config.eval_every: expected a number, more than 0, got nan."),
    ("eval_every=inf", "expected a number, more than 0, got inf."),
    ("train.epochs.main=inf", "config.train.epochs.main: expected a number, 0 to 100,000, got inf"),
    ("objective.alpha=nan", "config.objective.alpha: expected a number, 0 to 1,000, got nan."),
    ("objective.gamma=inf", "config.objective.gamma: expected a number, 0 to 1,000, got inf."),
    ("price=nan", "config.price: expected a number, 1e-06 to 1,000,000, got nan."),
    # Not the type.
    ("seed=many", "config.seed: expected a whole number, 0 to 2,147,483,647, got 'many'."),
    ("seed=1.5", "expected a whole number, 0 to 2,147,483,647, got '1.5'."),
    ("seed=", "expected a whole number, 0 to 2,147,483,647, got ''."),
    ("price=cheap", "config.price: expected a number, 1e-06 to 1,000,000, got 'cheap'."),
    ("model.norm=maybe", "config.model.norm: expected True or False, got 'maybe'."),
    ("train.batch_size=1e2", "config.train.batch_size: expected a whole number, 1 or more, got"),
    # Tuples.
    (
        "model.widths=()",
        "config.model.widths: expected one or more whole numbers, 1 to 16,384 each",
    ),
    ("model.widths=(-8,8,8)", "got (-8, 8, 8)."),
    ("model.widths=(8.5,8,8)", "got (8.5, 8, 8)."),
    ("model.widths=wide", "config.model.widths: expected one or more whole numbers"),
    ("model.strides=(0,1,1)", "config.model.strides: expected whole numbers, 1 or more each, as"),
    (
        "model.strides=(1,1)",
        "config.model.strides: expected 3 numbers, as many as model.widths=(32, 32, 32) has, got",
    ),
    ("model.strides=(1,1,9)", "config.model.strides: expected numbers that fit the image's 8×8"),
    ("model.windows=(0,0,0)", "config.model.windows: expected whole numbers, 1 or more each, got"),
    ("model.windows=(3,)", "config.model.windows: expected 3 numbers, as many as model.widths="),
    ("model.windows=(9,3,3)", "config.model.windows: expected numbers that fit the image's 8×8"),
    ("prices=(0.1,-1)", "3.0, 10.0)', got (0.1, -1)."),
    ("prices=()", "config.prices: expected one or more numbers, 1e-06 to 1,000,000 each, as --con"),
    ("prices=(0.1,'a')", "1e-06 to 1,000,000 each, as --config.prices='(0.01, 0.03, 0.1, "),
    ("price_range=(1,0.1)", "config.price_range: expected the lower price first, got (1.0, 0.1)"),
    ("price_range=(1,)", "config.price_range: expected two numbers, 1e-06 to 1,000,000 each"),
    ("exploration.epsilon=(2,0)", "config.exploration.epsilon: expected two numbers, 0 to 1 each"),
    ("exploration.entropy=(1,-1)", "config.exploration.entropy: expected two numbers, 0 to 1,000"),
    # Names.
    ("model.cell=casade", "config.model.cell: expected one of concave, "),
    ("model.cell=casade", "got 'casade'. Did you mean 'cascade'?"),
    (
        "model.solver=newton",
        "config.model.solver: expected one of picard, damped, anderson, broyden",
    ),
    ("model.adjoint=implicite", "Did you mean 'implicit'?"),
    ("model.dtype=float16", "config.model.dtype: expected one of float32, bfloat16, got 'float16'"),
    ("objective.estimator=gumble", "Did you mean 'gumbel'?"),
    ("checkpoint.evaluate=last", "config.checkpoint.evaluate: expected one of newest, best, got"),
    ("data.name=digit", "config.data.name: expected one of digits, cifar10, "),
    # What has to fit something else.
    (
        "augment.crop=100",
        "config.augment.crop: expected less than 8 for the image's 8×8 pixels, got",
    ),
    ("augment.crop=8", "less than 8"),
    (
        "augment.cutout=20",
        "config.augment.cutout: expected at most 8 for the image's 8×8 pixels, got",
    ),
    ("exploration.floor=0.25", "config.exploration.floor: expected less than 1/4, one over the"),
    ("train.everything_layers=4", "config.train.everything_layers: expected at most the 3 layers"),
    ("train.straight=0.9", "config.train.straight: expected at most 1 with train.everything=0.15"),
    ("model.adjoint=unrolled", "config.model.compact: expected 0 with model.adjoint=unrolled, got"),
    # Misspelt fields.
    ("sed=1", "config.sed: no such field. Did you mean config.seed?"),
    ("nope=1", "config.nope: no such field. config has seed, price_range, "),
    ("train.nope=1", "config.train.nope: no such field. config.train has "),
    ("train.learning_rat=1", "Did you mean config.train.learning_rate?"),
    ("learning_rate=1", "Did you mean config.train.learning_rate?"),
    ("trian.batch_size=1", "Did you mean config.train.batch_size?"),
    ("train.batchsize=1", "Did you mean config.train.batch_size?"),
    ("seed.seed=1", "config.seed.seed: no such field. Did you mean config.seed?"),
    ("data.grid=9", "config.data.grid: no such field of digits. config.data has validation, name."),
    (
        "train=3",
        "config.train: expected a field of this group, such as --config.train.",
    ),
]
OTHER = [
    ("connectivity", "data.validation=60000", "data.validation: expected fewer than the 60000"),
    ("connectivity", "data.open_fraction=1", "expected more than 0, less than 1, got 1.0."),
    ("connectivity", "data.grid=1000000", "config.data.grid: expected 2 to 256, got 1000000."),
    ("connectivity", "data.blocks=(5,)", "config.data.blocks: expected numbers that divide the"),
    (
        "connectivity",
        "data.name=mazes",
        "config.data.name: expected connectivity, the data set that this config is made for",
    ),
    ("connectivity", "data.train=1000000000000", "config.data.train: expected 2 to 10,000,000"),
    ("mazes", "data.side=2", "config.data.side: expected 3 to 128, got 2."),
    ("parity", "data.most=65", "config.data.most: expected least (1) to length (64), got 65."),
    ("parity", "data.test_least=65", "config.data.test_most: expected test_least (65) to length"),
    ("parity", "augment.symmetries=True", "expected False, as images of 1×64 are not square, got"),
    ("imdb", "augment.flip=True", "config.augment.flip: expected False for text"),
    ("parity", "augment.crop=1", "config.augment.crop: expected less than 1 for the image's 1×64"),
    ("imdb", "data.vocabulary=2", "config.data.vocabulary: expected 3 to 65,536, got 2."),
    ("imdb", "data.length=0", "config.data.length: expected 1 to 65,536, got 0."),
    ("imdb", "model.stem=0", "config.model.stem: expected 1 or more for text"),
    ("wikitext2", "data.validation=0", "config.data.validation: expected 1 to 217,646, got 0."),
    ("cifar10", "data.validation=50000", "config.data.validation: expected 1 to 49,999, got"),
]


def answer(path, *options):
    """The one line that the command prints for these options."""
    with pytest.raises(UserError) as caught:
        main.load(path, [f"--config.{option}" for option in options])
    text = str(caught.value)
    assert "\n" not in text and text.endswith((".", "?"))
    return text


@pytest.mark.parametrize(("option", "said"), WRONG)
def test_a_wrong_field_of_digits(option, said):
    text = answer(DIGITS, option)
    assert said in text and text.startswith("config.")


@pytest.mark.parametrize(("config", "option", "said"), OTHER)
def test_a_wrong_field_of_other_data(config, option, said):
    assert said in answer(config, option)


@pytest.mark.parametrize("name", list(usage.configs()))
def test_a_config_passes_as_it_is(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    assert check(config).to_dict() == FrozenConfigDict(config).to_dict()


def test_a_batch_is_divided_among_the_devices():
    config = _base.base()
    config.train.batch_size = 66
    with pytest.raises(UserError, match="multiple of the 4 devices, got 66; the nearest is 64"):
        check(config, devices=4)
    assert check(config, devices=3).train.batch_size == 66


def test_a_config_made_in_python_gets_the_defaults_of_its_data():
    config = _base.base()
    config.data = {"name": "connectivity", "grid": 8}
    assert dict(check(config).data) == _base.data("connectivity", grid=8)
    config.data = {"name": "conectivity"}
    with pytest.raises(UserError, match=r"config\.data\.name: .* Did you mean 'connectivity'"):
        check(config)


def test_rounds_whose_routes_are_too_many_to_compile():
    sizes = [f"--config.model.{name}=({12 * '1,'})" for name in ("widths", "strides")]
    options = [*sizes, "--config.model.windows=()", "--config.exploration.floor=0"]
    main.load(DIGITS, [*options, "--config.model.rounds=2"])
    with pytest.raises(UserError, match=r"model.rounds: expected at most 2 with 12 layers, got 20"):
        main.load(DIGITS, [*options, "--config.model.rounds=20"])


def test_a_number_is_no_group():
    fields = {"data": {"name": "digits"}, "train": {"epochs": 3}}
    with pytest.raises(UserError, match=r"config.train.epochs: expected a group of fields, got 3"):
        check(FrozenConfigDict(fields))


def test_a_config_of_an_older_version_is_completed(tmp_path):
    """Fields that were added since have defaults; those that a data set never read are gone."""
    now = json.loads(main.load(DIGITS).to_json_best_effort())
    old = json.loads(json.dumps(now))
    old["data"] |= {"seed": 0, "data_dir": ""}
    del old["model"]["hard_gates"], old["checkpoint"], old["train"]["exploring"]
    now["train"]["exploring"] = 0.25
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert workdirs.read_config(tmp_path) == now


def test_the_config_of_a_run_whose_images_have_moved_is_read(tmp_path):
    data = {"name": "images", "path": f"{tmp_path}/moved", "side": 16}
    (tmp_path / "config.json").write_text(json.dumps({"data": data}))
    assert workdirs.read_config(tmp_path)["data"].items() >= data.items()


def test_the_reference_page_has_every_field_with_its_meaning():
    page = reference()
    for about, fields in groups().values():
        assert about
        for field in fields:
            assert field.meaning.endswith(".") and f"| `{field.path}` | {field.kind}" in page
    assert "one of picard, damped, anderson, broyden" in page
    assert all(f"config.data ({name})" in page for name in _datasets.DATA)
