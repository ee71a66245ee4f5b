"""Run experiments as tasks of a Dask cluster, either a local or an existing one."""

import sys
import tempfile
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import dask
from dask.system import CPU_COUNT
from distributed import Client, as_completed

from internals.experiments import reference_of
from internals.git import RunError, git

from common.mnist import absolute_mirror

sys.path.append(str(Path(__file__).parent))
import clone  # top-level, because workers import it by this name

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # Dask sets all to 1
# Workers ignore Ctrl-C, which reaches all processes of a terminal: the sweep stops them itself.
IGNORE_INTERRUPT = """
import logging, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
logging.getLogger("distributed.worker.state_machine").setLevel("ERROR")
"""
ADDRESS = dask.config.get("scheduler-address", None)  # DASK_SCHEDULER_ADDRESS


@contextmanager
def connected(jobs, count):
    """A client of the cluster at ADDRESS or of a new local one, and a folder for clones."""
    local = {"n_workers": min(jobs, count), "threads_per_worker": 1, "host": "127.0.0.1"}
    local |= {"dashboard_address": "127.0.0.1:0", "preload": [IGNORE_INTERRUPT]}
    parent = clone.COPIES.resolve()
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as copies:
        try:
            client = Client(**({} if ADDRESS else local))
        except (OSError, TypeError, ValueError) as error:
            source = f"DASK_SCHEDULER_ADDRESS={ADDRESS}" if ADDRESS else "local Dask cluster"
            raise RunError(f"{source}: {error}") from None
        with client:
            yield client, copies


def dashboard_of(client):
    """The address of an existing cluster's dashboard, which needs Bokeh, or None."""
    services = client.scheduler_info(n_workers=0)["services"]
    if not ADDRESS or "dashboard" not in services:
        return None
    try:
        client.run_on_scheduler(version, "bokeh")
    except PackageNotFoundError:
        return None
    return client.dashboard_link


def workers_of(client):
    """The current number of workers as text."""
    count = len(client.nthreads())
    return f"{count} worker{'s' * (count != 1)}"


def variables_of(jobs):
    """Environment variables of a run, added to those of its worker."""
    variables = absolute_mirror()
    if not ADDRESS:
        # From JOBS, not from the number of missing runs: results depend on the number of threads.
        variables |= dict.fromkeys(THREADS, str(max(1, CPU_COUNT // jobs)))
    return variables


def run_all(client, copies, runs, commit, variables):
    """Run experiments (name to overrides); yield (name, error or None) as each one ends."""
    project = {"folder": str(Path.cwd()), "cache": clone.cache_settings(), "copies": copies}
    project["root"] = git("rev-parse", "--show-toplevel")
    project["subfolder"] = git("rev-parse", "--show-prefix")
    project["origin"] = git("remote", "get-url", "origin") or "origin"
    project["identity"] = ["-c", "commit.gpgsign=false"]
    for name in ("user.name", "user.email"):
        if value := git("config", name):
            project["identity"] += ["-c", f"{name}={value}"]
    client.upload_file(clone.__file__)
    names = {}
    for name, overrides in runs.items():
        run = (name, overrides, reference_of(name, commit), commit, project, variables)
        names[client.submit(clone.execute, *run, pure=False)] = name
    for future in as_completed(names):
        name = names[future]
        if future.status == "finished":
            bundle, error = future.result()
            refused = bundle and store(bundle, reference_of(name, commit))
            yield name, refused or error
        else:  # the run killed several workers, or the scheduler died
            error = future.exception() or f"{future.status}: is the cluster still running?"
            yield name, " ".join(str(error).split())


def store(bundle, reference):
    """Add the experiment in a Git bundle to this repository; return an error or None."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(bundle)
        file.flush()
        fetch = ("fetch", "--quiet", "--no-write-fetch-head", file.name)
        if git(*fetch, f"{reference}:{reference}") is None:
            return "Git rejected the result: does another experiment now have this name?"
    return None
