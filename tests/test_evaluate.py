"""Metrics are correct, match the predictions, and damaged checkpoints are refused."""

import json
import math
import re
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from workspaces import run_stage

import evaluate
from common.files import write_arrays, write_bytes
from common.mnist import TEST, read_images
from common.model import DigitClassification, scale
from common.statistics import recall_by_class, wilson_interval
from common.weights import pack_state


@settings(deadline=None)
@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_contains_the_proportion_and_stays_in_range(counts):
    successes, trials = counts
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1


def test_the_wilson_interval_agrees_with_scipy():
    from scipy.stats import binomtest

    expected = binomtest(9953, 10_000).proportion_ci(method="wilson")
    assert wilson_interval(9953, 10_000) == pytest.approx(tuple(expected), abs=1e-8)


def test_the_calibration_error_of_an_example_computed_by_hand():
    # Two bins: (0.2, 0.4) with one of two correct, and (0.9, 0.7) with both correct.
    confidence = torch.tensor([0.2, 0.4, 0.9, 0.7])
    correct = torch.tensor([True, False, True, True])
    error = evaluate.expected_calibration_error(confidence, correct, bins=2)
    assert error == pytest.approx((2 * abs(0.5 - 0.3) + 2 * abs(1 - 0.8)) / 4)


def test_a_confidence_of_one_belongs_to_the_last_bin():
    error = evaluate.expected_calibration_error(torch.ones(3), torch.tensor([True] * 3), bins=15)
    assert error == 0


def test_recall_is_computed_per_class():
    predictions = pd.DataFrame({"actual": [0, 0, 0, 1, 2], "predicted": [0, 0, 1, 1, 0]})
    table = recall_by_class(predictions)
    assert table["recall"].tolist() == pytest.approx([2 / 3, 1, 0])
    assert (table["low"] <= table["recall"]).all()
    assert (table["recall"] <= table["high"]).all()


def test_a_test_set_with_a_single_image_of_a_class_is_reported_in_one_line(results, capsys):
    with np.load(TEST) as arrays:
        test = dict(arrays)
    kept = (test["labels"] != 3) | (np.arange(len(test["labels"])) < 10)
    write_arrays(TEST, **test | {name: test[name][kept] for name in ("images", "labels")})
    with pytest.raises(OSError, match="expected at least two images of each class"):
        evaluate.main(calibration_bins=15, batch_size=20)


def test_the_metrics_match_the_predictions_and_a_second_run_gives_equal_bytes(images, written):
    torch.manual_seed(0)
    model = DigitClassification()
    write_bytes("data/network/model.pth", pack_state(model.state_dict()))
    metrics = evaluate.main(calibration_bins=15, batch_size=20)
    first = written()
    assert evaluate.main(calibration_bins=15, batch_size=20) == metrics
    assert written() == first
    predictions = pd.read_csv("data/predictions.csv")
    assert len(predictions) == 100
    assert metrics["errors"] == (predictions["actual"] != predictions["predicted"]).sum()
    assert metrics["accuracy"] == pytest.approx(1 - metrics["errors"] / 100)
    assert metrics["interval"] == pytest.approx([*wilson_interval(100 - metrics["errors"], 100)])
    assert [*metrics] == [
        "accuracy",
        "errors",
        "loss",
        "interval",
        "ece",
        "train_mode",
        "recall",
    ]
    images, actual = map(torch.from_numpy, read_images(TEST))
    probabilities = model.eval()(scale(images)).softmax(1)
    for column, classes in (("probability", "predicted"), ("probability_actual", "actual")):
        expected = probabilities[range(100), predictions[classes].tolist()]
        assert predictions[column].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    loss = -predictions["probability_actual"].map(math.log).mean()
    assert metrics["loss"] == pytest.approx(loss, rel=1e-4)
    in_train_mode = (
        evaluate.predict_in_train_mode(model, images, batch_size=20),
        evaluate.predict_by_class(model, images, actual, batch_size=20),
    )
    accuracies = [(predicted == actual).double().mean().item() for predicted in in_train_mode]
    assert [row["accuracy"] for row in metrics["train_mode"]] == pytest.approx(accuracies)
    rows = json.loads(Path("reports/plots/predictions.json").read_text())["rows"]
    assert rows == predictions[["actual", "predicted"]].to_dict("records")


def test_in_train_mode_predictions_depend_on_the_batch(images):
    torch.manual_seed(0)
    model = DigitClassification()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pixels = torch.randint(0, 256, (40, 28, 28), dtype=torch.uint8)
    labels = model.train()(scale(pixels)).argmax(1)  # all images in one batch
    model.load_state_dict(before)
    model.eval()
    assert torch.equal(evaluate.predict_in_train_mode(model, pixels, batch_size=40), labels)
    assert torch.equal(evaluate.predict_in_train_mode(model, pixels, batch_size=64), labels)
    assert not torch.equal(evaluate.predict_in_train_mode(model, pixels, batch_size=2), labels)
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_batches_in_train_mode_have_at_least_batch_size_images():
    class CountImages(torch.nn.Module):
        def forward(self, batch):
            return torch.eye(20)[len(batch)].expand(len(batch), 20)

    pixels = torch.zeros(10, 28, 28, dtype=torch.uint8)
    assert evaluate.predict_in_train_mode(CountImages(), pixels, 4).tolist() == [5] * 10


@pytest.mark.parametrize("batch_size", [2, 3, 64])
def test_predict_by_class_puts_one_class_into_a_batch(batch_size):
    class CountClasses(torch.nn.Module):
        def forward(self, batch):  # each pixel equals the label; predict the number of labels
            return torch.eye(10)[len(batch.unique())].expand(len(batch), 10)

    labels = torch.tensor([3, 1, 3, 3, 1, 7, 7, 3, 1, 7, 7])
    pixels = labels[:, None, None].expand(-1, 28, 28).to(torch.uint8)
    predicted = evaluate.predict_by_class(CountClasses(), pixels, labels, batch_size)
    assert predicted.tolist() == [1] * len(labels)
    assert evaluate.predict_in_train_mode(CountClasses(), pixels, 11).tolist() == [3] * len(labels)


def test_a_checkpoint_that_contains_code_is_refused(images):
    class Exploit:
        def __reduce__(self):
            return (Path.touch, (Path("exploited"),))

    Path("data/network").mkdir()
    torch.save({"conv1.weight": Exploit()}, "data/network/model.pth")
    with pytest.raises(UnpicklingError, match=r"[Ww]eights.?only"):
        evaluate.main(calibration_bins=15, batch_size=20)
    assert not Path("exploited").exists()


def test_damaged_or_foreign_weights_are_refused(results, written, capsys):
    before = written()
    content = Path("data/network/model.pth").read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    other = pack_state(DigitClassification().state_dict())
    for damaged in (flipped, content[:-1], other):
        Path("data/network/model.pth").write_bytes(damaged)
        assert run_stage("evaluate") == 1
        assert re.match(
            r"data/network/model\.pth: damaged: its MD5 is \w+, cnn_train wrote \w+; delete it ",
            capsys.readouterr().err,
        )
    assert written() == before | {"data/network/model.pth": other}
