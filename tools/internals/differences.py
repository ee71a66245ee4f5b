"""Compare results with committed ones: one row per metric with tolerance and verdict."""

import json
import re
from contextlib import suppress
from pathlib import Path

import pandas as pd

from internals.tolerances import float32, rule_of

from common.params import flatten
from common.results import by_name, metrics_path

PLOTS = Path("reports/plots")


def name_values(metrics):
    """The numbers of nested metrics by dotted name, without provenance and machine."""
    return {
        name: value
        for name, value in flatten(by_name(metrics))
        if isinstance(value, int | float) and not re.search(r"\.(provenance|machine)\.", name)
    }


class Results:
    """Metrics and MD5s of some sections; read(path) returns the content of a file."""

    def __init__(self, sections, read):
        found = {}
        for section in sections:
            with suppress(FileNotFoundError):  # users may have their own data stage
                found[section] = json.loads(read(metrics_path(section)))
        self.made = {section: metrics["provenance"][0] for section, metrics in found.items()}
        self.values = name_values(found)
        reads, self.files = (
            {path: md5 for made in self.made.values() for path, md5 in made[kind].items()}
            for kind in ("reads", "writes")
        )
        inputs = reads | self.files
        self.images = {path: inputs[path] for path in inputs if path.startswith("data/mnist/")}
        self.machine = found.get("train", {}).get("machine", [{}])[0]
        if "train" in found:
            first_epoch = json.loads(read(PLOTS / "history.json"))["rows"][0]
            self.values["train.first_epoch_loss"] = first_epoch["train_loss"]
        if "evaluate" in found:
            self.test_images = len(json.loads(read(PLOTS / "predictions.json"))["rows"])

    def sample_size(self, name):
        """The number of images or random starts from which a metric is computed."""
        if name.startswith("xor."):
            starts = self.made["xor"]["params"]["starts"]
            solved = self.values["xor.xor_solved"]
            return max(1, starts * (1 - solved)) if ".levels." in name else starts
        if name.startswith("train."):
            split = "val" if ".val" in name else "train"
            return max(1, self.values[f"train.splits.{split}.images"])
        if name.startswith("evaluate."):
            return self.test_images / 10 if ".recall." in name else self.test_images
        return 1


def tabulate(committed, here):
    """One row per metric and per image file: both values, the tolerance and the verdict."""
    inputs = [results.made.get("evaluate", {}).get("reads") for results in (committed, here)]
    same_network = inputs[0] == inputs[1]
    same_device = committed.machine.get("device") == here.machine.get("device")
    rows = []
    for name in committed.values | here.values:
        if name.startswith("train.first_") and not same_device:
            continue  # GPUs draw other random numbers
        old, new = committed.values.get(name), here.values.get(name)
        tolerance, verdict = "", "missing"
        if None not in (old, new):
            rule = rule_of(name)
            if name.startswith("evaluate.") and same_network:
                rule = float32
            tolerance = rule(old, committed.sample_size(name))
            close = abs(new - old) <= tolerance
            verdict = "identical" if new == old else "within" if close else "OUTSIDE"
        rows.append((name, old, new, tolerance, verdict))
    for path, md5 in committed.images.items():
        old, new = md5[:8], here.images.get(path, "missing")[:8]
        rows.append((f"MD5 of {path}", old, new, 0.0, "identical" if old == new else "OUTSIDE"))
    return pd.DataFrame(rows, columns=["metric", "committed", "here", "tolerance", "verdict"])


def conclude(table, machine):
    """(One-line verdict, whether all metrics are within their tolerances)."""
    good = table["verdict"].isin(["identical", "within"])
    where = f"; {machine['precision']} on {machine['device']}" if machine else ""
    counts = f"{good.sum()} of {len(table)} within tolerance"
    counts += f", {(table['verdict'] == 'identical').sum()} identical{where}"
    if good.all():
        return f"reproduced: {counts}", True
    names = ", ".join(table["metric"][~good][:5])
    return f"NOT reproduced: {counts}; outside or missing: {names}", False
