"""Do the solves of a finished run end at fixed points, and is their gradient right?

    python -m train.studies.fixed_points WORKDIR

If a fixed point is unique, the start of its solve does not matter, and the implicit gradient equals
that of unrolled iterations. Two measurements for each layer test this. First, the layer is iterated
alone for every test example, from the straight pass as usual and from a random start: do both end
at the same point, with the same answer? Second, the gradient of training is compared with the
gradient through unrolled iterations, twice the allowed number, for the loss of the first test
examples. As a control, the same comparison is made for unrolled iterations that stop where the
solves stop. If the control's error is as large, the solves stop too early, and the implicit
gradient is not to blame.
"""

from collections.abc import Callable

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import optax

from dynalay_jax import Status, Unrolled
from dynalay_jax.adaptive.inspect import call
from dynalay_jax.adaptive.model import DynaLay
from train import state
from train.data.batches import evaluation_batches
from train.data.types import Split
from train.parallel import unreplicate
from train.run import Run
from train.step import PyTree, Task
from train.studies.exits import iterated
from train.studies.runner import Record, Study, Table, tabulate

# Examples of the gradient's loss: unrolling holds many states in memory.
_EXAMPLES = 64


def measure(run: Run, params: PyTree) -> Record:
    """Both measurements for each layer.

    Returns:
        `tolerance` of the solves; `test_examples`, and `gradient_examples`, the first of them;
        `layers`, each with what `starts` and `gradients` return.
    """
    task, test = run.task, run.dataset.test
    variables = state.join(unreplicate(params))
    some = test.take(slice(_EXAMPLES))
    layers = zip(starts(task, variables, test), gradients(task, variables, some), strict=True)
    return {
        "tolerance": task.model.tol,
        "test_examples": len(test.labels),
        "gradient_examples": len(some.labels),
        "layers": [ends | errors for ends, errors in layers],
    }


def table(record: Record) -> Table:
    """A row for each layer."""
    columns = {
        "layer": ("layer", ""),
        "converged": ("converged", "%"),
        "same answer": ("same_answer", "%"),
        "median distance": ("median_distance", ".0e"),
        "99 % within": ("far_distance", ".0e"),
        "error of the gradient": ("gradient_error", ".0e"),
        "control: unrolled to the stop": ("stopped_error", ".0e"),
    }
    return tabulate(
        f"Test set of {record['test_examples']}: solves from random starts, and gradients",
        columns,
        ({"layer": str(i), **layer} for i, layer in enumerate(record["layers"], 1)),
        f"Tolerance of the solves: {record['tolerance']:g}. Distances and errors are relative. "
        f"Gradients: of the loss of {record['gradient_examples']} examples, against unrolled "
        "iterations, twice the allowed number.",
    )


def starts(task: Task, variables: PyTree, split: Split) -> list[dict[str, float]]:
    """Each layer iterated from the straight pass, as usual, and from a random start.

    Returns:
        For each layer, shares of the examples whose solve `converged` from the random start, and
        whose two answers are the `same_answer`; and the distance ‖z − z'‖ / ‖z‖ of the two ends:
        `median_distance`, and `far_distance`, the 99 % quantile.
    """

    @jax.jit
    def both(variables: PyTree, x: jax.Array, key: jax.Array, layer: int) -> tuple:
        begun = call(task.model, variables, DynaLay.begin, task.normalise(x))
        hs = [begun.hs[0]]
        for i, h in enumerate(begun.hs[1:]):
            # Activations are not negative, and cells may keep their promise for such states alone.
            noise = jnp.abs(jax.random.normal(key, h.shape, h.dtype))
            hs.append(jnp.where(i == layer, noise * jnp.sqrt(jnp.mean(h**2)), h))
        moved = begun._replace(hs=tuple(hs))
        own, _ = iterated(task.model, variables, begun, layer + 1)
        other, sweep = iterated(task.model, variables, moved, layer + 1)
        size = lambda h: jnp.linalg.norm(h.reshape(len(h), -1).astype(jnp.float32), axis=-1)
        pairs = zip(own.hs[1:], other.hs[1:], strict=True)
        distance = [size(b - a) / jnp.maximum(size(a), 1e-12) for a, b in pairs]
        return (
            sweep.status[:, layer] == Status.CONVERGED,
            jnp.argmax(own.logits, -1) == jnp.argmax(other.logits, -1),
            jnp.stack(distance)[layer],
        )

    def ends(layer: int) -> dict[str, float]:
        parts = []
        batches = evaluation_batches(len(split.labels), task.config.eval_batch)
        for i, (places, real) in enumerate(batches):
            part = both(variables, split.images[places], jax.random.key(i), layer)
            parts.append([np.asarray(leaf)[real] for leaf in part])
        converged, same, distance = map(np.concatenate, zip(*parts, strict=True))
        return {
            "converged": float(np.mean(converged)),
            "same_answer": float(np.mean(same)),
            "median_distance": float(np.median(distance)),
            "far_distance": float(np.quantile(distance, 0.99)),
        }

    return [ends(layer) for layer in range(len(task.model.widths))]


def gradients(task: Task, variables: PyTree, split: Split) -> list[dict[str, float]]:
    """‖∇ − ∇'‖ / ‖∇'‖ of the loss with each layer iterated, ∇' unrolled to the fixed point.

    The loss is the mean cross-entropy of the examples. Cells that solve by their own method unroll
    the steps of that method.

    Returns:
        For each layer, `gradient_error`, ∇ as in training, and `stopped_error`, ∇ unrolled with
        the tolerance of the solves.
    """

    def gradient(model: DynaLay) -> Callable[[int], jax.Array]:
        def loss(variables: PyTree, layer: int) -> jax.Array:
            begun = call(model, variables, DynaLay.begin, task.normalise(jnp.asarray(split.images)))
            logits = iterated(model, variables, begun, layer + 1)[0].logits
            each = optax.softmax_cross_entropy_with_integer_labels(logits, split.labels)
            return jnp.mean(each)

        whole = jax.jit(jax.grad(loss))
        return lambda layer: ravel_pytree(whole(variables, layer))[0]

    model = task.model
    stopped = model.clone(adjoint=Unrolled(checkpoint=True), compact=0)
    found = {"gradient_error": gradient(model), "stopped_error": gradient(stopped)}
    reference = gradient(stopped.clone(tol=0.0, max_steps=2 * model.max_steps))

    def errors(layer: int) -> dict[str, float]:
        true = reference(layer)
        error = lambda of: float(jnp.linalg.norm(of(layer) - true) / jnp.linalg.norm(true))
        return {name: error(of) for name, of in found.items()}

    return [errors(layer) for layer in range(len(model.widths))]


STUDY = Study("fixed_points", __doc__, measure, table)

if __name__ == "__main__":
    STUDY.main()
