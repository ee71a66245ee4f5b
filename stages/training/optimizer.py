"""Optimizer, learning rate schedule and exponential moving average (EMA) of the weights."""

from copy import deepcopy

import torch


def make_optimizer(name, model, weight_decay):
    """SGD with Nesterov momentum, or AdamW.

    The learning rate is a tensor (), set before each step: a CUDA graph would freeze a number.
    """
    lr = torch.zeros((), device=next(model.parameters()).device)
    options = {"lr": lr, "weight_decay": weight_decay, "fused": True}
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=0.9, nesterov=True, **options)
    return torch.optim.AdamW(model.parameters(), capturable=lr.is_cuda, **options)


def learning_rates(peak, steps, schedule, warmup):
    """The learning rate of every step: (steps,) float32.

    It rises linearly to the peak during the `warmup` fraction of the steps, then decays to zero
    (linear or cosine) or stays constant.
    """
    step = torch.arange(1, steps + 1, dtype=torch.float64)
    rise = warmup * steps
    progress = (step - rise) / (steps - rise + 1)  # of the decay, 0 … 1
    decay = {
        "linear": 1 - progress,
        "cosine": (1 + torch.cos(torch.pi * progress)) / 2,
        "constant": torch.ones_like(progress),
    }[schedule]
    return (peak * torch.where(step < rise, step / max(rise, 1), decay)).float()


def ema_decays(ema, steps):
    """The EMA decay of every step: (steps,) float32, for a time constant of `ema` · steps.

    It is capped at (1 + k) / (10 + k) in step k = 0, 1, …, so the random initialisation is
    forgotten quickly. The cap's time constant is (10 + k) / 9 steps, so `ema` ≥ 1/9 has no effect.
    """
    step = torch.arange(steps, dtype=torch.float64)
    return ((1 + step) / (10 + step)).clamp(max=1 - 1 / max(1, ema * steps)).float()


def make_ema(model):
    """A copy of the model that holds its EMA, and a function update(decay ()).

    average ← decay · average + (1 - decay) · value, for parameters and BatchNorm statistics. The
    models share BatchNorm's batch counters.
    """
    counters = {id(b): b for b in model.buffers() if not b.is_floating_point()}
    ema_model = deepcopy(model, counters).requires_grad_(False)
    averages, values = (
        [t for t in m.state_dict().values() if t.is_floating_point()] for m in (ema_model, model)
    )

    def update(decay):
        torch._foreach_mul_(averages, decay)
        torch._foreach_add_(averages, torch._foreach_mul(values, 1 - decay))

    return ema_model, update
