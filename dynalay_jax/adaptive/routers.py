"""Routers: which layers to iterate for each sample.

    mask = router(key, observation)    bool [B, L], True where the layer is iterated for the sample

A router is called once in each round. The agent chooses one layer or none. The other routers apply
fixed rules to the same weights, for comparison at equal cost. They do not use what the first round
changed, so they iterate in the first round only. Fields may be traced arrays: a threshold or a rate
can change without recompiling.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dynalay_jax.layers import validate


class Observation(NamedTuple):
    """The input of a router.

    Attributes:
        logits: of the current state, [B, classes].
        log_probs: the agent's log p(action), float32 [B, L + 1].
        round: index of this round, from 0.
    """

    logits: jax.Array
    log_probs: jax.Array
    round: int

    @property
    def layers(self) -> int:
        return self.log_probs.shape[-1] - 1


Router = Callable[[jax.Array, Observation], jax.Array]


def decide(router: Router, key: jax.Array, seen: Observation) -> jax.Array:
    """The mask of a router, bool [B, L].

    Raises:
        TypeError, ValueError: it is no router, or returns something else.
    """
    if not callable(router) or isinstance(router, type):
        raise TypeError(
            "router: expected a router, as routers.Agent() or routers.Constant((0,)), got "
            f"{validate.shown(router)}."
        )
    mask = router(key, seen)
    check_mask("the mask of router", mask, (seen.log_probs.shape[0], seen.layers))
    return mask


def check_mask(name: str, mask: jax.Array, shape: tuple[int, int]) -> None:
    """Raises ValueError unless the mask is bool [B, L], of that shape."""
    if (got := validate.shown(mask)) != f"bool {shape}":
        raise ValueError(f"{name}: expected bool {shape}, got {got}.")


def _once(mask: jax.Array, seen: Observation) -> jax.Array:
    """The mask in the first round, all False in later rounds."""
    return mask if seen.round == 0 else jnp.zeros_like(mask)


def as_mask(actions: jax.Array, layers: int) -> jax.Array:
    """Mask [..., layers] of actions [...] from 0 (no layer) to `layers`."""
    return jax.nn.one_hot(actions, layers + 1, dtype=bool)[..., 1:]


@dataclasses.dataclass(frozen=True)
class Agent:
    """The agent: its most probable action, or a sample of its exploring policy.

    Attributes:
        epsilon: None takes the most probable action. A number ε in [0, 1] samples from
            `behaviour`, as in training.
    """

    epsilon: float | jax.Array | None = None

    def __call__(self, key: jax.Array, seen: Observation) -> jax.Array:
        if self.epsilon is None:
            actions = jnp.argmax(seen.log_probs, axis=-1)
        else:
            actions = explore(key, seen.log_probs, self.epsilon)
        return as_mask(actions, seen.layers)


def behaviour(log_probs: jax.Array, epsilon: float | jax.Array) -> jax.Array:
    """Probabilities of the exploring policy: (1 − ε) p + ε / (L + 1), shape of log_probs."""
    validate.share("epsilon", epsilon)
    return (1 - epsilon) * jnp.exp(log_probs) + epsilon / log_probs.shape[-1]


def explore(key: jax.Array, log_probs: jax.Array, epsilon: float | jax.Array) -> jax.Array:
    """Actions int32 [B] drawn from `behaviour`."""
    return jax.random.categorical(key, jnp.log(behaviour(log_probs, epsilon)))


@dataclasses.dataclass(frozen=True)
class Constant:
    """The same layers for every sample; () is the paper's Model 0, (0,) Model 1, (0, 1) Model 2.

    Attributes:
        iterated: indices of the layers from 0; None for all layers.
    """

    iterated: tuple[int, ...] | None = None

    def __call__(self, key: jax.Array, seen: Observation) -> jax.Array:
        chosen = range(seen.layers) if self.iterated is None else self.iterated
        if not isinstance(chosen, Sequence) or not all(
            layer in range(seen.layers) and not isinstance(layer, bool) for layer in chosen
        ):
            last = seen.layers - 1
            raise ValueError(
                f"iterated: expected a tuple of layers from 0 to {last}, as ({last},), or None for "
                f"all, got {self.iterated!r}."
            )
        mask = jnp.zeros((seen.layers,), bool).at[jnp.array(tuple(chosen), int)].set(True)
        return _once(jnp.broadcast_to(mask, (seen.logits.shape[0], seen.layers)), seen)


@dataclasses.dataclass(frozen=True)
class Random:
    """A random set of layers for each sample.

    Attributes:
        rate: mean number of layers, in [0, L]. The number for a sample is the integer below or
            above the rate, and the layers are uniform. 0 is none, 1 one random layer, L all.
    """

    rate: float | jax.Array

    def __call__(self, key: jax.Array, seen: Observation) -> jax.Array:
        batch, layers = seen.logits.shape[0], seen.layers
        fits = lambda rate: (rate >= 0) & (rate <= layers)
        validate.number("Random(rate=...)", self.rate, f"a number from 0 to {layers}", fits)
        number_key, layer_key = jax.random.split(key)
        uniform = jax.random.uniform(number_key, (batch, 1), jnp.float32)
        number = jnp.floor(self.rate + uniform).astype(jnp.int32)
        order = jax.random.uniform(layer_key, (batch, layers), jnp.float32)
        rank = jnp.argsort(jnp.argsort(order, axis=-1), axis=-1)
        return _once(rank < number, seen)


@dataclasses.dataclass(frozen=True)
class Confidence:
    """Iterates given layers if the largest class probability is below a threshold.

    Attributes:
        threshold: in [0, 1].
        iterated: as in `Constant`.
    """

    threshold: float | jax.Array
    iterated: tuple[int, ...] | None = None

    def __call__(self, key: jax.Array, seen: Observation) -> jax.Array:
        validate.share("Confidence(threshold=...)", self.threshold)
        confidence = jnp.max(jax.nn.softmax(seen.logits.astype(jnp.float32)), axis=-1)
        unsure = (confidence < self.threshold)[:, None]
        return Constant(self.iterated)(key, seen) & unsure


@dataclasses.dataclass(frozen=True)
class Warmup:
    """Routes for training the main model without an agent, so that every action is trained.

    Attributes:
        straight: share of samples on the straight pass.
        all_layers: share of samples that iterate all layers. The other samples iterate one layer,
            each layer for an equal share.
        layers: number of layers, from the first, that count as all layers; 0 for all L.
    """

    straight: float = 0.5
    all_layers: float = 0.1
    layers: int = 0

    def weights(self, layers: int) -> tuple[float, ...]:
        """Shares of the actions 0 … `layers` where action 1 iterates all layers."""
        each = (1 - self.straight - self.all_layers) / layers
        return (self.straight, each + self.all_layers, *(each,) * (layers - 1))

    def __call__(self, key: jax.Array, seen: Observation) -> jax.Array:
        # A place in [0, 1) for each sample, evenly spread. The shares of each batch are then exact:
        # less noise than independent draws, and a good fit for the buckets of compaction.
        batch, layers = seen.logits.shape[0], seen.layers
        validate.share("Warmup(straight=...)", self.straight)
        validate.share("Warmup(all_layers=...)", self.all_layers)
        validate.share("Warmup: straight + all_layers", self.straight + self.all_layers)
        if self.layers not in range(layers + 1):
            raise ValueError(
                f"Warmup(layers=...): expected 0 to {layers} layers, got {self.layers}."
            )
        place = (jax.random.permutation(key, batch).astype(jnp.float32) + 0.5) / batch
        one = max(1 - self.straight - self.all_layers, 1e-6)
        layer = jnp.floor(layers * place / one).astype(jnp.int32) + 1
        chosen = as_mask(jnp.where(layer <= layers, layer, 0), layers)
        first = jnp.arange(layers) < (self.layers or layers)
        return _once(chosen | ((place >= 1 - self.all_layers)[:, None] & first[None]), seen)


@dataclasses.dataclass(frozen=True)
class Mixture:
    """One of two routers for each sample, drawn at random in each round.

    Attributes:
        share: probability of the first.
        first: router of that share.
        second: router of the other samples.
    """

    share: float
    first: Router
    second: Router

    def __call__(self, key: jax.Array, seen: Observation) -> jax.Array:
        validate.share("Mixture(share=...)", self.share)
        draw, *keys = jax.random.split(key, 3)
        coin = jax.random.bernoulli(draw, self.share, (seen.logits.shape[0], 1))
        first = decide(self.first, keys[0], seen)
        return jnp.where(coin, first, decide(self.second, keys[1], seen))


@dataclasses.dataclass(frozen=True)
class Switch:
    """One of several routers by index, so that one compiled program runs all of them.

    Attributes:
        index: int32 scalar, may be traced.
        choices: routers.
    """

    index: int | jax.Array
    choices: tuple[Router, ...]

    def __call__(self, key: jax.Array, seen: Observation) -> jax.Array:
        fits = lambda i: (i >= 0) & (i < len(self.choices)) & (i.dtype.kind in "iu")
        expected = f"the number of one of {len(self.choices)} choices"
        validate.number("Switch(index=...)", self.index, expected, fits)
        branches = [functools.partial(decide, choice, key, seen) for choice in self.choices]
        return jax.lax.switch(self.index, branches)


def by_name(setting: float | jax.Array, layers: int, rounds: int = 1) -> dict[str, Router]:
    """The routers for evaluation, by name.

    Names: agent, none, all, random, confidence (all layers), constant_1 … constant_L and
    confidence_1 … confidence_L (one layer), first_1 … first_L (the layers up to this one), and
    constant_1_2, … (every set of several layers, but not all, that the rounds can iterate).

    Args:
        setting: rate of "random", threshold of the confidence routers.
        layers: L.
        rounds: of the model.
    """
    validate.integer("layers", layers, 1)
    validate.integer("rounds", rounds, 1)
    each = range(layers)
    sizes = range(2, min(rounds + 1, layers))
    several = [some for size in sizes for some in itertools.combinations(each, size)]
    return {
        "agent": Agent(),
        "none": Constant(()),
        "all": Constant(),
        "random": Random(setting),
        "confidence": Confidence(setting),
        **{f"constant_{j + 1}": Constant((j,)) for j in each},
        **{f"confidence_{j + 1}": Confidence(setting, (j,)) for j in each},
        **{f"first_{j + 1}": Constant(tuple(range(j + 1))) for j in each},
        **{constant_name(some, layers): Constant(some) for some in several},
    }


def constant_name(iterated: tuple[int, ...], layers: int) -> str:
    """The name of `Constant(iterated)`: "none", "all", or "constant_1", "constant_1_2", …"""
    if len(iterated) in (0, layers):
        return "all" if iterated else "none"
    return "_".join(["constant", *(str(j + 1) for j in iterated)])
