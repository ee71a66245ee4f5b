"""Which processes are at work in this repository, and which files they use."""

import json
import re
import time
from contextlib import suppress
from pathlib import Path

import psutil

from internals.copies import COPIES
from internals.git import git

AT_WORK = re.compile(r"(.*/)?(dvc|dvc/__main__\.py|stages/\w+\.py|tools/sweep\.py)")
TOOLS = ("git", "dvc", "python")
# Where DVC lists who reads and writes what.
RWLOCKS = Path(".dvc/tmp/rwlock"), Path(".dvc/tmp/exps/rwlock")
YOUNG = 300  # seconds for which a lock of Git's is left, whoever holds it


def repository_of(folder):
    """What all worktrees of the Git repository around a folder share; DVC's folder without Git."""
    shared = git("-C", str(folder), "rev-parse", "--path-format=absolute", "--git-common-dir")
    around = (parent / ".dvc" for parent in (folder, *folder.parents))
    return shared or next((str(path) for path in around if path.is_dir()), None)


def is_tool(process):
    """Whether a process is one of Git, DVC, a stage or a sweep; one that hides it may be."""
    program, *arguments = process.info["cmdline"] or [process.info["name"] or "git"]
    name = Path(program).name
    if process.info["cmdline"] is None:
        return process.info["status"] != psutil.STATUS_ZOMBIE and name.startswith(TOOLS)
    if name == "git":
        return "fsmonitor--daemon" not in arguments  # which waits for years
    return name.startswith("python") and any(map(AT_WORK.fullmatch, arguments[:2]))


def at_work():
    """The processes of Git, DVC, stages and sweeps in this repository: in any worktree, since all
    of them share its references, or in a copy that was made. One that cannot be read counts.
    """
    ours = repository_of(Path.cwd())
    for process in psutil.process_iter(["cmdline", "name", "status"]):
        if not is_tool(process):
            continue
        command = " ".join(process.info["cmdline"] or [process.info["name"] or "?"])[:100]
        try:
            folder = Path(process.cwd().partition(f"/{COPIES}/")[0])
        except psutil.NoSuchProcess:
            continue
        except (psutil.Error, OSError):
            yield f"process {process.pid} may be at work here, its folder cannot be read: {command}"
            continue
        if repository_of(folder) == ours:
            yield f"process {process.pid} is at work here: {command}"
    for path in rwlocks():
        for pid in owners_of(path) or ():
            with suppress(psutil.Error, OSError):  # a later process may have its number
                if psutil.Process(pid).create_time() <= path.stat().st_mtime:
                    yield f"process {pid} is at work here: it holds {path}"


def rwlocks():
    """DVC's lists of who reads and writes what, in every worktree."""
    listed = (git("worktree", "list", "--porcelain") or "").splitlines()
    tops = [line.removeprefix("worktree ") for line in listed if line.startswith("worktree ")]
    places = {Path.cwd(), *(Path(top, git("rev-parse", "--show-prefix")) for top in tops)}
    return [place / path for place in sorted(places) for path in RWLOCKS if (place / path).exists()]


def owners_of(rwlock):
    """The processes in such a list, or None where it is damaged."""
    try:
        held = json.loads(rwlock.read_text())
        readers = [info for infos in held.get("read", {}).values() for info in infos]
        return {info["pid"] for info in [*readers, *held.get("write", {}).values()]}
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None


def in_use(path):
    """Why a lock is left alone, or None: it is young, or a process has it open, or may have: a
    Python, Git or DVC of the same user that cannot be read.
    """
    with suppress(FileNotFoundError):
        if time.time() - path.stat().st_mtime < YOUNG:
            return f"it is younger than {YOUNG // 60} minutes"
        for process in psutil.process_iter():
            try:
                if str(path.resolve()) in (file.path for file in process.open_files()):
                    return f"process {process.pid} has it open: {process.name()}"
            except psutil.NoSuchProcess:
                continue
            except (psutil.Error, OSError):
                own = process.uids().effective == path.stat().st_uid
                if own and process.name().startswith(TOOLS):
                    return f"process {process.pid} may have it open, which cannot be read"
    return None
