import math

import numpy as np
import pytest
import torch
from conftest import small_params

import surfaces
from common.files import read_arrays


def grid(extent=6.0, points=100):
    axis = torch.linspace(-extent, extent, points, dtype=torch.float64)
    return torch.meshgrid(axis, axis, indexing="ij")


def test_sums_over_the_grid_are_those_of_the_assignment():
    fields = surfaces.sample(*grid(), target=0.5)
    assert fields["l2"].sum().item() == pytest.approx(1769.31224, abs=5e-6)
    assert fields["ce"].sum().item() == pytest.approx(21435.47444, abs=5e-6)


@pytest.mark.parametrize("target", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("name", ["l2", "ce", "relu_l2"])
def test_gradients_agree_with_central_differences(name, target):
    weight, bias = grid(points=12)  # no grid point lies on the kink of the ReLU at w + b = 0
    bias = bias + 0.1
    h = 1e-5
    after = surfaces.sample(weight + h, bias, target)[name]
    before = surfaces.sample(weight - h, bias, target)[name]
    expected = (after - before) / (2 * h)
    found = surfaces.sample(weight, bias, target)[f"{name}_grad"]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_an_answer_worked_by_hand():
    w, b = torch.tensor([[1.0]], dtype=torch.float64), torch.tensor([[0.0]], dtype=torch.float64)
    fields = {name: field.item() for name, field in surfaces.sample(w, b, 0.5).items()}
    y_hat = 1 / (1 + math.exp(-1))
    assert fields["sigmoid"] == pytest.approx(y_hat)
    assert fields["l2_grad"] == pytest.approx(2 * (y_hat - 0.5) * y_hat * (1 - y_hat))
    assert fields["ce"] == pytest.approx(-0.5 * math.log(y_hat) - 0.5 * math.log(1 - y_hat))
    assert (fields["relu"], fields["relu_l2"], fields["relu_l2_grad"]) == (1, 0.25, 1)


def test_cross_entropy_is_finite_where_the_output_rounds_to_zero_or_one():
    z = torch.tensor([-1000.0, 1000.0], dtype=torch.float64)
    assert surfaces.cross_entropy(z, 0.5).tolist() == [500, 500]


def test_cross_entropy_is_least_where_output_meets_target():
    fields = surfaces.sample(*grid(), target=0.5)
    assert fields["ce"].min().item() == pytest.approx(math.log(2), abs=1e-12)


def test_the_stage_writes_fields_by_weight_and_bias_and_equal_bytes_twice(written):
    parameters = small_params()["surfaces"]
    surfaces.main(**parameters)
    first = written()
    surfaces.main(**parameters)
    assert written() == first
    arrays = read_arrays("data/surfaces.npz")
    weight, bias = arrays["weight"], arrays["bias"]
    assert weight.shape == bias.shape == (12,)
    assert (weight[0], weight[-1]) == (-6, 6)
    expected = 1 / (1 + np.exp(-(weight[:, None] + bias[None, :])))
    np.testing.assert_allclose(arrays["sigmoid"], expected)
    assert arrays["relu_l2_grad"][-1, -1] == 2 * (12 - 0.5)
