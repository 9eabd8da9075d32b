"""Every message names the argument, what was expected, what came, and the cure; at trace time."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import (
    Anderson,
    Broyden,
    Compaction,
    Implicit,
    ImplicitJVP,
    Phantom,
    Picard,
    Unrolled,
    backward_probe,
    check_samples,
    error_bound,
    fixed_point,
    jacobian_regularization,
    spectral_radius,
)

Z = jnp.zeros((4, 3))


def half(z):
    return 0.5 * z


def solve(**options):
    return fixed_point(half, Z, **options)


def optimistix_like():
    def f(y, args):
        return y

    return f


def probe(f, z=Z, **options):
    return spectral_radius(f, z, key=jax.random.key(0), **options)


def solve_from(z0):
    return fixed_point(lambda z, x: z + x, z0, Z)


CASES = [
    ("TypeError: f: expected a function.*the class Picard", lambda: fixed_point(Picard, Z)),
    (
        "TypeError: z0: expected an array, got Picard. The state.*",
        lambda: solve_from(Picard()),
    ),
    ("TypeError: z: .*outside of jax.jit", lambda: jax.jit(lambda z: check_samples(half, z))(Z)),
    ("TypeError: compact: .*got JitTracer", lambda: jax.jit(lambda c: solve(compact=c))(True)),
    ("TypeError: batched: expected True or False, got 'no'", lambda: solve(batched="no")),
    ("TypeError: batched: expected True or False, got None", lambda: probe(half, batched=None)),
    (r"TypeError: Unrolled\(checkpoint=...\): expected True or False", lambda: Unrolled("a")),
    (r"TypeError: Picard\(damping=...\): expected a number.*True", lambda: Picard(True)),
    ("TypeError: batch: expected a number of samples.*True", lambda: backward_probe(True)),
    ("TypeError: residual: expected real numbers, got str", lambda: error_bound("a", 0.5)),
    ("TypeError: contraction: expected real numbers, got None", lambda: error_bound(0.1, None)),
    ("TypeError: key: expected one PRNG key.*got 0", lambda: spectral_radius(half, Z, key=0)),
    (
        r"TypeError: key: expected one PRNG key.*keys of shape \(2,\)",
        lambda: jacobian_regularization(half, Z, key=jax.random.split(jax.random.key(0))),
    ),
    ("TypeError: key: expected one PRNG key", lambda: check_samples(half, Z, key=1)),
    ("TypeError: f: expected a function.*NoneType", lambda: check_samples(None, Z)),
    ("ValueError: f: .*keep the shape", lambda: check_samples(jnp.sum, Z)),
    ("ValueError: f: .*keep the shape", lambda: probe(lambda z: z[:, :1])),
    ("TypeError: z: expected a floating-point array", lambda: probe(half, Z.astype(int))),
    (r"TypeError: args\[0\]: .*str", lambda: check_samples(lambda z, a: z, Z, "a")),
    ("TypeError: f: expected it to return arrays, got str", lambda: fixed_point(lambda z: "a", Z)),
    (
        r"TypeError: f: .*of 3 arguments.*, got f\(y, args\): too many.*a tuple as one",
        lambda: fixed_point(optimistix_like(), Z, Z, Z),
    ),
    ("TypeError: batch: expected a number of samples.*'a'", lambda: backward_probe("a")),
    ("ValueError: batch: expected a number of samples.*-1", lambda: backward_probe(-1)),
    (
        r"TypeError: jax\.jvp: expected an adjoint with forward mode, got Implicit.*ImplicitJVP",
        lambda: jax.jvp(lambda z: fixed_point(lambda z, x: 0.5 * z + x, Z, z).value, (Z,), (Z,)),
    ),
    (r"TypeError: Implicit\(rescue=...\): expected None or a solver", lambda: Implicit(rescue="x")),
    (r"ValueError: Implicit\(max_error=...\): .*-1", lambda: Implicit(max_error=-1)),
    (
        r"ValueError: f: expected it to keep the shape of z0, \(4, 3\), got \(4, 1\).*broadcasting",
        lambda: fixed_point(lambda z: z[:, :1], Z),
    ),
    (
        r"TypeError: f: expected it to keep the dtype of z0, float32, got bfloat16\. Cast",
        lambda: fixed_point(lambda z: z.astype(jnp.bfloat16), Z),
    ),
    (
        "ValueError: f: expected it to keep the structure of z0.*must return the next z",
        lambda: fixed_point(lambda z: (z, z), Z),
    ),
    (
        r"ValueError: .*shape of z0\['b'\], \(4, 3\), got \(2, 3\)",
        lambda: fixed_point(lambda z: {"a": z["a"], "b": z["b"][:2]}, {"a": Z, "b": Z}),
    ),
    ("TypeError: f: expected a function", lambda: fixed_point(Z, Z)),
    (
        r"TypeError: z0: expected a floating-point array.*got int32.*\*args",
        lambda: fixed_point(half, jnp.zeros(3, jnp.int32)),
    ),
    (r"TypeError: .*z0\['a'\].*got str", lambda: fixed_point(half, {"a": "x"})),
    ("ValueError: z0: .*at least one array", lambda: fixed_point(half, ())),
    (
        "ValueError: z0: expected the samples on axis 0, got a scalar. Pass batched=False",
        lambda: fixed_point(half, 1.0),
    ),
    (
        r"ValueError: z0: .*same number of samples.*'\[0\]': 4, '\[1\]': 2.*batched=False",
        lambda: fixed_point(half, (Z, Z[:2])),
    ),
    (
        r"TypeError: .*args\[0\]\['act'\]: expected an array.*Let f close over",
        lambda: fixed_point(lambda z, a: z, Z, {"act": jnp.tanh}),
    ),
    (
        r"ValueError: mask: expected .* one value for each sample, shape \(4,\), got shape \(3,\)",
        lambda: solve(mask=jnp.ones(3, bool)),
    ),
    ("TypeError: mask: expected booleans, got float32", lambda: solve(mask=jnp.ones(4))),
    (
        r"ValueError: mask: expected a scalar, got shape \(4,\). Pass batched=True",
        lambda: solve(mask=jnp.ones(4, bool), batched=False),
    ),
    ("ValueError: tol: .*got -0.001", lambda: solve(tol=-1e-3)),
    ("ValueError: tol: expected values from 0 to inf, got nan", lambda: solve(tol=float("nan"))),
    ("TypeError: max_steps: expected integers, got str", lambda: solve(max_steps="many")),
    ("TypeError: tol: .*got str", lambda: solve(tol="a")),
    (
        "ValueError: max_steps: expected values from 0 to 2147483647, got -3",
        lambda: solve(max_steps=jnp.asarray([1, 2, -3, 4])),
    ),
    ("TypeError: max_steps: expected integers, got float", lambda: solve(max_steps=1e3)),
    (
        "ValueError: max_steps: expected values from 0 to 2147483647, got 4294967299",
        lambda: solve(max_steps=np.asarray(2**32 + 3)),
    ),
    ("ValueError: atol: .*got -1.0", lambda: solve(atol=-1.0)),
    (
        r"TypeError: .*Broyden\(\), got 'anderson'. Did you mean solver=Anderson\(\)",
        lambda: solve(solver="anderson"),
    ),
    (r"TypeError: .*Did you mean solver=Anderson\(\)", lambda: solve(solver=Anderson)),
    (
        r"TypeError: adjoint: expected one of Implicit\(\), .*got 'implicit'",
        lambda: solve(adjoint="implicit"),
    ),
    ("TypeError: .*tolerance", lambda: solve(tolerance=1)),
    (
        r"TypeError: compact: expected one of True, False, Compaction\(\), got 2",
        lambda: solve(compact=2),
    ),
    (
        "ValueError: compact: expected False with batched=False",
        lambda: solve(compact=True, batched=False),
    ),
    (
        r"ValueError: .*arg_axes=...\): expected a tuple .* each of the 1 arguments",
        lambda: fixed_point(lambda z, a: z, Z, Z, compact=Compaction(1, arg_axes=(0, 0))),
    ),
    (
        r"ValueError: .*arg_axes=...\): .*leading axis 4; got 0 for args\[0\] of shape \(2, 3\)",
        lambda: fixed_point(lambda z, a: z, Z, Z[:2], compact=Compaction(1, arg_axes=(0,))),
    ),
    (
        "ValueError: samples: expected an integer >= 1, got 0",
        lambda: jacobian_regularization(half, Z, key=jax.random.key(0), samples=0),
    ),
    (
        "ValueError: steps: expected an integer >= 1, got 0",
        lambda: spectral_radius(half, Z, key=jax.random.key(0), steps=0),
    ),
    ("ValueError: .*min_bucket", lambda: Compaction(min_bucket=0)),
    (
        r"ValueError: Implicit\(on_failure=...\): expected one of \('nan', .*, got 'ignore'",
        lambda: Implicit(on_failure="ignore"),
    ),
    (r"TypeError: Implicit\(solver=...\)", lambda: Implicit("picard")),
    (r"ValueError: ImplicitJVP\(tol=...\)", lambda: ImplicitJVP(tol=-1.0)),
    (r"ValueError: Implicit\(max_steps=...\)", lambda: Implicit(max_steps=0)),
    (r"ValueError: Picard\(damping=...\): .*got 0.0", lambda: Picard(damping=0.0)),
    ("ValueError: .*got nan", lambda: Picard(damping=float("nan"))),
    (r"ValueError: Anderson\(memory=...\): .*got 0", lambda: Anderson(memory=0)),
    (r"ValueError: Broyden\(memory=...\): .*got 0", lambda: Broyden(memory=0)),
    (r"ValueError: Anderson\(ridge=...\): .*got -1.0", lambda: Anderson(ridge=-1.0)),
    (r"ValueError: Phantom\(steps=...\): .*got 0", lambda: Phantom(steps=0)),
    (r"ValueError: Phantom\(damping=...\)", lambda: Phantom(damping=2.0)),
    (
        r"ValueError: max_steps: expected a number known at trace time .*adjoint=Implicit\(\)",
        lambda: jax.jit(lambda n: solve(max_steps=n, adjoint=Unrolled()))(3),
    ),
    (r"TypeError: Picard\(damping=...\): .*got 'a'", lambda: Picard("a")),
    (r"TypeError: Anderson\(memory=...\): .*got 2.5", lambda: Anderson(2.5)),
    (
        r"TypeError: Implicit\(tol=...\): expected a number >= 0, known before tracing",
        lambda: jax.jit(lambda t: Implicit(tol=t))(0.1),
    ),
    (r"TypeError: Phantom\(steps=...\): .*got 2.5", lambda: Phantom(2.5)),
    (
        r"ValueError: compact: expected False with adjoint=Unrolled\(\)",
        lambda: solve(compact=True, adjoint=Unrolled()),
    ),
    (
        "ValueError: probe: expected None with adjoint=Unrolled",
        lambda: solve(probe=backward_probe(4), adjoint=Unrolled()),
    ),
    (
        "ValueError: probe: expected None with adjoint=ImplicitJVP",
        lambda: solve(probe=backward_probe(4), adjoint=ImplicitJVP()),
    ),
    (
        r"ValueError: probe: expected backward_probe\(4\), got .*shape \(3,\)",
        lambda: solve(probe=backward_probe(3)),
    ),
    (
        r"TypeError: probe: expected None or backward_probe\(4\), got True",
        lambda: solve(probe=True),
    ),
]


@pytest.mark.parametrize(("message", "call"), CASES, ids=[message for message, _ in CASES])
def test_message(message, call):
    with pytest.raises((TypeError, ValueError)) as raised:
        call()
    assert re.search(message, f"{raised.type.__name__}: {raised.value}")


def test_message_comes_at_trace_time():
    with pytest.raises(ValueError, match="mask"):
        jax.eval_shape(lambda m: fixed_point(half, Z, mask=m), jnp.ones(5, bool))


def test_traced_settings_are_not_looked_at():
    """A negative tolerance that is only known at run time is never reached; it cannot raise."""
    sol = jax.jit(lambda tol: fixed_point(half, Z + 1, tol=tol, max_steps=5))(-1.0)
    assert list(sol.stats.steps) == [5] * 4


def test_errors_of_jax_name_the_users_function():
    def branching(z):
        return z if z.sum() > 0 else -z

    with pytest.raises(jax.errors.TracerBoolConversionError, match=r"branching at .*test_validate"):
        fixed_point(branching, Z)
