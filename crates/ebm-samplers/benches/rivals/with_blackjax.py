"""blackjax's NUTS with its window adaptation of step size and diagonal metric, compiled as a whole by XLA."""

import serve

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.base import get_filter_adapt_info_fn

import targets


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
    """All chains in lock step; `seconds` are those after warm-up, `all_seconds` of the whole."""
    dtype = number(settings)
    warm_up, sample = samplers(settings, targets.log_density(settings, dtype))
    warm_up, sample = jax.jit(jax.vmap(warm_up)), jax.jit(jax.vmap(sample))

    def run(seed):
        keys = jax.random.split(jax.random.key(seed), 2 * settings["chains"]).reshape(2, -1)
        before, (state, parameters, gradients) = timed(warm_up, keys[0], starts(settings, seed, dtype))
        seconds, (draws, steps, diverged) = timed(sample, keys[1], state, parameters)
        return answer(
            settings,
            np.asarray(draws),
            seconds=seconds,
            gradients=jnp.sum(steps),
            all_seconds=before + seconds,
            all_gradients=jnp.sum(steps) + jnp.sum(gradients),
            diverged=jnp.sum(diverged),
        )

    return run


def timed(compiled, *arguments):
    return serve.timed(lambda: jax.block_until_ready(compiled(*arguments)))


serve.serve({"nuts": nuts, "nuts_vmap": nuts_vmap})
