"""The pieces of the training recipe: the split, the order of the images, the learning rate, the
exponential moving average (EMA) of the weights."""

import math

import numpy as np
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


def hold_out(count, share):
    """Indices of `count` images, split at random into (learned from, held out).

    The split is the same for every seed, so that runs can be compared on the same images.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    held_out = round(share * count)
    return order[held_out:], order[:held_out]


def batches(count, batch_size, seed, epoch, device="cpu"):
    """The indices 0 … count - 1 in an order given by (seed, epoch), cut into batches.

    The rest that fills no batch is left out: BatchNorm cannot learn from a single image.
    """
    # NumPy mixes the two; torch's generator on the CPU would use the low 32 bits of a sum alone.
    order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(count)).to(device)
    return order[: count - count % batch_size].split(batch_size)


def generator_for(seed, epoch, device):
    """A generator whose draws are given by (seed, epoch): no state to keep between epochs."""
    mixed = np.random.SeedSequence([seed, epoch]).generate_state(1)[0]
    return torch.Generator(device).manual_seed(int(mixed))


def make_optimizer(name, model, lr, weight_decay):
    """Stochastic gradient descent with Nesterov momentum, or Adam with decoupled weight decay."""
    options = {"lr": lr, "weight_decay": weight_decay, "fused": True}
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=0.9, nesterov=True, **options)
    return torch.optim.AdamW(model.parameters(), **options)


def relative_rate(step, steps, schedule, warmup):
    """The learning rate of a step, 0 … steps - 1, in relation to its peak.

    It rises along a line through the first `warmup` share of the steps. Then it falls to zero along
    a line or half a cosine, or stays.
    """
    rise = warmup * steps
    if step + 1 < rise:
        return (step + 1) / rise
    fallen = (step - rise + 1) / (steps - rise + 1)
    return {
        "linear": 1 - fallen,
        "cosine": (1 + math.cos(math.pi * fallen)) / 2,
        "constant": 1.0,
    }[schedule]


def decay_at(step, decay):
    """The decay of the EMA in a step, 0 … steps - 1.

    It is at most (1 + step) / (10 + step), so that the random start is soon forgotten: 0.998 is
    reached after 4,490 steps.
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def move_average(averages, values, step, decay):
    """Move the tensors `averages` towards `values`, as an EMA: a ← d a + (1 - d) v.

    BatchNorm's statistics are averaged like the weights. d is `decay`, but less in the first steps.
    """
    moved, towards = [], []
    for average, value in zip(averages, values, strict=True):
        if value.is_floating_point():
            moved.append(average)
            towards.append(value)
        else:
            average.copy_(value)  # the batches that BatchNorm has seen
    get_ema_multi_avg_fn(decay_at(step, decay))(moved, towards, None)
