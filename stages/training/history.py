"""The history of a training run: one row per epoch."""

from math import isfinite
from pathlib import Path

import pandas as pd
from torch.nn.functional import cross_entropy

from common.files import write_rows
from common.model import predict

CURVES = "reports/plots/history.json"
# The columns of a split without images are empty.
COLUMNS = ["epoch", "lr", *(f"{s}_{v}" for s in ("train", "val", "test") for v in ("loss", "acc"))]


def evaluate(model, split, images, labels):
    """{split}_loss, the mean cross-entropy, and {split}_acc, in eval mode and float32.

    An empty dict for a split without images.
    """
    if not len(labels):
        return {}
    logits = predict(model, images)
    correct = (logits.argmax(1) == labels).sum().item()
    loss = cross_entropy(logits, labels).item()
    return {f"{split}_loss": loss, f"{split}_acc": correct / len(labels)}


def find_divergence(row, losses, lrs):
    """A description of the epoch's first step with an infinite or NaN loss; None if all is finite.

    It names the last step if only an evaluation after the epoch is not finite.
    """
    diverged = losses.isfinite().logical_not().nonzero().flatten().tolist()
    if not diverged and all(map(isfinite, row.values())):
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
        Path(path).unlink(missing_ok=True)
    write_rows(CURVES, pd.DataFrame(history, columns=COLUMNS))
