"""Are the solves of a finished run at fixed points, and is their gradient what it should be?

    python -m train.studies.fixed_points WORKDIR

A fixed point that is the only one does not depend on where its solve began, and the implicit
gradient there is that of unrolled iterations. For each layer, iterated alone for every test
example: where does it end if it begins at random, and is the answer another? And for the loss of
the first test examples, how far is the gradient of training from that through twice as many
iterations, none of which is left out? Unrolled iterations that stop where the solves do are asked,
too: where they are as far from it, what is at fault is where the solves stop. Writes solves.json
into WORKDIR.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import optax

from dynalay_jax import Status, Unrolled
from dynalay_jax.adaptive.inspect import call
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.solve import per_sample
from train import run as finished
from train import state
from train.cli import friendly
from train.console import percent, print_table
from train.data.batches import evaluation_batches
from train.data.types import Split
from train.parallel import unreplicate
from train.step import PyTree, Task
from train.studies.exits import iterated
from train.workdir import write_record

# Of the gradient: unrolling them holds many states.
_EXAMPLES = 64


def solves(workdir: str | Path, data_dir: str | None = None) -> dict:
    """Measures both for each layer of a run, says and writes what was found.

    Args:
        workdir: of the run; it has an agent.
        data_dir: where TFDS keeps its data, if not where it was in training.

    Returns:
        What is written: `tolerance` of the solves; `test_examples`, and how many of them had
        `gradient_examples`; and `layers`, each with what `starts` and `gradients` say.

    Raises:
        UserError: workdir is not a trained run's, or of one without an agent.
    """
    run = finished.reopen(workdir, data_dir)
    task, test = run.task, run.dataset.test
    variables = state.join(unreplicate(run.restored()[1]))
    some = test.take(slice(_EXAMPLES))
    parts = zip(starts(task, variables, test), gradients(task, variables, some), strict=True)
    record = {
        "tolerance": task.model.tol,
        "test_examples": len(test.labels),
        "gradient_examples": len(some.labels),
        "layers": [end | errors for end, errors in parts],
    }
    write_record(run.workdir, "solves", record)
    _say(record)
    return record


def starts(task: Task, variables: PyTree, split: Split) -> list[dict[str, float]]:
    """Each layer iterated from the straight pass, as always, and from a random start.

    Args:
        task: of the run.
        variables: the model's, {"params": ...}.
        split: of whose examples each is asked about.

    Returns:
        For each layer, shares of the examples whose solve `converged` from the random start, and to
        whom both give the `same_answer`; and ‖z − z'‖ / ‖z‖ of where they end, its
        `median_distance` and `far_distance`, than which 99 % are nearer.
    """

    @jax.jit
    def both(variables: PyTree, x: jax.Array, key: jax.Array, layer: int) -> tuple:
        begun = call(task.model, variables, DynaLay.begin, task.normalise(x))
        hs = [begun.hs[0]]
        for i, h in enumerate(begun.hs[1:]):
            # Activations are not negative, and what cells promise may hold for such states alone.
            noise = jnp.abs(jax.random.normal(key, h.shape, h.dtype))
            hs.append(jnp.where(i == layer, noise * jnp.sqrt(jnp.mean(h**2)), h))
        moved = begun._replace(hs=tuple(hs))
        own, _ = iterated(task.model, variables, begun, layer + 1)
        other, sweep = iterated(task.model, variables, moved, layer + 1)
        pairs = zip(own.hs[1:], other.hs[1:], strict=True)
        distance = [
            per_sample.norm(b - a) / jnp.maximum(per_sample.norm(a), 1e-12) for a, b in pairs
        ]
        return (
            sweep.status[:, layer] == Status.CONVERGED,
            jnp.argmax(own.logits, -1) == jnp.argmax(other.logits, -1),
            jnp.stack(distance)[layer],
        )

    def end(layer: int) -> dict[str, float]:
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

    return [end(layer) for layer in range(len(task.model.widths))]


def gradients(task: Task, variables: PyTree, split: Split) -> list[dict[str, float]]:
    """‖∇ − ∇'‖ / ‖∇'‖ of the loss with each layer iterated, ∇' unrolled to the fixed point.

    Args are those of `starts`; the loss is the mean cross-entropy of the split's examples.

    Returns:
        For each layer, `gradient_error`, ∇ as in training, and `stopped_error`, ∇ unrolled with
        the tolerance of the solves. Cells whose `iterate` is no repeated step unroll their steps.
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
    ours, theirs = gradient(model), gradient(stopped)
    reference = gradient(stopped.clone(tol=0.0, max_steps=2 * model.max_steps))
    error = lambda a, b: float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))
    out = []
    for layer in range(len(model.widths)):
        true = reference(layer)
        out.append(
            {
                "gradient_error": error(ours(layer), true),
                "stopped_error": error(theirs(layer), true),
            }
        )
    return out


def _say(record: dict[str, Any]) -> None:
    rows = [
        [
            str(number),
            percent(layer["converged"]),
            f"{layer['median_distance']:.0e}",
            f"{layer['far_distance']:.0e}",
            percent(layer["same_answer"]),
            f"{layer['gradient_error']:.0e}",
            f"{layer['stopped_error']:.0e}",
        ]
        for number, layer in enumerate(record["layers"], 1)
    ]
    columns = ["layer", "converged", "median distance", "99 % within", "same answer"]
    title = f"Test set of {record['test_examples']}, from random starts and from the straight pass"
    print_table(title, [*columns, "gradient's error", "unrolled to the stop"], rows)


def main() -> None:
    """The command."""
    with friendly():
        solves(**vars(finished.parser("studies.fixed_points", __doc__).parse_args()))


if __name__ == "__main__":
    main()
