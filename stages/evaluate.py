"""Evaluate the trained network on the test set, in eval mode and float32.

reads   params.yaml: evaluate
        data/mnist/test.npz             test images
        data/network/model.pth          the trained network
        reports/metrics/train.json      its provenance
writes  data/predictions.csv            one row per image: actual and predicted class and their
                                        probabilities
        reports/metrics/evaluate.json   accuracy and its 95% interval, errors, loss, expected
                                        calibration error (ECE), recall per class, and accuracy in
                                        train mode (without eval()) with batches of all classes and
                                        of one class
        reports/plots/predictions.json  actual and predicted classes for `dvc plots`
"""

from copy import deepcopy
from typing import Annotated

import pandas as pd
import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from common.files import write_rows, write_table
from common.mnist import TEST, read_images
from common.model import MODEL, DigitClassification, predict, scale
from common.stage import run
from common.statistics import recall_by_class, wilson_interval


def expected_calibration_error(confidence, correct, bins):
    """ECE = Σ_b |B_b| / n · |accuracy(B_b) - mean confidence(B_b)| for equal-width bins.

    confidence (n,) in [0, 1], correct (n,) bool. Guo et al. (2017), On calibration of modern
    neural networks, eq. 3.
    """
    which = (confidence * bins).long().clamp(max=bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64)
    gaps.index_add_(0, which, correct.double() - confidence.double())
    return gaps.abs().sum().item() / len(confidence)


@torch.no_grad()
def predict_in_train_mode(model, images, batch_size):
    """Predicted classes (n,) in train mode, in which BatchNorm uses each batch's statistics.

    Batches have at least batch_size images, or all images if there are fewer; ValueError for a
    single image. The model's running statistics stay unchanged; in the assignment's notebook the
    test images change them.
    """
    model = deepcopy(model).train()
    batches = images.tensor_split(max(1, len(images) // batch_size))
    return torch.cat([model(scale(batch)).argmax(1) for batch in batches])


def predict_by_class(model, images, labels, batch_size):
    """The same with batches of a single class: the worst case."""
    predicted = torch.empty_like(labels)
    for of_class in (labels == label for label in labels.unique()):
        predicted[of_class] = predict_in_train_mode(model, images[of_class], batch_size)
    return predicted


def main(
    calibration_bins: Annotated[int, Field(ge=1, le=10_000)],
    batch_size: Annotated[int, Field(ge=2, le=60_000)],
):
    images, actual = map(torch.from_numpy, read_images(TEST))
    if (torch.bincount(actual, minlength=10) < 2).any():
        raise OSError(f"{TEST}: expected at least two images of each class")
    model = DigitClassification()
    model.load_state_dict(torch.load(MODEL, weights_only=True))
    model.to(memory_format=torch.channels_last)
    logits = predict(model, images)

    probabilities = logits.softmax(1)
    confidence, predicted = probabilities.max(1)
    correct = predicted == actual
    predictions = pd.DataFrame(
        {
            "actual": actual,
            "predicted": predicted,
            "probability": confidence,
            "probability_actual": probabilities.gather(1, actual[:, None])[:, 0],
        }
    )
    mixed = predict_in_train_mode(model, images, batch_size)
    by_class = predict_by_class(model, images, actual, batch_size)
    errors = (~correct).sum().item()
    low, high = wilson_interval(len(actual) - errors, len(actual))
    metrics = {
        "accuracy": correct.double().mean().item(),
        "errors": errors,
        "loss": cross_entropy(logits, actual).item(),
        "interval": [low, high],
        "ece": [expected_calibration_error(confidence, correct, calibration_bins)],
        "train_mode": [
            {"batches": "all classes", "accuracy": (mixed == actual).double().mean().item()},
            {"batches": "one class", "accuracy": (by_class == actual).double().mean().item()},
        ],
        "recall": recall_by_class(predictions)["recall"].tolist(),
    }
    write_table("data/predictions.csv", predictions)
    write_rows("reports/plots/predictions.json", predictions[["actual", "predicted"]])
    print(
        f"test accuracy {metrics['accuracy']:.2%} ({low:.2%} to {high:.2%}), "
        f"{errors} {'error' if errors == 1 else 'errors'} in {len(actual):,} images"
    )
    return metrics


if __name__ == "__main__":
    run(main, section="evaluate")
