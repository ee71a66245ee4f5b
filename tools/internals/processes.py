"""Find processes running in this repository, and the lock files they use."""

import json
import re
import time
from contextlib import suppress
from pathlib import Path

import psutil

from internals.clone import COPIES
from internals.git import git

AT_WORK = re.compile(r"(.*/)?(dvc|dvc/__main__\.py|stages/\w+\.py|tools/sweep\.py)")
TOOLS = ("git", "dvc", "python")
# DVC's lock files: JSON with the reading and writing processes of each path.
RWLOCKS = Path(".dvc/tmp/rwlock"), Path(".dvc/tmp/exps/rwlock")
MINIMUM_AGE = 300  # seconds; the doctor keeps younger lock files of Git


def repository_of(folder):
    """The Git folder shared by all worktrees of a repository; without Git, the .dvc folder."""
    shared = git("-C", str(folder), "rev-parse", "--path-format=absolute", "--git-common-dir")
    around = (parent / ".dvc" for parent in (folder, *folder.parents))
    return shared or next((str(path) for path in around if path.is_dir()), None)


def is_tool(process):
    """Whether a process is, or with a hidden command line may be, Git, DVC, a stage or a sweep."""
    program, *arguments = process.info["cmdline"] or [process.info["name"] or "git"]
    name = Path(program).name
    if process.info["status"] == psutil.STATUS_ZOMBIE:
        return False
    if process.info["cmdline"] is None:
        return name.startswith(TOOLS)
    if name == "git":
        return "fsmonitor--daemon" not in arguments  # runs forever
    return name.startswith("python") and any(map(AT_WORK.fullmatch, arguments[:2]))


def at_work():
    """Yield one line per running Git, DVC, stage or sweep process of this repository, including its
    worktrees, which share references, and its copies. Unreadable processes count as running.
    """
    ours = repository_of(Path.cwd())
    for process in psutil.process_iter(["cmdline", "cwd", "name", "status"]):
        if not is_tool(process):
            continue
        command = " ".join(process.info["cmdline"] or [process.info["name"] or "?"])[:100]
        folder = process.info["cwd"]
        if not folder:
            yield f"process {process.pid} may be running here (its folder is unreadable): {command}"
        elif repository_of(Path(folder.partition(f"/{COPIES}/")[0])) == ours:
            yield f"process {process.pid} is running here: {command}"
    for path in rwlocks():
        for pid in owners_of(path) or ():
            with suppress(psutil.Error, OSError):  # a later process may reuse the PID
                if psutil.Process(pid).create_time() <= path.stat().st_mtime:
                    yield f"process {pid} is running here: it holds {path}"


def rwlocks():
    """DVC's existing lock files in all worktrees."""
    tops = re.findall("^worktree (.+)", git("worktree", "list", "--porcelain") or "", re.MULTILINE)
    places = {Path.cwd(), *(Path(top, git("rev-parse", "--show-prefix")) for top in tops)}
    return [place / path for place in sorted(places) for path in RWLOCKS if (place / path).exists()]


def owners_of(rwlock):
    """The PIDs in one of DVC's lock files, or None if it is damaged."""
    try:
        held = json.loads(rwlock.read_text())
        readers = [info for infos in held.get("read", {}).values() for info in infos]
        return {info["pid"] for info in [*readers, *held.get("write", {}).values()]}
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None


def in_use(path):
    """The reason to keep a lock file, or None: it is recent, or a process has it open, or an
    unreadable Python, Git or DVC process of the same user may have it open.
    """
    with suppress(FileNotFoundError):
        if time.time() - path.stat().st_mtime < MINIMUM_AGE:
            return f"it is younger than {MINIMUM_AGE // 60} minutes"
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess):
                try:
                    if str(path.resolve()) in (file.path for file in process.open_files()):
                        return f"process {process.pid} has it open: {process.name()}"
                except (psutil.AccessDenied, OSError):
                    own = process.uids().effective == path.stat().st_uid
                    if own and process.name().startswith(TOOLS):
                        return f"process {process.pid} may have it open (its files are unreadable)"
    return None
