"""SIGKILL and SIGTERM at random moments of every kind of run. No edit is lost, and the next run
writes the bytes of an undisturbed one, in a folder with any name."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import HERE, commit, doctor, dvc, git, make_repository, tracked_bytes

RUNS = {
    "repro": ["repro"],
    "workspace": ["exp", "run", "-S", "xor.seed=7"],
    "temp": ["exp", "run", "--temp", "-S", "xor.seed=7"],
    "queue": ["queue", "start"],
}
SHORT = ("workspace", signal.SIGKILL)  # without --full; it leaves the most behind
FOLDER = "Übung 1: 深層学習 ’naïve’ $HOME & co"
EDIT = "a line that was never committed\n"


def processes_in(folder):
    """The processes with this current folder or one below it."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(folder):
                yield process


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """The project on the digits without results."""
    folder = make_repository(tmp_path_factory.mktemp("kills") / "pristine")
    (folder / "notes.md").write_text("notes\n")
    commit(folder)
    return folder


def kill_at(folder, kind, how, seconds):
    """Start a run and kill all its processes after some seconds."""
    if kind == "queue":
        dvc(folder, "exp", "run", "--queue", "-S", "xor.seed=7")
    process = subprocess.Popen(
        ["dvc", *RUNS[kind]],
        cwd=folder,
        env=HERE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)
    # The worker of the queue runs in a session of its own.
    groups = {process.pid, *(os.getpgid(other.pid) for other in processes_in(folder))}
    for group in groups - {os.getpgid(0)}:
        with suppress(ProcessLookupError):
            os.killpg(group, how)
    process.wait(60)


def wait_until_all_have_ended(folder):
    for _ in range(100):
        if not [*processes_in(folder)]:
            return
        time.sleep(0.2)
    raise AssertionError([process.cmdline() for process in processes_in(folder)])


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        pytest.param(kind, how, marks=[] if (kind, how) == SHORT else pytest.mark.full)
        for kind in RUNS
        for how in (signal.SIGKILL, signal.SIGTERM)
    ],
)
def test_a_run_killed_at_any_moment_loses_nothing(kind, how, pristine, first_run, tmp_path, full):
    seconds, expected = first_run["seconds"], tracked_bytes(first_run["folder"])
    for trial in range(7 if full else 1):
        rng = np.random.default_rng([[*RUNS].index(kind), how, trial])
        folder = shutil.copytree(pristine, tmp_path / FOLDER)
        before = (folder / "params.yaml").read_text()
        with open(folder / "notes.md", "a") as notes:
            notes.write(EDIT)
        moment = rng.uniform(0.5, 1.2 * seconds)
        kill_at(folder, kind, how, moment)
        wait_until_all_have_ended(folder)

        for lock in (folder / ".git").rglob("*.lock"):
            os.utime(lock, (0, 0))  # the doctor leaves young ones
        found = doctor(folder, "--fix")
        assert found.returncode == 0, (moment, found.stdout)
        assert doctor(folder).stdout == "no problems found\n"
        assert git(folder, "symbolic-ref", "--short", "HEAD") in ("main", "master")
        if "git stash pop" in found.stdout:  # killed while DVC had stashed the edits
            git(folder, "checkout", "--quiet", ".")
            git(folder, "stash", "pop")
        assert (folder / "notes.md").read_text() == "notes\n" + EDIT, (moment, found.stdout)

        (folder / "params.yaml").write_text(before)
        dvc(folder, "repro", "--quiet")
        assert tracked_bytes(folder) == expected, moment
        untracked = git(folder, "ls-files", "--others", "--exclude-standard").split()
        assert all(path.startswith(("reports/", "dvc.lock")) for path in untracked), untracked
        assert not [path for path in untracked if path.endswith(".part")]
        shutil.rmtree(folder)
