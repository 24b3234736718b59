"""Loops written by hand in JAX and compiled as a whole by XLA, f32, with JAX's default generator."""

import serve

import jax
import jax.numpy as jnp


def timed(compiled, *arguments):
    return serve.timed(lambda: jax.block_until_ready(compiled(*arguments)))


def langevin_double_well(settings):
    h, barrier, n_steps = settings["step_size"], settings["barrier"], settings["steps"]
    start = jax.random.normal(jax.random.key(0), (settings["chains"], settings["dim"]), jnp.float32)
    gradient = jax.grad(lambda x: barrier * jnp.sum((x * x - 1.0) ** 2))

    @jax.jit
    def sample(key, x):
        def step(_, carry):
            key, x = carry
            key, noise = jax.random.split(key)
            x = x - h * gradient(x) + (2.0 * h) ** 0.5 * jax.random.normal(noise, x.shape, x.dtype)
            return key, x

        return jax.lax.fori_loop(0, n_steps, step, (key, x))[1]

    def run(seed):
        seconds, end = timed(sample, jax.random.key(seed), start)
        return {"seconds": seconds, "mean_square": float(jnp.mean(end * end))}

    return run


def ising_checkerboard(settings):
    """Single-spin heat bath on a torus of `side` x `side` (even), both colours in turn.

    The colours are two arrays `[side, side / 2]`, so that no random number is drawn for a spin that rests. Site
    (i, j) of a colour has two neighbours in its column of the other one, one in its own place and one beside it,
    to the left or to the right by the row's parity.
    """
    side, beta, n_sweeps = settings["side"], settings["beta"], settings["sweeps"]
    odd_row = (jnp.arange(side) % 2 == 1)[:, None]

    def heat_bath(key, other, beside):
        field = jnp.roll(other, 1, 0) + jnp.roll(other, -1, 0) + other + beside
        up = jax.nn.sigmoid(2.0 * beta * field)
        return jnp.where(jax.random.uniform(key, other.shape) < up, 1.0, -1.0)

    @jax.jit
    def sample(key, black, white):
        def sweep(_, carry):
            key, black, white = carry
            key, first, second = jax.random.split(key, 3)
            black = heat_bath(
                first, white, jnp.where(odd_row, jnp.roll(white, -1, 1), jnp.roll(white, 1, 1))
            )
            white = heat_bath(
                second, black, jnp.where(odd_row, jnp.roll(black, 1, 1), jnp.roll(black, -1, 1))
            )
            return key, black, white

        return jax.lax.fori_loop(0, n_sweeps, sweep, (key, black, white))[1:]

    up = jnp.ones((side, side // 2), jnp.float32)

    def run(seed):
        seconds, (black, white) = timed(sample, jax.random.key(seed), up, up)
        bonds = jnp.roll(white, 1, 0) + jnp.roll(white, -1, 0) + white
        bonds += jnp.where(odd_row, jnp.roll(white, -1, 1), jnp.roll(white, 1, 1))
        return {"seconds": seconds, "energy_per_spin": -float(jnp.sum(black * bonds)) / side**2}

    return run


serve.serve({"langevin_double_well": langevin_double_well, "ising_checkerboard": ising_checkerboard})
