"""EBT's first stage on tokens in plain PyTorch, written for this bench: the fair rival of our training step.

The observed and the predicted stream are kept apart, the observed one is computed once for all inner steps where the
variant allows it, the self score has a column of its own, and the step of the vocabulary's size is a product of the
width-sized gradient: the same work as ours, by autograd. One optimiser step (AdamW, clipping) is part of it.
"""

import math
import os
import sys

# The harness of the samplers' rivals speaks the same protocol.
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../../ebm-samplers/benches/rivals"))

import serve

# The wheel is linked against CUDA's libraries, which are not installed: their functions stay unresolved until they
# are called, and on a CPU they never are.
sys.setdlopenflags(os.RTLD_LAZY)

import torch
from torch import nn
from torch.nn import functional

torch.set_num_threads(serve.THREADS)


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.weight


def rotate(x, cos, sin):
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class Block(nn.Module):
    def __init__(self, width, hidden, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = RmsNorm(width), RmsNorm(width)
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.w1, self.w3 = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.w2 = nn.Linear(hidden, width, bias=False)

    def project(self, x, cos, sin):
        n, s, width = x.shape
        x = self.norm1(x)
        q, k, v = (w(x).view(n, s, self.heads, -1).transpose(1, 2) for w in (self.wq, self.wk, self.wv))
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def finish(self, x, attended):
        x = x + self.wo(attended.transpose(1, 2).flatten(2))
        h = self.norm2(x)
        return x + self.w2(functional.silu(self.w1(h)) * self.w3(h))


class Ebt(nn.Module):
    def __init__(self, settings):
        super().__init__()
        width, context = settings["width"], settings["context"]
        vocabulary, heads = settings["vocabulary"], settings["heads"]
        self.embeddings = nn.Embedding(vocabulary, width)
        self.into = nn.Linear(vocabulary, width, bias=False)
        hidden = settings["hidden"]
        self.blocks = nn.ModuleList(Block(width, hidden, heads) for _ in range(settings["layers"]))
        self.norm, self.head = RmsNorm(width), nn.Linear(width, 1, bias=False)
        self.alpha = nn.Parameter(torch.tensor(float(settings["step_size"])))
        self.prefix = int(settings["landscapes"] > 0)
        if self.prefix:
            self.steps = nn.Embedding(settings["landscapes"], width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
        d = width // heads
        angles = torch.arange(context + 2).outer(10000.0 ** (-torch.arange(0, d, 2) / d))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        total = context + 1
        self.register_buffer("mask", torch.full((total, total), -math.inf).triu(1))

    def observe(self, tokens, step):
        x = self.embeddings(tokens)
        if self.prefix:
            x = torch.cat((self.steps.weight[step].expand(len(x), 1, -1), x), 1)
        t = x.shape[1]
        cos, sin, mask = self.cos[:t], self.sin[:t], self.mask[:t, :t]
        seen = []
        for i, block in enumerate(self.blocks):
            q, k, v = block.project(x, cos, sin)
            seen.append((k, v))
            if i + 1 < len(self.blocks):
                scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1) + mask
                x = block.finish(x, scores.softmax(-1) @ v)
        return seen

    def energies(self, e, seen):
        s = e.shape[1]
        t = s + self.prefix
        first = self.prefix + 1
        cos, sin = self.cos[first : first + s], self.sin[first : first + s]
        mask = self.mask[self.prefix : self.prefix + s, :t]
        x = e
        for block, (keys, values) in zip(self.blocks, seen):
            q, k, v = block.project(x, cos, sin)
            q = q / math.sqrt(q.shape[-1])
            scores = torch.cat((q @ keys.transpose(-2, -1) + mask, (q * k).sum(-1, keepdim=True)), -1)
            weights = scores.softmax(-1)
            x = block.finish(x, weights[..., :t] @ values + weights[..., t:] * v)
        return self.head(self.norm(x)).squeeze(-1)

    def loss(self, tokens, targets, start, n_steps):
        once = None if self.prefix else self.observe(tokens, 0)
        y, total = start, 0.0
        for step in range(n_steps):
            seen = self.observe(tokens, step) if self.prefix else once
            p = y.detach().softmax(-1)
            e = self.into(p)
            (delta,) = torch.autograd.grad(self.energies(e, seen).sum(), e, create_graph=True)
            y = p - self.alpha.clamp(min=1e-4) * (delta @ self.into.weight)
            total = total + functional.cross_entropy(y.flatten(0, 1), targets.flatten())
        return total / n_steps


def train(settings):
    torch.manual_seed(0)
    net = Ebt(settings)
    rest = [p for name, p in net.named_parameters() if name != "alpha"]
    groups = [{"params": rest}, {"params": [net.alpha], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.01)
    n, s, vocabulary = settings["batch"], settings["context"], settings["vocabulary"]
    tokens = torch.randint(vocabulary, (n, s + 1))

    def step():
        start = torch.randn(n, s, vocabulary)
        loss = net.loss(tokens[:, :-1], tokens[:, 1:], start, settings["inner_steps"])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return loss

    def run(seed):
        seconds, losses = serve.timed(lambda: [float(step().detach()) for _ in range(settings["steps"])])
        return {"seconds": seconds, "loss": losses[-1]}

    return run


serve.serve({"train": train})
