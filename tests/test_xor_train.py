import json
import math
from pathlib import Path

import pytest
import torch
from conftest import small_params
from torch import nn

import xor_train
from common.files import read_arrays, read_state

AFFINE = nn.Identity()


def as_module(networks):
    """The first network, as PyTorch's own layers."""
    module = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1), nn.Sigmoid())
    W, b, v, c = (p[0].clone() for p in networks)
    module.load_state_dict({"0.weight": W, "0.bias": b, "2.weight": v[None], "2.bias": c[None]})
    return module


def test_a_start_is_the_one_that_pytorch_draws_for_the_seed():
    torch.manual_seed(42)
    hidden, output = nn.Linear(2, 2), nn.Linear(2, 1)
    W, b, v, c = xor_train.one_start(42)
    assert torch.equal(W[0], hidden.weight)
    assert torch.equal(b[0], hidden.bias)
    assert torch.equal(v[0], output.weight[0])
    assert torch.equal(c, output.bias)


def test_descent_agrees_with_pytorchs_own_layers_loss_and_sgd():
    start = xor_train.one_start(42)
    networks, losses = xor_train.follow(start, steps=50, lr=0.1)
    module = as_module(start)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for step in range(51):
        loss = nn.functional.binary_cross_entropy(
            module(xor_train.X)[:, 0], xor_train.Y, reduction="sum"
        )
        assert losses[step].item() == pytest.approx(loss.item(), abs=1e-5)
        if step < 50:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.testing.assert_close(networks.W[-1], module[0].weight.detach(), atol=1e-5, rtol=1e-4)


def test_starts_side_by_side_go_where_each_would_go_alone():
    starts = xor_train.random_starts(5, seed=1)
    *_, (together, losses) = xor_train.descend(starts, steps=30, lr=0.1)
    for k in range(5):
        alone = xor_train.Perceptrons(*(p[k : k + 1] for p in starts))
        *_, (end, loss) = xor_train.descend(alone, steps=30, lr=0.1)
        assert loss.item() == pytest.approx(losses[k].item(), rel=1e-4)
        torch.testing.assert_close(end.W[0], together.W[k], atol=1e-5, rtol=1e-4)


def test_the_default_seed_solves_xor():
    networks, losses = xor_train.follow(xor_train.one_start(42), steps=3001, lr=0.1)
    assert len(losses) == 3002
    assert losses[-1] < 0.02
    assert xor_train.correct(networks)[-1] == 4
    assert (
        as_module(xor_train.Perceptrons(*(p[-1:] for p in networks)))(xor_train.X)[:, 0] > 0.5
    ).tolist() == [False, True, True, False]


def test_without_the_activation_no_start_solves_xor_or_gets_below_four_ln_two():
    starts = xor_train.random_starts(200, seed=0)
    *_, (ends, losses) = xor_train.descend(starts, steps=1500, lr=0.1, activation=AFFINE)
    assert losses.min().item() == pytest.approx(4 * math.log(2), abs=1e-5)
    assert xor_train.correct(ends, AFFINE).max() < 4


def test_the_stage_writes_snapshots_whose_line_is_the_output_layers(written):
    parameters = small_params()["xor"]
    xor_train.main(**parameters)
    first = written()
    xor_train.main(**parameters)
    assert written() == first

    arrays, state = read_arrays("data/xor.npz"), read_state("data/xor.pth")
    assert arrays["snapshots"].tolist() == [0, 20, 40, 60]
    assert arrays["hidden"].shape == (61, 4, 2)
    assert arrays["line"].shape == (61, 3)
    start = xor_train.one_start(parameters["seed"])
    hidden = torch.tanh(xor_train.X @ start.W[0].T + start.b[0])
    torch.testing.assert_close(torch.from_numpy(arrays["hidden"][0]), hidden)
    assert arrays["line"][0].tolist() == [*start.v[0].tolist(), start.c.item()]
    assert arrays["final_losses"].shape == arrays["solved"].shape == (30,)
    assert state["hidden.weight"].shape == (2, 2)
    metrics = json.loads(Path("reports/metrics/xor.json").read_text())
    assert metrics["xor_solved_low"] <= metrics["xor_solved"] <= metrics["xor_solved_high"]
