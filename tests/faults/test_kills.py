"""Kill every kind of run with SIGKILL and SIGTERM at random moments, in a folder with an unusual
name. No edit is lost, and the next run writes the same bytes as an undisturbed one.
"""

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
from repositories import commit, doctor, dvc, git, make_repository, tracked_bytes
from workspaces import ENV

RUNS = {
    "repro": ["repro"],
    "workspace": ["exp", "run", "-S", "xor.seed=7"],
    "temp": ["exp", "run", "--temp", "-S", "xor.seed=7"],
    "queue": ["queue", "start"],
}
FOLDER = "Übung 1: 深層学習 ’naïve’ $HOME & co"
EDIT = "an uncommitted line\n"


def processes_in(folder):
    """The processes whose current folder is this one or below it."""
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


def kill_at(folder, kind, signum, seconds):
    """Start a run and kill all its processes after some seconds."""
    if kind == "queue":
        dvc(folder, "exp", "run", "--queue", "-S", "xor.seed=7")
    process = subprocess.Popen(
        ["dvc", *RUNS[kind]],
        cwd=folder,
        env=ENV,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)
    # The queue worker runs in its own session.
    groups = {process.pid, *(os.getpgid(other.pid) for other in processes_in(folder))}
    for group in groups - {os.getpgid(0)}:
        with suppress(ProcessLookupError):
            os.killpg(group, signum)
    process.wait(60)


def wait_until_all_have_ended(folder):
    for _ in range(100):
        if not [*processes_in(folder)]:
            return
        time.sleep(0.2)
    raise AssertionError([process.cmdline() for process in processes_in(folder)])


@pytest.mark.full
@pytest.mark.parametrize(
    ("kind", "signum"),
    [(kind, signum) for kind in RUNS for signum in (signal.SIGKILL, signal.SIGTERM)],
)
def test_a_run_killed_at_a_random_moment_loses_no_data(kind, signum, pristine, first_run, tmp_path):
    seconds, expected = first_run["seconds"], tracked_bytes(first_run["folder"])
    for trial in range(7):
        rng = np.random.default_rng([[*RUNS].index(kind), signum, trial])
        folder = shutil.copytree(pristine, tmp_path / FOLDER)
        before = (folder / "params.yaml").read_text()
        with open(folder / "notes.md", "a") as notes:
            notes.write(EDIT)
        moment = rng.uniform(0.5, 1.2 * seconds)
        kill_at(folder, kind, signum, moment)
        wait_until_all_have_ended(folder)

        for lock in (folder / ".git").rglob("*.lock"):
            os.utime(lock, (0, 0))  # the doctor keeps recent ones
        report = doctor(folder, "--fix")
        assert report.returncode == 0, (moment, report.stdout)
        assert doctor(folder).stdout == "no problems found\n"
        assert git(folder, "symbolic-ref", "--short", "HEAD") in ("main", "master")
        if "git stash pop" in report.stdout:  # killed while DVC had stashed the edits
            git(folder, "checkout", "--quiet", ".")
            git(folder, "stash", "pop")
        assert (folder / "notes.md").read_text() == "notes\n" + EDIT, (moment, report.stdout)

        (folder / "params.yaml").write_text(before)
        dvc(folder, "repro", "--quiet")
        assert tracked_bytes(folder) == expected, moment
        untracked = git(folder, "ls-files", "--others", "--exclude-standard").split()
        assert all(path.startswith(("reports/", "dvc.lock")) for path in untracked), untracked
        assert not [path for path in untracked if path.endswith(".part")]
        shutil.rmtree(folder)
