"""Results of several revisions and their differences from the first one."""

import json
from typing import NamedTuple

import numpy as np
import pandas as pd

from internals.experiments import SEED, code_of, metrics_of, params_of, relevant
from internals.git import content_of
from internals.summary import compare_errors

from common.params import flatten


class Result(NamedTuple):
    """Parameters, metrics and predictions of a revision."""

    params: dict  # relevant ones, dotted name to value; code: its hash
    metrics: dict
    history: list  # a dict per epoch
    actual: np.ndarray  # (n,) labels of the test images
    predicted: np.ndarray  # (n,)


def flat(params):
    """Dotted name to value; null, empty lists and empty mappings become strings."""
    return {n: json.dumps(v) if v in (None, [], {}) else v for n, v in flatten(params)}


def read_result(revision):
    def rows(name):
        return json.loads(content_of(revision, f"reports/plots/{name}.json"))["rows"]

    predictions = rows("predictions")
    columns = (np.array([row[name] for row in predictions]) for name in ("actual", "predicted"))
    params = flat(relevant(params_of(revision))) | {"code": code_of(revision)}
    return Result(params, metrics_of(revision), rows("history"), *columns)


def has_images_of(base, result):
    """Whether two results are predictions of the same test images."""
    images, others = (r.metrics["test_images"] for r in (base, result))
    return images == others and np.array_equal(base.actual, result.actual)


def varying(results):
    """Names of the parameters that differ between results, sorted; members of a group are not
    compared with results whose group is null.
    """
    params = [result.params for result in results.values()]
    values = {name: set() for name in sorted({name for p in params for name in p})}
    for name, found in values.items():
        group = name.rpartition(".")[0]
        found.update(p.get(name) for p in params if p.get(group) != "null")
    return [name for name, found in values.items() if len(found) > 1]


def group_by_setting(results, base):
    """Settings with at least two seeds in common: name to {seed: name of the result}.

    The runs of a setting differ only in their seed. The first setting, the reference, is the one
    with the fewest parameters different from the base's: the base's own, if it has several seeds.
    """
    settings = {}  # (number of changes, label) to group
    for name, result in results.items():
        changes = sorted(result.params.items() - results[base].params.items())
        changes = [f"{n.removeprefix('train.')}={value}" for n, value in changes if n != SEED]
        key = len(changes), ", ".join(changes) or base
        settings.setdefault(key, {}).setdefault(result.params.get(SEED), name)
    groups = {label: group for (_, label), group in sorted(settings.items())}
    for reference in groups.values():
        common = {n: g for n, g in groups.items() if len(g.keys() & reference.keys()) > 1}
        if len(common) > 1:
            return common
    return {}


def tabulate(results, base, settings):
    """One row per result, sorted by validation accuracy if all have it, else by test errors.

    Errors are compared with the base's. Runs in `settings` have no difference, because their
    settings are compared instead.
    """
    compared = {name for group in settings.values() for name in group.values()}
    rows, names = [], varying(results)
    for name, result in results.items():
        metrics = result.metrics
        row = {"run": name, "val": metrics.get("val_acc"), "test": metrics["accuracy"]}
        row |= {"loss": metrics["loss"], "errors": metrics["errors"]}
        row |= {"difference": None, "95% interval": None, "p": None}
        row |= {n.removeprefix("train."): result.params.get(n) for n in names}
        if not has_images_of(results[base], result):
            row["95% interval"] = "other test images"
        elif name != base and name not in compared:
            errors = (r.actual != r.predicted for r in (results[base], result))
            row["difference"], (low, high), row["p"] = compare_errors(*errors)
            row["95% interval"] = f"{low:+.1f} to {high:+.1f}"
        rows.append(row)
    table = pd.DataFrame(rows).astype({"difference": object}).sort_values(["errors", "loss"])
    if table["val"].notna().all():
        table = table.sort_values("val", ascending=False, kind="stable")
    return table.reset_index(drop=True)


FORMATS = {"val": "{:.2%}", "test": "{:.2%}", "loss": "{:.5f}", "difference": "{:+.0f}"}
FORMATS |= {"p": "{:.2g}", "errors": "{:.0f}"}


def as_text(table):
    """The table with formatted numbers."""
    text = table.astype(object)
    for name, form in FORMATS.items():
        text[name] = text[name].map(form.format, na_action="ignore")
    return text.fillna("").astype(str)
