"""DynaLay: fixed-point layers, and an agent that chooses which to iterate for each sample.

    begin      h_0 = stem(x),  u_l = inject_l(h_{l−1}),  h_l = g_l(0, u_l),  logits = head(h_L)
    observe    p = AgentNet(φ(h_1 … h_L, logits, λ)),  a ~ router
    sweep      h*_a = g_a(h*_a, u_a);  layers a + 1 … L run straight again on the new input

`observe` and `sweep` repeat for `rounds` rounds. Action 0 (no layer) ends the rounds of a sample.
All samples of a batch run through the same program: a mask selects the samples to iterate, and
compaction saves the time of the others.

With `stage` cells an action iterates its layer and all layers above. So there is a route for each
action, with statistics and a classifier of its own:

    every_action   logits of each action for the whole batch, to train all routes at once
"""

from collections.abc import Iterator, Sequence
import contextlib
from typing import Any

from flax import errors
from flax import linen as nn
import jax
import jax.numpy as jnp

from dynalay_jax.adaptive import architecture
from dynalay_jax.adaptive.agent import AgentNet, features, pool
from dynalay_jax.adaptive.routers import Observation, Router, check_mask, decide
from dynalay_jax.adaptive.state import State, Sweep, Trace, no_sweep
from dynalay_jax.layers import validate
from dynalay_jax.layers.base import Cell, evaluate_once, reinject
from dynalay_jax.layers.registry import STATIC
from dynalay_jax.solve import per_sample, precision
from dynalay_jax.solve.adjoints import Implicit, Unrolled
from dynalay_jax.solve.api import fixed_point
from dynalay_jax.solve.compaction import Compaction
from dynalay_jax.solve.loop import relative_residual
from dynalay_jax.solve.solution import BackwardStats, Solution
from dynalay_jax.solve.solvers import Picard, Solver

PyTree = Any
_UNLIKE_PARAMS = (
    errors.ScopeParamShapeError,
    errors.ScopeParamNotFoundError,
    errors.ScopeCollectionNotFound,
)


class DynaLay(nn.Module):
    """Main model and agent.

    Attributes:
        classes: of the output.
        widths: features of the L layers.
        strides: of their injections; same length.
        windows: sides of the injections' kernels; same length, or () for 3 everywhere.
        cell: name in `CELLS` or `STATIC` of `layers.registry`.
        gain, own, offset, hard_gates: of `ConcaveConv`; other cells ignore them.
        blocks: of `stage` cells, residual blocks of each layer; () for 1 everywhere.
        pool_first: of `stage` cells, whether pooling comes before the injection's convolution, for
            each layer; () for all but the first.
        factors: of `stage` cells, see `StageConv`.
        stem: channels of a 3×3 convolution before the layers; 0 for no stem.
        whitening: side of the patches of a `Whitening` stem; 0 for none.
        vocabulary: 0, or the number of tokens for inputs [B, height, width, 1] of tokens; the stem
            is then an embedding.
        last: whether head and agent read only the last position, see `agent.pool`.
        norm: whether injections are normalised.
        rounds: number of rounds of `observe` and `sweep`, ≥ 1.
        tol, max_steps, solver, adjoint: of `fixed_point`. A positive tol below the machine epsilon
            of `dtype` is raised to that.
        compact: smallest bucket of the compaction; 0, which fits every adjoint and small batches,
            for none. Configs take 16, for the large batches of a training.
        residual_features: whether the agent sees the one-step residual of each layer, which costs
            an evaluation of every cell.
        agent_hidden: width of the agent.
        dtype: of the computation.
    """

    classes: int
    widths: tuple[int, ...] = (64, 128, 256)
    strides: tuple[int, ...] = (1, 2, 2)
    windows: tuple[int, ...] = ()
    cell: str = "concave"
    blocks: tuple[int, ...] = ()
    pool_first: tuple[bool, ...] = ()
    factors: Any = jnp.float32
    stem: int = 0
    whitening: int = 0
    vocabulary: int = 0
    last: bool = False
    gain: float = 1.5
    own: float = 0.3
    offset: float = 1.0
    hard_gates: bool = False
    norm: bool = True
    rounds: int = 1
    tol: float = 1e-3
    max_steps: int = 30
    solver: Solver = Picard()
    adjoint: Any = Implicit(on_failure="jacobian_free")
    compact: int = 0
    residual_features: bool = False
    agent_hidden: int = 128
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        architecture.check(self)
        super().__post_init__()

    @nn.nowrap
    def flat(self) -> bool:
        """Whether inputs may have any shape [B, ...]: those of dense cells without a stem."""
        return self.cell == "dense" and not self.stem

    @nn.nowrap
    def by_route(self) -> bool:
        """Whether an action iterates all layers from its own up, as with `stage` cells.

        Each action then has statistics and a classifier of its own.
        """
        return architecture.by_route(self)

    @nn.nowrap
    def most_steps(self) -> int:
        """The highest number of evaluations of a solve."""
        return 1 if architecture.CLASSES[self.cell].exact else self.max_steps

    def setup(self) -> None:
        self.first = architecture.stem(self)
        self.layers = architecture.layers(self)
        if not self.by_route():
            # Straight and iterated activations differ in scale, and one classifier reads both.
            self.scale = nn.LayerNorm(dtype=jnp.float32)
        self.classifier = architecture.classifier(self)
        self.agent = AgentNet(len(self.widths) + 1, self.agent_hidden)

    def __call__(
        self,
        x: jax.Array,
        router: Router,
        price: jax.Array | float,
        key: jax.Array,
        probe: BackwardStats | None = None,
    ) -> tuple[jax.Array, Trace]:
        """One forward pass.

        Args:
            x: [B, height, width, channels] (or [B, n] for dense cells).
            router: chooses the layers to iterate, see `routers`.
            price: λ of Eq. 2, a feature of the agent, positive, [B] or scalar.
            key: typed PRNG key for routers that draw at random.
            probe: `probes(model, B)`; its cotangent is the report of the backward solves.

        Returns:
            logits float32 [B, classes], and the trace.

        Raises:
            TypeError, ValueError: an argument, a parameter or a field has the wrong type, shape or
                value.
        """
        validate.key("key", key)
        state = self.begin(x)
        straight_logits, rounds = state.logits, []
        solves = f"float32 {(self.rounds, len(self.widths), x.shape[0])}"
        got = validate.shown(getattr(probe, "steps", probe))
        if probe is not None and got != solves:
            raise ValueError(f"probe: expected None or probes(model, {x.shape[0]}), got {got}.")
        going = jnp.ones((x.shape[0],), bool)
        for i in range(self.rounds):
            seen = self.observe(state, price, i)
            iterate = decide(router, jax.random.fold_in(key, i), seen) & going[:, None]
            state, sweep = self.sweep(state, iterate, _part(probe, i))
            going = jnp.any(iterate, axis=-1)
            rounds.append((sweep, seen.log_probs, state.action))
        sweeps, log_probs, actions = jax.tree.map(lambda *parts: jnp.stack(parts), *rounds)
        return state.logits, Trace(sweeps, log_probs, straight_logits, actions)

    def begin(self, x: jax.Array) -> State:
        """The straight pass."""
        with _explained(x):
            hs, us = [self.stem_output(x)], []
            for layer in self.layers:
                w, u = layer(hs[-1])
                hs.append(layer.straight(w, u))
                us.append(u)
            none = jnp.zeros((x.shape[0],), jnp.int32)
            return State(tuple(hs), tuple(us), self.head(hs[-1], none), none, none)

    def every_action(self, x: jax.Array, actions: Sequence[int]) -> jax.Array:
        """Logits of each of the actions for all samples, float32 [len(actions), B, classes].

        For training models with statistics of each route. They are measured on this batch and kept
        with `mutable=["statistics"]`. What the actions have in common is computed once.
        """
        if not self.by_route():
            raise ValueError(f"cell: expected stage for every_action, got {self.cell}.")
        # The straight pass, as far as an action needs it.
        straight = [self.stem_output(x)]
        for layer in self.layers if 0 in actions else self.layers[: max(actions)]:
            straight.append(layer.measured_injection(straight[-1]))
        logits = []
        for action in actions:
            h = straight[action or -1]
            if action:
                h = self.layers[action - 1].measured_blocks(h)
                for layer in self.layers[action:]:
                    h = layer.measured_blocks(layer.measured_injection(h, action), action)
            logits.append(self.head(h, action))
        return jnp.stack(logits)

    def stem_output(self, x: jax.Array) -> jax.Array:
        """h_0 of the input [B, ...]."""
        validate.array("x", x, "[B, ...]" if self.flat() else "[B, height, width, channels]")
        if self.vocabulary:
            if x.shape[-1] != 1:
                raise ValueError(f"x: expected tokens [B, height, width, 1], got shape {x.shape}.")
            return self.first(x[..., 0].astype(jnp.int32))
        x = x.astype(self.dtype)
        if self.first is None:
            return x
        h = self.first(x)
        return h if self.whitening else nn.relu(h)

    def head(self, h: jax.Array, route: jax.Array | int = 0) -> jax.Array:
        """Logits float32 [B, classes] of the last layer's activation.

        Args:
            h: [B, ..., channels].
            route: lowest iterated layer from 1, or 0, int32 [B] or one for all samples.
        """
        if self.by_route():
            return self.classifier(h, route)
        return self.classifier(self.scale(pool(h, self.last)))

    def observe(self, state: State, price: jax.Array | float, i: int) -> Observation:
        """The input of routers in round i; no gradient flows into the state."""
        state = jax.lax.stop_gradient(state)
        batch = state.logits.shape[0]
        residuals = jnp.zeros((batch, 0), jnp.float32)
        if self.residual_features:
            residuals = jnp.stack([self._residual(state, j) for j in range(len(self.layers))], -1)
        phi = features(
            state.hs[1:],
            state.logits,
            residuals,
            price,
            state.action,
            jnp.float32(i / self.rounds),
            self.last,
        )
        return Observation(state.logits, self.agent(phi), i)

    def _residual(self, state: State, j: int) -> jax.Array:
        """Relative residual of one step of layer j, float32 [B]."""
        layer, h = self.layers[j], state.hs[j + 1]
        w, u = layer(state.hs[j])
        return relative_residual(h, layer.step(h, w, u), 1e-12)

    def sweep(
        self, state: State, iterate: jax.Array, probe: BackwardStats | None = None
    ) -> tuple[State, Sweep]:
        """Iterates the masked layers, and runs the layers above them straight again.

        Args:
            state: of the samples before.
            iterate: bool [B, L].
            probe: None, or `BackwardStats` [L, B] for the accounts of the backward solves.

        Returns:
            The new state, and what was done.
        """
        check_mask("iterate", iterate, (state.logits.shape[0], len(self.widths)))
        if self.cell in STATIC:  # every layer is at its fixed point already
            return state, no_sweep(iterate)
        if self.by_route():
            iterate = jnp.cumsum(iterate, axis=-1) > 0
        lowest = jnp.where(jnp.any(iterate, -1), jnp.argmax(iterate, -1) + 1, 0).astype(jnp.int32)
        hs, us, stats = [state.hs[0]], [], []
        changed = jnp.zeros(iterate.shape[:1], bool)
        for j, layer in enumerate(self.layers):
            # The injection that comes with w is not used, and under `jit` it costs nothing.
            (w, _), u, start = layer(state.hs[j]), state.us[j], state.hs[j + 1]
            if j:
                route = (jnp.where(changed, lowest, 0),) if self.by_route() else ()
                u = reinject(layer, hs[-1], changed, u, self.compact, *route)
                start = per_sample.select(changed, layer.straight(w, u), start)
            solution = self._solve(layer, start, w, u, iterate[:, j], _part(probe, j))
            hs.append(solution.value)
            us.append(u)
            stats.append(solution.stats)
            changed |= iterate[:, j]
        streak = jnp.where(lowest == state.action, state.streak + 1, 1)
        streak = jnp.where(lowest > 0, streak, 0)
        new = State(tuple(hs), tuple(us), self.head(hs[-1], lowest), lowest, streak)
        steps, residual, status = (jnp.stack(part, -1) for part in zip(*stats, strict=True))
        return new, Sweep(iterate, steps, jnp.where(iterate, residual, 0.0), status)

    def _solve(
        self,
        layer: Cell,
        start: jax.Array,
        w: Any,
        u: Any,
        mask: jax.Array,
        probe: BackwardStats | None,
    ) -> Solution:
        if layer.exact:
            return evaluate_once(layer, start, w, u, mask, self.compact)
        compact = Compaction(self.compact, arg_axes=(None, 0)) if self.compact else False
        # Unrolling is of the paper's steps; a map that converges in one step would leave none.
        return fixed_point(
            layer.step if isinstance(self.adjoint, Unrolled) else layer.iterate,
            start,
            w,
            u,
            solver=self.solver,
            adjoint=self.adjoint,
            # Half-precision states cannot meet every tolerance; 0 asks for all steps.
            tol=self.tol and max(self.tol, precision.epsilon(start)),
            max_steps=self.max_steps,
            mask=mask,
            compact=compact,
            probe=probe,
        )


@contextlib.contextmanager
def _explained(x: jax.Array) -> Iterator[None]:
    """Says which parameters fit an input, where Flax says which do not."""
    try:
        yield
    except _UNLIKE_PARAMS as error:
        unlike = str(error).partition(" (http")[0]
        raise ValueError(
            f"params: expected those of init(model, key, {x.shape[1:]}) for this model and x, got "
            f"others. {unlike}"
        ) from error


def _part(probe: BackwardStats | None, i: int) -> BackwardStats | None:
    return None if probe is None else jax.tree.map(lambda leaf: leaf[i], probe)
