"""The three phases of training [paper, Sec. 4.4–4.5] and what changes over a run."""

import dataclasses

import ml_collections

from train.errors import UserError

TRAINS = {"main": ("main",), "agent": ("agent",), "joint": ("main", "agent")}


@dataclasses.dataclass(frozen=True)
class Phase:
    """Steps `first` … `last` − 1 of a run.

    `name` is "main" (warm-up of the main model, routed at random), "agent" (the main model is
    frozen) or "joint".
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

    @property
    def trains_main(self) -> bool:
        return "main" in self.trains

    @property
    def trains_agent(self) -> bool:
        return "agent" in self.trains


def plan(config: ml_collections.ConfigDict, examples: int) -> list[Phase]:
    """Phases of a run, in order. Those with 0 epochs are left out.

    Lengths are rounded to whole calls of `config.train.steps_per_call` steps; an epoch has
    `examples` training examples.

    Raises:
        UserError: there are fewer examples than a batch has, or fewer steps than an update needs.
    """
    per_call, batch = config.train.steps_per_call, config.train.batch_size
    if batch > examples:
        raise UserError(
            f"config.train.batch_size: expected at most the {examples} training examples, got "
            f"{batch}."
        )
    phases, first = [], 0
    for name in TRAINS:
        if epochs := config.train.epochs[name]:
            calls = max(1, round(epochs * (examples // batch) / per_call))
            phases.append(Phase(name, first, first + calls * per_call))
            first += calls * per_call
    if config.train.accumulate > first:
        raise UserError(
            f"config.train.accumulate: expected at most the {first} steps of the run, got "
            f"{config.train.accumulate}; train for more epochs or accumulate fewer steps."
        )
    return phases
