"""Static cells: nothing to iterate, and the straight passes that they are said to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import fixed_point
from dynalay_jax.adaptive.inspect import costs
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.layers.registry import STATIC
import problems

pytestmark = pytest.mark.usefixtures("flax_promotion")


@pytest.mark.parametrize("name", STATIC)
def test_iterating_changes_nothing(name):
    cell, _, _, (w, u) = problems.built_cell(name, stride=2)
    straight = cell.straight(w, u)
    assert straight.shape == (4, 3, 3, 16) and float(straight.max()) > 0
    assert jnp.array_equal(cell.step(straight + 1, w, u), straight)
    assert cell.contraction_factor(w) == 0
    solution = fixed_point(cell.step, straight + 1, w, u, tol=0.0, max_steps=9)
    # Compiled in one program, it rounds differently.
    np.testing.assert_allclose(solution.value, straight, rtol=1e-5, atol=1e-6)
    assert solution.stats.steps.tolist() == [1] * 4


@pytest.mark.parametrize(
    ("static", "iterated", "kernels"),
    [("plain", "cascade", {"kernel_1", "kernel_2", "kernel_3"}), ("gated", "concave", {"kernel"})],
)
def test_straight_pass_is_that_of_the_cell_without_its_kernels(static, iterated, kernels):
    cell, params, _, (w, u) = problems.built_cell(static)
    other, others, _, (other_w, other_u) = problems.built_cell(iterated)
    assert others["params"].keys() - params["params"].keys() == kernels
    assert jnp.array_equal(cell.straight(w, u), other.straight(other_w, other_u))


def test_shortcut_is_every_other_position_and_no_new_channels():
    cell, params, below, _ = problems.built_cell("residual", stride=2, norm=False)
    muted = {"Conv_0": jax.tree.map(jnp.zeros_like, params["params"]["Conv_0"])}
    out = cell.straight(*cell.apply({"params": params["params"] | muted}, below))
    assert jnp.array_equal(out[..., :3], jax.nn.relu(below[:, ::2, ::2]))
    assert not out[..., 3:].any()


def test_resnet20_costs_what_is_known():
    """40.6 M multiply-accumulates in its convolutions."""
    model = DynaLay(
        classes=10,
        widths=(16, 16, 16, 32, 32, 32, 64, 64, 64),
        strides=(1, 1, 1, 2, 1, 1, 2, 1, 1),
        stem=16,
        cell="residual",
    )
    counted = costs(model, (32, 32, 3))
    assert counted.stem + sum(counted.inject) == pytest.approx(40.6e6, rel=0.005)
    # 19 convolutions: three stages of six of the same cost, two of which begin with a half.
    stage = 32 * 32 * 9 * 16 * 16
    assert counted.stem + sum(counted.inject) == 32 * 32 * 9 * 3 * 16 + (18 - 2 / 2) * stage
    assert set(counted.step) == {0}
