"""MACs against counts by hand."""

import jax
import jax.numpy as jnp
import pytest

from dynalay_jax.adaptive import macs

COSTS = macs.Costs(stem=1.0, inject=(10.0, 20.0, 30.0), step=(100.0, 200.0, 300.0), head=5.0,
                   agent=7.0)  # fmt: skip


def shape(*dims):
    return jax.ShapeDtypeStruct(dims, jnp.float32)


def test_matrix_product():
    assert macs.macs(lambda a, b: a @ b, shape(3, 4), shape(4, 5)) == 60


def test_batched_contraction_over_two_axes():
    einsum = lambda a, b: jnp.einsum("bij,bijk->bk", a, b)
    assert macs.macs(einsum, shape(2, 3, 4), shape(2, 3, 4, 5)) == 2 * 12 * 5


@pytest.mark.parametrize(("groups", "expected"), [(1, 16 * 6 * 8 * 9), (2, 16 * 6 * 4 * 9)])
def test_convolution(groups, expected):
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )  # fmt: skip

    assert macs.macs(convolve, shape(1, 8, 8, 8), shape(3, 3, 8 // groups, 6)) == expected


def test_scan_counts_every_turn_and_cond_its_dearest_branch():
    body = lambda z, _: (z @ jnp.ones((4, 4)), None)
    scanned = lambda z: jax.lax.scan(body, z, None, length=7)[0]
    assert macs.macs(scanned, shape(1, 4)) == 7 * 16
    branch = lambda z: jax.lax.cond(z[0, 0] > 0, lambda z: z @ jnp.ones((4, 4)), lambda z: z, z)
    assert macs.macs(jax.jit(branch), shape(1, 4)) == 16


def test_custom_derivatives_are_looked_into():
    @jax.custom_vjp
    def f(z):
        return z @ jnp.ones((4, 4))

    f.defvjp(lambda z: (f(z), z), lambda z, v: (v,))
    assert macs.macs(f, shape(1, 4)) == 16


def test_while_loop_is_refused():
    loop = lambda z: jax.lax.while_loop(lambda z: z.sum() < 1, lambda z: z + 1, z)
    with pytest.raises(ValueError, match="cannot count a while_loop"):
        macs.macs(loop, shape(2))


def test_spent_charges_evaluations_reruns_and_decisions():
    iterate = jnp.array([[[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 1, 1]]], bool)
    steps = jnp.array([[[9, 9, 9], [2, 9, 9], [9, 9, 3], [1, 1, 1]]])
    # Layers above the lowest iterated one are injected again; then the head.
    expected = [0.0, 200 + 50 + 5, 900 + 5, 600 + 50 + 5]
    assert macs.spent(COSTS, iterate, steps).tolist() == expected
    decided = macs.spent(COSTS, iterate, steps, jnp.array([1, 1, 1, 2]))
    assert decided.tolist() == [e + 7 * n for e, n in zip(expected, [1, 1, 1, 2], strict=True)]


def test_rounds_add_up():
    iterate = jnp.array([[[1, 0, 0]], [[0, 0, 1]]], bool)
    steps = jnp.array([[[2, 0, 0]], [[0, 0, 3]]])
    assert macs.spent(COSTS, iterate, steps).tolist() == [(200 + 50 + 5) + (900 + 5)]


def test_budget_is_what_all_layers_for_all_steps_cost():
    iterate, steps = jnp.ones((1, 1, 3), bool), jnp.full((1, 1, 3), 4)
    assert macs.budget(COSTS, 4) == macs.spent(COSTS, iterate, steps)[0]
