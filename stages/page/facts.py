"""Numbers on the page that are not metrics, derived from the results of the stages."""

import json
from math import log, sqrt
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from common.params import flatten
from common.results import by_name, read_metrics

SECTIONS = ("surfaces", "xor", "train", "evaluate")  # metrics files quoted on the page


def read_results():
    """Metrics by section; lists of named rows become dicts."""
    results = {stage: by_name(read_metrics(stage)) for stage in SECTIONS}
    trained = results["train"]
    for name in ("machine", "provenance"):  # lists with one row
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
    """Settings and colours of the interactive surfaces, with `points` lines along each axis."""
    shades = np.linspace(0, 1, 64)
    maps = {
        name: [to_hex(shade) for shade in matplotlib.colormaps[name](shades)]
        for name in ("viridis", "coolwarm")
    }
    return params | {"points": points, "colours": maps}


def describe_neuron(fields):
    """Exact values: the minimum (its w + b and cross-entropy), the extremes of the L2 gradient, and
    both gradients in the corner where the descent starts.
    """
    y = float(fields["target"])
    inside = 0 < y < 1  # else the minimum is at infinity
    corner = -1 if fields["start"] > 0 else 0
    # ∂L2/∂z = 2 (ŷ - y) ŷ (1 - ŷ) is extreme where 3ŷ² - 2 (1 + y) ŷ + y = 0.
    root = sqrt(1 - y + y * y)
    outputs = [p for p in ((1 + y - root) / 3, (1 + y + root) / 3) if 0 < p < 1]
    return {
        "valley": log(y / (1 - y)) if inside else None,
        "entropy": -y * log(y) - (1 - y) * log(1 - y) if inside else 0.0,
        "l2_grad": [{"grad": 2 * (p - y) * p * (1 - p), "at": log(p / (1 - p))} for p in outputs],
        "corner": float(fields["start"]),
        "l2_grad_at_corner": float(fields["l2_grad"][corner, corner]),
        "ce_grad_at_corner": float(fields["ce_grad"][corner, corner]),
    }


def find_stalled(study, levels):
    """The number (from 1) of the first unsolved start near each level, or None."""
    losses, solved = study["final_losses"], study["solved"]
    near = [~solved & (abs(losses - level["loss"]) < 0.05) for level in levels]
    return [int(found.argmax()) + 1 if found.any() else None for found in near]


def describe_history(history):
    """Accuracy and losses of the validation split, or of the test split without one."""
    split = "val" if history["val_acc"].notna().all() else "test"
    accuracy, loss = history[f"{split}_acc"], history[f"{split}_loss"]
    return {
        "split": {"val": "validation", "test": "test"}[split],
        "first": accuracy.iloc[0],
        "best": accuracy.max(),
        "best_epoch": int(history["epoch"][accuracy.idxmax()]),
        "last": accuracy.iloc[-1],
        "first_loss": history["train_loss"].iloc[0],
        "last_loss": history["train_loss"].iloc[-1],
        "losses": loss.tolist(),
        "lowest_loss_epoch": int(history["epoch"][loss.idxmin()]),
    }


def most_confused(predictions, classes):
    """The most frequently confused pairs of classes, and their count; None without errors."""
    errors = predictions.query("actual != predicted")
    pairs = np.sort(errors[["actual", "predicted"]].to_numpy(), axis=1)
    if not len(pairs):
        return None
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    most = found[counts == counts.max()]
    return {"pairs": [[classes[c] for c in pair] for pair in most], "count": int(counts.max())}


def list_changes(params, defaults):
    """Parameters that differ from the defaults: full name, value, default."""
    for section, values in params.items():
        default = defaults[section] | dict(flatten(defaults[section]))
        for name, value in flatten(values):
            if value != default.get(name):
                yield {"name": f"{section}.{name}", "value": value, "default": default.get(name)}
