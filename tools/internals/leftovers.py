"""Leftovers of killed Git, DVC and stage processes.

Each check yields one line per finding and a function to fix it, or None.
"""

import re
import shutil
from functools import partial
from pathlib import Path

from internals.clone import COPIES
from internals.git import commit_of, git
from internals.processes import RWLOCKS, in_use, owners_of

# References that DVC deletes at the end of a run in the workspace; it keeps others forever.
TEMPORARY = [f"refs/exps/exec/EXEC_{name}" for name in ("BASELINE", "BRANCH", "MERGE")]


def head():
    """A detached HEAD: `dvc exp run` detaches HEAD during a run, so a kill leaves it detached.

    DVC checks out the last commit of the branch and may add its own commit, so returning to the
    branch changes no file. Users detach HEAD by checking out another commit.
    """
    if git("symbolic-ref", "--quiet", "HEAD") or commit_of("HEAD") is None:
        return
    moves = git("log", "--walk-reflogs", "--format=%gs", "HEAD").splitlines()
    last = next((move for move in moves if move.startswith("checkout: ")), "")
    found = re.fullmatch("checkout: moving from (.+) to ([0-9a-f]{40})", last)
    if found is None:
        return
    branch, tip = f"refs/heads/{found[1]}", found[2]
    if tip == commit_of(branch) and tip in (commit_of("HEAD"), commit_of("HEAD^")):
        yield (
            f"HEAD is detached, should be on {found[1]}",
            partial(git, "symbolic-ref", "-m", "doctor: back on its branch", "HEAD", branch),
        )


def references():
    """Temporary references of `dvc exp run`."""
    for name in filter(commit_of, TEMPORARY):
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
        owners = owners_of(path)
        if owners is None and (reason := in_use(path)):
            yield f"{path}: half-written, kept, {reason}", None
        elif owners != set():  # the doctor has already checked that no DVC process runs
            reason = "left by processes that have ended" if owners else "half-written"
            yield f"{path}: {reason}", path.unlink


def copies():
    """Temporary copies of experiments, sweeps and `make verify`."""
    for folder in sorted(COPIES.glob("tmp*/")):
        yield f"{folder}: copy of a killed run", partial(shutil.rmtree, folder)


def partial_files():
    """Half-written files of stages."""
    folders = (Path("data"), Path("reports"), Path(".dvc/tmp"))
    for path in sorted(path for folder in folders for path in folder.rglob(".*.part")):
        yield f"{path}: half-written", path.unlink
