"""Build a repository with results and experiments without rerunning the pipeline."""

import shutil
import sys

from repositories import commit, git, set_identity
from workspaces import ROOT

from internals.experiments import reference_of

sys.path.insert(0, str(ROOT / "benchmarks"))  # before tools/internals/experiments.py
from experiments import add_experiments, imitate  # noqa: F401 for the tests


def edit_experiment(folder, name, path, text):
    """Write a text to a file of an experiment of the last commit."""
    head = git(folder, "rev-parse", "HEAD")
    reference = reference_of(name, head)
    git(folder, "checkout", "--quiet", "--detach", reference)
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text(text)
    commit(folder)
    git(folder, "update-ref", reference, "HEAD")
    git(folder, "checkout", "--quiet", head)


def commit_results(computed, folder):
    """A Git repository with the results of `computed` as its only commit."""
    shutil.copytree(computed, folder)
    git(folder, "init", "--quiet")
    set_identity(folder)
    (folder / ".gitignore").write_text("/data/\n/reports/compare.html\n.*.part\n")
    commit(folder)
    return folder
