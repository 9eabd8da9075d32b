"""Every field of a config: its type, its range, its meaning and its default, in this one place.

    _base.base()              a config with these defaults, to change in configs/NAME.py
    train.config.check        refuses a config with a field that is out of range
    python -m train.config    the reference page, made from this file

A new field needs three things here: a name with its type, a default, and a docstring.
"""

from collections.abc import Mapping
import dataclasses
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import pydantic
from pydantic import Field
from pydantic_core import core_schema

import dynalay_jax
from dynalay_jax.adaptive.estimators import ESTIMATORS
from dynalay_jax.layers.registry import CELLS, STATIC

# What the names in a config stand for.
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
ADJOINTS = {
    "implicit": dynalay_jax.Implicit(on_failure="jacobian_free"),
    "jacobian_free": dynalay_jax.JacobianFree(),
    "phantom": dynalay_jax.Phantom(),
    "unrolled": dynalay_jax.Unrolled(),
}
SOLVERS = {
    "picard": dynalay_jax.Picard(),
    "damped": dynalay_jax.Picard(damping=0.5),
    "anderson": dynalay_jax.Anderson(),
    "broyden": dynalay_jax.Broyden(),
}


@dataclasses.dataclass(frozen=True)
class OneOf:
    """Annotates a string that has to be one of these names."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, name: str) -> str:
        if name not in self.names:
            raise ValueError("not one of the names")
        return name


class Group(pydantic.BaseModel):
    """Some fields of a config."""

    model_config = pydantic.ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, frozen=True, use_attribute_docstrings=True
    )


_Share = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(gt=0)]
_Width = Annotated[int, Field(ge=1, le=16_384)]
_Side = Annotated[int, Field(ge=1)]


class Data(Group):
    """A data set."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        """Height, width and channels of an example, and the number of classes."""
        raise NotImplementedError


class Digits(Data):
    """scikit-learn's 1,797 handwritten digits, 8×8. Nothing is downloaded."""

    name: Literal["digits"] = "digits"
    validation: int = Field(200, ge=10, le=1_287)
    """Training images held out for validation, of 1,297."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (8, 8, 1), 10


class _Cifar(Data):
    data_dir: str = ""
    """Folder of the TFDS data sets; empty for the default of TFDS."""
    validation: int = Field(5_000, ge=1, le=49_999)
    """Training images held out for validation, of 50,000."""


class Cifar10(_Cifar):
    """CIFAR-10 through TFDS: 32×32 images of 10 classes."""

    name: Literal["cifar10"] = "cifar10"

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (32, 32, 3), 10


class Cifar100(_Cifar):
    """CIFAR-100 through TFDS: 32×32 images of 100 classes (fine labels)."""

    name: Literal["cifar100"] = "cifar100"

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (32, 32, 3), 100


class _Generated(Data):
    train: int = Field(60_000, ge=2, le=10_000_000)
    """Training examples, those for validation included."""
    validation: int = Field(2_000, ge=1)
    """Training examples held out for validation; fewer than `train`."""
    test: int = Field(5_000, ge=1, le=10_000_000)
    """Test examples."""
    seed: int = Field(0, ge=0, le=2**31 - 1)
    """Seed of the examples."""

    @pydantic.model_validator(mode="after")
    def _check_validation(self) -> "_Generated":
        if self.validation >= self.train:
            raise ValueError(
                f"config.data.validation: expected fewer than the {self.train} training examples "
                f"(config.data.train), got {self.validation}."
            )
        return self


class Connectivity(_Generated):
    """Made on the fly: are two cells of a random grid connected?"""

    name: Literal["connectivity"] = "connectivity"
    grid: int = Field(12, ge=2, le=256)
    """Height and width of the images, in pixels."""
    open_fraction: float = Field(0.6, gt=0, lt=1)
    """Probability that a cell is open."""
    blocks: tuple[_Side, ...] = ()
    """Sides of a cell in pixels, each for an equal share of the images; () for cells of 1 pixel."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (self.grid, self.grid, 3), 2

    @pydantic.model_validator(mode="after")
    def _check_blocks(self) -> "Connectivity":
        if any(self.grid % block for block in self.blocks):
            raise ValueError(
                "config.data.blocks: expected numbers that divide the grid of "
                f"{self.grid} (config.data.grid), got {self.blocks}."
            )
        return self


class Mazes(_Generated):
    """Made on the fly: is the path between two cells of a maze whole?"""

    name: Literal["mazes"] = "mazes"
    side: int = Field(5, ge=3, le=128)
    """Height and width of the maze in cells; the image has 2 · side − 1 pixels."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (2 * self.side - 1, 2 * self.side - 1, 3), 2


class Parity(_Generated):
    """Made on the fly: is the number of ones in a vector of 0, 1 and −1 odd?"""

    name: Literal["parity"] = "parity"
    length: int = Field(64, ge=1, le=65_536)
    """Entries of a vector."""
    least: int = Field(1, ge=1)
    """Least number of entries that are not 0, in training."""
    most: int = Field(64, ge=1)
    """Largest number of entries that are not 0, in training."""
    test_least: int = Field(1, ge=1)
    """Least number of entries that are not 0, in the test set."""
    test_most: int = Field(64, ge=1)
    """Largest number of entries that are not 0, in the test set."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (1, self.length, 2), 2

    @pydantic.model_validator(mode="after")
    def _check_entries(self) -> "Parity":
        for prefix in ("", "test_"):
            least, most = (getattr(self, prefix + name) for name in ("least", "most"))
            if not least <= most <= self.length:
                raise ValueError(
                    f"config.data.{prefix}most: expected {prefix}least ({least}) to length "
                    f"({self.length}), got {most}."
                )
        return self


class Imdb(Data):
    """IMDB's film reviews through TFDS: is a review positive?"""

    name: Literal["imdb_reviews"] = "imdb_reviews"
    data_dir: str = ""
    """Folder of the TFDS data sets; empty for the default of TFDS."""
    length: int = Field(128, ge=1, le=65_536)
    """Words of each review that are used: the last ones."""
    vocabulary: int = Field(8_000, ge=3, le=65_536)
    """Number of tokens: the most frequent words, one for other words, one for padding."""
    validation: int = Field(5_000, ge=1, le=24_999)
    """Training reviews held out for validation, of 25,000."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (1, self.length, 1), 2


class Wikitext2(Data):
    """WikiText-2 from its files: which word comes next?"""

    name: Literal["wikitext2"] = "wikitext2"
    data_dir: str = ""
    """Folder of TFDS: the text is in downloads/manual/wikitext-2; empty for the default of TFDS."""
    length: int = Field(16, ge=1, le=65_536)
    """Words before the one to predict that the model reads."""
    vocabulary: int = Field(10_000, ge=3, le=65_536)
    """Number of tokens: the most frequent words, one for other words, one for padding."""
    validation: int = Field(20_000, ge=1, le=217_646)
    """Words of the validation text that are used, from its beginning."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (1, self.length, 1), self.vocabulary


_Named = Digits | Cifar10 | Cifar100 | Connectivity | Mazes | Parity | Imdb | Wikitext2
DATA: dict[str, type[Data]] = {kind.model_fields["name"].default: kind for kind in _Named.__args__}


class Augment(Group):
    """Changes to the training images, drawn anew in each step."""

    crop: int = Field(0, ge=0)
    """Pixels of padding for a random crop; smaller than the image; 0 for none."""
    flip: bool = False
    """Flips half of the images left to right."""
    cutout: int = Field(0, ge=0)
    """Side in pixels of a random square that is blanked; of text, a run of words; 0 for none."""
    symmetries: bool = False
    """Turns and flips by one of the eight symmetries of the square, drawn at random."""


class Model(Group):
    """The network: a stem, layers that can be iterated, a classifier, and the agent."""

    cell: Annotated[str, OneOf((*CELLS, *STATIC))] = "concave"
    """What a layer iterates. The last three have nothing to iterate and serve as comparisons."""
    widths: tuple[_Width, ...] = Field((64, 128, 256), min_length=1)
    """Channels of each layer."""
    strides: tuple[_Side, ...] = (1, 2, 2)
    """Stride of each layer, at most the side of the image; one per layer."""
    windows: tuple[_Side, ...] = ()
    """Side of each layer's input kernel, at most that of the image; () for 3 everywhere."""
    gain: float = Field(1.5, gt=0)
    """Of concave cells: above 1, activity spreads at the start of training."""
    own: _Share = 0.3
    """Of concave cells: share of the gain within a channel."""
    offset: float = Field(1.0, ge=0)
    """Of concave cells: standard deviation of the offsets at the start of training."""
    hard_gates: bool = False
    """Of concave cells: gates can close completely."""
    stem: int = Field(0, ge=0, le=16_384)
    """Channels of a 3×3 convolution before the layers; 0 for none. Of text: embedding size."""
    last: bool = False
    """Classifier and agent read the last position alone, as in language models."""
    norm: bool = True
    """Normalises what a layer receives."""
    rounds: int = Field(1, ge=1, le=20)
    """How often the agent chooses. After each round it sees the result."""
    tol: _Share = 1e-3
    """Relative residual at which a solve stops."""
    max_steps: int = Field(30, ge=1, le=1_000_000)
    """Most steps of a solve."""
    solver: Annotated[str, OneOf(tuple(SOLVERS))] = "picard"
    """Method of the solves; `damped` is Picard with damping 0.5."""
    adjoint: Annotated[str, OneOf(tuple(ADJOINTS))] = "implicit"
    """How gradients pass a fixed point; `unrolled` needs compact=0."""
    compact: int = Field(16, ge=0)
    """Smallest bucket of the compaction, which spares finished samples work; 0 for none."""
    residual_features: bool = False
    """The agent sees the residual of one step of each layer, which costs that step."""
    agent_hidden: int = Field(128, ge=1, le=16_384)
    """Width of the agent's hidden layer."""
    dtype: Annotated[str, OneOf(tuple(DTYPES))] = "float32"
    """Precision of the computation; parameters are float32."""


class Objective(Group):
    """Reward and loss of the agent (Eqs. 2 and 3)."""

    alpha: float = Field(0.5, ge=0)
    """Reward of a right answer."""
    beta: float = Field(0.3, ge=0)
    """Weight of an action's cost in the reward."""
    gamma: float = Field(0.2, ge=0)
    """Weight of the expected reward in the loss."""
    estimator: Annotated[str, OneOf(tuple(ESTIMATORS))] = "full_information"
    """Estimator of the gradient of the expected reward."""
    fraction: float = Field(0.25, gt=0, le=1)
    """Share of each batch that the agent learns from."""
    temperature: float = Field(1.0, gt=0)
    """Of the gumbel estimator."""


class Exploration(Group):
    """How the agent explores. Each pair is (start, end) and falls linearly."""

    share: float = Field(0.3, gt=0, le=1)
    """Share of the agent's training over which epsilon and entropy fall."""
    epsilon: tuple[_Share, _Share] = (0.3, 0.02)
    """Probability of a random action."""
    entropy: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] = (0.01, 0.0)
    """Weight of the bonus for the policy's entropy."""
    floor: float = Field(0.02, ge=0, lt=1)
    """Least probability of every action while epsilon falls; below 1 / (layers + 1)."""


class Epochs(Group):
    """Epochs of each phase; 0 leaves the phase out."""

    main: float = Field(20.0, ge=0, le=100_000)
    """Main model alone, on random routes."""
    agent: float = Field(5.0, ge=0, le=100_000)
    """Agent alone; the main model is frozen."""
    joint: float = Field(75.0, ge=0, le=100_000)
    """Main model and agent together."""


class Train(Group):
    """Training; random routes are those of the main phase."""

    batch_size: int = Field(64, ge=1)
    """Examples of a step, over all devices; a multiple of their number."""
    epochs: Epochs = Epochs()
    learning_rate: float = Field(1e-3, gt=0, le=10)
    """Peak learning rate of the main model (AdamW, cosine decay)."""
    agent_learning_rate: float = Field(1e-3, gt=0, le=10)
    """Peak learning rate of the agent."""
    warmup: _Share = 0.05
    """Share of the updates over which the learning rates rise."""
    weight_decay: float = Field(5e-4, ge=0, le=10)
    """Weight decay of kernels."""
    clip: float = Field(1.0, gt=0, allow_inf_nan=True)
    """Largest norm of the gradient; inf for no limit."""
    smoothing: float = Field(0.0, ge=0, lt=1)
    """Label smoothing."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the moving average of the parameters, which is then evaluated; 0 for none."""
    accumulate: int = Field(1, ge=1)
    """Steps whose mean gradient makes one update."""
    steps_per_call: int = Field(20, ge=1, le=10_000)
    """Steps between two returns to Python; phases are rounded to whole calls."""
    straight: _Share = 0.5
    """On random routes: share of the samples that take the straight pass."""
    everything: _Share = 0.1
    """On random routes: share that iterates all layers. The rest iterates one random layer."""
    everything_layers: int = Field(0, ge=0)
    """On random routes: all layers means the first so many; 0 for all."""
    exploring: _Share = 0.25
    """Share of the samples on random routes in the joint phase."""


class Checkpoint(Group):
    """Which checkpoints are kept, and which is evaluated."""

    keep: int = Field(3, ge=1)
    """Newest checkpoints that are kept; the best is kept as well."""
    evaluate: Annotated[str, OneOf(("newest", "best"))] = "newest"
    """Checkpoint that --mode=eval and the studies evaluate."""


class Config(Group):
    """A whole config."""

    seed: int = Field(0, ge=0, le=2**31 - 1)
    """Seed of the initial parameters, the order of the data and all random numbers."""
    data: Annotated[_Named, Field(discriminator="name")] = Cifar10()
    augment: Augment = Augment()
    model: Model = Model()
    objective: Objective = Objective()
    exploration: Exploration = Exploration()
    price_range: tuple[_Positive, _Positive] = (0.01, 10.0)
    """Lowest and highest price λ in training; drawn log-uniformly for each sample."""
    price: _Positive = 0.1
    """Price λ at evaluation."""
    prices: tuple[_Positive, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    """Prices λ of the cost curve."""
    router: str = "agent"
    """Router that is evaluated, as agent, none, all, first_1, random:0.5 or confidence:0.9."""
    train: Train = Train()
    eval_batch: int = Field(512, ge=1)
    """Examples of a batch in evaluation."""
    eval_every: float = Field(1.0, gt=0)
    """Epochs between two evaluations on the validation examples."""
    checkpoint: Checkpoint = Checkpoint()

    @pydantic.model_validator(mode="after")
    def _check_together(self) -> "Config":
        for checked in (_check_layers, _check_images, _check_training):
            checked(self)
        return self


def _refuse(field: str, expected: str, got: Any) -> None:
    raise ValueError(f"config.{field}: expected {expected}, got {got}.")


def _check_layers(config: Config) -> None:
    """What has to fit the number of layers."""
    model, layers = config.model, len(config.model.widths)
    for name, values in {"strides": model.strides, "windows": model.windows}.items():
        if len(values) != layers and not (name == "windows" and values == ()):
            _refuse(f"model.{name}", f"{layers} numbers, one for each of model.widths", values)
    if config.train.everything_layers > layers:
        expected = f"at most the {layers} layers of model.widths"
        _refuse("train.everything_layers", expected, config.train.everything_layers)
    if config.exploration.floor * (layers + 1) >= 1:
        expected = f"less than 1/{layers + 1}, one over the number of actions"
        _refuse("exploration.floor", expected, config.exploration.floor)


def _check_images(config: Config) -> None:
    """What has to fit the size of an example."""
    (height, width, _), _ = config.data.sizes()
    size = f"the image's {height}×{width} pixels"
    for name in ("strides", "windows"):
        if max(values := getattr(config.model, name), default=1) > max(height, width):
            _refuse(f"model.{name}", f"numbers that fit {size}", values)
    if config.augment.crop >= min(height, width) and config.augment.crop:
        expected = f"less than {min(height, width)} for {size}"
        _refuse("augment.crop", expected, config.augment.crop)
    if config.augment.cutout > max(height, width):
        _refuse("augment.cutout", f"at most {max(height, width)} for {size}", config.augment.cutout)
    if config.augment.symmetries and height != width:
        _refuse("augment.symmetries", f"False, as images of {height}×{width} are not square", True)
    if isinstance(config.data, Imdb | Wikitext2) and not config.model.stem:
        _refuse("model.stem", "1 or more for text, the size of its embedding", config.model.stem)


def _check_training(config: Config) -> None:
    """Shares, epochs and prices."""
    low, high = config.price_range
    if low > high:
        _refuse("price_range", "the lower price first", config.price_range)
    shares = config.train.straight, config.train.everything
    if sum(shares) > 1:
        _refuse("train.straight", f"at most 1 with train.everything={shares[1]}", shares[0])
    if not any(config.train.epochs.model_dump().values()):
        _refuse("train.epochs", "some epochs in main, agent or joint", 0)
    if config.model.adjoint == "unrolled" and config.model.compact:
        _refuse("model.compact", "0 with model.adjoint=unrolled", config.model.compact)


def completed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config, with defaults for those that it lacks.

    A config written by an older version may lack fields, and its data may have a `seed` and a
    `data_dir` that this data set does not read: these are left out.
    """
    kind = DATA.get(fields.get("data", {}).get("name"))
    defaults = Config().model_dump() | {"data": kind().model_dump() if kind else {}}
    found = _filled(fields, defaults)
    for name in {"seed", "data_dir"} - set(kind.model_fields if kind else found["data"]):
        found["data"].pop(name, None)
    return found


def _filled(fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    inner = {
        key: _filled(fields[key], value)
        for key, value in defaults.items()
        if isinstance(value, dict) and isinstance(fields.get(key), Mapping)
    }
    return {**defaults, **fields, **inner}
