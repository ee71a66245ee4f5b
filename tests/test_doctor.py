"""The doctor after what people do every day: it finds nothing, and leaves what they did alone."""

import subprocess
import sys

import pytest
from conftest import HERE, commit, copy_of, doctor, dvc, git, make_repository

SOUND = "nothing is wrong here\n"


@pytest.fixture
def repository(tmp_path):
    """The project on the digits, with two commits, in which nothing has run."""
    folder = make_repository(tmp_path / "project")
    commit(folder)
    return folder


def test_finished_experiments_are_no_fault(first_run, tmp_path):
    repository = copy_of(first_run, tmp_path / "project")
    for change in ("surfaces.points=5", "surfaces.points=6"):
        dvc(repository, "exp", "run", "--quiet", "--name", change[-1], "-S", change, "surfaces")
    dvc(repository, "exp", "apply", "5")
    assert git(repository, "for-each-ref", "refs/exps/exec")  # DVC leaves some for good
    assert doctor(repository).stdout == SOUND
    assert doctor(repository, "--fix").returncode == 0


@pytest.mark.parametrize("place", ["HEAD^", "HEAD^{commit}"])
def test_a_commit_that_was_checked_out_by_hand_stays(repository, place):
    git(repository, "checkout", "--quiet", "--detach", place)
    before = git(repository, "rev-parse", "HEAD")
    assert doctor(repository, "--fix").returncode == 0
    assert git(repository, "rev-parse", "--symbolic-full-name", "HEAD") == "HEAD"
    assert git(repository, "rev-parse", "HEAD") == before


@pytest.mark.parametrize("experiment", [False, True])
def test_a_branch_that_dvc_has_left_comes_back(repository, experiment):
    branch, tip = git(repository, "symbolic-ref", "HEAD"), git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "--quiet", "--detach", tip)
    if experiment:  # which DVC commits there
        (repository / "params.yaml").write_text("")
        git(repository, "commit", "--quiet", "--all", "--message", "dvc: commit experiment")
    found = doctor(repository)
    assert found.returncode == 1
    assert found.stdout.startswith("HEAD is on no branch: it goes back to ")
    assert doctor(repository, "--fix").stdout.splitlines()[0].endswith(": mended")
    assert git(repository, "symbolic-ref", "HEAD") == branch
    assert git(repository, "rev-parse", "HEAD") == tip
    assert (repository / "params.yaml").exists()


def test_what_cannot_be_mended_is_said_so(repository):
    git(repository, "checkout", "--quiet", "--detach", git(repository, "rev-parse", "HEAD"))
    (repository / ".git/HEAD.lock").mkdir()  # and no file, which could be removed
    done = doctor(repository, "--fix")
    assert done.returncode == 1
    assert done.stdout.count("could not be mended") == 2


def test_a_lock_of_git_is_found_and_removed(repository):
    (repository / ".git/index.lock").touch()
    assert doctor(repository).stdout.startswith(".git/index.lock: held by a Git that is gone")
    assert doctor(repository, "--fix").returncode == 0
    git(repository, "add", ".")


def test_a_cache_elsewhere_is_looked_at_too(repository, tmp_path):
    dvc(repository, "cache", "dir", "--local", str(tmp_path / "cache"))
    dvc(repository, "repro", "--quiet", "surfaces")
    stored = next(path for path in (tmp_path / "cache/files/md5").glob("*/*"))
    stored.chmod(0o644)
    stored.write_bytes(b"damaged")
    assert "cache/files/md5/" in doctor(repository).stdout


@pytest.mark.parametrize(
    ("place", "command", "busy"),
    [
        (".", ["tools/sweep.py"], True),
        (".", ["stages/surfaces.py"], True),
        ("tools", ["../stages/surfaces.py"], True),
        (".", ["-m", "dvc"], True),
        (".", ["editor.py", "dvc.yaml"], False),
        ("another", ["../stages/surfaces.py"], False),
    ],
)
def test_runs_are_at_work_and_editors_are_not(repository, place, command, busy):
    (repository / "another/.dvc").mkdir(parents=True)  # another project, as the demo is
    for name in ("tools/sweep.py", "stages/surfaces.py", "dvc.py", "editor.py"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text("print(flush=True); input()")
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=repository / place,
        env=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        process.stdout.readline()
        said = doctor(repository)
    finally:
        process.kill()
        process.wait()
    assert (f"process {process.pid} is at work here" in said.stderr) == busy
