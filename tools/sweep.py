"""Run every combination of parameter values as DVC experiments of the last commit, in parallel.

make sweep SET="-S 'train.lr=0.1,0.2' -S 'train.seed=range(1,6)'" [JOBS=2]
make seeds [N=10] [SET="-S train.epochs=1,2"]

A sweep runs the missing experiments up to `evaluate` and prints the difference of each setting from
the first one, paired by seed. `make seeds` sweeps over train.seed = 1 to N and writes one entry per
setting to reports/seeds.json. -S accepts Hydra's lists and ranges. JOBS parallel runs share the
cores of this machine. With DASK_SCHEDULER_ADDRESS=tcp://... in the environment, the sweep runs on
that Dask cluster instead, one run per worker thread.
"""

import argparse
import sys

from tqdm import tqdm

from internals.experiments import (
    SEED,
    find_problem,
    find_results,
    metrics_of,
    mixed,
    reference_of,
    refuse_edits,
)
from internals.git import RunError, current_commit, exit_on_user_error
from internals.overrides import expand
from internals.seeds import SEEDS, describe, read_seeds, write_seeds

try:
    from dask.system import CPU_COUNT

    from internals import cluster
except ImportError as error:
    sys.exit(f"make sweep needs Dask: run make setup ({error})")


def run_missing(start, missing, commit, jobs):
    """Run experiments (name to overrides); yield (name, metrics or None, error or None)."""
    variables = cluster.variables_of(jobs)
    with cluster.connected(jobs, len(missing)) as (client, copies):
        threads = variables.get("OMP_NUM_THREADS", "set by the workers")
        at_once = sum(client.nthreads().values()) or "waiting for workers"
        print(f"{start}, in parallel: {at_once}, threads per run: {threads}", flush=True)
        if dashboard := cluster.dashboard_of(client):
            print(f"dashboard: {dashboard}", flush=True)
        ended = cluster.run_all(client, copies, missing, commit, variables)
        workers = cluster.workers_of(client)
        with tqdm(total=len(missing), unit="run", desc=workers, disable=None) as bar:
            for name, error in ended:
                reference = reference_of(name, commit)
                error = error or find_problem(reference)
                metrics = None if error else metrics_of(reference)
                if metrics:
                    tqdm.write(f"{name}: {metrics['accuracy']:.2%}, errors: {metrics['errors']}")
                    sys.stdout.flush()
                bar.set_description(cluster.workers_of(client), refresh=False)
                bar.update()
                yield name, metrics, error


def refuse_other_threads(runs, results, missing, jobs):
    """RunError if missing runs would not be comparable with the results of their setting."""
    planned = cluster.variables_of(jobs).get("OMP_NUM_THREADS")  # None on an existing cluster
    incomplete = {runs[name].setting for name in missing}
    for name in results if planned else ():
        threads = str(results[name]["threads"])
        if threads != planned and runs[name].setting in incomplete:
            found = f"{name}: ran with {threads} threads, missing runs of this setting would use"
            raise RunError(f"{found} {planned}: set JOBS, or run `dvc exp remove {name}`")


def main(settings, jobs, seeds):
    from internals.summary import tabulate_settings  # lazy: local workers load this file

    commit, entries = current_commit(), read_seeds()
    refuse_edits()
    runs = expand([*settings, *([f"{SEED}=range(1,{seeds + 1})"] if seeds else [])], commit)
    results, failures = find_results(runs, commit)
    known = {*results, *failures}
    missing = {name: run.overrides for name, run in runs.items() if name not in known}
    start = f"runs: {len(runs)}, already present: {len(results)}"
    if missing:
        refuse_other_threads(runs, results, missing, jobs)
        for name, metrics, error in run_missing(start, missing, commit, jobs):
            (failures if error else results)[name] = error or metrics
    else:
        print(start)

    by_setting = {}
    for name, run in runs.items():
        if name in results:
            by_setting.setdefault(run.setting, {})[run.params["train"]["seed"]] = results[name]
    for title, table in tabulate_settings(by_setting):
        print(f"\n{title}\n\n{table.to_markdown(index=False, disable_numparse=True)}")
    for setting, by_seed in by_setting.items():
        if different := mixed([*by_seed.values()]):
            failures[setting] = f"these runs are not comparable: {'; '.join(different)}"
        elif seeds and len(by_seed) == seeds:
            entries[setting] = describe(commit, [*by_seed.values()])
            write_seeds(entries)
            print(f"\nadded to {SEEDS}: {setting}")
    for name, error in failures.items():
        print(f"{name}: {error}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-S", action="append", default=[], metavar="train.lr=0.1,0.2")
    parser.add_argument("--jobs", type=int, default=max(1, CPU_COUNT // 2), help="parallel runs")
    parser.add_argument("--seeds", type=int, metavar="N", help="run each setting with seeds 1 to N")
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error(f"--jobs: should be 1 or more, got {arguments.jobs}")
    if arguments.seeds is not None and arguments.seeds < 2:
        parser.error(f"--seeds: should be 2 or more, got {arguments.seeds}")
    if not (arguments.S or arguments.seeds):
        parser.error("-S or --seeds is missing")
    with exit_on_user_error():
        main(arguments.S, arguments.jobs, arguments.seeds)
