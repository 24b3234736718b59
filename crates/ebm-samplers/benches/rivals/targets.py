"""The log densities of the NUTS cases in JAX, up to a constant. The same as in `samplers/nuts.rs`."""

import jax
import jax.numpy as jnp
import numpy as np

from eight_schools import EFFECTS, ERRORS


def log_density(settings, dtype):
    return TARGETS[settings["target"]](settings, lambda numbers: jnp.asarray(numbers, dtype))


def normal(settings, array):
    """Independent coordinates with standard deviations from 0.1 to 10, evenly in the logarithm."""
    precision = array(np.geomspace(0.1, 10.0, settings["dim"]) ** -2.0)
    return lambda x: -0.5 * jnp.sum(precision * x * x)


def correlated_normal(settings, array):
    """Covariance `correlation^|i - j|`; its inverse as a full matrix, as on our side."""
    index = np.arange(settings["dim"])
    covariance = settings["correlation"] ** np.abs(index[:, None] - index[None, :])
    precision = array(np.linalg.inv(covariance))
    return lambda x: -0.5 * x @ (precision @ x)


def banana(settings, array):
    """`E = (1 - u)^2 / 20 + 5 (v - u^2)^2`."""
    return lambda x: -((1.0 - x[0]) ** 2) / 20.0 - 5.0 * (x[1] - x[0] ** 2) ** 2


def eight_schools(centred):
    """`x = (mu, log tau, theta or its standardised form)`; mu ~ N(0, 5), tau ~ half-Cauchy(0, 5)."""

    def build(settings, array):
        effects, errors = array(EFFECTS), array(ERRORS)

        def log_density(x):
            mu, log_tau, school = x[0], x[1], x[2:]
            tau = jnp.exp(log_tau)
            theta = school if centred else mu + tau * school
            # log_tau is added for the change of variables from tau.
            prior = -0.5 * (mu / 5.0) ** 2 - jnp.log1p((tau / 5.0) ** 2) + log_tau
            if centred:
                prior += -0.5 * jnp.sum(((school - mu) / tau) ** 2) - len(EFFECTS) * log_tau
            else:
                prior += -0.5 * jnp.sum(school**2)
            return prior - 0.5 * jnp.sum(((effects - theta) / errors) ** 2)

        return log_density

    return build


def logistic(settings, array):
    """Labels 0 or 1 in the last column of the file, features in the others; prior N(0, scale^2)."""
    rows = np.fromfile(settings["data_file"], "<f8").reshape(-1, settings["dim"] + 1)
    features, labels = array(rows[:, :-1]), array(rows[:, -1])
    scale = settings["prior_scale"]

    def log_density(x):
        logits = features @ x
        likelihood = jnp.sum(labels * logits - jax.nn.softplus(logits))
        return likelihood - 0.5 * jnp.sum((x / scale) ** 2)

    return log_density


TARGETS = {
    "normal": normal,
    "correlated_normal": correlated_normal,
    "banana": banana,
    "eight_schools_centred": eight_schools(True),
    "eight_schools_non_centred": eight_schools(False),
    "logistic": logistic,
}
