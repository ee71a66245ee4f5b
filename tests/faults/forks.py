"""Run DVC commands in forks of one process that has already imported DVC, numpy and pydantic."""

import multiprocessing
import os
import runpy
import sys

PRELOADED = ["numpy", "pydantic", "yaml", "ruamel.yaml", "networkx", "omegaconf"]
PRELOADED += ["pygit2", "dulwich.porcelain", "dulwich.stash", "scmrepo.git.backend.pygit2.filter"]
PRELOADED += ["hydra._internal.hydra", "celery.canvas", "fsspec.implementations.memory"]
PRELOADED += ["dvc.cli.parser", "dvc.data_cloud", "dvc.repo.index", "dvc.repo.plots"]
PRELOADED += ["dvc.repo.stage", "dvc.utils.strictyaml", "dvc.repo.experiments.queue.celery"]
PRELOADED += ["dvc.repo.experiments.queue.workspace", "dvc.repo.experiments.queue.tempdir"]
PRELOADED += ["dvc_data.hashfile.db.local", "dvc_data.hashfile.gc", "dvc_data.hashfile.status"]
PRELOADED += ["dvc_data.index.checkout"]


def start_pool():
    """Start a pool with one worker process, replaced after each call."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context.Pool(1, maxtasksperchild=1)


def run_dvc(folder, log, *arguments):
    """Run `dvc ARGUMENTS` in a folder, append its output to a log file, return the exit status."""
    import dvc.stage.run
    from dvc.cli import main

    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    print("> dvc", *arguments, flush=True)
    dvc.stage.run._run = run_stage
    os.chdir(folder)
    return main([*arguments])


def run_stage(executable, command, cwd, env, **options):
    """Run `python SCRIPT` in a fork; DVC would start a shell. The parent has imported only
    libraries, so the fork imports common/ from the script's folder.
    """
    from dvc.stage.exceptions import StageCmdFailedError

    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.environ.clear()
            os.environ.update(env)
            os.chdir(cwd)
            _, script = command.split()
            sys.argv, sys.path[0] = [script], os.path.dirname(script)
            runpy.run_path(script, run_name="__main__")
            status = 0
        except SystemExit as stopped:
            status = stopped.code
        finally:
            sys.stdout.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise StageCmdFailedError(command, status)
