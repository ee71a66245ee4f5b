"""The network, its training runs and their outputs."""

import json
import sys
from functools import partial

import pandas as pd
import pytest
import torch
from torch import nn
from workspaces import small_params, train

import cnn_train
from common.files import read_arrays
from common.mnist import TRAIN, read_images
from common.model import DigitClassification, fuse, predict, scale
from common.params import ParameterError
from figures import cnn
from training.augment import draw_epoch
from training.data import read_splits, shuffled_batches
from training.optimizer import learning_rates

read_model = partial(torch.load, weights_only=True)


def assignments_layers():
    """The layers described in the assignment, as (name, module)."""
    channels = [1, 32, 32, 64]
    for block in (1, 2, 3):
        before, after = channels[block - 1 : block + 1]
        yield f"conv{block}", nn.Conv2d(before, after, 5, padding=2)
        yield f"bn{block}", nn.BatchNorm2d(after)
        yield f"relu{block}", nn.ReLU()
        yield f"pool{block}", nn.AvgPool2d(2, 2)
    yield "flatten", nn.Flatten()
    yield "linear1", nn.Linear(576, 64)
    yield "bn4", nn.BatchNorm1d(64)
    yield "relu4", nn.ReLU()
    yield "linear2", nn.Linear(64, 10)


def test_the_checkpoint_loads_strictly_into_the_assignments_layers(computed):
    state = torch.load(computed / "data/network/model.pth", weights_only=True)
    reference = nn.Sequential()
    for name, module in assignments_layers():
        reference.add_module(name, module)
    reference.load_state_dict(state, strict=True)
    model = DigitClassification()
    model.load_state_dict(state, strict=True)
    pixels = torch.randint(0, 256, (7, 28, 28), dtype=torch.uint8)
    torch.testing.assert_close(predict(model, pixels), reference.eval()(scale(pixels)))
    assert sum(p.numel() for p in reference.parameters()) == 115_690
    assert [name for name, _ in model.named_children()] == [
        name for name, _ in assignments_layers() if name != "flatten"
    ]


def test_pixels_are_scaled_to_minus_one_to_one():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(3, 1, 1)
    assert scale(pixels).flatten().tolist() == pytest.approx([-1, -0.6, 1])


def test_folding_batch_norm_keeps_the_logits():
    torch.manual_seed(0)
    model = DigitClassification().to(memory_format=torch.channels_last)
    pixels = scale(torch.randint(0, 256, (64, 28, 28), dtype=torch.uint8))
    for _ in range(20):
        model(pixels)  # change the running statistics from 0 and 1
    with torch.no_grad():
        expected = model.eval()(pixels)
        torch.testing.assert_close(fuse(model)(pixels), expected, atol=1e-5, rtol=1e-5)


def test_predict_changes_neither_the_running_statistics_nor_the_mode():
    model = DigitClassification().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    predict(model, torch.randint(0, 256, (9, 28, 28), dtype=torch.uint8))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_training_learns_easy_classes_and_a_second_run_gives_equal_bytes(images, written):
    metrics = train(epochs=4)
    first = written()
    train(epochs=4)
    assert written() == first
    history = pd.read_csv("data/network/history.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert {f"{s}_{v}" for s in ("train", "val", "test") for v in ("loss", "acc")} < {*history}
    assert history["test_acc"].iloc[-1] > 0.9
    assert 0.5 < history["train_acc"].iloc[-1] <= 1
    lrs = learning_rates(0.02, 44, "linear", small_params()["train"]["warmup"])
    assert history["lr"].tolist() == pytest.approx(lrs[::11].tolist(), rel=1e-5)
    assert metrics["val_acc"] == pytest.approx(history["val_acc"].iloc[-1])
    # The last training loss in the history is a mean over the epoch, not of the final network.
    training, validation = metrics["splits"]
    assert training["accuracy"] > 0.9
    assert training["loss"] < history["train_loss"].iloc[-1]
    assert (training["images"], validation["images"]) == (180, 20)
    # A patch version would change the bytes of the results.
    assert metrics["machine"][0]["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_the_saved_network_is_the_one_in_the_last_row_of_the_history(computed):
    last = pd.read_csv(computed / "data/network/history.csv").iloc[-1]
    evaluated = json.loads((computed / "reports/metrics/evaluate.json").read_text())
    assert evaluated["accuracy"] == pytest.approx(last["test_acc"], abs=1e-5)
    assert evaluated["loss"] == pytest.approx(last["test_loss"], rel=1e-4)


def test_the_weight_arrays_equal_the_checkpoint(computed):
    folder = computed / "data/network"
    state, arrays = read_model(folder / "model.pth"), read_arrays(folder / "weights.npz")
    assert state.keys() == arrays.keys()
    assert all((state[name].numpy() == arrays[name]).all() for name in state)
    assert state["bn1.num_batches_tracked"] == 22


def test_another_seed_gives_another_network(images, computed):
    first = read_model(computed / "data/network/model.pth")["conv1.weight"]
    train(seed=1)
    assert not torch.equal(read_model("data/network/model.pth")["conv1.weight"], first)


def test_training_never_uses_held_out_images(images):
    splits = read_splits(0.1, "cpu")
    assert [len(labels) for _, labels in splits.values()] == [180, 20, 100]
    split_images = torch.cat([splits["train"][0], splits["val"][0]]).flatten(1)
    all_images = torch.from_numpy(read_images(TRAIN)[0]).flatten(1)
    assert sorted(map(tuple, split_images.tolist())) == sorted(map(tuple, all_images.tolist()))


def test_without_validation_its_columns_are_empty_and_its_metrics_absent(images):
    metrics = train(validation=0)
    history = pd.read_csv("data/network/history.csv")
    assert history[["val_loss", "val_acc"]].isna().all(axis=None)
    assert history.drop(columns=["val_loss", "val_acc"]).notna().all(axis=None)
    assert "val_acc" not in metrics
    cnn.draw_history(history, "Digits")


def test_each_epoch_visits_every_image_once_in_a_new_order():
    first, again, epoch, seed, swapped = (
        torch.cat(shuffled_batches(96, 16, *key))
        for key in ((3, 1), (3, 1), (3, 2), (4, 1), (1, 3))
    )
    assert sorted(first.tolist()) == [*range(96)]
    assert torch.equal(first, again)
    assert not any(torch.equal(first, other) for other in (epoch, seed, swapped))
    assert [len(batch) for batch in shuffled_batches(100, 16, 3, epoch=1)] == [16] * 6


def test_each_epoch_draws_new_distortions(images, monkeypatch):
    drawn = []

    def draw(*arguments):
        drawn.extend(draw_epoch(*arguments))
        return drawn[-11:]

    monkeypatch.setattr(cnn_train, "draw_epoch", draw)
    train(augment=small_params()["train"]["augment"] | {"until": 1.0})
    assert len(drawn) == 22
    assert not torch.equal(drawn[0], drawn[11])


def test_the_notebooks_settings_keep_the_learning_rate_constant(images):
    settings = {"optimizer": "adam", "schedule": "constant", "warmup": 0.0, "augment": None}
    longer = train(ema=0.0, lr=0.01, **settings)
    assert pd.read_csv("data/network/history.csv")["lr"].tolist() == [0.01, 0.01]
    # The first losses are those of the first epoch.
    assert train(ema=0.0, lr=0.01, epochs=1, **settings)["first_losses"] == longer["first_losses"]


def test_the_training_loss_is_the_mean_over_the_steps(images):
    metrics = train(epochs=1, batch_size=36)
    loss = pd.read_csv("data/network/history.csv")["train_loss"].item()
    assert len(metrics["first_losses"]) == 5  # 180 / 36
    assert loss == pytest.approx(sum(metrics["first_losses"]) / 5, rel=1e-5)


@pytest.mark.slow
def test_compiled_training_agrees_with_eager_training(images, compiler):
    train(compile=False)
    eager = pd.read_csv("data/network/history.csv")
    train(compile=True)
    compiled = pd.read_csv("data/network/history.csv")
    assert compiled["train_loss"].tolist() == pytest.approx(eager["train_loss"].tolist(), rel=0.05)


@pytest.mark.full
def test_compiling_without_a_compiler_is_reported_in_one_line(images, start):
    missing = {"CXX": "/no/compiler", "TORCHINDUCTOR_CACHE_DIR": str(images / "cache")}
    process = start(compile=True, environment=missing)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert errors.startswith("params.yaml: train.compile: could not compile the network: ")
    assert errors.endswith("; set it to false\n")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("changes", [{"batch_size": 180}, {"lr": 1e-12}])
def test_training_works_with_extreme_valid_values(images, changes):
    train(epochs=1, **changes)


def test_a_batch_larger_than_the_training_set_is_refused_with_its_size(images):
    with pytest.raises(ParameterError, match=r"train\.batch_size: should be at most 180.* got 181"):
        train(batch_size=181)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_missing_cuda_device_is_reported(images):
    with pytest.raises(ParameterError, match=r"train\.device: not available .*, got 'cuda'"):
        train(device="cuda")


@pytest.mark.gpu
@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bfloat16"},
        {"precision": "float32"},
        {"precision": "bfloat16", "optimizer": "adam", "lr": 0.01},
        {"precision": "bfloat16", "augment": None, "ema": 0},
        {"precision": "bfloat16", "compile": True},
    ],
)
def test_on_a_gpu_two_runs_give_equal_bytes_and_learn(images, written, changes):
    train(device="cuda", epochs=4, **changes)
    first = written()
    train(device="cuda", epochs=4, **changes)
    assert written() == first
    assert pd.read_csv("data/network/history.csv")["test_acc"].iloc[-1] > 0.9


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_on_a_gpu_the_captured_graph_agrees_with_eager_training(images, monkeypatch, optimizer):
    train(device="cuda", optimizer=optimizer)
    graph, trained = pd.read_csv("data/network/history.csv"), read_model("data/network/model.pth")
    monkeypatch.setattr(cnn_train, "GraphedStep", lambda step, *_: step)
    train(device="cuda", optimizer=optimizer)
    eager = pd.read_csv("data/network/history.csv")
    assert graph["train_loss"].tolist() == pytest.approx(eager["train_loss"].tolist(), rel=1e-4)
    torch.testing.assert_close(trained, read_model("data/network/model.pth"), atol=1e-4, rtol=1e-3)
