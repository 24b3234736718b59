"""TorchEBM's samplers, with its own energies where it has them, on `THREADS` threads of LibTorch in f32."""

import os
import sys

import serve

# The wheel is linked against CUDA's libraries, which are not installed: their functions stay unresolved until they
# are called, and on a CPU they never are.
sys.setdlopenflags(os.RTLD_LAZY)

import torch
from torchebm.core import BaseModel, DoubleWellModel, GaussianModel
from torchebm.samplers import HamiltonianMonteCarlo, LangevinDynamics

torch.set_num_threads(serve.THREADS)


def starts(settings):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(settings["chains"], settings["dim"], generator=generator)


def sampling(sampler, settings):
    """Runs `sampler` for the case's steps from the same starts; nothing but the last state is kept."""
    start, n_steps = starts(settings), settings["steps"]

    def run(seed):
        torch.manual_seed(seed)
        seconds, end = serve.timed(lambda: sampler.sample(x=start.clone(), n_steps=n_steps))
        return {"seconds": seconds, "mean_square": float(end.square().mean())}

    return run


def langevin_double_well(settings):
    model = DoubleWellModel(barrier_height=settings["barrier"])
    return sampling(LangevinDynamics(model, step_size=settings["step_size"]), settings)


class Network(BaseModel):
    """A perceptron 2-128-128-1 with SiLU; the gradient is the base class's, by autograd."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(2, 128),
            torch.nn.SiLU(),
            torch.nn.Linear(128, 128),
            torch.nn.SiLU(),
            torch.nn.Linear(128, 1),
        )
        # As on our side: sampling asks for no gradients of the parameters.
        self.requires_grad_(False)

    def forward(self, x):
        return self.layers(x).squeeze(-1)


def langevin_network(settings):
    torch.manual_seed(0)
    return sampling(LangevinDynamics(Network(), step_size=settings["step_size"]), settings)


def hmc_gaussian(settings):
    dim = settings["dim"]
    index = torch.arange(dim, dtype=torch.float64)
    covariance = settings["correlation"] ** (index[:, None] - index[None, :]).abs()
    model = GaussianModel(mean=torch.zeros(dim), cov=covariance)
    sampler = HamiltonianMonteCarlo(
        model, step_size=settings["step_size"], n_leapfrog_steps=settings["leapfrogs"]
    )
    return sampling(sampler, settings)


serve.serve(
    {
        "langevin_double_well": langevin_double_well,
        "langevin_network": langevin_network,
        "hmc_gaussian": hmc_gaussian,
    }
)
