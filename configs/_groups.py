"""The groups of fields that every config has: type, range, meaning and default of each field."""

import dataclasses
from typing import Annotated, Any

import pydantic
from pydantic import Field
from pydantic_core import core_schema

from dynalay_jax.adaptive.estimators import ESTIMATORS
from dynalay_jax.adaptive.names import ADJOINTS, DTYPES, SOLVERS
from dynalay_jax.layers.registry import CELLS, STATIC


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
_Weight = Annotated[float, Field(ge=0, le=1_000)]
_Width = Annotated[int, Field(ge=1, le=16_384)]
_Side = Annotated[int, Field(ge=1)]


class Augment(Group):
    """Changes to the training images, drawn anew in each step."""

    crop: int = Field(0, ge=0)
    """Pixels of padding for a random crop; smaller than the image; 0 for none."""
    flip: bool = False
    """Flips half of the images left to right."""
    reflect: bool = False
    """Fills what a crop lacks with the image's reflection instead of its mean."""
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
    blocks: tuple[Annotated[int, Field(ge=1, le=1_000)], ...] = ()
    """Of stage cells: residual blocks of each layer; () for 1 everywhere."""
    pool_first: tuple[bool, ...] = ()
    """Of stage cells: pooling comes before a layer's convolution; () for all but the first."""
    factors: Annotated[str, OneOf(tuple(DTYPES))] = "float32"
    """Of stage cells: precision of the factors in convolutions; sums are float32."""
    gain: float = Field(1.5, gt=0, le=100)
    """Of concave cells: above 1, activity spreads at the start of training."""
    own: _Share = 0.3
    """Of concave cells: share of the gain within a channel."""
    offset: float = Field(1.0, ge=0, le=100)
    """Of concave cells: standard deviation of the offsets at the start of training."""
    hard_gates: bool = False
    """Of concave cells: gates can close completely."""
    stem: int = Field(0, ge=0, le=16_384)
    """Channels of a 3×3 convolution before the layers; 0 for none. Of text: embedding size."""
    whitening: int = Field(0, ge=0, le=16)
    """Side of the patches of a stem that whitens them and is not trained; 0 for none."""
    last: bool = False
    """Classifier and agent read the last position alone, as in language models."""
    norm: bool = True
    """Normalises what a layer receives."""
    rounds: int = Field(1, ge=1, le=20)
    """How often the agent chooses. After each round it sees the result."""
    tol: _Share = 1e-3
    """Relative residual at which a solve stops; at least what `dtype` resolves."""
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

    alpha: _Weight = 0.5
    """Reward of a right answer."""
    beta: _Weight = 0.3
    """Weight of an action's cost in the reward."""
    gamma: _Weight = 0.2
    """Weight of the expected reward in the loss."""
    estimator: Annotated[str, OneOf(tuple(ESTIMATORS))] = "full_information"
    """Estimator of the gradient of the expected reward."""
    fraction: float = Field(0.25, gt=0, le=1)
    """Share of each batch that the agent learns from."""
    temperature: float = Field(1.0, ge=1e-3, le=1_000)
    """Of the gumbel estimator."""


class Exploration(Group):
    """How the agent explores. Each pair is (start, end) and falls linearly."""

    share: float = Field(0.3, gt=0, le=1)
    """Share of the agent's training over which epsilon and entropy fall."""
    epsilon: tuple[_Share, _Share] = (0.3, 0.02)
    """Probability of a random action."""
    entropy: tuple[_Weight, _Weight] = (0.01, 0.0)
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
    optimizer: Annotated[str, OneOf(("adamw", "sgd"))] = "adamw"
    """Of the main model; `sgd` has Nesterov's momentum. The agent is trained by AdamW."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of sgd."""
    bias_rate: float = Field(1.0, gt=0, le=1_000)
    """Of sgd: the learning rate of biases, as a multiple of the others'."""
    learning_rate: float = Field(1e-3, gt=0, le=10)
    """Peak learning rate of the main model (linear warm-up, cosine decay)."""
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
    distillation: _Share = 0.0
    """Of stage cells: share of all layers' prediction in the other routes' targets."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the moving average of the parameters, which is then evaluated; 0 for none."""
    accumulate: int = Field(1, ge=1)
    """Steps whose mean gradient makes one update."""
    steps_per_call: int = Field(20, ge=1, le=10_000)
    """Steps between two returns to Python; phases are rounded to whole calls."""
    straight: _Share = 0.5
    """On random routes: share of the samples that take the straight pass; of stage cells, weight of
    this route in the loss."""
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
