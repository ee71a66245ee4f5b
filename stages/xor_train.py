"""Train a 2-2-1 perceptron on XOR: one network, step by step, with and without its hidden
activation; then many random starts.

The single network runs in float64, so other implementations can reproduce it to 1e-6. The random
starts run in float32.

reads   params.yaml: xor
writes  data/xor.npz              after 0, 1, … steps: losses and linear_losses (steps + 1,),
                                  hidden (steps + 1, 4, 2), where the four points come to lie, and
                                  line (steps + 1, 3), the v1, v2, c of v1 h1 + v2 h2 + c = 0;
                                  initial (9,): its W (row-major), b, v and c at step 0;
                                  snapshots (k,), the steps to draw;
                                  per start: final_losses and solved
        data/xor.pth              the trained network as a state dict
        reports/metrics/xor.json  how it ended, with and without the activation, and the study
        reports/plots/xor.json    the two losses, for `dvc plots`
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

from common.files import write_arrays, write_bytes, write_metrics, write_rows
from common.params import ParameterError, run
from common.statistics import wilson_interval
from common.weights import pack_state

X = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])  # (4, 2)
Y = torch.tensor([0.0, 1.0, 1.0, 0.0])  # (4,)
MOST_SNAPSHOTS = 100  # more would make too tall a figure


class Perceptrons(NamedTuple):
    """s networks side by side: hidden weights W and biases b, output weights v and bias c."""

    W: torch.Tensor  # (s, 2, 2)
    b: torch.Tensor  # (s, 2)
    v: torch.Tensor  # (s, 2)
    c: torch.Tensor  # (s,)


def random_starts(starts, seed):
    """Parameters as torch.nn.Linear draws them: uniform in ±1/√2, with two inputs a layer."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((starts, 2, 2), (starts, 2), (starts, 2), (starts,))
    return Perceptrons(*((torch.rand(s, generator=generator) * 2 - 1) / 2**0.5 for s in shapes))


def one_start(seed):
    """The initial parameters of two nn.Linear layers after torch.manual_seed(seed); s = 1."""
    torch.manual_seed(seed)
    hidden, output = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
    parameters = hidden.weight, hidden.bias, output.weight[0], output.bias[0]
    return Perceptrons(*(p.detach()[None].double() for p in parameters))


def forward(networks, activation=torch.tanh):
    """h = φ(Wx + b) and z = v·h + c, whose sigmoid is ŷ: hidden (s, 4, 2) and logits (s, 4)."""
    W, b, v, c = networks
    h = activation(torch.einsum("shi,pi->sph", W, X.to(W.dtype)) + b[:, None])
    return h, torch.einsum("sph,sh->sp", h, v) + c[:, None]


def summed_loss(logits):
    """The cross-entropy of each network, summed over the four points: (s,)."""
    targets = Y.to(logits.dtype).expand_as(logits)
    return binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)


def correct(networks, activation=torch.tanh):
    """How many of the four points each network has on the right side: (s,)."""
    return ((forward(networks, activation)[1] > 0) == (Y > 0.5)).sum(1)


def descend(networks, steps, lr, activation=torch.tanh):
    """Full-batch gradient descent; yields (networks, loss (s,)) after 0, 1, … `steps` steps.

    One backward pass serves all s networks: the sum of their losses has each one's own gradient.
    """
    for step in range(steps + 1):
        learning = Perceptrons(*(p.detach().requires_grad_() for p in networks))
        loss = summed_loss(forward(learning, activation)[1])
        yield networks, loss.detach()
        if step < steps:
            gradients = torch.autograd.grad(loss.sum(), learning)
            networks = Perceptrons(*(p - lr * g for p, g in zip(networks, gradients, strict=True)))


def follow(network, steps, lr, activation=torch.tanh):
    """Descend with one network: it after 0, 1, … steps, as steps + 1 networks, and their losses."""
    networks, losses = zip(*descend(network, steps, lr, activation), strict=True)
    return Perceptrons(*map(torch.cat, zip(*networks, strict=True))), torch.cat(losses)


def main(
    seed: Annotated[int, Field(ge=0, lt=2**32)],
    lr: Annotated[float, Field(gt=0, le=1000)],
    steps: Annotated[int, Field(ge=1, le=1_000_000)],
    snapshot_every: Annotated[int, Field(ge=1, le=1_000_000)],
    starts: Annotated[int, Field(ge=1, le=1_000_000)],
):
    if steps > MOST_SNAPSHOTS * snapshot_every:
        least = f"should be at least {-(-steps // MOST_SNAPSHOTS)} for {steps} steps"
        raise ParameterError("xor.snapshot_every", f"{least}, got {snapshot_every}")
    networks, losses = follow(one_start(seed), steps, lr)
    W, b, v, c = (p[-1] for p in networks)

    # Affine after affine is affine, and no line separates XOR: the best is ŷ = ½ everywhere.
    affine = torch.nn.Identity()
    affine_networks, affine_losses = follow(one_start(seed), steps, lr, affine)

    study = descend(random_starts(starts, seed), steps, lr)
    bar = tqdm(study, "steps", steps + 1, leave=False, disable=None)
    ends, final_losses = deque(bar, maxlen=1).pop()
    solvers = correct(ends) == 4
    low, high = wilson_interval(solvers.sum().item(), starts)

    metrics = {
        "xor_loss": losses[-1].item(),
        "xor_correct": correct(networks)[-1].item(),
        "linear_loss": affine_losses[-1].item(),
        "linear_min": affine_losses.min().item(),
        "linear_correct": correct(affine_networks, affine)[-1].item(),
        "xor_solved": solvers.double().mean().item(),
        "xor_solved_low": low,
        "xor_solved_high": high,
    }
    if not solvers.all():
        stuck = final_losses[~solvers]
        metrics["xor_stuck"] = stuck.median().item()
        # Two points right, and the answer ½ to the other two.
        metrics["xor_stuck_2ln2"] = ((stuck - 2 * log(2)).abs() < 0.05).double().mean().item()
    write_metrics("reports/metrics/xor.json", metrics)
    write_arrays(
        "data/xor.npz",
        losses=losses.numpy(),
        linear_losses=affine_losses.numpy(),
        hidden=forward(networks)[0].numpy(),
        line=torch.cat([networks.v, networks.c[:, None]], 1).numpy(),
        initial=torch.cat([p[0].flatten() for p in networks]).numpy(),
        snapshots=np.arange(0, steps + 1, snapshot_every),
        final_losses=final_losses.numpy(),
        solved=solvers.numpy(),
    )
    state = {"hidden.weight": W, "hidden.bias": b, "output.weight": v[None], "output.bias": c[None]}
    write_bytes("data/xor.pth", pack_state(state))
    curves = pd.DataFrame({"step": range(steps + 1), "tanh": losses, "linear": affine_losses})
    write_rows("reports/plots/xor.json", curves[::10])


if __name__ == "__main__":
    run(main, section="xor")
