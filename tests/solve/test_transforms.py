"""jit, vmap, pmap, shard_map, explicit meshes, scan, export and higher derivatives."""

import functools

import jax
from jax import export
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

from dynalay_jax import (
    Anderson,
    Broyden,
    Compaction,
    Implicit,
    ImplicitJVP,
    JacobianFree,
    Phantom,
    Picard,
    Unrolled,
    backward_probe,
    fixed_point,
)

ADJOINTS = [Implicit(), ImplicitJVP(), JacobianFree(), Phantom(), Unrolled(), Unrolled(True)]
# Every adjoint, and every solver, but not every pair.
OPTIONS = [{"adjoint": a} for a in ADJOINTS] + [{"solver": s} for s in (Anderson(), Broyden())]


def f(z, w, x):
    return jnp.tanh(z @ w + x)


def data(batch=8, n=4):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(n, n))
    w = jnp.asarray(0.8 * w / np.linalg.norm(w, 2), jnp.float32)
    return w, jnp.asarray(rng.normal(size=(batch, n)), jnp.float32)


def loss(w, x, **options):
    options = {"max_steps": 60, **options}
    sol = fixed_point(f, jnp.zeros(x.shape, x.dtype), w, x, **options)
    return jnp.sum(jnp.sin(sol.value))


def value_and_grad(**options):
    return jax.value_and_grad(functools.partial(loss, **options), argnums=(0, 1))


@functools.cache
def compiled(**options):
    return jax.jit(value_and_grad(**options))


def assert_close(a, b, rtol=2e-4):
    for got, wanted in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol)


COMPACT = {"compact": Compaction(min_bucket=2, arg_axes=(None, 0))}
VMAPS = [
    *[(options, (0, 0)) for options in OPTIONS],
    *[({}, axes) for axes in ((0, None), (None, 0))],
    (COMPACT, (None, 0)),
]


@pytest.mark.parametrize(("options", "axes"), VMAPS, ids=repr)
def test_vmap(options, axes):
    """Over the weights, the inputs or both: as a loop over the mapped axis."""
    w, x = data()
    both = jnp.stack([w, 0.5 * w]), jnp.stack([x, x + 1])
    args = [two if axis == 0 else two[0] for two, axis in zip(both, axes, strict=True)]
    mapped = jax.jit(jax.vmap(value_and_grad(**options), in_axes=axes))(*args)
    one = compiled(**({} if options is COMPACT else options))
    for i in range(2):
        each = [arg[i] if axis == 0 else arg for arg, axis in zip(args, axes, strict=True)]
        assert_close(jax.tree.map(lambda a, i=i: a[i], mapped), one(*each))


@pytest.mark.parametrize("solver", [Picard(), Anderson()], ids=repr)
def test_pmap(solver):
    w, x = data()
    compact = Compaction(min_bucket=1, arg_axes=(None, 0))
    local = value_and_grad(solver=solver, compact=compact)
    step = lambda w, x: jax.lax.pmean(local(w, x)[1][0], "i")
    grads = jax.pmap(step, axis_name="i", in_axes=(None, 0))(w, x.reshape(4, 2, 4))
    wanted = compiled(solver=solver)(w, x)[1][0] / 4
    for g in np.asarray(grads):
        assert_close(g, wanted)


def mesh(kind):
    return jax.make_mesh((4,), ("i",), axis_types=(kind,), devices=jax.devices()[:4])


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_shard_map(options):
    """With the default check_vma; z0 is replicated, x and so f's output are not."""
    w, x = data()
    plain = value_and_grad(**options)

    def local(w, x):
        value, grads = plain(w, x)
        # The gradient in the replicated w is summed over the mesh by shard_map itself.
        return jax.lax.psum(value, "i"), grads

    sharded = jax.shard_map(
        local, mesh=mesh(AxisType.Auto), in_specs=(P(), P("i")), out_specs=(P(), (P(), P("i")))
    )
    assert_close(jax.jit(sharded)(w, x), compiled(**options)(w, x))


def test_shard_map_with_varying_settings_compaction_and_probe():
    w, x = data(batch=32)
    # The first device has no sample to iterate, and must take part in the sum of w's gradient.
    mask = (jnp.arange(32) % 3 > 0) & (jnp.arange(32) >= 8)
    tol = jnp.full(32, 1e-4).at[::2].set(1e-6)
    budget = jnp.full(32, 50).at[5].set(2)
    probe = backward_probe(32)

    def run(w, x, mask, tol, budget, probe):
        def loss(w, x, probe):
            sol = fixed_point(
                f,
                jnp.zeros((x.shape[0], 4)),
                w,
                x,
                mask=mask,
                tol=tol,
                max_steps=budget,
                compact=Compaction(min_bucket=2, arg_axes=(None, 0)),
                probe=probe,
            )
            return jnp.sum(sol.value), sol.stats

        return jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(w, x, probe)

    spec = P("i")
    sharded = jax.shard_map(
        run,
        mesh=mesh(AxisType.Auto),
        in_specs=(P(), spec, spec, spec, spec, spec),
        out_specs=((P(), spec, spec), spec),
    )
    got = jax.jit(sharded)(w, x, mask, tol, budget, probe)
    assert_close(got, jax.jit(run)(w, x, mask, tol, budget, probe))


def test_shard_map_where_devices_share_nothing():
    """Each has weights of its own, and its own number of samples to iterate, none perhaps."""
    w, x = data(batch=32)
    ws = jnp.stack([w, 0.5 * w, -w, 0.1 * w])
    # 0, 1, 4 and 8 of each device's eight.
    mask = jnp.arange(8)[None] < jnp.asarray([[0], [1], [4], [8]])

    def gradient(w, x, mask):
        compact = Compaction(min_bucket=2, arg_axes=(None, 0))
        options = {"mask": mask, "max_steps": 60, "compact": compact}
        loss = lambda w: jnp.sum(fixed_point(f, jnp.zeros((8, 4)), w, x, **options).value)
        return jax.grad(loss)(w)

    local = lambda w, x, mask: gradient(w[0], x, mask[0])[None]
    sharded = jax.shard_map(local, mesh=mesh(AxisType.Auto), in_specs=P("i"), out_specs=P("i"))
    wanted = jax.jit(jax.vmap(gradient))(ws, x.reshape(4, 8, 4), mask)
    assert_close(jax.jit(sharded)(ws, x, mask), wanted)


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_explicit_mesh(options):
    w, x = data()
    wanted = compiled(**options)(w, x)
    explicit = mesh(AxisType.Explicit)
    with jax.set_mesh(explicit):
        placed = jax.device_put(x, NamedSharding(explicit, P("i", None)))
        zeros = jax.device_put(jnp.zeros((8, 4)), NamedSharding(explicit, P("i", None)))

        def loss(w, x, z0):
            sol = fixed_point(f, z0, w, x, max_steps=60, **options)
            return jnp.sum(jnp.sin(sol.value))

        w = jax.device_put(w, NamedSharding(explicit, P(None, None)))
        got = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(w, placed, zeros)
        assert_close(jax.device_get(got), wanted)


def test_compaction_on_an_explicit_mesh_names_the_cure():
    explicit = mesh(AxisType.Explicit)
    with jax.set_mesh(explicit):
        z0 = jax.device_put(jnp.zeros((64, 4)), NamedSharding(explicit, P("i", None)))
        with pytest.raises(ValueError, match=r"sample axis on one device.*jax\.shard_map"):
            jax.jit(lambda z0: fixed_point(lambda z: 0.5 * z + 1, z0, compact=True))(z0)


@pytest.mark.parametrize("adjoint", [Implicit(), ImplicitJVP(), Unrolled()], ids=repr)
def test_scan_of_solves(adjoint):
    """Each solve starts where the last one ended; gradients as in a Python loop."""
    w, x = data()

    def step(w, z, x):
        z = fixed_point(f, z, w, x, adjoint=adjoint, max_steps=60).value
        return z + 0.1, jnp.sum(z**2)

    def scanned(w, xs):
        z, y = jax.lax.scan(functools.partial(step, w), jnp.zeros((8, 4)), xs)
        return jnp.sum(z) + jnp.sum(y)

    def looped(w, xs):
        z, total = jnp.zeros((8, 4)), 0.0
        for x in xs:
            z, y = step(w, z, x)
            total += y
        return jnp.sum(z) + total

    xs = jnp.stack([x, -x])
    got = jax.jit(jax.value_and_grad(scanned, argnums=(0, 1)))(w, xs)
    assert_close(got, jax.jit(jax.value_and_grad(looped, argnums=(0, 1)))(w, xs))


def test_export_round_trip():
    """Serialised with a symbolic batch and its derivative, then called at two batch sizes."""
    w, x = data(batch=8)
    shapes = export.symbolic_args_specs((w, x), (None, "b, 4"))
    solve = jax.jit(lambda w, x: loss(w, x))
    blob = export.export(solve)(*shapes).serialize(vjp_order=1)
    again = export.deserialize(blob)
    for batch in (8, 3):
        part = x[:batch]
        got = jax.value_and_grad(again.call, argnums=(0, 1))(w, part)
        assert_close(got, compiled()(w, part))


def test_export_with_a_symbolic_batch_cannot_compact():
    solve = jax.jit(lambda x: fixed_point(lambda z, x: 0.5 * z + x, x, x, compact=True).value)
    with pytest.raises(ValueError, match="batch size known at trace time"):
        export.export(solve)(*export.symbolic_args_specs((jnp.ones(3),), "b"))


def converged(w, x, adjoint):
    options = {"tol": 1e-13, "max_steps": 300, "adjoint": adjoint}
    return jnp.sin(fixed_point(f, jnp.zeros(x.shape), w, x, **options).value)


def reverse_over_reverse(loss):
    v = jnp.ones((2, 2))
    return jax.grad(lambda w: jnp.vdot(jax.grad(loss)(w), v))


SECOND = {"hessian": jax.hessian, "jacrev": lambda loss: jax.jacrev(jax.grad(loss)),
          "along": reverse_over_reverse}  # fmt: skip


@functools.cache
def unrolled_hessian():
    w, x = (leaf.astype(jnp.float64) for leaf in data(batch=2, n=2))
    return w, x, jax.jit(jax.hessian(lambda w: jnp.sum(converged(w, x, Unrolled()))))(w)


@pytest.mark.parametrize(
    ("adjoint", "way"),
    [
        *[(Implicit(), way) for way in SECOND],
        (ImplicitJVP(), "hessian"),
        (ImplicitJVP(), "along"),
        (Implicit(Anderson()), "along"),
    ],
    ids=repr,
)
def test_second_derivatives(x64, adjoint, way):
    """Hessian, grad of grad, forward over reverse: all equal to unrolling to convergence."""
    w, x, wanted = unrolled_hessian()
    got = jax.jit(SECOND[way](lambda w: jnp.sum(converged(w, x, adjoint))))(w)
    assert_close(got, wanted.sum((2, 3)) if way == "along" else wanted, rtol=1e-8)


def test_forward_mode(x64):
    w, x = (leaf.astype(jnp.float64) for leaf in data(batch=2, n=2))
    value = lambda adjoint: lambda w: converged(w, x, adjoint)
    wanted = jax.jit(jax.jacrev(value(Implicit())))(w)
    for adjoint in (ImplicitJVP(), Unrolled()):
        assert_close(jax.jit(jax.jacfwd(value(adjoint)))(w), wanted, rtol=1e-9)
    _, tangent = jax.jvp(jax.jit(value(ImplicitJVP())), (w,), (jnp.ones_like(w),))
    assert_close(tangent, wanted.sum(axis=(2, 3)), rtol=1e-9)


def test_remat():
    w, x = data()
    assert_close(jax.jit(jax.grad(jax.checkpoint(loss)))(w, x), compiled()(w, x)[1][0])


def test_communication_between_devices_in_f_is_an_error():
    w, x = data()

    def local(w, x, **options):
        g = lambda z, w, x: jnp.tanh(z @ w + x - 0.1 * jax.lax.pmean(jnp.mean(z), "i"))
        options = {"batched": False, "max_steps": 20, **options}
        return fixed_point(g, jnp.zeros_like(x), w, x, **options).value

    def sharded(**options):
        run = functools.partial(local, **options)
        specs = {"in_specs": (P(), P("i")), "out_specs": P("i")}
        return jax.shard_map(run, mesh=mesh(AxisType.Auto), **specs)

    message = r"f: expected no communication over the mesh axes \['i'\].*`psum_invariant` \(.*local"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(sharded(), w, x)
    assert np.all(np.isfinite(jax.jit(sharded(adjoint=Unrolled()))(w, x)))
