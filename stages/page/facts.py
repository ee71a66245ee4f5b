"""What the page says beyond the metrics, taken from what the stages computed."""

import json
from math import log, sqrt
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from common.params import flatten
from common.results import read_metrics
from common.statistics import surest_mistakes, wilson_interval

STAGES = ("surfaces", "xor", "train", "evaluate")  # those with metrics


def by_name(value):
    """Nested metrics with each list of rows as a dict, keyed by the first value of a row."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {next(iter(row.values())): by_name(row) for row in value}
    if isinstance(value, dict):
        return {name: by_name(member) for name, member in value.items()}
    return value


def read_results():
    """The metrics of each stage, their lists of rows by name."""
    results = {stage: by_name(read_metrics(stage)) for stage in STAGES}
    trained = results["train"]
    for name in ("machine", "provenance"):  # one row
        (trained[name],) = trained[name].values()
    return results


def read_defaults(path="params.schema.json"):
    """Section to parameter to default."""
    schema = json.loads(Path(path).read_text(encoding="utf-8"))
    return {
        section: {name: parameter["default"] for name, parameter in body["properties"].items()}
        for section, body in schema["properties"].items()
    }


def surface_data(params, points):
    """What the page needs to compute and draw every surface itself, on `points` lines each way."""
    shades = np.linspace(0, 1, 64)
    maps = {
        name: [to_hex(shade) for shade in matplotlib.colormaps[name](shades)]
        for name in ("viridis", "coolwarm")
    }
    return params | {"points": points, "colours": maps}


def describe_neuron(fields):
    """The line w + b and the cross-entropy of the minimum, the L2 gradient's exact extremes, and
    its value in the corner far from the target.
    """
    y = float(fields["target"])
    inside = 0 < y < 1  # else the least is at infinity
    far = -1 if fields["start"] > 0 else 0
    # ∂L2/∂z = 2 (ŷ - y) ŷ (1 - ŷ) is extreme where 3ŷ² - 2 (1 + y) ŷ + y = 0.
    root = sqrt(1 - y + y * y)
    extremes = [
        {"grad": 2 * (p - y) * p * (1 - p), "at": log(p / (1 - p))}
        for p in ((1 + y - root) / 3, (1 + y + root) / 3)
        if inside
    ]
    return {
        "valley": log(y / (1 - y)) if inside else None,
        "entropy": -y * log(y) - (1 - y) * log(1 - y) if inside else 0.0,
        "l2_grad": extremes,
        "corner": float(fields["start"]),
        "l2_grad_at_corner": float(fields["l2_grad"][far, far]),
    }


def follow_accuracy(history):
    """The accuracy of the watched split after the first epoch, its best, at the end; its losses."""
    watched = "val" if history["val_acc"].notna().all() else "test"
    accuracy, loss = history[f"{watched}_acc"], history[f"{watched}_loss"]
    return {
        "split": {"val": "validation", "test": "test"}[watched],
        "first": accuracy.iloc[0],
        "best": accuracy.max(),
        "best_epoch": int(history["epoch"][accuracy.idxmax()]),
        "last": accuracy.iloc[-1],
        "first_loss": history["train_loss"].iloc[0],
        "last_loss": history["train_loss"].iloc[-1],
        "losses": loss.tolist(),
        "lowest_loss_epoch": int(history["epoch"][loss.idxmin()]),
    }


def epochs(history):
    """Loss and accuracy of each split that was measured, epoch by epoch: column to list."""
    return {name: history[name].tolist() for name in history if history[name].notna().all()}


def list_recall(predictions, classes):
    """Name, recall and its 95 % interval of each class that has test images."""
    right = predictions["actual"] == predictions["predicted"]
    counts = right.groupby(predictions["actual"]).agg(["sum", "size"])
    return [
        {
            "name": classes[actual],
            "recall": hits / count,
            "interval": wilson_interval(hits, count),
            "hits": int(hits),
            "count": int(count),
        }
        for actual, hits, count in counts.itertuples()
    ]


def most_confused(predictions, classes):
    """The pairs of classes mistaken for each other most often, and how often; None without any."""
    wrong = surest_mistakes(predictions, len(predictions))
    pairs = np.sort(wrong[["actual", "predicted"]].to_numpy(), axis=1)
    if not len(pairs):
        return None
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    most = found[counts == counts.max()]
    return {"pairs": [[classes[c] for c in pair] for pair in most], "count": int(counts.max())}


def list_changes(params, defaults):
    """The parameters that differ from the defaults: full name, value, default."""
    for section, values in params.items():
        default = defaults[section] | dict(flatten(defaults[section]))
        for name, value in flatten(values):
            if value != default.get(name):
                yield {"name": f"{section}.{name}", "value": value, "default": default.get(name)}
