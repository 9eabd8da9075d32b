"""A deep equilibrium model reads handwritten digits: one layer, iterated to its fixed point."""

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from dynalay_jax import fixed_point

WIDTH, STEPS, BATCH = 32, 200, 128


def layer(z, w, u):
    """The map that is iterated. ‖w‖ < 1 makes it a contraction, so it has one fixed point."""
    return jnp.tanh(z @ w + u)


def model(params, x):
    """Logits [B, 10] of images [B, 64], and the solver's statistics for every image."""
    w = 0.9 * params["w"] / jnp.linalg.norm(params["w"], ord=2)
    u = x @ params["inject"]
    solution = fixed_point(layer, jnp.zeros_like(u), w, u, tol=1e-4)
    return solution.value @ params["head"], solution.stats


def main():
    x, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x / 16, labels, random_state=0)
    *keys, draw = jax.random.split(jax.random.key(0), 4)
    sizes = {"inject": (64, WIDTH), "w": (WIDTH, WIDTH), "head": (WIDTH, 10)}
    params = {n: 0.1 * jax.random.normal(k, sizes[n]) for n, k in zip(sizes, keys, strict=True)}
    optimizer = optax.adam(1e-2)

    def loss(params, batch):
        logits, _ = model(params, jnp.asarray(x_train)[batch])
        labels = jnp.asarray(y_train)[batch]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def step(carry, batch):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, batch), state)
        return (optax.apply_updates(params, updates), state), None

    batches = jax.random.randint(draw, (STEPS, BATCH), 0, len(x_train))
    train = jax.jit(lambda start: jax.lax.scan(step, start, batches)[0])
    params, _ = train((params, optimizer.init(params)))
    logits, stats = jax.jit(model)(params, x_test)
    accuracy = float(jnp.mean(jnp.argmax(logits, axis=1) == y_test))
    steps = stats.steps
    print(f"Test accuracy {accuracy:.1%}; solves took {steps.min()} to {steps.max()} steps.")
    return accuracy


if __name__ == "__main__":
    main()
