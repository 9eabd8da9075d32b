"""The three phases of training [paper, Sec. 4.4–4.5] and what changes over a run."""

import dataclasses

import ml_collections

from train.errors import UserError

TRAINS = {"main": ("main",), "agent": ("agent",), "joint": ("main", "agent")}


@dataclasses.dataclass(frozen=True)
class Phase:
    """Steps `first` … `last` − 1 of a run.

    Attributes:
        name: "main" (warm-up of the main model, routed at random), "agent" (the main model is
            frozen) or "joint".
        first, last: steps.
    """

    name: str
    first: int
    last: int

    @property
    def steps(self) -> int:
        return self.last - self.first

    @property
    def trains(self) -> tuple[str, ...]:
        """The networks that this phase changes."""
        return TRAINS[self.name]


def plan(config: ml_collections.ConfigDict, examples: int) -> list[Phase]:
    """Phases of a run, in order; those of no epochs are left out.

    Lengths are rounded to whole calls of `config.train.steps_per_call` steps.

    Args:
        config: of the run.
        examples: in the training split.

    Raises:
        UserError: there is nothing to train, or not one batch.
    """
    per_call, batch = config.train.steps_per_call, config.train.batch_size
    if batch > examples:
        raise UserError(
            f"config.train.batch_size: expected at most the {examples} training examples, got "
            f"{batch}."
        )
    phases, first = [], 0
    for name in TRAINS:
        epochs = config.train.epochs[name]
        if epochs < 0:
            raise UserError(f"config.train.epochs.{name}: expected 0 or more, got {epochs}.")
        calls = round(epochs * (examples // batch) / per_call)
        calls = max(calls, 1) if epochs else 0
        if calls:
            phases.append(Phase(name, first, first + calls * per_call))
            first += calls * per_call
    if not phases:
        raise UserError("config.train.epochs: expected some epochs in main, agent or joint, got 0.")
    return phases
