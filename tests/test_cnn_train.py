import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import small_params
from torch import nn

import cnn_train
from common.files import read_state
from common.model import DigitClassification, predict, scale
from common.params import ParameterError
from figures import cnn
from training.recipe import batches, hold_out


@pytest.fixture
def parameters():
    return small_params()["train"]


def assignments_layers():
    """The assignment's description, layer by layer, as (name, module)."""
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


def test_the_checkpoint_loads_strictly_into_the_assignments_layers(images, parameters):
    cnn_train.main(**parameters)
    state = torch.load("data/cnn/model.pth", weights_only=True)
    theirs = nn.Sequential()
    for name, module in assignments_layers():
        theirs.add_module(name, module)
    theirs.load_state_dict(state, strict=True)
    ours = DigitClassification()
    ours.load_state_dict(state, strict=True)
    pixels = torch.randint(0, 256, (7, 28, 28), dtype=torch.uint8)
    torch.testing.assert_close(predict(ours, pixels), theirs.eval()(scale(pixels)))
    assert sum(p.numel() for p in theirs.parameters()) == 115_690
    assert [name for name, _ in ours.named_children()] == [
        name for name, _ in assignments_layers() if name != "flatten"
    ]


def test_pixels_are_scaled_to_minus_one_to_one():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(3, 1, 1)
    assert scale(pixels).flatten().tolist() == pytest.approx([-1, -0.6, 1])


def test_predicting_leaves_the_running_statistics_and_the_mode_alone():
    model = DigitClassification().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    predict(model, torch.randint(0, 256, (9, 28, 28), dtype=torch.uint8))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_training_learns_easy_classes_and_gives_equal_bytes_twice(images, written, parameters):
    parameters |= {"epochs": 4}
    cnn_train.main(**parameters)
    first = written()
    cnn_train.main(**parameters)
    assert written() == first
    history = pd.read_csv("data/cnn/history.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert {f"{s}_{v}" for s in ("train", "val", "test") for v in ("loss", "acc")} < {*history}
    assert history["test_acc"].iloc[-1] > 0.9
    metrics = json.loads(Path("reports/metrics/train.json").read_text())
    assert metrics["val_acc"] == pytest.approx(history["val_acc"].iloc[-1])
    # The metrics see the final network in eval mode, the history's last row one that still learns.
    assert metrics["train_acc"] > 0.9
    assert metrics["train_loss"] < history["train_loss"].iloc[-1]
    assert (metrics["parameters"], metrics["images"]) == (115_690, 180)


def test_the_last_steps_learn_from_images_as_they_are(images, parameters, monkeypatch):
    altered, distort = [], cnn_train.distort

    def count(*arguments):
        altered.append(len(arguments[0]))
        return distort(*arguments)

    monkeypatch.setattr(cnn_train, "distort", count)
    for plain, expected in ((0, 22), (0.5, 11), (0.1, 20), (1, 0)):  # of 2 epochs of 11 steps
        cnn_train.main(**parameters | {"plain": plain})
        assert len(altered) == expected
        altered.clear()


def test_another_seed_gives_another_network(images, parameters):
    cnn_train.main(**parameters)
    first = read_state("data/cnn/model.pth")["conv1.weight"]
    cnn_train.main(**parameters | {"seed": 1})
    assert not torch.equal(read_state("data/cnn/model.pth")["conv1.weight"], first)


def test_held_out_images_are_never_learned_from():
    learned, held_out = hold_out(1000, 0.1)
    assert len(held_out) == 100
    assert sorted([*learned.tolist(), *held_out.tolist()]) == [*range(1000)]


def test_without_validation_its_columns_are_empty_and_its_metrics_absent(images, parameters):
    cnn_train.main(**parameters | {"validation": 0})
    history = pd.read_csv("data/cnn/history.csv")
    assert history[["val_loss", "val_acc"]].isna().all(axis=None)
    assert history.drop(columns=["val_loss", "val_acc"]).notna().all(axis=None)
    assert "val_acc" not in json.loads(Path("reports/metrics/train.json").read_text())
    cnn.draw_history(history, "Digits")


def test_batches_take_every_image_once_in_another_order_each_epoch():
    first, again, second = (torch.cat(batches(96, 16, seed=3, epoch=epoch)) for epoch in (1, 1, 2))
    assert sorted(first.tolist()) == [*range(96)]
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert [len(batch) for batch in batches(100, 16, seed=3, epoch=1)] == [16] * 6


def test_the_notebooks_constant_learning_rate_stays_constant(images, parameters):
    notebook = {"optimizer": "adam", "schedule": "constant", "warmup": 0, "average": 0, "lr": 0.01}
    notebook |= {"shift": 0, "rotation": 0, "scale": 0, "shear": 0, "elastic": 0}
    notebook |= {"weight_decay": 0}
    cnn_train.main(**parameters | notebook)
    assert pd.read_csv("data/cnn/history.csv")["lr"].tolist() == [0.01, 0.01]


def test_a_compiled_network_learns_the_same_as_an_eager_one(images, parameters, compiler):
    cnn_train.main(**parameters | {"compile": False})
    eager = pd.read_csv("data/cnn/history.csv")
    cnn_train.main(**parameters | {"compile": True})
    compiled = pd.read_csv("data/cnn/history.csv")
    assert compiled["train_loss"].tolist() == pytest.approx(eager["train_loss"].tolist(), rel=0.05)


@pytest.mark.parametrize("changes", [{"epochs": 1, "batch_size": 180}, {"lr": 1e-12}])
def test_the_least_that_is_allowed_can_be_trained(images, parameters, changes):
    cnn_train.main(**parameters | changes)


def test_a_batch_larger_than_the_training_set_is_refused_with_its_size(images, parameters):
    with pytest.raises(ParameterError, match=r"train\.batch_size: should be at most 180.* got 181"):
        cnn_train.main(**parameters | {"batch_size": 181})


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_refused_by_name(images, parameters):
    with pytest.raises(ParameterError, match=r"train\.device: no CUDA device"):
        cnn_train.main(**parameters | {"device": "cuda"})
