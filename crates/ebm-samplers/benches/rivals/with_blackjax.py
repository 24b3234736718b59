"""blackjax's NUTS with its window adaptation of step size and diagonal metric, compiled as a whole by XLA."""

import serve

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.base import get_filter_adapt_info_fn

import targets

# Chains that warm up for a batch, and steps with which the others follow.
WARMED_UP = 8
SETTLE = 50


def number(settings):
    """The precision of the case. JAX has f64 only when it is told so for all arrays."""
    jax.config.update("jax_enable_x64", settings["precision"] == "f64")
    return jnp.float64 if settings["precision"] == "f64" else jnp.float32


def samplers(settings, log_density):
    """`warm_up(key, x)` and `sample(key, state, parameters)` of one chain, with their leapfrogs."""
    adaptation = blackjax.window_adaptation(
        blackjax.nuts,
        log_density,
        target_acceptance_rate=settings["target_accept"],
        adaptation_info_fn=get_filter_adapt_info_fn(info_keys={"num_integration_steps"}),
    )

    def warm_up(key, x):
        (state, parameters), info = adaptation.run(key, x, settings["warm_up"])
        return state, parameters, jnp.sum(info.info.num_integration_steps)

    def sample(key, state, parameters):
        kernel = blackjax.nuts(log_density, **parameters)

        def step(state, key):
            state, info = kernel.step(key, state)
            return state, (state.position, info.num_integration_steps, info.is_divergent)

        keys = jax.random.split(key, settings["draws"])
        _, (draws, steps, diverged) = jax.lax.scan(step, state, keys)
        return draws, jnp.sum(steps), jnp.sum(diverged)

    return warm_up, sample


def starts(settings, seed, dtype):
    """As on our side: uniform in [-2, 2]."""
    rows = np.random.default_rng(seed).uniform(-2.0, 2.0, (settings["chains"], settings["dim"]))
    return jnp.asarray(rows, dtype)


def answer(settings, draws, **numbers):
    if "draws_file" in settings:
        serve.write_draws(settings["draws_file"], draws)
    return {name: float(value) for name, value in numbers.items()}


def nuts(settings):
    """One chain after the other."""
    dtype = number(settings)
    warm_up, sample = map(jax.jit, samplers(settings, targets.log_density(settings, dtype)))

    def run(seed):
        total = dict.fromkeys(("seconds", "gradients", "all_seconds", "all_gradients", "diverged"), 0.0)
        all_draws = []
        for chain, x in enumerate(starts(settings, seed, dtype)):
            first, second = jax.random.split(jax.random.fold_in(jax.random.key(seed), chain))
            before, (state, parameters, gradients) = timed(warm_up, first, x)
            seconds, (draws, steps, diverged) = timed(sample, second, state, parameters)
            all_draws.append(np.asarray(draws))
            total["seconds"] += seconds
            total["gradients"] += int(steps)
            total["all_seconds"] += before + seconds
            total["all_gradients"] += int(gradients) + int(steps)
            total["diverged"] += int(diverged)
        return answer(settings, np.stack(all_draws), **total)

    return run


def nuts_vmap(settings):
    """All chains in lock step, after a warm-up of a few: with all chains, in which each step waits for the deepest
    path of any, its window adaptation takes a quarter of an hour. They share the mean of what the few learned. Timed
    are the draws alone."""
    dtype = number(settings)
    log_density = targets.log_density(settings, dtype)
    warm_up = jax.jit(jax.vmap(samplers(settings, log_density)[0]))

    def steps(draws):
        def one(key, state, parameters):
            kernel = blackjax.nuts(log_density, **parameters)

            def step(state, key):
                state, info = kernel.step(key, state)
                return state, (state.position, info.num_integration_steps)

            return jax.lax.scan(step, state, jax.random.split(key, draws))

        return jax.jit(jax.vmap(one, in_axes=(0, 0, None)))

    settle, sample = steps(SETTLE), steps(settings["draws"])
    begin = jax.jit(jax.vmap(blackjax.nuts(log_density, 1.0, jnp.ones(settings["dim"], dtype)).init))

    def run(seed):
        x = starts(settings, seed, dtype)
        few = min(WARMED_UP, settings["chains"])
        keys = jax.random.split(jax.random.key(seed), 3 * settings["chains"]).reshape(3, -1)
        _, parameters, _ = warm_up(keys[0][:few], x[:few])
        parameters = jax.tree.map(lambda p: jnp.exp(jnp.mean(jnp.log(p), axis=0)), parameters)
        state, _ = jax.block_until_ready(settle(keys[1], begin(x), parameters))
        seconds, (_, (draws, n_steps)) = timed(sample, keys[2], state, parameters)
        return answer(settings, np.asarray(draws), seconds=seconds, gradients=jnp.sum(n_steps))

    return run


def timed(compiled, *arguments):
    return serve.timed(lambda: jax.block_until_ready(compiled(*arguments)))


serve.serve({"nuts": nuts, "nuts_vmap": nuts_vmap})
