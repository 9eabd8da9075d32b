"""Solves z = f(z) for every sample of a batch. Private: import from `dynalay_jax`."""
