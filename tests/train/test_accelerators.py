"""Training and evaluation steps are lowered for GPUs and TPUs, also where none is at hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from short_run import tiny

from dynalay_jax.adaptive import routers
from train import step
from train.run import Run

pytestmark = pytest.mark.usefixtures("flax_promotion")
CELLS = {
    "concave": {"compact": 2},
    "stage": {"whitening": 2, "factors": "bfloat16", "compact": 2},
}


def described(tree):
    """Shapes with the axis of one device."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), tree)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_steps_are_lowered_for_accelerators(cell):
    config = tiny()
    config.model.update(cell=cell, widths=(8, 8), strides=(2, 1), **CELLS[cell])
    run = Run.prepare(config, None)
    state = described(run.template())
    images = jax.ShapeDtypeStruct((1, 16, 8, 8, 1), jnp.uint8)
    labels = jax.ShapeDtypeStruct((1, 16), jnp.int32)
    keys = described(jax.eval_shape(lambda: jax.random.key(0)))

    def evaluate(params, images, labels, key):
        return step.evaluation_step(
            run.task, params, images, labels, routers.Agent(), np.float32(0.1), key
        )

    # The joint phase trains both networks.
    train = functools.partial(step.train_step, run.task, run.transforms, run.task.phases[-1])
    for program, first in ((train, state), (evaluate, state.params)):
        # A mapped axis of one device stands for `pmap`, which cannot be exported.
        mapped = jax.jit(jax.vmap(program, axis_name=step.AXIS))
        lowered = jax.export.export(mapped, platforms=("cuda", "tpu"))
        assert lowered(first, images, labels, keys).platforms == ("cuda", "tpu")
