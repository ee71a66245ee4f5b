"""Sample the output, loss and gradient of one neuron over a (weight, bias) grid.

The neuron answers ŷ = φ(wx + b) to the input x = 1, and should answer y, the target.

reads   params.yaml: surfaces
writes  data/surfaces.npz              weight (n,), bias (n,), target (), and per field (n, n):
                                       field[i, j] belongs to weight[i], bias[j]
        reports/metrics/surfaces.json  sum of each loss, extremes of each loss and gradient
"""

from typing import Annotated

import torch
from pydantic import Field
from torch.nn.functional import logsigmoid

from common.files import write_arrays, write_metrics
from common.params import run


def squared_error(output, target):
    """L2 = (ŷ - y)²."""
    return (output - target) ** 2


def cross_entropy(z, target):
    """CE = -(y log ŷ + (1 - y) log(1 - ŷ)) for ŷ = σ(z), stable where ŷ rounds to 0 or 1."""
    return -(target * logsigmoid(z) + (1 - target) * logsigmoid(-z))


def gradient(loss, weight):
    """∂loss/∂w at every grid point, by automatic differentiation; the shape of weight."""
    return torch.autograd.grad(loss.sum(), weight, retain_graph=True)[0]


def sample(weight, bias, target):
    """Every field over two (n, n) grids of weight and bias: name to tensor (n, n)."""
    w = weight.clone().requires_grad_()
    z = w * 1 + bias  # x = 1
    y_hat = torch.sigmoid(z)
    rectified = torch.relu(z)
    l2, ce, relu_l2 = (
        squared_error(y_hat, target),
        cross_entropy(z, target),
        squared_error(rectified, target),
    )
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


def main(
    extent: Annotated[float, Field(gt=0, le=1000)],
    points: Annotated[int, Field(ge=2, le=2000)],
    target: Annotated[float, Field(ge=0, le=1)],
):
    axis = torch.linspace(-extent, extent, points, dtype=torch.float64)
    weight, bias = torch.meshgrid(axis, axis, indexing="ij")
    fields = sample(weight, bias, target)

    # The gradients on paper, with x = 1: autograd must agree.
    y_hat = fields["sigmoid"]
    torch.testing.assert_close(fields["l2_grad"], 2 * (y_hat - target) * y_hat * (1 - y_hat))
    torch.testing.assert_close(fields["ce_grad"], y_hat - target)

    metrics = {}
    for name in ("l2", "l2_grad", "ce", "ce_grad", "relu_l2", "relu_l2_grad"):
        field = fields[name]
        metrics |= {f"{name}_min": field.min().item(), f"{name}_max": field.max().item()}
        if not name.endswith("grad"):
            metrics[f"{name}_sum"] = field.sum().item()
    write_metrics("reports/metrics/surfaces.json", metrics)
    arrays = {name: field.numpy() for name, field in fields.items()}
    write_arrays(
        "data/surfaces.npz", weight=axis.numpy(), bias=axis.numpy(), target=target, **arrays
    )


if __name__ == "__main__":
    run(main, section="surfaces")
