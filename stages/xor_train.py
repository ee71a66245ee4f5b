"""Train a 2-2-1 perceptron on XOR: one network with and without hidden activation, then many
random starts.

The single network is computed in float64, so other implementations can reproduce it to 1e-6; the
random starts in float32.

reads   params.yaml: xor
writes  data/xor.npz              after 0, 1, … steps: losses and linear_losses (steps + 1,);
                                  hidden (steps + 1, 4, 2), the hidden activations of the points;
                                  line (steps + 1, 3), the v1, v2, c of v1 h1 + v2 h2 + c = 0;
                                  initial (9,): W (row-major), b, v, c at step 0;
                                  snapshots (k,), the steps to draw;
                                  per start: final_losses, solved
        data/xor.pth              state dict of the trained network
        reports/metrics/xor.json  final loss with and without hidden activation; fraction of starts
                                  that solve XOR and its 95% interval; fractions of unsolved starts
                                  within 0.05 of each level of stalled losses
        reports/plots/xor.json    the two losses at every tenth step, for `dvc plots`
"""

from collections import deque
from math import log
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from common.files import write_arrays, write_bytes, write_rows
from common.params import ParameterError
from common.stage import run
from common.statistics import wilson_interval
from common.weights import pack_state

X = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])  # (4, 2)
Y = torch.tensor([0.0, 1.0, 1.0, 0.0])  # (4,)
MAX_SNAPSHOTS = 100  # limits the height of the figure
# Losses of stalled runs: ŷ = y at two points and ½ at the other two; ŷ = y at one point and the
# same ŷ (⅔ or ⅓) at the other three.
LEVELS = 2 * log(2), 3 * log(3) - 2 * log(2)


class Perceptrons(NamedTuple):
    """s networks: hidden weights W and biases b, output weights v and biases c.

    The networks are the last axis, because vector instructions process adjacent numbers.
    """

    W: torch.Tensor  # (2, 2, s)
    b: torch.Tensor  # (2, s)
    v: torch.Tensor  # (2, s)
    c: torch.Tensor  # (s,)


def random_starts(starts, seed):
    """Initial parameters as in torch.nn.Linear: uniform in ±1/√2 for layers of two inputs."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((starts, 2, 2), (starts, 2), (starts, 2), (starts,))
    draws = [(torch.rand(s, generator=generator) * 2 - 1) / 2**0.5 for s in shapes]
    return Perceptrons(*(p.movedim(0, -1).contiguous() for p in draws))


def single_start(seed):
    """The initial parameters of two nn.Linear layers after torch.manual_seed(seed); s = 1."""
    torch.manual_seed(seed)
    hidden, output = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
    parameters = hidden.weight, hidden.bias, output.weight[0], output.bias[0]
    return Perceptrons(*(p.detach()[..., None].double() for p in parameters))


def forward(networks, activation=torch.tanh):
    """h = φ(Wx + b) and z = v·h + c, with ŷ = σ(z): hidden (4, 2, s) and logits (4, s)."""
    W, b, v, c = networks
    h = activation(torch.tensordot(X.to(W.dtype), W, dims=([1], [1])) + b)
    return h, (v * h).sum(1) + c


def summed_loss(logits):
    """Cross-entropy of each network, summed over the four points: (s,)."""
    targets = Y.to(logits.dtype)[:, None].expand_as(logits)
    return binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(0)


def correct(networks, activation=torch.tanh):
    """Correctly classified points of each network: (s,) integers in 0 … 4."""
    return ((forward(networks, activation)[1] > 0) == (Y > 0.5)[:, None]).sum(0)


def descend(networks, steps, lr, activation=torch.tanh):
    """Full-batch gradient descent; yields (networks, loss (s,)) after 0, 1, … `steps` steps.

    One backward pass of the summed loss gives each network its own gradient.
    """
    for step in range(steps + 1):
        leaves = Perceptrons(*(p.detach().requires_grad_() for p in networks))
        loss = summed_loss(forward(leaves, activation)[1])
        yield networks, loss.detach()
        if step < steps:
            gradients = torch.autograd.grad(loss.sum(), leaves)
            networks = Perceptrons(*(p - lr * g for p, g in zip(networks, gradients, strict=True)))


def trajectory(network, steps, lr, activation=torch.tanh):
    """One network after 0, 1, … steps, as steps + 1 networks, and their losses (steps + 1,)."""
    networks, losses = zip(*descend(network, steps, lr, activation), strict=True)
    return Perceptrons(*(torch.cat(p, -1) for p in zip(*networks, strict=True))), torch.cat(losses)


def main(
    seed: Annotated[int, Field(ge=0, lt=2**32)],
    lr: Annotated[float, Field(gt=0, le=1000)],
    steps: Annotated[int, Field(ge=1, le=1_000_000)],
    snapshot_every: Annotated[int, Field(ge=1, le=1_000_000)],
    starts: Annotated[int, Field(ge=2, le=1_000_000)],
):
    if steps // snapshot_every >= MAX_SNAPSHOTS:  # one more at step 0
        least = f"should be at least {steps // MAX_SNAPSHOTS + 1} for {steps} steps"
        raise ParameterError("xor.snapshot_every", f"{least}, got {snapshot_every}")
    networks, losses = trajectory(single_start(seed), steps, lr)
    W, b, v, c = (p[..., -1].clone() for p in networks)

    # Without activation the network is affine. No line separates XOR, so the best is ŷ = ½.
    affine = torch.nn.Identity()
    affine_networks, affine_losses = trajectory(single_start(seed), steps, lr, affine)

    study = descend(random_starts(starts, seed), steps, lr)
    bar = tqdm(study, "steps", steps + 1, leave=False, disable=None)
    ends, final_losses = deque(bar, maxlen=1).pop()
    solved = correct(ends) == 4

    runs = [
        {"activation": name, "loss": loss[-1].item(), "min": loss.min().item(), "correct": right}
        for name, loss, right in (
            ("tanh", losses, correct(networks)[-1].item()),
            ("none", affine_losses, correct(affine_networks, affine)[-1].item()),
        )
    ]
    stalled = final_losses[~solved]
    metrics = {
        "xor_loss": losses[-1].item(),
        "linear_loss": affine_losses[-1].item(),
        "xor_solved": solved.double().mean().item(),
        "interval": wilson_interval(solved.sum().item(), starts),
        "runs": runs,
        "levels": [
            {"loss": level, "fraction": ((stalled - level).abs() < 0.05).double().mean().item()}
            for level in LEVELS
            if len(stalled)
        ],
    }
    write_arrays(
        "data/xor.npz",
        losses=losses.numpy(),
        linear_losses=affine_losses.numpy(),
        hidden=forward(networks)[0].movedim(-1, 0).contiguous().numpy(),
        line=torch.vstack([networks.v, networks.c]).T.contiguous().numpy(),
        initial=torch.cat([p[..., 0].flatten() for p in networks]).numpy(),
        snapshots=np.arange(0, steps + 1, snapshot_every),
        final_losses=final_losses.numpy(),
        solved=solved.numpy(),
    )
    state = {"hidden.weight": W, "hidden.bias": b, "output.weight": v[None], "output.bias": c[None]}
    write_bytes("data/xor.pth", pack_state(state))
    curves = pd.DataFrame({"step": range(steps + 1), "tanh": losses, "linear": affine_losses})
    write_rows("reports/plots/xor.json", curves[::10])
    return metrics


if __name__ == "__main__":
    run(main, section="xor")
