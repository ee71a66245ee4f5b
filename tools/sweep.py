"""Run every combination of some parameters, as DVC experiments of the last commit, several at once.

make sweep SET="-S 'train.lr=0.1,0.2' -S 'train.seed=range(1,6)'" [JOBS=2]  runs what is not there
yet, up to `evaluate`, and prints a table. -S takes lists and ranges as Hydra writes them. JOBS runs
share the cores of this machine; with DASK_SCHEDULER=tcp://... in the environment, the workers of
that Dask cluster take them, each as many at once as it has threads. Results come back through Dask.
"""

import argparse
import sys
from collections import defaultdict

import pandas as pd
from tqdm import tqdm

from internals.runs import (
    RunError,
    current_commit,
    exit_on_user_error,
    experiments_of,
    mixed,
    name_of,
    results_of,
)

try:
    from internals.cluster import CPU_COUNT, connected, run_all, variables_of
except ImportError as error:
    sys.exit(f"make sweep needs Dask: pip install distributed ({error})")

SEED = ("train.seed=", "+train.seed=", "++train.seed=")


def expand(settings):
    """Name to overrides of every combination, as Hydra's own sweeper has them."""
    from dvc.exceptions import DvcException  # here, since local workers load this file too
    from dvc.utils.hydra import get_hydra_sweeps
    from hydra.errors import HydraException

    try:
        sweeps = [sweep["params.yaml"] for sweep in get_hydra_sweeps({"params.yaml": settings})]
    except (DvcException, HydraException) as error:
        raise RunError(": ".join(str(error).splitlines()[:2])) from None
    runs = {name_of(overrides): overrides for overrides in sweeps}
    for overrides in sweeps:
        if runs[name_of(overrides)] != overrides:
            raise RunError(f"{name_of(overrides)}: two combinations would have this name")
    return runs


def setting_of(overrides):
    """The name of a run's parameters without its seed."""
    return name_of([override for override in overrides if not override.startswith(SEED)])


def tabulate(runs, results):
    """A row for each setting of the other parameters than train.seed, the best first.

    The best on the validation images, where all have some: no choice is made on the test images.
    """
    table = pd.DataFrame(
        {
            "parameters": setting_of(runs[name]),
            "val": metrics.get("val_acc"),
            "test": metrics["accuracy"],
        }
        for name, metrics in results.items()
    ).astype({"val": float})
    columns = {"seeds": ("test", "size"), "val": ("val", "mean"), "val sd": ("val", "std")}
    columns |= {"test": ("test", "mean"), "test sd": ("test", "std")}
    table = table.groupby("parameters", sort=False).agg(**columns)
    judged = "test" if table["val"].isna().any() else "val"
    table = table.sort_values(judged, ascending=False, kind="stable").reset_index()
    for name in ("val", "test"):
        table[name] = table[name].map("{:.2%}".format, na_action="ignore")
        table[f"{name} sd"] = (100 * table[f"{name} sd"]).map("{:.2f}".format, na_action="ignore")
    return table.astype(object).fillna("")


def main(settings, jobs):
    commit = current_commit()
    runs = expand(settings)
    results = {name: results_of(name, commit) for name in runs}
    missing = {name: runs[name] for name, metrics in results.items() if metrics is None}
    for name in missing.keys() & experiments_of(commit).keys():
        raise RunError(f"{name} is there, but has no results: dvc exp remove {name}")
    start = f"runs: {len(runs)}, there already: {len(runs) - len(missing)}"
    failures = {}
    if missing:
        variables = variables_of(jobs)
        with connected(jobs, len(missing)) as (client, copies):
            at_once = sum(client.nthreads().values())
            threads = variables.get("OMP_NUM_THREADS", "as their workers have it")
            print(f"{start}, at once: {at_once}, threads each: {threads}", flush=True)
            ended = run_all(client, copies, missing, commit, variables)
            for name, error in tqdm(ended, total=len(missing), unit="run", disable=None):
                results[name] = metrics = results_of(name, commit)
                if error or metrics is None:
                    failures[name] = error or "has no results"
                else:
                    said = f"{metrics['accuracy']:.2%}, {metrics['errors']} errors"
                    tqdm.write(f"{name}: {said}")
                    sys.stdout.flush()
    else:
        print(start)
    if results := {name: metrics for name, metrics in results.items() if metrics}:
        print(tabulate(runs, results).to_markdown(index=False, disable_numparse=True))
        by_setting = defaultdict(list)
        for name, metrics in results.items():
            by_setting[setting_of(runs[name])].append(metrics)
        for setting, alike in by_setting.items():
            if different := mixed(alike):
                print(f"{setting}: a mean of runs that differ: {different}", file=sys.stderr)
    for name, error in failures.items():
        print(f"{name}: {error}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-S", action="append", required=True, metavar="train.lr=0.1,0.2")
    parser.add_argument("--jobs", type=int, default=max(1, CPU_COUNT // 2), help="runs at once")
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error(f"--jobs: should be 1 or more, got {arguments.jobs}")
    with exit_on_user_error():
        main(arguments.S, arguments.jobs)
