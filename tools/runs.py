"""Runs of the pipeline with other parameters, as DVC experiments of the current commit: what they
are called, how they are started, and what came out."""

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager

METRICS = ("train", "evaluate")
# What runs must have in common to be taken together.
SAME = ("images", "precision", "device", "threads", "torch")
MODEL = "data/cnn/model.pth"


class RunError(RuntimeError):
    """A run that ended with an error; str() is what it printed last."""


@contextmanager
def ended_in_one_line():
    """End the process on a RunError with its text, and on Ctrl-C with 130; what is done stays."""
    clear_git_variables()
    try:
        yield
    except RunError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def clear_git_variables():
    """Forget what Git sets for hooks and `git rebase --exec`: it names another repository."""
    bare = {"PATH": os.environ["PATH"]}  # with some values of theirs Git refuses every command
    names = subprocess.check_output(["git", "rev-parse", "--local-env-vars"], env=bare, text=True)
    for name in ("GIT_NAMESPACE", *names.split()):
        os.environ.pop(name, None)


def git(*arguments):
    """What `git ARGUMENTS` prints, or None where it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def name_of(overrides):
    """The name of the experiment with these parameters: train.lr=0.1, train.seed=3 → lr=0.1,seed=3.

    It is the same whatever their order. Of sections, only `train` is left out. What Git allows in
    no name becomes a dash.
    """
    short = ",".join(sorted(override.lstrip("+").removeprefix("train.") for override in overrides))
    return re.sub(r"[^\w.,=+-]+|\.\.+", "-", short).strip(".-") or "default"


def commit_of(revision):
    """The hash of what a revision names, or None where it names nothing."""
    return git("rev-parse", "--verify", "--quiet", revision)


def current_commit():
    """The commit whose experiments are meant; RunError outside a repository with a commit."""
    commit = commit_of("HEAD")
    if commit is None:
        raise RunError("there is no commit here, and experiments belong to one")
    return commit


def file_of(revision, path):
    """The text of a file as a revision has it, or None. The path counts from the current folder."""
    return git("show", f"{revision}:./{path}")


def reference_of(name, commit):
    """Where Git has the experiment of this name of a commit."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def experiments_of(commit):
    """Name to revision of the experiments of a commit, by name."""
    prefix = reference_of("", commit)
    names = git("for-each-ref", "--format=%(refname)", prefix).split()
    return {name.removeprefix(prefix): name for name in names}


def value_of(params, name):
    """The parameter or section of a dotted name, or None."""
    for key in name.split("."):
        params = params.get(key) if isinstance(params, dict) else None
    return params


def is_evaluated(revision):
    """Whether `evaluate` has seen the very network that a revision's parameters give, as its
    dvc.lock tells.

    A run that ended before it, `dvc exp run cnn_train`, has the metrics of the network before, and
    so has a commit of parameters with which nothing has run.
    """
    from dvc.utils.serialize import parse_yaml  # here, since local workers load this file too

    files = ("dvc.lock", "params.yaml")
    lock, params = (parse_yaml(file_of(revision, path) or "", path) or {} for path in files)
    stages = lock.get("stages", {})
    networks = [
        file["md5"]
        for stage, kind in (("cnn_train", "outs"), ("evaluate", "deps"))
        for file in stages.get(stage, {}).get(kind, [])
        if file["path"] == MODEL
    ]
    if len(networks) != 2 or networks[0] != networks[1]:
        return False
    return all(
        value_of(params, name) == value
        for stage in ("download_mnist", "cnn_train", "evaluate")  # the first may be replaced
        for name, value in stages.get(stage, {}).get("params", {}).get("params.yaml", {}).items()
    )


def results_of(name, commit):
    """The metrics of a finished experiment of a commit, name to value; None if there is none."""
    revision = experiments_of(commit).get(name)
    if revision is None or not is_evaluated(revision):
        return None
    files = [file_of(revision, f"reports/metrics/{stage}.json") for stage in METRICS]
    if None in files:
        return None
    return {key: value for file in files for key, value in json.loads(file).items()}


def mixed(runs):
    """What the metrics of several runs should have in common, and have not: name to values."""
    found = {name: sorted({str(metrics.get(name)) for metrics in runs}) for name in SAME}
    return {name: values for name, values in found.items() if len(values) > 1}


def refuse_edits():
    """RunError if a run would not be of the last commit: DVC takes edits along into its copy."""
    files = ("params.yaml", "dvc.yaml", "stages", "*?.dvc")
    edited = git("diff", "--name-only", "--relative", "HEAD", "--", *files)
    if edited:
        files = ", ".join(edited.splitlines())
        raise RunError(f"{files}: edited since the last commit, whose runs are meant: commit first")


def run(overrides):
    """Run the pipeline up to `evaluate` with these parameters, in a copy; RunError tells how it
    ended.
    """
    settings = [argument for override in overrides for argument in ("-S", override)]
    command = ["dvc", "exp", "run", "--temp", "--name", name_of(overrides), *settings, "evaluate"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RunError("\n".join(done.stdout.strip().splitlines()[-12:]))
