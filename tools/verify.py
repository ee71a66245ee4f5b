"""Reproduce the results of the last commit in a copy, and compare them with the committed ones.

make verify          runs every stage in a fresh clone, without results from the cache, and prints
                     each metric with its tolerance; exit status 1 if one is outside
make verify QUICK=1  runs the surfaces and XOR only
make repro           ends with the same comparison, of the results in this folder, in one line
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

sys.path.append(str(Path(__file__).resolve().parents[1] / "stages"))
from common.results import StaleResultError, check, metrics_path
from internals.copies import CLONE, COPIES, absolute_mirror, cache_settings
from internals.experiments import find_problem
from internals.git import RunError, content_of, current_commit, exit_on_user_error, git
from internals.tolerances import rounding, rule_of

SECTIONS = ("data", "surfaces", "xor", "train", "evaluate", "plots")
QUICK = {"surfaces": "surfaces", "xor": "xor_train"}
HISTORY, PAGE = "reports/plots/history.json", "reports/index.html"


def name_values(value, name=""):
    """(name, number) of nested metrics; a row of a list is named by its first text."""
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        labels = (next(iter(row.values())) if isinstance(row, dict) else None for row in value)
        members = (
            (label if isinstance(label, str) else i, row)
            for i, (label, row) in enumerate(zip(labels, value, strict=True))
        )
    else:
        if not isinstance(value, str):
            yield name, value
        return
    for member, inner in members:
        if member not in ("provenance", "machine"):
            yield from name_values(inner, f"{name}.{member}" if name else str(member))


class Results:
    """Metrics and files of some sections; `read` gives the bytes of a path."""

    def __init__(self, sections, read):
        found = {section: json.loads(read(metrics_path(section))) for section in sections}
        self.made = {section: metrics["provenance"][0] for section, metrics in found.items()}
        self.values = dict(name_values(found))
        self.files = {f: md5 for made in self.made.values() for f, md5 in made["writes"].items()}
        self.machine = found.get("train", {}).get("machine", [{}])[0]
        self.page = read(PAGE) if "evaluate" in sections else None
        if "train" in sections:
            first = json.loads(read(HISTORY))["rows"][0]
            self.values["train.first_epoch_loss"] = first["train_loss"]

    def sample_size(self, name):
        """How many images or starts a metric summarises."""
        if name.startswith("xor."):
            starts = self.made["xor"]["params"]["starts"]
            solved = self.values["xor.xor_solved"]
            return max(1, starts * (1 - solved)) if ".levels." in name else starts
        if name == "train.first_epoch_loss":
            return self.values["train.splits.train.images"]
        if split := re.search(r"train\.(?:splits\.)?(train|val)", name):
            return max(1, self.values.get(f"train.splits.{split[1]}.images", 1))
        images = self.values.get("data.test_images", 1)
        return images / 10 if ".recall." in name else images


def tabulate(committed, here):
    """A row per metric: both values, the tolerance and the verdict."""
    inputs = [results.made.get("evaluate", {}).get("reads") for results in (committed, here)]
    same_network = inputs[0] == inputs[1]
    rows = []
    for name in committed.values | here.values:
        old, new = committed.values.get(name), here.values.get(name)
        tolerance, verdict = "", "missing"
        if None not in (old, new):
            # The same network on the same images differs by rounding alone.
            rule = rounding if name.startswith("evaluate.") and same_network else rule_of(name)
            tolerance = rule(old, committed.sample_size(name))
            close = abs(new - old) <= tolerance
            verdict = "identical" if new == old else "within" if close else "OUTSIDE"
        rows.append((name, old, new, tolerance, verdict))
    for path in (path for path in committed.files if path.startswith("data/mnist/")):
        old, new = committed.files[path][:8], here.files.get(path, "missing")[:8]
        rows.append((f"MD5 of {path}", old, new, 0.0, "identical" if old == new else "OUTSIDE"))
    return pd.DataFrame(rows, columns=["metric", "committed", "here", "tolerance", "verdict"])


def sum_up(table, machine):
    """The verdict in one line, and whether all metrics are within their tolerances."""
    good = table["verdict"].isin(["identical", "within"])
    where = f"; {machine['precision']} on {machine['device']}" if machine else ""
    counts = f"{good.sum()} of {len(table)} within tolerance"
    counts += f", {(table['verdict'] == 'identical').sum()} identical{where}"
    if good.all():
        return f"reproduced: {counts}", True
    names = ", ".join(table["metric"][~good][:5])
    return f"NOT reproduced: {counts}; outside: {names}", False


def show_number(value):
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)


def read_committed(sections, commit):
    """The results of a commit, after checking that they belong to its parameters."""
    for section in sections:
        try:
            content_of(commit, metrics_path(section))
        except FileNotFoundError as error:
            raise RunError(f"the last commit has no results: {error}; dvc repro, commit") from None
    if problem := find_problem(commit, sections):
        raise RunError(f"the last commit: {problem}")
    return Results(sections, lambda path: content_of(commit, path))


def reproduce(commit, folder, stages):
    """Run the stages of a commit in a clone below a folder; the project's root in the clone."""
    top, prefix = git("rev-parse", "--show-toplevel"), git("rev-parse", "--show-prefix")
    clone = Path(folder, "project", prefix)
    environment = {n: v for n, v in os.environ.items() if n not in ("DVC_ROOT", "DVC_STAGE")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment |= absolute_mirror()
    settings = cache_settings()  # a later `dvc repro` finds these results in the cache
    target = ["--single-item", *stages] if stages else []
    for command, place in (
        ([*CLONE, top, f"{folder}/project"], "."),
        (["git", "checkout", "--quiet", "--detach", commit], f"{folder}/project"),
        *((["dvc", "config", "--local", *setting], clone) for setting in settings.items()),
        (["dvc", "repro", "--force", "--no-run-cache", *target], clone),
    ):
        if subprocess.run(command, cwd=place, env=environment).returncode:
            raise RunError(f"{' '.join(command[:2])} failed in a copy of the last commit")
    return clone


def verify(quick):
    started, commit = time.monotonic(), current_commit()
    sections = tuple(QUICK) if quick else SECTIONS
    committed = read_committed(sections, commit)
    COPIES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=COPIES.resolve()) as folder:
        clone = reproduce(commit, folder, QUICK.values() if quick else ())
        here = Results(sections, lambda path: (clone / path).read_bytes())
    table = tabulate(committed, here)
    line, good = sum_up(table, here.machine)
    shown = table.assign(**{n: table[n].map(show_number) for n in table.columns[1:4]})
    print(shown.to_string(index=False))
    different = [path for path, md5 in committed.files.items() if here.files.get(path) != md5]
    different += [PAGE] if here.page != committed.page else []
    files = f"{len(committed.files) + (not quick)} files"
    print(
        f"{files}: different bytes in {', '.join(different)}"
        if different
        else f"{files}: the same bytes"
    )
    if here.machine.get("precision") != committed.machine.get("precision"):
        print(f"the committed results were computed in {committed.machine['precision']}")
    if quick:
        print("quick: the CNN was not trained")
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    print(f"{line}; {minutes} min {seconds} s")
    sys.exit(0 if good else 1)


def compare_here():
    """One line for `make repro`: the results in this folder against those of the last commit."""
    try:
        check(SECTIONS)
    except (OSError, StaleResultError) as error:
        raise RunError(str(error)) from None
    try:
        committed = read_committed(SECTIONS, current_commit())
        here = Results(SECTIONS, lambda path: Path(path).read_bytes())
    except (FileNotFoundError, RunError) as error:
        print(f"not compared: {error}")
        return
    old, new = ({s: made["params"] for s, made in r.made.items()} for r in (committed, here))
    changed = [section for section in SECTIONS if old[section] != new[section]]
    if changed:
        print(
            f"not compared with the last commit: other parameters in {', '.join(changed)}; "
            f"computed in {here.machine['precision']} on {here.machine['device']}"
        )
    else:
        print(sum_up(tabulate(committed, here), here.machine)[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without the CNN")
    parser.add_argument("--here", action="store_true", help="compare this folder, run nothing")
    arguments = parser.parse_args()
    with exit_on_user_error():
        compare_here() if arguments.here else verify(arguments.quick)
