"""The doctor reports nothing after ordinary actions, and fixes what killed runs leave."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest
from repositories import commit, copy_of, doctor, dvc, git, make_repository
from test_pipeline import change as change_parameter
from test_pipeline import ran
from workspaces import ENV

from internals import processes

pytestmark = pytest.mark.slow

HEALTHY = "no problems found\n"


def make_old(path, hours=1):
    """Create a file with a modification time hours ago."""
    path.touch()
    os.utime(path, (time.time() - 3600 * hours,) * 2)


def kill_an_experiment(folder):
    """Leave a detached HEAD and a reference, as `dvc exp run` does when it is killed."""
    git(folder, "update-ref", "refs/exps/exec/EXEC_BASELINE", "HEAD")
    git(folder, "checkout", "--quiet", "--detach", git(folder, "rev-parse", "HEAD"))


@pytest.fixture
def repository(tmp_path):
    """The project on the digits with two commits and no results."""
    folder = make_repository(tmp_path / "project")
    commit(folder)
    return folder


@pytest.mark.full
def test_finished_experiments_are_not_reported(first_run, tmp_path):
    repository = copy_of(first_run, tmp_path / "project")
    for change in ("surfaces.points=5", "surfaces.points=6"):
        dvc(repository, "exp", "run", "--quiet", "--name", change[-1], "-S", change, "surfaces")
    dvc(repository, "exp", "apply", "5")
    assert git(repository, "for-each-ref", "refs/exps/exec")  # DVC never deletes some of them
    assert doctor(repository).stdout == HEALTHY
    assert doctor(repository, "--fix").returncode == 0


@pytest.mark.parametrize("revision", ["HEAD^", "HEAD^{commit}"])
def test_a_commit_checked_out_by_the_user_stays_checked_out(repository, revision):
    git(repository, "checkout", "--quiet", "--detach", revision)
    before = git(repository, "rev-parse", "HEAD")
    assert doctor(repository, "--fix").returncode == 0
    assert git(repository, "rev-parse", "--symbolic-full-name", "HEAD") == "HEAD"
    assert git(repository, "rev-parse", "HEAD") == before


@pytest.mark.parametrize("experiment", [False, True])
def test_head_returns_to_its_branch_after_a_killed_experiment(repository, experiment):
    branch, tip = git(repository, "symbolic-ref", "HEAD"), git(repository, "rev-parse", "HEAD")
    kill_an_experiment(repository)
    if experiment:  # DVC was killed after its commit
        (repository / "params.yaml").write_text("")
        git(repository, "commit", "--quiet", "--all", "--message", "dvc: commit experiment")
    report = doctor(repository)
    assert report.returncode == 1
    assert report.stdout.startswith("HEAD is detached, should be on ")
    assert report.stdout.endswith("; try make doctor FIX=1\n")
    assert doctor(repository, "--fix").stdout.splitlines()[0].endswith(": fixed")
    assert git(repository, "symbolic-ref", "HEAD") == branch
    assert git(repository, "rev-parse", "HEAD") == tip
    assert (repository / "params.yaml").exists()
    assert not git(repository, "for-each-ref", "refs/exps/exec")


@pytest.mark.parametrize("text", ["stages: [", "- 1", "stages: 3", "\0", "", "<<<<<<< ours"])
def test_a_damaged_dvc_lock_is_reported(repository, text):
    (repository / "dvc.lock").write_text(text)
    report = doctor(repository)
    assert report.returncode == 1
    problem = "conflict markers" if "<" in text else "damaged"
    assert report.stdout.startswith(f"dvc.lock: {problem}: ")
    assert report.stdout.endswith("problems: 1\n")  # no hint, because nothing can be fixed
    assert report.stderr == ""


def test_a_stash_made_on_this_commit_is_mentioned(repository):
    (repository / "params.yaml").write_text("")
    git(repository, "stash")
    note = "stash@{0} contains uncommitted edits made on this commit; "
    assert doctor(repository).stdout.startswith(note)
    commit(repository)
    assert doctor(repository).stdout == HEALTHY


def test_the_doctor_needs_the_root_of_a_project(repository):
    assert doctor(repository.parent).stderr.startswith("no .dvc in this folder: ")


def test_a_failed_fix_is_reported(repository):
    kill_an_experiment(repository)
    (repository / ".git/HEAD.lock").mkdir()  # a folder, which unlink cannot delete
    make_old(repository / ".git/HEAD.lock")
    done = doctor(repository, "--fix")
    assert done.returncode == 1
    assert done.stdout.count("could not be fixed") == 2


def test_an_old_lock_file_of_git_is_removed(repository):
    make_old(repository / ".git/index.lock")
    assert doctor(repository).stdout.startswith(
        ".git/index.lock: left by a Git process that has ended"
    )
    assert doctor(repository, "--fix").returncode == 0
    git(repository, "add", ".")


@pytest.mark.parametrize("name", ["index.lock", "packed-refs.lock", "refs/heads/main.lock"])
def test_a_recent_or_open_lock_file_is_kept_and_reported(repository, name):
    """A library in any process may hold it."""
    path = repository / ".git" / name
    path.touch()
    done = doctor(repository, "--fix")
    assert done.returncode == 1
    assert done.stdout.startswith(f".git/{name}: kept, it is younger than 5 minutes")
    assert path.exists()
    make_old(path)
    with open(path):
        done = doctor(repository, "--fix")
    assert done.returncode == 1
    assert f".git/{name}: kept, process {os.getpid()} has it open" in done.stdout
    assert path.exists()
    assert doctor(repository, "--fix").returncode == 0
    assert not path.exists()


def test_a_process_with_a_dvc_lock_counts_as_active_under_any_name(repository):
    """A notebook may call DVC as a library."""
    rwlock = repository / ".dvc/tmp/rwlock"
    rwlock.parent.mkdir(exist_ok=True)
    rwlock.write_text(json.dumps({"write": {"data": {"pid": os.getpid(), "cmd": "kernel"}}}))
    assert f"process {os.getpid()} is running here" in doctor(repository, "--fix").stderr
    assert rwlock.exists()
    make_old(rwlock, hours=10_000)  # older than this process
    assert doctor(repository, "--fix").returncode == 0
    assert not rwlock.exists()


@pytest.mark.full
def test_the_doctor_checks_a_cache_in_another_folder(repository, tmp_path):
    dvc(repository, "cache", "dir", "--local", str(tmp_path / "cache"))
    dvc(repository, "repro", "--quiet", "surfaces")
    stored = next(path for path in (tmp_path / "cache/files/md5").glob("*/*"))
    stored.chmod(0o644)
    stored.write_bytes(b"damaged")
    assert "cache/files/md5/" in doctor(repository).stdout


@pytest.mark.parametrize(
    ("subfolder", "command", "busy"),
    [
        (".", ["tools/sweep.py"], True),
        (".", ["stages/surfaces.py"], True),
        ("tools", ["../stages/surfaces.py"], True),
        (".", ["-m", "dvc"], True),
        ("../worktree", ["stages/surfaces.py"], True),
        ("../worktree/.dvc/tmp/exps/tmpabc", ["-m", "dvc"], True),
        (".", ["editor.py", "dvc.yaml"], False),
        ("another", ["../stages/surfaces.py"], False),
    ],
)
def test_runs_count_as_active_and_editors_do_not(repository, subfolder, command, busy):
    for name in ("tools/sweep.py", "stages/surfaces.py", "dvc.py", "editor.py"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text("print(flush=True); input()")
    commit(repository)
    git(repository, "worktree", "add", "--quiet", "../worktree")
    for folder in ("another", "../worktree/.dvc/tmp/exps/tmpabc"):  # the demo, a copy
        git(repository, "init", "--quiet", folder)
    (repository / "../worktree/.dvc/tmp/exps/tmpabc/dvc.py").write_text(
        "print(flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=repository / subfolder,
        env=ENV,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        process.stdout.readline()
        report = doctor(repository)
    finally:
        process.kill()
        process.wait()
    assert (f"process {process.pid} is running here" in report.stderr) == busy


def test_an_unreadable_process_counts_as_active(repository, monkeypatch):
    """Only root can inspect the processes of other users."""

    def refuse(process):
        raise psutil.AccessDenied

    monkeypatch.chdir(repository)
    make_old(repository / ".git/index.lock")
    with subprocess.Popen(["git", "cat-file", "--batch"], stdin=subprocess.PIPE) as process:
        monkeypatch.setattr(psutil.Process, "cwd", refuse)
        monkeypatch.setattr(psutil.Process, "open_files", refuse)
        lines = [*processes.at_work()]
        process.stdin.close()
    assert any(f"process {process.pid} may be running here" in line for line in lines)
    assert "may have it open" in processes.in_use(repository / ".git/index.lock")


def test_results_recorded_under_other_parameters_are_removed_from_the_run_cache(
    first_run, tmp_path
):
    repository = copy_of(first_run, tmp_path / "project")
    change_parameter(repository, "xor", "lr", 0.2)
    assert doctor(repository).stdout == HEALTHY  # not yet in dvc.lock
    dvc(repository, "exp", "save", "--quiet", "--name", "untrained")
    assert "/xor.json: stale: computed with xor.lr 0.1, params" in doctor(repository).stdout
    git(repository, "restore", ".")
    (line,) = doctor(repository).stdout.splitlines()[:-1]
    assert line.startswith(".dvc/cache/runs/")
    assert "its results belong to other parameters or inputs" in line
    assert doctor(repository, "--fix").returncode == 0
    assert doctor(repository).stdout == HEALTHY
    change_parameter(repository, "xor", "lr", 0.2)
    assert ran(dvc(repository, "repro", "xor_train")) == ["xor_train"]


def test_recent_temporary_files_in_the_cache_are_kept(repository):
    """They may belong to a process in another clone with the same cache."""
    path = repository / ".dvc/cache/files/md5/00/.abc.tmp"
    path.parent.mkdir(parents=True)
    path.touch()
    assert doctor(repository, "--fix").stdout == HEALTHY.replace("found", "left")
    make_old(path)
    assert doctor(repository, "--fix").returncode == 0
    assert not path.exists()
