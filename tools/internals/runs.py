"""Runs of the pipeline with other parameters, as DVC experiments of the current commit: what they
are called, how they are started, and what came out."""

import hashlib
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "stages"))
from common.params import ParameterError, read_section  # noqa: F401
from common.results import StaleResultError, check, metrics_path, read_metrics  # noqa: F401

METRICS = ("train", "evaluate")
# What runs must have in common to be taken together.
SAME = ("images", "precision", "device", "threads", "torch")
COPIES = Path(".dvc/tmp/exps")  # where DVC and we run copies; `make doctor` removes killed ones
# A clone in which nothing runs that a user has configured for Git.
CLONE = ["git", "-c", "protocol.file.allow=always", "-c", "clone.rejectShallow=false", "clone"]
CLONE += ["--quiet", "--no-checkout", "--template=", "-c", "core.hooksPath=/dev/null"]


class RunError(RuntimeError):
    """A run that ended with an error; str() is what it printed last."""


@contextmanager
def exit_on_user_error():
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


def absolute_mirror():
    """MNIST_MIRROR for a run in another folder: {} if it is not set."""
    mirror = os.environ.get("MNIST_MIRROR")
    if not mirror:
        return {}
    folder = Path(mirror).expanduser()
    return {"MNIST_MIRROR": str(folder.resolve()) if folder.is_dir() else mirror}


def cache_settings():
    """DVC's options for a clone that shares the cache; others who share it can write to it, too."""
    from dvc.repo import Repo  # here, because local workers load this file too

    with Repo() as repo:
        config, folder = repo.config["cache"], repo.cache.local_cache_dir
    settings = {"cache.dir": folder, "cache.shared": config.get("shared")}
    settings["cache.type"] = ",".join(config.get("type") or ())
    return {option: value for option, value in settings.items() if value}


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


def reference_of(name, commit):
    """Where Git has the experiment of this name of a commit."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def experiments_of(commit):
    """Name to revision of the experiments of a commit, by name."""
    prefix = reference_of("", commit)
    names = git("for-each-ref", "--format=%(refname)", prefix).split()
    return {name.removeprefix(prefix): name for name in names}


def content_of(revision, path):
    """The bytes of a file in a revision, relative to the current folder; FileNotFoundError."""
    command = ["git", "show", f"{revision}:./{path}"]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        raise FileNotFoundError(f"{path}: not in {revision}")
    return done.stdout


def find_problem(revision, sections=("data", *METRICS)):
    """Why a revision's results are not those of its parameters, in one line; None if they are."""

    def digest(path):
        if path.startswith("data/"):
            return None  # tracked by DVC alone
        return hashlib.md5(content_of(revision, path), usedforsecurity=False).hexdigest()

    try:
        for section in {*sections} - {"data"}:  # users may get their data in another way
            content_of(revision, metrics_path(section))
        check(sections, lambda path: content_of(revision, path).decode(), digest)
    except (OSError, UnicodeDecodeError, StaleResultError, ParameterError) as error:
        return str(error)


def metrics_of(revision):
    """Headline metrics and machine of a revision, name to value, and its training images."""
    metrics = {}
    for section in METRICS:
        metrics |= json.loads(content_of(revision, metrics_path(section)))
    images = metrics["splits"][0]["images"]
    return metrics | metrics["machine"][0] | {"images": images}


def results_of(name, commit):
    """The metrics of a finished experiment of a commit, name to value; None if there is none."""
    revision = experiments_of(commit).get(name)
    return None if revision is None or find_problem(revision) else metrics_of(revision)


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
