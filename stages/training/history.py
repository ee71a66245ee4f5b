"""The history of a training run: one row per epoch."""

from math import isfinite

import pandas as pd
from torch.nn.functional import cross_entropy

from common.files import delete, write_rows
from common.model import predict

CURVES = "reports/plots/history.json"
COLUMNS = ["epoch", "lr", *(f"{s}_{v}" for s in ("train", "val", "test") for v in ("loss", "acc"))]


def evaluate(model, images, labels):
    """Mean cross-entropy and accuracy in eval mode and float32; (None, None) without images."""
    if not len(labels):
        return None, None
    logits = predict(model, images)
    correct = (logits.argmax(1) == labels).sum().item()
    return cross_entropy(logits, labels).item(), correct / len(labels)


def describe_splits(model, splits):
    """The metrics of the final network: val_loss, val_acc, and one row per split."""
    rows = []
    for split in ("train", "val"):
        loss, accuracy = evaluate(model, *splits[split])
        images = len(splits[split][1])
        rows.append({"split": split, "images": images, "loss": loss, "accuracy": accuracy})
    headline = {"val_acc": accuracy, "val_loss": loss} if images else {}
    return headline | {"splits": rows}


def make_table(history):
    """The history as a data frame; the columns of a split without images are empty."""
    return pd.DataFrame(history, columns=COLUMNS)


def find_divergence(row, losses, lrs):
    """A description of the epoch's first step with an infinite or NaN loss; None if all is finite.

    It names the last step if only an evaluation after the epoch is not finite.
    """
    diverged = losses.isfinite().logical_not().nonzero().flatten().tolist()
    if not diverged and all(isfinite(value) for value in row.values() if value is not None):
        return None
    step = [*diverged, len(losses) - 1][0]
    found = f"the loss is not finite in epoch {row['epoch']}, step {step + 1}"
    return f"{found}, at a learning rate of {lrs[step]:.2g}; try a lower one"


def write_curves(history, stale):
    """Replace the file that `dvc plots` draws from, during training.

    The `stale` results of an earlier run are deleted first, so that an interrupted run never leaves
    its curves beside them.
    """
    for path in stale:
        delete(path)
    write_rows(CURVES, make_table(history))
