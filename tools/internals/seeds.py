"""Read and write reports/seeds.json: setting to statistics of its runs with seeds 1 to N."""

import json
import statistics
from pathlib import Path

from internals.experiments import SAME, params_of, relevant
from internals.git import RunError

from common.files import write_bytes

SEEDS = Path("reports/seeds.json")
FIELDS = {"commit", "test_images", "seeds", "errors"}  # those that make compare reads


def read_seeds():
    """The entries by setting; {} if there is no file, RunError if it is damaged."""
    try:
        entries = json.loads(SEEDS.read_text()) if SEEDS.exists() else {}
        damaged = any(FIELDS - entry.keys() for entry in entries.values())
    except (AttributeError, ValueError):
        damaged = True
    if damaged:
        raise RunError(f"{SEEDS}: damaged or in conflict: edit it, or run `git restore {SEEDS}`")
    return entries


def write_seeds(entries):
    write_bytes(SEEDS, (json.dumps(entries, indent=2, allow_nan=False) + "\n").encode())


def describe(commit, runs):
    """The entry of a setting; `runs` are the metrics of its runs in the order of their seeds."""
    accuracy = [run["accuracy"] for run in runs]
    numbers = {"mean": statistics.mean(accuracy), "sd": statistics.stdev(accuracy)}
    numbers |= {"min": min(accuracy), "max": max(accuracy)}
    numbers["loss"] = statistics.mean(run["loss"] for run in runs)
    return (
        {"commit": commit, **{name: runs[0].get(name) for name in SAME}, "seeds": len(runs)}
        | {name: round(value, 6) for name, value in numbers.items()}
        | {"errors": [run["errors"] for run in runs]}
    )


def seed_deviations(commit, test_images):
    """Standard deviation of test errors between seeds as text, or None: for entries with the same
    test images (MD5) whose commit has the same parameters.
    """
    params = relevant(params_of(commit))
    described = [
        f"{statistics.stdev(entry['errors']):.1f} for {name} (n = {entry['seeds']}, "
        f"commit {entry['commit'][:7]})"
        for name, entry in read_seeds().items()
        if entry["test_images"] == test_images and relevant(params_of(entry["commit"])) == params
    ]
    return f"{', '.join(described)}, {SEEDS}" if described else None
