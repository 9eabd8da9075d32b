"""Every message names the argument, what was expected, what came, and the cure; at trace time."""

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
    fixed_point,
)

Z = jnp.zeros((4, 3))


def half(z):
    return 0.5 * z


CASES = {
    "f changes shape": (
        lambda: fixed_point(lambda z: z[:, :1], Z),
        ValueError,
        r"f: expected it to keep the shape of z0, \(4, 3\), got \(4, 1\)\. .*broadcasting",
    ),
    "f changes dtype": (
        lambda: fixed_point(lambda z: z.astype(jnp.bfloat16), Z),
        TypeError,
        r"f: expected it to keep the dtype of z0, float32, got bfloat16\. Cast",
    ),
    "f changes structure": (
        lambda: fixed_point(lambda z: (z, z), Z),
        ValueError,
        r"f: expected it to keep the structure of z0, .*, got .*must return the next z",
    ),
    "f changes the shape of a leaf": (
        lambda: fixed_point(lambda z: {"a": z["a"], "b": z["b"][:2]}, {"a": Z, "b": Z}),
        ValueError,
        r"shape of z0\['b'\], \(4, 3\), got \(2, 3\)",
    ),
    "f is no function": (lambda: fixed_point(Z, Z), TypeError, "f: expected a function"),
    "z0 of integers": (
        lambda: fixed_point(half, jnp.zeros(3, jnp.int32)),
        TypeError,
        r"z0: expected a floating-point array.*got int32.*\*args",
    ),
    "z0 of another kind": (lambda: fixed_point(half, {"a": "x"}), TypeError, r"z0\['a'\].*got str"),
    "z0 empty": (lambda: fixed_point(half, ()), ValueError, "z0: .*at least one array"),
    "z0 a scalar": (
        lambda: fixed_point(half, 1.0),
        ValueError,
        "z0: expected the samples on axis 0, got a scalar. Pass batched=False",
    ),
    "z0 with several batch sizes": (
        lambda: fixed_point(half, (Z, Z[:2])),
        ValueError,
        r"z0: .*same number of samples.*'\[0\]': 4, '\[1\]': 2.*batched=False",
    ),
    "argument that is no data": (
        lambda: fixed_point(lambda z, a: z, Z, {"act": jnp.tanh}),
        TypeError,
        r"args\[0\]\['act'\]: expected an array.*Let f close over",
    ),
    "mask of another shape": (
        lambda: fixed_point(half, Z, mask=jnp.ones(3, bool)),
        ValueError,
        r"mask: expected a scalar or one value for each sample, shape \(4,\), got shape \(3,\)",
    ),
    "mask of numbers": (
        lambda: fixed_point(half, Z, mask=jnp.ones(4)),
        TypeError,
        "mask: expected booleans, got float32",
    ),
    "mask of a single state": (
        lambda: fixed_point(half, Z, mask=jnp.ones(4, bool), batched=False),
        ValueError,
        r"mask: expected a scalar, got shape \(4,\). Pass batched=True",
    ),
    "negative tol": (lambda: fixed_point(half, Z, tol=-1e-3), ValueError, "tol: .*got -0.001"),
    "tol NaN": (
        lambda: fixed_point(half, Z, tol=float("nan")),
        ValueError,
        "tol: expected values from 0 to inf, got nan",
    ),
    "max_steps of another kind": (
        lambda: fixed_point(half, Z, max_steps="many"),
        TypeError,
        "max_steps: expected integers, got str",
    ),
    "tol of another kind": (lambda: fixed_point(half, Z, tol="a"), TypeError, "tol: .*got str"),
    "negative max_steps": (
        lambda: fixed_point(half, Z, max_steps=jnp.asarray([1, 2, -3, 4])),
        ValueError,
        "max_steps: expected values from 0 to 2147483647, got -3",
    ),
    "max_steps a float": (
        lambda: fixed_point(half, Z, max_steps=1e3),
        TypeError,
        "max_steps: expected integers, got float",
    ),
    "max_steps too large": (
        lambda: fixed_point(half, Z, max_steps=np.asarray(2**32 + 3)),
        ValueError,
        "max_steps: expected values from 0 to 2147483647, got 4294967299",
    ),
    "negative atol": (lambda: fixed_point(half, Z, atol=-1.0), ValueError, "atol: .*got -1.0"),
    "solver by name": (
        lambda: fixed_point(half, Z, solver="anderson"),
        TypeError,
        r"Picard\(\), Anderson\(\), Broyden\(\), got 'anderson'. Did you mean solver=Anderson\(\)",
    ),
    "solver not instantiated": (
        lambda: fixed_point(half, Z, solver=Anderson),
        TypeError,
        r"Did you mean solver=Anderson\(\)",
    ),
    "adjoint by name": (
        lambda: fixed_point(half, Z, adjoint="implicit"),
        TypeError,
        r"adjoint: expected one of Implicit\(\), .*got 'implicit'",
    ),
    "unknown keyword": (lambda: fixed_point(half, Z, tolerance=1), TypeError, "tolerance"),
    "compact by number": (
        lambda: fixed_point(half, Z, compact=2),
        TypeError,
        r"compact: expected one of True, False, Compaction\(\), got 2",
    ),
    "compact of a single state": (
        lambda: fixed_point(half, Z, compact=True, batched=False),
        ValueError,
        "compact: expected False with batched=False",
    ),
    "arg_axes of another length": (
        lambda: fixed_point(lambda z, a: z, Z, Z, compact=Compaction(1, arg_axes=(0, 0))),
        ValueError,
        r"arg_axes=...\): expected a tuple .* each of the 1 arguments",
    ),
    "arg_axes that does not fit": (
        lambda: fixed_point(lambda z, a: z, Z, Z[:2], compact=Compaction(1, arg_axes=(0,))),
        ValueError,
        r"arg_axes=...\): .*leading axis 4; got 0 for args\[0\] of shape \(2, 3\)",
    ),
    "bucket of none": (lambda: Compaction(min_bucket=0), ValueError, "min_bucket"),
    "on_failure": (
        lambda: Implicit(on_failure="ignore"),
        ValueError,
        r"Implicit\(on_failure=...\): expected one of \('nan', 'jacobian_free'\), got 'ignore'",
    ),
    "adjoint's solver": (lambda: Implicit("picard"), TypeError, r"Implicit\(solver=...\)"),
    "adjoint's tol": (lambda: ImplicitJVP(tol=-1.0), ValueError, r"ImplicitJVP\(tol=...\)"),
    "adjoint's budget": (lambda: Implicit(max_steps=0), ValueError, r"Implicit\(max_steps=...\)"),
    "damping": (lambda: Picard(damping=0.0), ValueError, r"Picard\(damping=...\): .*got 0.0"),
    "NaN damping": (lambda: Picard(damping=float("nan")), ValueError, "got nan"),
    "memory": (lambda: Anderson(memory=0), ValueError, r"Anderson\(memory=...\): .*got 0"),
    "Broyden's memory": (lambda: Broyden(memory=0), ValueError, r"Broyden\(memory=...\): .*got 0"),
    "ridge": (lambda: Anderson(ridge=-1.0), ValueError, r"Anderson\(ridge=...\): .*got -1.0"),
    "phantom steps": (lambda: Phantom(steps=0), ValueError, r"Phantom\(steps=...\): .*got 0"),
    "phantom damping": (lambda: Phantom(damping=2.0), ValueError, r"Phantom\(damping=...\)"),
    "unrolled with a traced budget": (
        lambda: jax.jit(lambda n: fixed_point(half, Z, max_steps=n, adjoint=Unrolled()))(3),
        ValueError,
        r"max_steps: expected a number known at trace time .*adjoint=Implicit\(\)",
    ),
    "damping no number": (lambda: Picard("a"), TypeError, r"Picard\(damping=...\): .*got 'a'"),
    "memory no integer": (lambda: Anderson(2.5), TypeError, r"Anderson\(memory=...\): .*got 2.5"),
    "traced tol of the adjoint": (
        lambda: jax.jit(lambda t: Implicit(tol=t))(0.1),
        TypeError,
        r"Implicit\(tol=...\): expected a number >= 0, known before tracing",
    ),
    "steps no integer": (lambda: Phantom(2.5), TypeError, r"Phantom\(steps=...\): .*got 2.5"),
    "unrolled and compact": (
        lambda: fixed_point(half, Z, compact=True, adjoint=Unrolled()),
        ValueError,
        r"compact: expected False with adjoint=Unrolled\(\)",
    ),
    "probe without a backward solve": (
        lambda: fixed_point(half, Z, probe=backward_probe(4), adjoint=Unrolled()),
        ValueError,
        "probe: expected None with adjoint=Unrolled",
    ),
    "probe in forward mode": (
        lambda: fixed_point(half, Z, probe=backward_probe(4), adjoint=ImplicitJVP()),
        ValueError,
        "probe: expected None with adjoint=ImplicitJVP",
    ),
    "probe of another batch": (
        lambda: fixed_point(half, Z, probe=backward_probe(3)),
        ValueError,
        r"probe: expected backward_probe\(4\), got .*shape \(3,\)",
    ),
    "probe of another kind": (
        lambda: fixed_point(half, Z, probe=True),
        TypeError,
        r"probe: expected None or backward_probe\(4\), got True",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_message(case):
    call, error, match = case
    with pytest.raises(error, match=match):
        call()


def test_message_comes_at_trace_time():
    with pytest.raises(ValueError, match="mask"):
        jax.eval_shape(lambda m: fixed_point(half, Z, mask=m), jnp.ones(5, bool))


def test_traced_settings_are_not_looked_at():
    """A negative tolerance that is only known at run time is never reached; it cannot raise."""
    sol = jax.jit(lambda tol: fixed_point(half, Z + 1, tol=tol, max_steps=5))(-1.0)
    assert list(sol.stats.steps) == [5] * 4
