"""The goal of an agent is found from its actions, by gradients through value iteration."""

import jax
import jax.numpy as jnp
import optax

from dynalay_jax import fixed_point

SIDE, DISCOUNT, STEPS = 5, 0.9, 200


def neighbours():
    """The cell [25, 4] that each cell's four moves lead to; walls keep the agent where it is."""
    rows, columns = jnp.divmod(jnp.arange(SIDE**2), SIDE)
    moves = jnp.array([[-1, 0], [1, 0], [0, -1], [0, 1]])
    stay = lambda place, move: jnp.clip(place[:, None] + move[None], 0, SIDE - 1)
    return stay(rows, moves[:, 0]) * SIDE + stay(columns, moves[:, 1])


NEXT = neighbours()


def action_values(values, reward):
    return (reward + DISCOUNT * values)[NEXT]


def policy(reward):
    """log π(action | cell) [25, 4] of an agent that maximises reward and entropy."""
    backup = lambda values, reward: jax.nn.logsumexp(action_values(values, reward), axis=1)
    values = fixed_point(backup, jnp.zeros(SIDE**2), reward, batched=False, max_steps=300).value
    return jax.nn.log_softmax(action_values(values, reward))


def main():
    goal = 13
    solve = jax.jit(policy)
    shown = solve(jnp.zeros(SIDE**2).at[goal].set(3.0))
    optimizer = optax.adam(0.1)

    def step(carry, _):
        reward, state = carry
        loss = lambda reward: -jnp.mean(jnp.sum(jnp.exp(shown) * policy(reward), axis=1))
        updates, state = optimizer.update(jax.grad(loss)(reward), state)
        return (optax.apply_updates(reward, updates), state), None

    reward = jnp.zeros(SIDE**2)
    learn = jax.jit(lambda start: jax.lax.scan(step, start, length=STEPS)[0])
    reward, _ = learn((reward, optimizer.init(reward)))
    found = int(jnp.argmax(reward))
    error = float(jnp.max(jnp.abs(jnp.exp(solve(reward)) - jnp.exp(shown))))
    print(f"The goal is cell {goal}, found {found}; action probabilities differ by {error:.3f}.")
    return found == goal, error


if __name__ == "__main__":
    main()
