"""The history of a training run: one row per epoch."""

from pathlib import Path

import pandas as pd
from torch.nn.functional import cross_entropy

from common.files import write_rows, write_table
from common.model import MODEL, WEIGHTS, predict
from common.params import ParameterError
from common.results import metrics_path

HISTORY, CURVES = "data/network/history.csv", "reports/plots/history.json"
RESULTS = MODEL, WEIGHTS, metrics_path("train")  # written at the end of a run


def evaluate(model, images, labels):
    """Cross-entropy and accuracy in eval mode and float32; (None, None) without images."""
    if not len(labels):
        return None, None
    logits = predict(model, images)
    correct = (logits.argmax(1) == labels).sum().item()
    return cross_entropy(logits, labels).item(), correct / len(labels)


def describe_splits(model, splits):
    """Metrics of the final network: val_acc, val_loss, a row for train and one for val."""
    rows = []
    for split in ("train", "val"):
        images, labels = splits[split]
        loss, accuracy = evaluate(model, images, labels)
        rows.append({"split": split, "images": len(labels), "loss": loss, "accuracy": accuracy})
    _, val = rows
    headline = {"val_acc": val["accuracy"], "val_loss": val["loss"]} if val["images"] else {}
    return headline | {"splits": rows}


def describe_epoch(epoch, lrs, losses, train_acc, model, splits):
    """The history's row for an epoch, from the losses and learning rates of its steps;
    ParameterError names the first step with a non-finite loss.
    """
    if not losses.isfinite().all():
        step = losses.isfinite().int().argmin()  # the first one
        found = f"the loss is not finite in epoch {epoch}, step {step + 1}"
        hint = f"at a learning rate of {lrs[step]:.2g}; try a lower one"
        raise ParameterError("train.lr", f"{found}, {hint}")
    row = {"epoch": epoch, "lr": lrs[0].item()}
    row |= {"train_loss": losses.mean().item(), "train_acc": train_acc}
    for split in ("val", "test"):
        row[f"{split}_loss"], row[f"{split}_acc"] = evaluate(model, *splits[split])
    return row | {"first_losses": losses[:5].tolist()}


def format_epoch(row):
    """A row of the history as one line for the terminal."""
    shown = "train_acc" if row["val_acc"] is None else "val_acc"
    return f"epoch {row['epoch']:2}  loss {row['train_loss']:.4f}  {shown} {row[shown]:.2%}"


def write_history(history):
    """Replace the history; first delete the results of an earlier run."""
    for path in RESULTS:
        Path(path).unlink(missing_ok=True)
    table = pd.DataFrame(history).drop(columns="first_losses")  # an empty split has empty columns
    write_table(HISTORY, table)
    write_rows(CURVES, table)
