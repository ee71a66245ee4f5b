"""Runs as tasks of a Dask cluster: one on this machine, or one that is there already."""

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, as_completed

from internals.runs import (
    CLONE,
    COPIES,
    RunError,
    absolute_mirror,
    cache_settings,
    git,
    reference_of,
)

sys.path.append(str(Path(__file__).parent))
import clone  # under this name on the workers, too, which have nothing else of the project

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # Dask sets all to 1
# Ctrl-C reaches all processes of a terminal. This one ends its workers, which need not hear it, nor
# tell what was cancelled.
DEAF = """
import logging, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
logging.getLogger("distributed.worker.state_machine").setLevel("ERROR")
"""
ADDRESS = os.environ.get("DASK_SCHEDULER")


@contextmanager
def connected(jobs, count):
    """A client of the cluster at DASK_SCHEDULER, or of a new one here; a folder for the clones."""
    COPIES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=COPIES.resolve(), ignore_cleanup_errors=True) as copies:
        if ADDRESS:
            try:
                client = Client(ADDRESS)
            except (OSError, ValueError) as error:
                raise RunError(f"DASK_SCHEDULER={ADDRESS}: {error}") from None
            with client:
                yield client, copies
        else:
            with (
                LocalCluster(
                    n_workers=min(jobs, count),
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address=None,
                    preload=[DEAF],
                ) as cluster,
                Client(cluster) as client,
            ):
                yield client, copies


def variables_of(jobs):
    """What the environment of a run has beside what its worker has."""
    variables = absolute_mirror()
    if not ADDRESS:
        # By JOBS, not by how many are left to run: results depend on the number of threads.
        variables |= dict.fromkeys(THREADS, str(max(1, CPU_COUNT // jobs)))
    return variables


def run_all(client, copies, runs, commit, variables):
    """Run these, name to overrides: yields the name of each as it ends, and an error or None."""
    identity = ["-c", "commit.gpgsign=false"]
    for name in ("user.name", "user.email"):
        if value := git("config", name):
            identity += ["-c", f"{name}={value}"]
    project = {"folder": str(Path.cwd()), "cache": cache_settings(), "copies": copies}
    project["root"] = git("rev-parse", "--show-toplevel")
    project["subfolder"] = git("rev-parse", "--show-prefix")
    project["clone"] = [*CLONE, *identity]
    project["origin"] = git("remote", "get-url", "origin") or "origin"
    where = (commit, project, variables)
    client.upload_file(clone.__file__)
    names = {}
    for name, overrides in runs.items():
        task = (clone.execute, name, overrides, reference_of(name, commit), *where)
        names[client.submit(*task, pure=False)] = name
    for future in as_completed(names):
        name = names[future]
        if future.status == "finished":
            bundle, error = future.result()
            refused = bundle and store(bundle, reference_of(name, commit))
            yield name, refused or error
        else:  # its workers died, one after the other, or the scheduler
            error = future.exception() or f"{future.status}: is the cluster there?"
            yield name, " ".join(str(error).split())


def store(bundle, reference):
    """Take the experiment in a bundle into this repository: what went wrong, or None."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(bundle)
        file.flush()
        fetch = ("fetch", "--quiet", "--no-write-fetch-head", file.name)
        if git(*fetch, f"{reference}:{reference}") is None:
            return "Git does not take the result: is there another of this name by now?"
    return None
