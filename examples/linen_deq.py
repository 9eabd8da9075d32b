"""A Flax module whose hidden layer is a fixed point reads handwritten digits, with ten seeds."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from dynalay_jax import fixed_point

WIDTH, STEPS, BATCH, SEEDS = 32, 200, 64, 10


class DEQ(nn.Module):
    """Logits [B, 10] of images [B, 64], and the solver's statistics for every image."""

    @nn.compact
    def __call__(self, x):
        mix = nn.Dense(WIDTH, kernel_init=nn.initializers.orthogonal(0.5))
        layer = lambda z, u: jnp.tanh(mix(z) + u)
        u = nn.Dense(WIDTH)(x)
        solution = fixed_point(layer, jnp.zeros_like(u), u, tol=1e-4)
        return nn.Dense(10)(solution.value), solution.stats


def main():
    x, labels = load_digits(return_X_y=True)
    data = train_test_split(x / 16, labels, random_state=0)
    x_train, x_test, y_train, y_test = map(jnp.asarray, data)
    model, optimizer = DEQ(), optax.adam(1e-2)

    def loss(params, batch):
        logits, _ = model.apply(params, x_train[batch])
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, y_train[batch])
        return entropy.mean()

    def step(carry, batch):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, batch), state)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def run(key):
        """Test accuracy, and the share of test images whose solve converged."""
        init, draw = jax.random.split(key)
        params = model.init(init, x_train[:1])
        batches = jax.random.randint(draw, (STEPS, BATCH), 0, len(x_train))
        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), batches)
        logits, stats = model.apply(params, x_test)
        return jnp.mean(jnp.argmax(logits, axis=1) == y_test), jnp.mean(stats.status == 0)

    runs = [run(jax.random.key(seed)) for seed in range(SEEDS)]
    accuracies, converged = (list(map(float, column)) for column in zip(*runs, strict=True))
    print(
        f"Test accuracy {min(accuracies):.1%} to {max(accuracies):.1%} over {SEEDS} seeds; "
        f"at least {min(converged):.1%} of the solves converged."
    )
    return accuracies, converged


if __name__ == "__main__":
    main()
