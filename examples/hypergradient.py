"""Weight decay is learnt, one number for each feature, by gradients through a whole training."""

import jax
import jax.numpy as jnp
import optax

from dynalay_jax import Anderson, fixed_point

FEATURES, USEFUL, STEPS = 20, 5, 60


def data(key, count):
    """Labels depend on the first five features; the other fifteen are noise."""
    x = jax.random.normal(key, (count, FEATURES))
    return x, x[:, :USEFUL].sum(axis=1) > 0


def cross_entropy(w, x, y):
    return optax.sigmoid_binary_cross_entropy(x @ w, y).mean()


def gradient_step(w, log_decay, x, y):
    """One step of gradient descent on the training loss. Its fixed point is the trained model."""
    loss = lambda w: cross_entropy(w, x, y) + jnp.sum(jnp.exp(log_decay) * w**2)
    return w - 0.5 * jax.grad(loss)(w)


def main():
    train, validation = (data(jax.random.key(seed), count) for seed, count in ((0, 60), (1, 500)))

    @jax.jit
    @jax.value_and_grad
    def validation_loss(log_decay):
        w0 = jnp.zeros(FEATURES)
        trained = fixed_point(
            gradient_step, w0, log_decay, *train, solver=Anderson(), batched=False, max_steps=500
        )
        return cross_entropy(trained.value, *validation)

    log_decay, losses = jnp.full(FEATURES, -4.0), []
    optimizer = optax.adam(0.1)
    state = optimizer.init(log_decay)
    for _ in range(STEPS):
        loss, gradient = validation_loss(log_decay)
        updates, state = optimizer.update(gradient, state)
        log_decay, losses = optax.apply_updates(log_decay, updates), [*losses, float(loss)]
    useful, noise = log_decay[:USEFUL].mean(), log_decay[USEFUL:].mean()
    print(
        f"Validation loss {losses[0]:.3f} → {losses[-1]:.3f}; noise features have "
        f"{jnp.exp(noise - useful):.0f} times the weight decay of useful ones."
    )
    return losses


if __name__ == "__main__":
    main()
