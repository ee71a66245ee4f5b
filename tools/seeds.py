"""Train with many seeds, as DVC experiments, to see how far the results depend on chance.

make seeds [N=10] [SET="-S train.epochs=1"] runs seeds 1 to N of the last commit with these
parameters, one after the other. Those that are there already are not run again, so that what was
interrupted goes on. Prints a table, and writes it to reports/seeds.json under the parameters' name.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from internals.runs import (
    SAME,
    RunError,
    current_commit,
    exit_on_user_error,
    mixed,
    name_of,
    refuse_edits,
    results_of,
    run,
)

TABLE = Path("reports/seeds.json")


def summarise(runs):
    """What is to be said of the metrics of several runs that differ in their seed alone."""
    if different := mixed(runs):
        raise RunError(f"these runs cannot be taken together: {different}")
    table = pd.DataFrame(runs)
    accuracy = table["accuracy"]
    described = {name: runs[0].get(name) for name in SAME}
    described |= {"seeds": len(table), "mean": accuracy.mean(), "sd": accuracy.std()}
    described |= {"min": accuracy.min(), "max": accuracy.max(), "loss": table["loss"].mean()}
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in described.items()
    } | {"errors": table["errors"].tolist()}


def read_table():
    """What is in reports/seeds.json: before hours of training, not after."""
    try:
        return json.loads(TABLE.read_text()) if TABLE.exists() else {}
    except ValueError as error:
        raise RunError(f"{TABLE}: not JSON: {error}") from None


def main(count, settings):
    runs, commit, table = [], current_commit(), read_table()
    refuse_edits()
    for seed in tqdm(range(1, count + 1), unit="seed", disable=None):
        overrides = [*settings, f"train.seed={seed}"]
        name, started = name_of(overrides), time.perf_counter()
        if results_of(name, commit) is None:
            run(overrides)
        metrics = results_of(name, commit)
        if metrics is None:
            raise RunError(f"{name}: not found; was something committed while it ran?")
        runs.append(metrics)
        took = time.perf_counter() - started
        tqdm.write(f"{name}: {metrics['accuracy']:.2%}, {metrics['errors']} errors, {took:.0f} s")
        sys.stdout.flush()

    table[name_of(settings)] = {"commit": commit} | summarise(runs)
    TABLE.parent.mkdir(exist_ok=True)
    beside = TABLE.with_name(f".{TABLE.name}.part")  # which Git ignores, and the doctor finds
    beside.write_text(json.dumps(table, indent=2, allow_nan=False) + "\n")
    beside.replace(TABLE)
    columns = ["seeds", "mean", "sd", "min", "max", "loss", "images", "precision"]
    print(pd.DataFrame(table).T[columns].to_markdown())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train with many seeds, as DVC experiments.")
    parser.add_argument("count", type=int, help="how many seeds")
    parser.add_argument(
        "-S", action="append", default=[], metavar="train.epochs=1", dest="settings"
    )
    arguments = parser.parse_args()
    if arguments.count < 2:
        parser.error("a mean and a standard deviation need two seeds or more")
    with exit_on_user_error():
        main(arguments.count, arguments.settings)
