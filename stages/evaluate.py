"""Measure the trained network on the whole test set: eval mode, float32, without gradients.

reads   params.yaml: evaluate
        data/mnist/test.npz            the test images
        data/cnn/model.pth             the trained network, which must be the one that
        reports/metrics/train.json     describes
writes  data/predictions.csv           a row an image, in order: actual, predicted, probability of
                                       the predicted class and of the actual one
        reports/metrics/evaluate.json  accuracy with its 95 % interval, loss, errors, expected
                                       calibration error, accuracy where eval() is left out, in
                                       batches as they come and of one class, and recall of each
        reports/plots/predictions.json actual and predicted, for `dvc plots`
"""

from copy import deepcopy
from typing import Annotated

import pandas as pd
import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from common.files import read_metrics, write_metrics, write_rows, write_table
from common.mnist import TEST, read_images
from common.model import MODEL, DigitClassification, predict, scale
from common.params import run
from common.statistics import wilson_interval
from common.weights import read_state


def expected_calibration_error(confidence, correct, bins):
    """ECE = Σ_b |B_b| / n · |accuracy(B_b) - mean confidence(B_b)| over bins of equal width.

    confidence (n,) in [0, 1] and correct (n,) bool; Guo et al. (2017), On calibration of modern
    neural networks, eq. 3.
    """
    which = (confidence * bins).long().clamp(max=bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64)
    gaps.index_add_(0, which, correct.double() - confidence.double())
    return gaps.abs().sum().item() / len(confidence)


def accuracy(actual, predicted):
    """The share of the images (n,) whose class was recognised."""
    return (predicted == actual).double().mean().item()


def recall(actual, predicted, classes=10):
    """The share of each class's images that was recognised: (classes,)."""
    hits = torch.bincount(actual[actual == predicted], minlength=classes)
    return hits.double() / torch.bincount(actual, minlength=classes)


@torch.no_grad()
def predict_without_eval(model, images, batch_size):
    """The classes (n,) that a network in training mode predicts: BatchNorm normalises each batch by
    itself.

    Batches are of batch_size images or more, so that no small one is left over, or of all where
    there are fewer. ValueError for a single image, which has no variance. The network's running
    statistics stay as they are, where the assignment's notebook let them take in the test images.
    """
    model = deepcopy(model).train()
    batches = images.tensor_split(max(1, len(images) // batch_size))
    return torch.cat([model(scale(batch)).argmax(1) for batch in batches])


def predict_by_class(model, images, labels, batch_size):
    """The same where every batch holds images of one class only: the worst that can happen."""
    predicted = torch.empty_like(labels)
    for of_class in (labels == label for label in labels.unique()):
        predicted[of_class] = predict_without_eval(model, images[of_class], batch_size)
    return predicted


def main(
    calibration_bins: Annotated[int, Field(ge=1, le=10_000)],
    batch_size: Annotated[int, Field(ge=2, le=60_000)],
):
    images, actual = map(torch.from_numpy, read_images(TEST))
    model = DigitClassification()
    model.load_state_dict(read_state(MODEL, expected=read_metrics("train")["weights"]))
    model.to(memory_format=torch.channels_last)
    logits = predict(model, images)

    probabilities = logits.softmax(1)
    confidence, predicted = probabilities.max(1)
    correct = predicted == actual
    mixed = predict_without_eval(model, images, batch_size)
    by_class = predict_by_class(model, images, actual, batch_size)
    low, high = wilson_interval(correct.sum().item(), len(actual))
    metrics = {
        "accuracy": accuracy(actual, predicted),
        "low": low,
        "high": high,
        "errors": (~correct).sum().item(),
        "loss": cross_entropy(logits, actual).item(),
        "ece": expected_calibration_error(confidence, correct, calibration_bins),
        "no_eval": accuracy(actual, mixed),
        "no_eval_by_class": accuracy(actual, by_class),
    }
    metrics |= {f"recall_{c}": share for c, share in enumerate(recall(actual, predicted).tolist())}

    predictions = pd.DataFrame(
        {
            "actual": actual,
            "predicted": predicted,
            "probability": confidence,
            "probability_actual": probabilities.gather(1, actual[:, None])[:, 0],
        }
    )
    write_table("data/predictions.csv", predictions)
    write_rows("reports/plots/predictions.json", predictions[["actual", "predicted"]])
    write_metrics("reports/metrics/evaluate.json", metrics)
    print(
        f"test accuracy {metrics['accuracy']:.2%} ({low:.2%} to {high:.2%}), "
        f"{metrics['errors']} {'error' if metrics['errors'] == 1 else 'errors'} "
        f"in {len(actual):,} images"
    )


if __name__ == "__main__":
    run(main, section="evaluate")
