"""Clones of the project, for `make verify` and for each run of a sweep.

cluster.py sends this file to the workers; it must not import any other file of the project.
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

# DVC's folder for copies; `make doctor` removes those of killed runs.
COPIES = Path(".dvc/tmp/exps")
# A clone without the hooks, templates and restrictions of the user's Git configuration.
CLONE = ["git", "-c", "protocol.file.allow=always", "-c", "clone.rejectShallow=false", "clone"]
CLONE += ["--quiet", "--no-checkout", "--template=", "-c", "core.hooksPath=/dev/null"]
# Run "$@", and kill it with all its children when standard input is closed. Standard input is a
# pipe from the worker, so the run ends with the worker, even if the worker is killed.
GUARD = 'exec 3<&0; (read -r _ <&3; kill -KILL 0) & "$@" 3<&- <&-; end=$?; kill -KILL $!; exit $end'

UNINFORMATIVE = "ERROR: failed to reproduce", "Having any troubles?"  # lines of DVC


def cache_settings():
    """DVC options for sharing the cache and its file permissions with a clone."""
    from dvc.repo import Repo  # lazy: local workers load this file

    with Repo() as repo:
        config, folder = repo.config["cache"], repo.cache.local_cache_dir
    settings = {"cache.dir": folder, "cache.shared": config.get("shared")}
    settings["cache.type"] = ",".join(config.get("type") or ())
    return {option: value for option, value in settings.items() if value}


def activated(variables):
    """The environment with these variables, and with the programs of this Python first in PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path} | variables


def clone_steps(source, clone, subfolder, commit, cache, options=()):
    """Commands that clone a commit and set the project's cache: (folder, program, argument ...).

    The cache's path is relative to the project, because DVC cannot write the names of the folders
    above if they have non-ASCII characters.
    """
    project = Path(clone, subfolder)
    relative = os.path.relpath(*map(os.path.realpath, (cache["cache.dir"], project)))
    yield ".", *CLONE, *options, source, clone
    yield clone, "git", "checkout", "--quiet", "--detach", commit
    for option in (cache | {"cache.dir": relative}).items():
        yield project, "dvc", "config", "--local", *option


def call(command, folder, environment, wanted):
    """Run a command while wanted() is true: None on success, else its last line of output."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        with subprocess.Popen(
            ["sh", "-c", GUARD, "sh", *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:  # leaving this block closes the pipe
            while process.poll() is None and wanted():
                time.sleep(0.1)
        if process.returncode == 0:
            return None
        output.seek(0)
        lines = [line for line in output.read().splitlines() if line.strip()]
    causes = [line for line in lines if not line.startswith(UNINFORMATIVE)]
    return (causes or lines or [f"{command[0]} ended with status {process.returncode}"])[-1]


def execute(name, overrides, reference, commit, project, variables):
    """Run the pipeline up to `evaluate`; return a Git bundle of the experiment and an error, each
    possibly None.

    `project` contains the `folder` of the sweep (possibly a `subfolder` of Git's `root`), the
    options of its DVC `cache`, a folder for `copies`, Git's `origin` and the user's `identity`. A
    worker with access to `copies` shares the cache and the checkpoints of interrupted training
    runs. Other workers clone the origin, use a local cache and push to DVC's remote; without a
    remote, they return the bundle with an error.
    """
    from distributed import get_worker  # lazy: `make verify` does not need Dask

    worker = get_worker()
    task = worker.state.tasks[worker.get_current_task()]
    shared = Path(project["copies"]).is_dir()
    parent = project["copies"] if shared else worker.local_directory
    with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as folder:
        clone, bundle = Path(folder, "clone"), Path(folder, "bundle")
        inside = clone / project["subfolder"]
        environment = activated(variables | {"DVC_SITE_CACHE_DIR": f"{folder}/site"})
        run = partial(call, environment=environment, wanted=lambda: task.state != "cancelled")
        source = project["root"] if shared else project["origin"]
        cache = project["cache"] if shared else {"cache.dir": f"{parent}/cache"}
        where = source, clone, project["subfolder"], commit, cache, project["identity"]
        steps = [*clone_steps(*where)]
        if shared:
            states = f"{project['folder']}/.dvc/tmp/training"
            steps.append((inside, "mkdir", "-p", states, ".dvc/tmp"))
            steps.append((inside, "ln", "-s", states, ".dvc/tmp"))
        settings = [f"--set-param={override}" for override in overrides]
        steps += [
            (inside, "dvc", "exp", "run", "--name", name, *settings, "evaluate"),
            (inside, "git", "bundle", "create", "--quiet", bundle, reference, f"^{commit}"),
        ]
        for place, *command in steps:
            if error := run(command, place):
                return None, error
        unpushed = None if shared else run(["dvc", "push", "-d", "evaluate"], inside)
        return bundle.read_bytes(), unpushed and f"the data is only on the worker: {unpushed}"
