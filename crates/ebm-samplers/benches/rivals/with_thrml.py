"""thrml's Ising model: single-spin heat bath on a torus, its two colours as two blocks."""

import serve

import jax
import jax.numpy as jnp
from thrml import Block, SamplingSchedule, SpinNode, sample_states
from thrml.models import IsingEBM, IsingSamplingProgram


def ising_checkerboard(settings):
    side, n_sweeps, n_chains = settings["side"], settings["sweeps"], settings["chains"]
    nodes = [[SpinNode() for _ in range(side)] for _ in range(side)]
    every = [(i, j) for i in range(side) for j in range(side)]
    edges = [
        (nodes[i][j], neighbour)
        for i, j in every
        for neighbour in (nodes[(i + 1) % side][j], nodes[i][(j + 1) % side])
    ]
    model = IsingEBM(
        [nodes[i][j] for i, j in every],
        edges,
        jnp.zeros(side * side),
        jnp.ones(len(edges)),
        jnp.array(settings["beta"]),
    )
    blocks = [Block([nodes[i][j] for i, j in every if (i + j) % 2 == colour]) for colour in (0, 1)]
    program = IsingSamplingProgram(model, blocks, [])
    # One sample at the end: what is timed is the sweeps.
    schedule = SamplingSchedule(n_warmup=n_sweeps, n_samples=1, steps_per_sample=1)
    everything = [Block([node for row in nodes for node in row])]
    start = [jnp.ones((n_chains, len(block.nodes)), bool) for block in blocks]

    @jax.jit
    def sample(keys):
        one = lambda key, start: sample_states(key, program, schedule, start, [], everything)[0]
        return jax.vmap(one)(keys, start)

    def run(seed):
        keys = jax.random.split(jax.random.key(seed), n_chains)
        seconds, last = serve.timed(lambda: jax.block_until_ready(sample(keys)))
        spins = 2.0 * last.reshape(n_chains, side, side) - 1.0
        bonds = jnp.mean(spins * (jnp.roll(spins, 1, 1) + jnp.roll(spins, 1, 2)))
        return {"seconds": seconds, "energy_per_spin": -float(bonds)}

    return run


serve.serve({"ising_checkerboard": ising_checkerboard})
