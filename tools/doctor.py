"""Find what a killed run, or a failing disk, left behind, and mend it on request.

make doctor        a line for each thing found, and what mending would do; exit status 1 if any
make doctor FIX=1  mends them. Files that are being edited, and the branch, stay as they are.
"""

import argparse
import os
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import yaml

from internals.git import clear_git_variables, commit_of, git
from internals.integrity import cache, past_runs
from internals.processes import COPIES, RWLOCKS, at_work, in_use, owners_of

from common.params import ParameterError, read_section
from common.results import StaleResultError, check, read_metrics

# What DVC removes when a run in the workspace ends; others of its references stay for good.
PASSING = ("EXEC_BASELINE", "EXEC_BRANCH", "EXEC_CHECKPOINT", "EXEC_MERGE")
LOCKED = (
    "*.lock",
    "refs/**/*.lock",
    "info/*.lock",
    "objects/info/**/*.lock",
    "objects/pack/*.lock",
)
TRAININGS = Path(".dvc/tmp/training")
WRITTEN = ("data", "reports", ".dvc/tmp/training")


def head():
    """HEAD on no branch: `dvc exp run` detaches it for a while, and a kill leaves it so.

    DVC checks out the hash of the branch's last commit, and may add a commit of its own, so that to
    name the branch again changes no file. Whoever leaves a branch by hand goes elsewhere.
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
            f"HEAD is on no branch: it goes back to {found[1]}",
            lambda: git("symbolic-ref", "-m", "doctor: back on its branch", "HEAD", branch),
        )


def stash():
    """A note, not a fault: DVC keeps edits in Git's stash for an instant, as people do for long."""
    edits = commit_of("stash^")
    if edits and edits == commit_of("HEAD"):
        print("stash@{0} holds edits of this commit; if yours are missing: git stash pop")


def references():
    """References by which a run finds its own state, with no run."""
    for name in PASSING:
        reference = f"refs/exps/exec/{name}"
        if commit_of(reference):
            yield (
                f"{reference}: left by a killed experiment",
                lambda reference=reference: git("update-ref", "--no-deref", "-d", reference),
            )


def git_locks():
    """Git's own locks, with no Git at work."""
    names = ("--git-dir", "--git-common-dir")  # of this worktree, and of all
    found = (git("rev-parse", "--path-format=absolute", name) or ".git" for name in names)
    paths = {path for folder in found for place in LOCKED for path in Path(folder).glob(place)}
    for path in sorted(Path(os.path.relpath(path)) for path in paths):
        if reason := in_use(path):
            yield f"{path}: left alone, {reason}", None
        else:
            yield f"{path}: held by a Git that is gone", path.unlink


def locks():
    """Lists of who reads and writes what, where those processes are gone, or it is damaged."""
    for path in filter(Path.exists, RWLOCKS):
        owners = owners_of(path)
        if owners is None and (reason := in_use(path)):
            yield f"{path}: half-written, left alone: {reason}", None
        elif owners != set():  # nothing of DVC runs here, as at_work() has found
            yield (
                f"{path}: {'held by processes that are gone' if owners else 'half-written'}",
                path.unlink,
            )


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


def results():
    """Conflict markers, and results that dvc.lock files under parameters that did not produce them.

    Results of parameters that were edited since are no fault: `dvc repro` replaces them.
    """
    conflict = re.compile("^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
    for path in filter(Path.exists, map(Path, ("dvc.lock", "dvc.yaml", "params.yaml"))):
        if conflict.search(path.read_text(errors="replace")):
            sides = f"`git checkout --ours {path}` or --theirs, then `dvc repro`"
            yield f"{path}: has conflict markers: {sides}", None
            return
    lock = yaml.safe_load(Path("dvc.lock").read_text()) if Path("dvc.lock").exists() else {}
    for path in sorted(Path("reports/metrics").glob("*.json")):
        try:
            check([path.stem])
        except StaleResultError as error:
            (made,), now = read_metrics(path.stem)["provenance"], read_section(path.stem)
            filed = lock.get("stages", {}).get(made["stage"], {}).get("params", {})
            if made["params"] != now == filed.get("params.yaml", {}).get(path.stem):
                yield str(error), None
        except (OSError, ParameterError):
            pass  # other checks and `dvc repro` report what is missing or damaged


def main(fix):
    clear_git_variables()
    if not Path(".dvc").is_dir():
        sys.exit("there is no .dvc here: run it at the top of the project")
    busy = [*at_work()]
    if busy:
        sys.exit("\n".join([*busy, "what it has begun is not a fault: end it, or wait"]))
    left = 0
    stash()
    for look in (git_locks, head, references, locks, copies, halves, results, cache, past_runs):
        found = dict(look())
        if fix and found:
            for mend in filter(None, found.values()):
                with suppress(OSError):
                    mend()
            still = dict(look())  # looked at again: not all can be mended
            for line, mend in found.items():
                end = ": could not be mended" if line in still else ": mended"
                print(f"{line}{end if mend else ''}")
            left += len(still)
        else:
            print(*found, sep="\n", end="\n" if found else "")
            left += len(found)
    if left and not fix:
        print(f"{left} found; make doctor FIX=1 mends them")
    elif not left:
        print("nothing is wrong here" if not fix else "nothing is wrong here any more")
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fix", action="store_true")
    main(parser.parse_args().fix)
