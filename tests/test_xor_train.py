"""The XOR networks agree with PyTorch, NumPy and theory."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from workspaces import small_params

import xor_train
from common.files import read_arrays
from common.params import ParameterError

AFFINE = nn.Identity()


def as_module(networks):
    """The first network as a module of PyTorch layers."""
    module = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1), nn.Sigmoid())
    W, b, v, c = (p[..., 0].clone() for p in networks)
    module.load_state_dict({"0.weight": W, "0.bias": b, "2.weight": v[None], "2.bias": c[None]})
    return module


@pytest.fixture(scope="module")
def default_run():
    """The run with the default parameters: 3001 steps from the initial weights of seed 42."""
    return xor_train.trajectory(xor_train.single_start(42), steps=3001, lr=0.1)


def test_initial_weights_equal_those_of_pytorch_for_the_seed():
    torch.manual_seed(42)
    hidden, output = nn.Linear(2, 2), nn.Linear(2, 1)
    W, b, v, c = xor_train.single_start(42)
    assert torch.equal(W[..., 0], hidden.weight.double())
    assert torch.equal(b[..., 0], hidden.bias.double())
    assert torch.equal(v[..., 0], output.weight[0].double())
    assert torch.equal(c, output.bias.double())


def test_the_run_agrees_with_pytorchs_layers_loss_and_sgd_in_float64():
    start = xor_train.single_start(42)
    networks, losses = xor_train.trajectory(start, steps=200, lr=0.1)
    module = as_module(start).double()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for step in range(201):
        predicted = module(xor_train.X.double())[:, 0]
        loss = nn.functional.binary_cross_entropy(predicted, xor_train.Y.double(), reduction="sum")
        assert losses[step].item() == pytest.approx(loss.item(), rel=1e-12)
        if step < 200:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.testing.assert_close(networks.W[..., -1], module[0].weight.detach(), atol=0, rtol=1e-10)


def test_numpy_with_hand_written_gradients_reproduces_the_run_to_1e_6(default_run):
    W, b, v, c = (p[..., 0].numpy() for p in xor_train.single_start(42))
    x, y = xor_train.X.numpy().astype(float), xor_train.Y.numpy().astype(float)
    for _ in range(3001):
        h = np.tanh(x @ W.T + b)  # (4, 2)
        dz = 1 / (1 + np.exp(-(h @ v + c))) - y  # (4,): ∂L/∂z = ŷ - y
        dh = dz[:, None] * v * (1 - h**2)  # (4, 2)
        W, b, v, c = W - 0.1 * dh.T @ x, b - 0.1 * dh.sum(0), v - 0.1 * dz @ h, c - 0.1 * dz.sum()
    z = np.tanh(x @ W.T + b) @ v + c
    loss = np.logaddexp(0, np.where(y > 0, -z, z)).sum()
    _, losses = default_run
    assert losses[-1].item() == pytest.approx(loss, rel=1e-6)


def test_a_batch_of_starts_gives_the_results_of_single_runs():
    starts = xor_train.random_starts(5, seed=1)
    *_, (together, losses) = xor_train.descend(starts, steps=30, lr=0.1)
    for k in range(5):
        alone = xor_train.Perceptrons(*(p[..., k : k + 1] for p in starts))
        *_, (end, loss) = xor_train.descend(alone, steps=30, lr=0.1)
        assert loss.item() == pytest.approx(losses[k].item(), rel=1e-4)
        torch.testing.assert_close(end.W[..., 0], together.W[..., k], atol=1e-5, rtol=1e-4)


def test_the_default_seed_solves_xor(default_run):
    networks, losses = default_run
    assert len(losses) == 3002
    assert losses[-1] < 0.02
    assert xor_train.correct(networks)[-1] == 4
    assert (
        as_module(xor_train.Perceptrons(*(p[..., -1:] for p in networks)))(xor_train.X)[:, 0] > 0.5
    ).tolist() == [False, True, True, False]


def test_without_activation_no_start_solves_xor_or_reaches_a_loss_below_4_ln_2():
    starts = xor_train.random_starts(200, seed=0)
    *_, (ends, losses) = xor_train.descend(starts, steps=1500, lr=0.1, activation=AFFINE)
    assert losses.min().item() == pytest.approx(4 * math.log(2), abs=1e-5)
    assert xor_train.correct(ends, AFFINE).max() < 4


def test_the_stage_writes_its_arrays_and_a_second_run_gives_equal_bytes(written):
    parameters = small_params()["xor"]
    metrics = xor_train.main(**parameters)
    first = written()
    assert xor_train.main(**parameters) == metrics
    assert written() == first

    arrays = read_arrays("data/xor.npz")
    state = torch.load("data/xor.pth", weights_only=True)
    assert arrays["snapshots"].tolist() == [0, 20, 40, 60]
    assert arrays["hidden"].shape == (61, 4, 2)
    assert arrays["line"].shape == (61, 3)
    start = xor_train.single_start(parameters["seed"])
    hidden = torch.tanh(xor_train.X.double() @ start.W[..., 0].T + start.b[..., 0])
    torch.testing.assert_close(torch.from_numpy(arrays["hidden"][0]), hidden)
    assert arrays["line"][0].tolist() == [*start.v[..., 0].tolist(), start.c.item()]
    assert arrays["initial"].dtype == np.float64
    assert arrays["initial"].tolist() == torch.cat([p.flatten() for p in start]).tolist()
    assert arrays["final_losses"].shape == arrays["solved"].shape == (30,)
    assert state["hidden.weight"].shape == (2, 2)
    assert Path("data/xor.pth").stat().st_size < 5000  # the last network, not all of them
    low, high = metrics["interval"]
    assert low <= metrics["xor_solved"] <= high
    for run, name in zip(metrics["runs"], ("losses", "linear_losses"), strict=True):
        assert (run["loss"], run["min"]) == (arrays[name][-1], arrays[name].min())
    rows = json.loads(Path("reports/plots/xor.json").read_text())["rows"]
    assert [row["step"] for row in rows] == [*range(0, 61, 10)]
    for column, name in (("tanh", "losses"), ("linear", "linear_losses")):
        assert [row[column] for row in rows] == pytest.approx(arrays[name][::10], rel=1e-5)


def test_the_levels_are_the_losses_of_stalled_outputs():
    two_correct, one_correct = (1e-9, 1 - 1e-9, 0.5, 0.5), (1e-9, 2 / 3, 2 / 3, 2 / 3)
    outputs = torch.tensor([two_correct, one_correct], dtype=torch.float64)
    losses = xor_train.summed_loss(outputs.T.logit())
    assert losses.tolist() == pytest.approx(xor_train.LEVELS)


@pytest.mark.parametrize(
    ("solved", "fractions"), [([4, 3, 3, 3], [1 / 3, 1 / 3]), ([4, 4, 4, 4], [])]
)
def test_the_fractions_at_the_levels_are_of_the_unsolved_starts(
    solved, fractions, workspace, monkeypatch
):
    descend, (low, high) = xor_train.descend, xor_train.LEVELS
    ends = xor_train.random_starts(4, 0), torch.tensor([0.01, low, low + 0.2, high])
    monkeypatch.setattr(
        xor_train, "descend", lambda n, *rest: [ends] if n.c.numel() == 4 else descend(n, *rest)
    )
    monkeypatch.setattr(xor_train, "correct", lambda *_: torch.tensor(solved))
    metrics = xor_train.main(**small_params()["xor"] | {"starts": 4})
    assert [row["fraction"] for row in metrics["levels"]] == pytest.approx(fractions)
    assert metrics["xor_solved"] == solved.count(4) / 4


def test_at_most_100_snapshots_are_drawn(workspace):
    parameters = small_params()["xor"] | {"steps": 200, "starts": 2}
    with pytest.raises(ParameterError, match="should be at least 3 for 200 steps, got 2"):
        xor_train.main(**parameters | {"snapshot_every": 2})
    xor_train.main(**parameters | {"snapshot_every": 3})
    assert len(read_arrays("data/xor.npz")["snapshots"]) == 67
    xor_train.main(**parameters | {"steps": 199, "snapshot_every": 2})
    assert len(read_arrays("data/xor.npz")["snapshots"]) == 100
