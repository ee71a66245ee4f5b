"""Find what a killed run, or a failing disk, left behind, and mend it on request.

make doctor        a line for each thing found, and what mending would do; exit status 1 if any
make doctor FIX=1  mends them. Files that are being edited, and the branch, stay as they are.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import psutil

from integrity import cache, past_runs
from runs import git

RWLOCKS = Path(".dvc/tmp/rwlock"), Path(".dvc/tmp/exps/rwlock")
COPIES = Path(".dvc/tmp/exps")
TRAININGS = Path(".dvc/tmp/training")
WRITTEN = ("data", "reports", ".dvc/tmp/training")


def at_work():
    """The processes of DVC and of stages that run in this folder, or in a copy that it made."""
    root = Path.cwd()
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        try:
            folder = Path(process.cwd())
        except (psutil.Error, OSError):
            continue
        inside = folder == root or root / COPIES in folder.parents
        if inside and ("dvc" in command or "stages/" in command) and "doctor.py" not in command:
            yield f"process {process.pid} is at work here: {command[:100]}"


def head():
    """HEAD on no branch: `dvc exp run` in the workspace detaches it, and a kill leaves it so.

    DVC runs the experiment on the branch's last commit, so that to name the branch again changes
    no file.
    """
    if git("symbolic-ref", "--quiet", "HEAD") or git("rev-parse", "--verify", "HEAD") is None:
        return
    if not exec_refs() and not git("rev-parse", "--verify", "--quiet", "refs/exps/stash"):
        return  # detached by hand
    branches = git("for-each-ref", "--format=%(refname)", "refs/heads").split()
    before = git("rev-parse", "--symbolic-full-name", "@{-1}")
    start = git("rev-parse", "--verify", "--quiet", "refs/exps/exec/EXEC_HEAD") or git(
        "rev-parse", "HEAD"
    )
    there = [name for name in branches if git("rev-parse", name) == start]
    if before in there or len(there) == 1:
        branch = before if before in there else there[0]
        yield (
            f"HEAD is on no branch: it goes back to {branch.removeprefix('refs/heads/')}",
            lambda: git("symbolic-ref", "-m", "doctor: back on its branch", "HEAD", branch),
        )
    else:
        yield "HEAD is on no branch, and which one it was is not clear: git switch BRANCH", None


def stash():
    """A note, not a fault: DVC keeps edits in Git's stash for an instant, as people do for long."""
    if git("rev-parse", "--verify", "--quiet", "stash^") == git("rev-parse", "HEAD"):
        print("stash@{0} holds edits of this commit; if yours are missing: git stash pop")


def exec_refs():
    return (git("for-each-ref", "--format=%(refname)", "refs/exps/exec") or "").split()


def references():
    """References by which a run finds its own state, with no run."""
    for name in exec_refs():
        yield (
            f"{name}: left by a killed experiment",
            lambda name=name: git("update-ref", "-d", name),
        )


def locks():
    """Lists of who reads and writes what, where those processes are gone, or it is damaged."""
    for path in filter(Path.exists, RWLOCKS):
        try:
            held = json.loads(path.read_text())
            readers = [info for infos in held.get("read", {}).values() for info in infos]
            owners = {info["pid"] for info in [*readers, *held.get("write", {}).values()]}
            line = "held by processes that are gone" if owners else None
        except (ValueError, AttributeError, KeyError, TypeError):
            line = "half-written"
        if line:  # nothing of DVC runs here, as at_work() has found
            yield f"{path}: {line}", path.unlink


def copies():
    """The folders in which `dvc exp run --temp` and the queue ran."""
    for folder in sorted(COPIES.glob("tmp*")):
        if folder.is_dir():
            yield f"{folder}: the copy of a killed experiment", lambda f=folder: shutil.rmtree(f)


def halves():
    """Files that were being written, and states of trainings that were set aside."""
    found = [path for name in WRITTEN for path in Path(name).rglob(".*.part")]
    for path in sorted(found):
        yield f"{path}: half-written", path.unlink
    for path in sorted(TRAININGS.glob("*.damaged")):
        yield f"{path}: set aside, because it was damaged", path.unlink


def main(fix):
    busy = [*at_work()]
    if busy:
        sys.exit("\n".join([*busy, "what it has begun is not a fault: end it, or wait"]))
    left = 0
    stash()
    for check in (head, references, locks, copies, halves, cache, past_runs):
        for line, mend in [*check()]:
            if fix and mend:
                mend()
                line += ": mended"
            else:
                left += 1
            print(line)
    if left and not fix:
        print(f"{left} found; make doctor FIX=1 mends them")
    elif not left:
        print("nothing is wrong here" if not fix else "nothing is wrong here any more")
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fix", action="store_true")
    main(parser.parse_args().fix)
