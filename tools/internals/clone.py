"""One run of the pipeline in a clone of its own, by a worker of a Dask cluster.

cluster.py sends this file to the workers, which need nothing of the project: it imports none of it.
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from distributed import get_worker

# Runs "$@", and kills it and all that it started once standard input ends: a pipe from the worker,
# which ends with the worker, in whatever way that ends.
GUARD = 'exec 3<&0; (read -r _ <&3; kill -KILL 0) & "$@" 3<&- <&-; end=$?; kill -KILL $!; exit $end'


def call(command, folder, environment, wanted):
    """Run a command for as long as wanted(): None where it succeeded, or else its last line."""
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        with subprocess.Popen(
            ["sh", "-c", GUARD, "sh", *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:  # whose end closes the pipe
            while process.poll() is None and wanted():
                time.sleep(0.1)
        if process.returncode == 0:
            return None
        said.seek(0)
        lines = [line for line in said.read().splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("ERROR: failed to reproduce")]
    return (told or lines or [f"{command[0]} ended with status {process.returncode}"])[-1]


def execute(name, overrides, reference, commit, project, variables):
    """Run the pipeline up to `evaluate`: a Git bundle of the experiment or None, an error or None.

    project has the `folder` where the sweep started (it may be a `subfolder` of Git's `root`), the
    options of its DVC `cache`, a folder for `copies`, Git's `origin`, and the command to `clone`. A
    worker that sees the copies shares the cache, and the states of unfinished trainings. Another
    clones the origin, keeps a cache of its own and pushes to DVC's remote; a missing remote is an
    error beside a bundle.
    """
    worker = get_worker()
    task = worker.state.tasks[worker.get_current_task()]
    shared = Path(project["copies"]).is_dir()
    parent = project["copies"] if shared else worker.local_directory
    with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as folder:
        clone, bundle = Path(folder, "clone"), Path(folder, "bundle")
        inside = clone / project["subfolder"]  # of a larger repository
        clone.mkdir()
        # These would name another repository.
        command, bare = ["git", "rev-parse", "--local-env-vars"], {"PATH": os.environ["PATH"]}
        local = subprocess.check_output(command, env=bare, text=True)
        foreign = {"DVC_ROOT", "DVC_STAGE", "GIT_NAMESPACE", *local.split()}
        inherited = {k: v for k, v in os.environ.items() if k not in foreign}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        ours = {"PATH": path, "DVC_SITE_CACHE_DIR": f"{folder}/site"}
        run = partial(
            call,
            environment=inherited | ours | variables,
            wanted=lambda: task.state != "cancelled",
        )
        source = project["root"] if shared else project["origin"]
        cache = project["cache"] if shared else {"cache.dir": f"{parent}/cache"}
        steps = [
            (clone, *project["clone"], source, "."),
            (clone, "git", "checkout", "--quiet", "--detach", commit),
            *((inside, "dvc", "config", "--local", *option) for option in cache.items()),
        ]
        if shared:
            states = f"{project['folder']}/.dvc/tmp/training"
            steps.append((inside, "mkdir", "-p", states, ".dvc/tmp"))
            steps.append((inside, "ln", "-s", states, ".dvc/tmp"))
        settings = [argument for override in overrides for argument in ("-S", override)]
        steps += [
            (inside, "dvc", "exp", "run", "--name", name, *settings, "evaluate"),
            (inside, "git", "bundle", "create", "--quiet", bundle, reference, f"^{commit}"),
        ]
        for folder, *command in steps:
            if error := run(command, folder):
                return None, error
        kept = None if shared else run(["dvc", "push", "-d", "evaluate"], inside)
        return bundle.read_bytes(), kept and f"its data stays where it ran: {kept}"
