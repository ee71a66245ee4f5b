"""Compare experiments of the last commit with what it holds itself, on the same test images.

make compare [RUNS="slower faster"]  prints a table, the best first, and draws the curves of the
runs to reports/compare.png: only the parameters that differ, accuracy on the validation and test
images, and whether the difference in errors is beyond chance. Everything is read from Git.
"""

import argparse
import json
import os
import sys
from math import sqrt
from pathlib import Path

# As in stages/plots.py: no backend or settings of the user's.
os.environ |= {"MPLBACKEND": "Agg", "MATPLOTLIBRC": os.devnull}

import matplotlib.pyplot as plt
import pandas as pd
from dvc.utils.flatten import flatten
from dvc.utils.serialize import parse_yaml
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.stats import binomtest, norm

from internals.runs import (
    RunError,
    content_of,
    current_commit,
    exit_on_user_error,
    experiments_of,
    find_problem,
    metrics_of,
)

STYLE = Path(__file__).resolve().parent.parent / "stages/figures.mplstyle"
FIGURE = Path("reports/compare.png")


def read_run(revision):
    """What a revision holds: params, metrics, history and misclassified images."""

    def rows(name):
        return pd.DataFrame(json.loads(content_of(revision, f"reports/plots/{name}.json"))["rows"])

    predictions = rows("predictions")
    params = parse_yaml(content_of(revision, "params.yaml").decode(), "params.yaml")
    return {
        "params": flatten(params),
        "metrics": metrics_of(revision),
        "history": rows("history"),
        "actual": predictions["actual"],
        "wrong": predictions["actual"] != predictions["predicted"],
    }


def compare_errors(base, other):
    """The difference in errors of two networks on the same images, its 95 % interval, and p.

    base and other (n,) say which images each has wrong. Only those count that one of them has
    right: b that the other mends, c that it breaks. McNemar (1947): without a difference, b is
    binomial(b + c, ½). The interval is that of c - b, by the normal distribution.
    """
    b, c = int((base & ~other).sum()), int((other & ~base).sum())
    half = norm.ppf(0.975) * sqrt(b + c - (b - c) ** 2 / len(base))
    p = binomtest(b, b + c).pvalue if b + c else 1.0
    return c - b, (c - b - half, c - b + half), p


def tabulate(runs, base):
    """A row for each run, the best on the validation images first, or where not all have some, on
    the test images; `base` is the name of the one compared with.
    """
    names = {name for run in runs.values() for name in run["params"]}
    differing = [
        name
        for name in sorted(names)
        if len({repr(run["params"].get(name)) for run in runs.values()}) > 1
    ]
    rows = []
    for name, run in runs.items():
        metrics = run["metrics"]
        row = {"run": name} | {d.removeprefix("train."): run["params"].get(d) for d in differing}
        row |= {"val": metrics.get("val_acc"), "test": metrics["accuracy"]}
        row |= {"errors": metrics["errors"], "loss": metrics["loss"]}
        if name == base:
            row |= {"difference": "", "beyond chance": ""}
        elif not run["actual"].equals(runs[base]["actual"]):
            row |= {"difference": "other images", "beyond chance": ""}
        else:
            more, (low, high), p = compare_errors(runs[base]["wrong"], run["wrong"])
            sure = "yes" if p < 0.05 else "no"
            row["difference"] = f"{more:+d} ({low:+.0f} to {high:+.0f})"
            row["beyond chance"] = f"{sure}, p = {p:.2g}"
        rows.append(row)
    table = pd.DataFrame(rows).sort_values(["errors", "loss"], kind="stable", ignore_index=True)
    if table["val"].notna().all():
        table = table.sort_values("val", ascending=False, kind="stable", ignore_index=True)
    return table


def draw(runs, path):
    """Accuracy by epoch of each run, on what was held out, or else on the test images."""
    with plt.style.context(["default", STYLE]):
        figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained", sharex=True)
        held_out = all(run["history"]["val_acc"].notna().all() for run in runs.values())
        judged = "val" if held_out else "test"
        for name, run in runs.items():
            history, marker = run["history"], "o" if len(run["history"]) == 1 else None
            axes[0].plot(history["epoch"], history["train_loss"], label=name, marker=marker)
            axes[1].plot(history["epoch"], 100 * history[f"{judged}_acc"], marker=marker)
        axes[0].set(title="Loss on the training images", xlabel="epoch", yscale="log")
        kind = "validation" if held_out else "test"
        axes[1].set(title=f"Accuracy on the {kind} images, %", xlabel="epoch")
        axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes[0].yaxis.set_major_formatter("{x:g}")
        axes[0].yaxis.set_minor_formatter(NullFormatter())
        figure.legend(loc="outside right upper")
        figure.savefig(path, dpi=144)


def main(names):
    commit = current_commit()
    base = "this commit"
    revisions = {base: commit} | experiments_of(commit)
    unknown = [name for name in names if name not in revisions]
    if unknown:
        there = ", ".join(name for name in revisions if name != base) or "none"
        raise RunError(f"{unknown[0]}: no such experiment of this commit; there are: {there}")
    chosen = {n: r for n, r in revisions.items() if not names or n in (base, *names)}
    problems = {name: find_problem(revision) for name, revision in chosen.items()}
    if problems[base]:
        raise RunError(
            f"the last commit has no valid results ({problems[base]}): dvc repro, commit"
        )
    for name, problem in problems.items():
        if problem:
            print(f"{name}: left out: {problem}", file=sys.stderr)
    runs = {name: read_run(chosen[name]) for name, problem in problems.items() if not problem}
    if len(runs) < 2:
        raise RunError("nothing to compare: dvc exp run -S train.lr=0.001 makes an experiment")
    for name, run in runs.items():  # results of another machine, committed, are no fair base
        for what in ("device", "precision"):
            its, commits = run["metrics"].get(what), runs[base]["metrics"].get(what)
            if its != commits:
                print(f"{name}: its {what} is {its}, this commit's {commits}", file=sys.stderr)
    table = tabulate(runs, base)
    for name in ("val", "test"):
        table[name] = table[name].map("{:.2%}".format, na_action="ignore")
    table["loss"] = table["loss"].map("{:.5f}".format)
    print(table.fillna("").to_markdown(index=False, disable_numparse=True))
    draw(runs, FIGURE)
    print(f"The curves are in {FIGURE}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="experiments; all of this commit without")
    with exit_on_user_error():
        main(parser.parse_args().names)
