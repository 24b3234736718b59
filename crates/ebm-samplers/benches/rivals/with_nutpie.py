"""nutpie's NUTS (nuts-rs behind Python) with its default adaptation; energies and gradients compiled by numba.

The functions are handed over as nutpie's own PyMC front end hands over those that it compiles: as C callbacks, so
that no Python runs inside a leapfrog. PyMC itself is not needed for that.
"""

import math

import serve

import numba
import numpy as np
import nutpie
from nutpie.compile_pymc import CompiledPyMCModel

from eight_schools import EFFECTS, ERRORS

LOG_DENSITY = numba.types.int64(
    numba.types.uint64,
    numba.types.CPointer(numba.types.double),
    numba.types.CPointer(numba.types.double),
    numba.types.CPointer(numba.types.double),
    numba.types.voidptr,
)
EXPAND = numba.types.int64(
    numba.types.uint64,
    numba.types.uint64,
    numba.types.CPointer(numba.types.double),
    numba.types.CPointer(numba.types.double),
    numba.types.voidptr,
)


def model(dim, value_grad):
    """A nutpie model from `value_grad(x, gradient) -> log density`, a function for numba."""
    compiled = numba.njit(value_grad)

    @numba.cfunc(LOG_DENSITY)
    def log_density(_, x, gradient, value, __):
        gradient_array = numba.carray(gradient, (dim,))
        result = compiled(numba.carray(x, (dim,)), gradient_array)
        value[0] = result
        if not np.all(np.isfinite(gradient_array)):
            return 3
        return 0 if math.isfinite(result) else 4

    @numba.cfunc(EXPAND)
    def expand(_, __, x, out, ___):
        numba.carray(out, (dim,))[:] = numba.carray(x, (dim,))
        return 0

    return CompiledPyMCModel(
        _n_dim=dim,
        dims={},
        _coords={"unconstrained_parameter": np.arange(dim)},
        _shapes={"x": (dim,)},
        compiled_logp_func=log_density,
        compiled_expand_func=expand,
        initial_point_func=lambda seed: np.random.default_rng(seed).uniform(-2.0, 2.0, dim),
        shared_data={},
        user_data=np.zeros(1),
        n_expanded=dim,
        shape_info=(["x"], [slice(0, dim)], [(dim,)]),
        logp_func=None,
        expand_func=None,
    )


def normal(settings):
    precision = np.geomspace(0.1, 10.0, settings["dim"]) ** -2.0

    def value_grad(x, gradient):
        total = 0.0
        for i in range(x.size):
            gradient[i] = -precision[i] * x[i]
            total += 0.5 * gradient[i] * x[i]
        return total

    return value_grad


def correlated_normal(settings):
    index = np.arange(settings["dim"])
    precision = np.linalg.inv(settings["correlation"] ** np.abs(index[:, None] - index[None, :]))

    def value_grad(x, gradient):
        gradient[:] = -np.dot(precision, x)
        return 0.5 * np.dot(gradient, x)

    return value_grad


def banana(settings):
    def value_grad(x, gradient):
        u, w = x[0], x[1] - x[0] ** 2
        gradient[0] = (1.0 - u) / 10.0 + 20.0 * u * w
        gradient[1] = -10.0 * w
        return -((1.0 - u) ** 2) / 20.0 - 5.0 * w**2

    return value_grad


def eight_schools_centred(settings):
    effects, errors = np.array(EFFECTS), np.array(ERRORS)

    def value_grad(x, gradient):
        mu, log_tau = x[0], x[1]
        tau = math.exp(log_tau)
        ratio = (tau / 5.0) ** 2
        value = -0.5 * (mu / 5.0) ** 2 - math.log1p(ratio) + (1.0 - effects.size) * log_tau
        gradient[0] = -mu / 25.0
        gradient[1] = -2.0 * ratio / (1.0 + ratio) + 1.0 - effects.size
        for i in range(effects.size):
            z = (x[2 + i] - mu) / tau
            residual = (effects[i] - x[2 + i]) / errors[i]
            value -= 0.5 * (z * z + residual * residual)
            gradient[0] += z / tau
            gradient[1] += z * z
            gradient[2 + i] = residual / errors[i] - z / tau
        return value

    return value_grad


def eight_schools_non_centred(settings):
    effects, errors = np.array(EFFECTS), np.array(ERRORS)

    def value_grad(x, gradient):
        mu, log_tau = x[0], x[1]
        tau = math.exp(log_tau)
        ratio = (tau / 5.0) ** 2
        value = -0.5 * (mu / 5.0) ** 2 - math.log1p(ratio) + log_tau
        gradient[0] = -mu / 25.0
        gradient[1] = -2.0 * ratio / (1.0 + ratio) + 1.0
        for i in range(effects.size):
            z = x[2 + i]
            residual = (effects[i] - mu - tau * z) / errors[i]
            value -= 0.5 * (z * z + residual * residual)
            gradient[0] += residual / errors[i]
            gradient[1] += residual / errors[i] * tau * z
            gradient[2 + i] = residual / errors[i] * tau - z
        return value

    return value_grad


def logistic(settings):
    rows = np.fromfile(settings["data_file"], "<f8").reshape(-1, settings["dim"] + 1)
    features, labels = np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, -1])
    transposed = np.ascontiguousarray(features.T)
    precision = settings["prior_scale"] ** -2.0

    def value_grad(x, gradient):
        logits = np.dot(features, x)
        value = 0.0
        for i in range(logits.size):
            # ln(1 + e^l), without overflow.
            small = math.exp(-abs(logits[i]))
            value += labels[i] * logits[i] - max(logits[i], 0.0) - math.log1p(small)
            probability = 1.0 / (1.0 + small) if logits[i] > 0.0 else small / (1.0 + small)
            logits[i] = labels[i] - probability
        gradient[:] = np.dot(transposed, logits) - precision * x
        return value - 0.5 * precision * np.dot(x, x)

    return value_grad


TARGETS = {
    "normal": normal,
    "correlated_normal": correlated_normal,
    "banana": banana,
    "eight_schools_centred": eight_schools_centred,
    "eight_schools_non_centred": eight_schools_non_centred,
    "logistic": logistic,
}


def nuts(settings):
    """One chain after the other, on one core."""
    compiled = model(settings["dim"], TARGETS[settings["target"]](settings))

    def run(seed):
        work = lambda: nutpie.sample(
            compiled,
            tune=settings["warm_up"],
            draws=settings["draws"],
            chains=settings["chains"],
            cores=1,
            seed=seed,
            progress_bar=False,
            target_accept=settings["target_accept"],
        )
        seconds, trace = serve.timed(work)
        if "draws_file" in settings:
            serve.write_draws(settings["draws_file"], trace.posterior["x"].values)
        steps, warm_up_steps = trace.sample_stats["n_steps"], trace.warmup_sample_stats["n_steps"]
        # The two halves of the run cannot be timed apart.
        return {
            "gradients": int(steps.sum()),
            "all_seconds": seconds,
            "all_gradients": int(steps.sum()) + int(warm_up_steps.sum()),
            "diverged": int(trace.sample_stats["diverging"].sum()),
        }

    return run


serve.serve({"nuts": nuts})
