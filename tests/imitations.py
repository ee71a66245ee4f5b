"""Build a repository with results and experiments without rerunning the pipeline."""

import shutil
import sys

from repositories import commit, git, set_identity
from workspaces import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))  # before tools/internals/experiments.py
from experiments import add_experiments, imitate  # noqa: F401 for the tests


def commit_results(computed, folder):
    """A Git repository with the results of `computed` as its only commit."""
    shutil.copytree(computed, folder)
    git(folder, "init", "--quiet")
    set_identity(folder)
    (folder / ".gitignore").write_text("/data/\n/reports/compare.html\n.*.part\n")
    commit(folder)
    return folder
