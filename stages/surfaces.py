"""Sample output, loss and gradient of one neuron over a (weight, bias) grid, and run gradient
descent on both losses from the corner whose output is farthest from the target.

For input x = 1 the neuron outputs ŷ = φ(wx + b); the target is y.

reads   params.yaml: surfaces
writes  data/surfaces.npz              weight (n,), bias (n,), target (); fields (n, n), where
                                       field[i, j] belongs to weight[i], bias[j];
                                       cut_* (n,): each field along the weight at bias 0;
                                       start (): initial w = b of both descents;
                                       descent_l2, descent_ce: ŷ after 0, 1, … steps
        reports/metrics/surfaces.json  sum of each loss; steps of each descent, absent if it did not
                                       reach the target; fields: extremes of each loss and gradient,
                                       and w + b at the extremes of a gradient
"""

from math import tanh
from typing import Annotated

import torch
from pydantic import Field
from torch.nn.functional import logsigmoid

from common.files import write_arrays
from common.stage import run


def squared_error(output, target):
    """L2 = (ŷ - y)²."""
    return (output - target) ** 2


def cross_entropy(z, target):
    """CE = -(y log ŷ + (1 - y) log(1 - ŷ)) for ŷ = σ(z), stable if ŷ rounds to 0 or 1."""
    return -(target * logsigmoid(z) + (1 - target) * logsigmoid(-z))


def gradient(loss, weight):
    """∂loss/∂w at every grid point by automatic differentiation, in the shape of weight."""
    return torch.autograd.grad(loss.sum(), weight, retain_graph=True)[0]


def sample(weight, bias, target):
    """All fields over two (n, n) grids of weight and bias: {name: tensor (n, n)}."""
    w = weight.clone().requires_grad_()
    z = w * 1 + bias  # x = 1
    y_hat = torch.sigmoid(z)
    rectified = torch.relu(z)
    l2, relu_l2 = squared_error(y_hat, target), squared_error(rectified, target)
    ce = cross_entropy(z, target)
    fields = {
        "sigmoid": y_hat,
        "l2": l2,
        "l2_grad": gradient(l2, w),
        "ce": ce,
        "ce_grad": gradient(ce, w),
        "relu": rectified,
        "relu_l2": relu_l2,
        "relu_l2_grad": gradient(relu_l2, w),
    }
    return {name: field.detach() for name, field in fields.items()}


def l2_slope(y_hat, target):
    """∂L2/∂z = 2 (ŷ - y) ŷ (1 - ŷ) for ŷ = σ(z)."""
    return 2 * (y_hat - target) * y_hat * (1 - y_hat)


def ce_slope(y_hat, target):
    """∂CE/∂z = ŷ - y for ŷ = σ(z)."""
    return y_hat - target


def descend(slope, start, target, lr, tolerance, steps):
    """Outputs ŷ after 0, 1, … gradient steps from w = b = start until |ŷ - y| ≤ tolerance.

    `slope` is ∂loss/∂z. For x = 1, weight and bias have the same gradient, so z moves twice as far
    as each.
    """
    z, outputs = 2 * start, []
    for _ in range(steps + 1):
        outputs.append((1 + tanh(z / 2)) / 2)  # σ(z) without overflow
        if abs(outputs[-1] - target) <= tolerance:
            break
        z -= 2 * lr * slope(outputs[-1], target)
    return outputs


def main(
    extent: Annotated[float, Field(gt=0, le=1000)],
    points: Annotated[int, Field(ge=2, le=2000)],
    target: Annotated[float, Field(ge=0, le=1)],
    lr: Annotated[float, Field(gt=0, le=1000)],
    tolerance: Annotated[float, Field(gt=0, lt=1)],
    steps: Annotated[int, Field(ge=1, le=10_000_000)],
):
    axis = torch.linspace(-extent, extent, points, dtype=torch.float64)
    weight, bias = torch.meshgrid(axis, axis, indexing="ij")
    fields = sample(weight, bias, target)

    # Automatic and analytic gradients agree.
    y_hat = fields["sigmoid"]
    torch.testing.assert_close(fields["l2_grad"], l2_slope(y_hat, target))
    torch.testing.assert_close(fields["ce_grad"], ce_slope(y_hat, target))

    metrics = {f"{name}_sum": fields[name].sum().item() for name in ("l2", "ce", "relu_l2")}
    extremes = []
    for name in ("l2", "ce", "relu_l2", "l2_grad", "ce_grad", "relu_l2_grad"):
        field, z = fields[name].flatten(), (weight + bias).flatten()
        row = {"field": name, "min": field.min().item(), "max": field.max().item()}
        if name.endswith("grad"):
            row |= {"min_at": z[field.argmin()].item(), "max_at": z[field.argmax()].item()}
        extremes.append(row)

    start = extent if target <= 0.5 else -extent
    descents = {
        name: descend(slope, start, target, lr, tolerance, steps)
        for name, slope in (("l2", l2_slope), ("ce", ce_slope))
    }
    for name, outputs in descents.items():
        if abs(outputs[-1] - target) <= tolerance:
            metrics[f"{name}_steps"] = len(outputs) - 1

    cut = sample(axis, torch.zeros_like(axis), target)
    write_arrays(
        "data/surfaces.npz",
        weight=axis.numpy(),
        bias=axis.numpy(),
        target=target,
        start=start,
        **{name: field.numpy() for name, field in fields.items()},
        **{f"cut_{name}": field.numpy() for name, field in cut.items()},
        **{f"descent_{name}": outputs for name, outputs in descents.items()},
    )
    return metrics | {"fields": extremes}


if __name__ == "__main__":
    run(main, section="surfaces")
