"""What the page says beyond the metrics, taken from what the stages computed."""

from math import log

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from common.files import read_metrics
from common.statistics import surest_mistakes

STAGES = ("surfaces", "xor", "train", "evaluate")  # those with metrics
SURFACES = ("sigmoid", "l2", "l2_grad", "ce", "ce_grad", "relu", "relu_l2", "relu_l2_grad")


def read_results():
    """The metrics of each stage, with the recall of all classes as one list."""
    results = {stage: read_metrics(stage) for stage in STAGES}
    evaluated = results["evaluate"]
    evaluated["recall"] = [evaluated[f"recall_{c}"] for c in range(10)]
    return results


def surface_data(fields, points):
    """What the page needs to draw every surface itself, on at most `points` lines each way."""
    axis = fields["weight"]
    lines = np.linspace(0, len(axis) - 1, min(points, len(axis))).round().astype(int)
    colours = np.linspace(0, 1, 64)
    return {
        "axis": axis[lines].round(6).tolist(),
        "fields": {name: fields[name][np.ix_(lines, lines)].round(4).tolist() for name in SURFACES},
        "extremes": {n: [float(fields[n].min()), float(fields[n].max())] for n in SURFACES},
        "colours": {
            name: [to_hex(colour) for colour in matplotlib.colormaps[name](colours)]
            for name in ("viridis", "coolwarm")
        },
    }


def training_frames(perceptron, frames):
    """XOR's training as frames, evenly spaced from the first step to the last."""
    last = len(perceptron["losses"]) - 1
    steps = np.unique(np.linspace(0, last, frames).round().astype(int))
    return {
        "step": steps.tolist(),
        "loss": perceptron["losses"][steps].round(4).tolist(),
        "hidden": perceptron["hidden"][steps].round(4).tolist(),
        "line": perceptron["line"][steps].round(4).tolist(),
    }


def describe_neuron(fields):
    """Where both losses are least, the least that is possible, and the corner far from there."""
    y = float(fields["target"])
    inside = 0 < y < 1  # else the least is at infinity
    far = -1 if fields["start"] > 0 else 0
    return {
        "valley": log(y / (1 - y)) if inside else None,
        "entropy": -y * log(y) - (1 - y) * log(1 - y) if inside else 0.0,
        "corner": float(fields["start"]),
        "at_corner": {name: float(fields[name][far, far]) for name in ("l2_grad", "ce")},
    }


def follow_accuracy(history):
    """The accuracy of the split that was watched: after the first epoch, its best, at the end."""
    watched = "val" if history["val_acc"].notna().all() else "test"
    accuracy = history[f"{watched}_acc"]
    return {
        "split": {"val": "validation", "test": "test"}[watched],
        "first": accuracy.iloc[0],
        "best": accuracy.max(),
        "best_epoch": int(history["epoch"][accuracy.idxmax()]),
        "last": accuracy.iloc[-1],
        "first_loss": history["train_loss"].iloc[0],
        "last_loss": history["train_loss"].iloc[-1],
    }


def most_confused(predictions, classes):
    """The pairs of classes mistaken for each other most often, and how often; None without any."""
    wrong = surest_mistakes(predictions, len(predictions))
    pairs = np.sort(wrong[["actual", "predicted"]].to_numpy(), axis=1)
    if not len(pairs):
        return None
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    most = found[counts == counts.max()]
    return {"pairs": [[classes[c] for c in pair] for pair in most], "count": int(counts.max())}


def flatten(section):
    """(name, value) of each parameter of a section; members of a group are named group.member."""
    for name, value in section.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{member}", v) for member, v in value.items())
        else:
            yield name, value


def list_changes(params, defaults):
    """The parameters that differ from the defaults: full name, value, default."""
    for section, values in params.items():
        default = defaults[section] | dict(flatten(defaults[section]))
        for name, value in flatten(values):
            if value != default.get(name):
                yield {"name": f"{section}.{name}", "value": value, "default": default.get(name)}
