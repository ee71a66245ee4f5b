"""Leftovers of killed Git, DVC and stage processes.

Each check yields one line per finding and a function to fix it, or None.
"""

import shutil
from functools import partial
from pathlib import Path

from internals.clone import COPIES
from internals.git import commit_of, git
from internals.processes import RWLOCKS, in_use, owners_of

# References that DVC deletes at the end of a run in the workspace; it keeps others forever.
TEMPORARY = [f"refs/exps/exec/EXEC_{name}" for name in ("BASELINE", "BRANCH", "MERGE")]


def head():
    """A HEAD detached by a killed `dvc exp run`, which left its references, too.

    DVC checks out the last commit of the branch and may add its own commit, so returning to the
    branch changes no file.
    """
    if git("symbolic-ref", "--quiet", "HEAD") or not any(map(commit_of, TEMPORARY)):
        return
    branch = git("rev-parse", "--symbolic-full-name", "@{-1}")  # before the last checkout
    if branch and commit_of(branch) in (commit_of("HEAD"), commit_of("HEAD^")):
        yield (
            f"HEAD is detached, should be on {branch.removeprefix('refs/heads/')}",
            partial(git, "symbolic-ref", "-m", "doctor: back on its branch", "HEAD", branch),
        )


def references():
    """Temporary references of `dvc exp run`; head() needs them until HEAD is on its branch."""
    for name in filter(commit_of, [] if any(head()) else TEMPORARY):
        remove = partial(git, "update-ref", "--no-deref", "-d", name)
        yield f"{name}: left by a killed experiment", remove


def git_locks():
    """Git's lock files of all worktrees. No branch has a name that ends in .lock."""
    folder = Path(git("rev-parse", "--git-common-dir") or ".git")
    for path in sorted(folder.rglob("*.lock")):
        if reason := in_use(path):
            yield f"{path}: kept, {reason}", None
        else:
            yield f"{path}: left by a Git process that has ended", path.unlink


def dvc_locks():
    """DVC's lock files, if they are damaged or their processes have ended."""
    for path in filter(Path.exists, RWLOCKS):
        if (owners := owners_of(path)) != set():  # the doctor has checked that no DVC process runs
            reason = "left by processes that have ended" if owners else "half-written"
            yield f"{path}: {reason}", path.unlink


def copies():
    """Temporary copies of `dvc exp run --temp`, the queue and `make verify`."""
    for folder in sorted(COPIES.glob("tmp*/")):
        yield f"{folder}: copy of a killed experiment", partial(shutil.rmtree, folder)


def partial_files():
    """Half-written files of stages."""
    folders = (Path("data"), Path("reports"), Path(".dvc/tmp"))
    for path in sorted(path for folder in folders for path in folder.rglob(".*.part")):
        yield f"{path}: half-written", path.unlink
