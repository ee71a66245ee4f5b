"""The fields of one neuron agree with calculus, PyTorch and examples computed by hand."""

import math

import numpy as np
import pytest
import torch
from workspaces import small_params

import surfaces
from common.files import read_arrays


def grid(points=100):
    axis = torch.linspace(-6, 6, points, dtype=torch.float64)
    return torch.meshgrid(axis, axis, indexing="ij")


def test_sums_over_the_grid_match_the_readme():
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
    actual = surfaces.sample(weight, bias, target)[f"{name}_grad"]
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-6)


def test_an_example_computed_by_hand():
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


def test_the_minimum_of_cross_entropy_is_ln_2_for_target_one_half():
    fields = surfaces.sample(*grid(), target=0.5)
    assert fields["ce"].min().item() == pytest.approx(math.log(2), abs=1e-12)


@pytest.mark.parametrize("name", ["l2", "ce"])
def test_the_descent_agrees_with_torchs_sgd(name):
    slope = {"l2": surfaces.l2_slope, "ce": surfaces.ce_slope}[name]
    outputs = surfaces.descend(slope, start=2.0, target=0.3, lr=0.5, tolerance=0.01, steps=200)
    weight, bias = (torch.tensor(2.0, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.SGD([weight, bias], lr=0.5)
    for output in outputs:
        z = weight * 1 + bias
        assert output == pytest.approx(torch.sigmoid(z).item(), abs=1e-9)
        loss = (torch.sigmoid(z) - 0.3) ** 2 if name == "l2" else surfaces.cross_entropy(z, 0.3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert abs(outputs[-1] - 0.3) <= 0.01 < abs(outputs[-2] - 0.3)


def test_from_a_saturated_start_cross_entropy_converges_and_l2_does_not(workspace):
    metrics = surfaces.main(extent=6, points=3, target=0.5, lr=1, tolerance=0.01, steps=2000)
    assert metrics["ce_steps"] < 50
    assert "l2_steps" not in metrics
    descents = read_arrays("data/surfaces.npz")
    assert len(descents["descent_l2"]) == 2001
    assert descents["descent_l2"][-1] > 0.99
    assert len(descents["descent_ce"]) == metrics["ce_steps"] + 1


@pytest.mark.parametrize("changes", [{"extent": 1000, "lr": 1e300}, {"target": 0}, {"target": 1}])
def test_extreme_parameters_give_finite_numbers(workspace, changes):
    surfaces.main(**small_params()["surfaces"] | {"steps": 10} | changes)


def test_the_stage_writes_all_fields_and_a_second_run_gives_equal_bytes(written):
    parameters = small_params()["surfaces"]
    metrics = surfaces.main(**parameters)
    first = written()
    assert surfaces.main(**parameters) == metrics
    assert written() == first
    arrays = read_arrays("data/surfaces.npz")
    weight, bias = arrays["weight"], arrays["bias"]
    assert weight.shape == bias.shape == (12,)
    assert (weight[0], weight[-1]) == (-6, 6)
    expected = 1 / (1 + np.exp(-(weight[:, None] + bias[None, :])))
    np.testing.assert_allclose(arrays["sigmoid"], expected)
    assert arrays["relu_l2_grad"][-1, -1] == 2 * (12 - 0.5)
    np.testing.assert_allclose(arrays["cut_sigmoid"], 1 / (1 + np.exp(-weight)))
    extremes = {row["field"]: row for row in metrics["fields"]}
    for name, row in extremes.items():
        assert (row["min"], row["max"]) == (arrays[name].min(), arrays[name].max())
        if name.endswith("grad"):
            for end, k in (("min_at", arrays[name].argmin()), ("max_at", arrays[name].argmax())):
                i, j = np.unravel_index(k, (12, 12))
                assert row[end] == pytest.approx(weight[i] + bias[j])
    for name in ("l2", "ce", "relu_l2"):
        assert metrics[f"{name}_sum"] == pytest.approx(arrays[name].sum())
