"""`make demo` in a hook of a linked worktree and with hostile user settings."""

import os
import shutil
import subprocess

import pytest
from repositories import commit, git, make_repository
from workspaces import ENV, ROOT

MAKE = ["make", "--no-print-directory", "demo", "READY=", "ACTIVE="]


@pytest.fixture
def repository(tmp_path):
    """The project on the digits with its tools and without results."""
    folder = make_repository(tmp_path / "project")
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "params.schema.json", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    commit(folder)
    return folder


def demo(folder, **environment):
    return subprocess.run(
        MAKE,
        cwd=folder,
        env=ENV | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_failed_demo_shows_the_cause_and_an_existing_demo_is_kept(repository):
    (repository / "stages/download_mnist.py").write_text("raise ValueError('broken on purpose')\n")
    done = demo(repository)
    assert done.returncode != 0
    assert "ValueError: broken on purpose" in done.stdout
    assert "failed to reproduce 'download_mnist'" in done.stdout  # DVC's own message
    assert "make demo failed and changed nothing" in done.stdout
    assert "Traceback" not in done.stdout.partition("broken on purpose")[2]
    assert not (repository / "demo").exists()

    (repository / "demo").mkdir()
    (repository / "demo/mine.txt").touch()
    done = demo(repository)
    assert done.returncode != 0
    assert done.stdout.startswith("demo/ exists: to rebuild it, run `rm -rf demo` first\n")
    assert (repository / "demo/mine.txt").exists()


@pytest.mark.full
def test_a_demo_in_a_hook_of_a_linked_worktree_changes_only_the_demo_folder(repository, tmp_path):
    origin, worktree = tmp_path / "origin.git", tmp_path / "a worktree"
    git(repository, "init", "--quiet", "--bare", origin)
    git(repository, "remote", "add", "origin", origin)
    git(repository, "worktree", "add", "--quiet", "-b", "other", worktree)
    hook = repository / ".git/hooks/pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nexec {' '.join(MAKE)}\n")
    hook.chmod(0o755)
    config, commits = (
        (repository / ".git/config").read_bytes(),
        git(repository, "rev-parse", "HEAD"),
    )

    (worktree / ".demo.part/stages").mkdir(parents=True)  # left by a killed run

    home = tmp_path / "home"  # with settings that the demo must ignore
    home.mkdir()
    settings = "[commit]\ngpgsign = true\n[core]\nhooksPath = /nonexistent\nautocrlf = true\n"
    settings += f"[init]\ntemplateDir = {tmp_path}\n[status]\nshowUntrackedFiles = no\n"
    settings += "[safe]\ndirectory = *\n"
    (home / ".gitconfig").write_text(settings)
    user = {"HOME": str(home), "GIT_CONFIG_GLOBAL": str(home / ".gitconfig")}
    user["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    push = ["git", "-c", f"core.hooksPath={hook.parent}", "push", "--quiet", "origin", "other"]
    os.umask(0o077)
    done = subprocess.run(push, cwd=worktree, env=ENV | user, capture_output=True, text=True)
    os.umask(0o022)
    assert done.returncode == 0, done.stderr
    assert git(origin, "rev-parse", "other") == commits
    assert (repository / ".git/config").read_bytes() == config
    for folder in (repository, worktree):
        assert git(folder, "rev-parse", "HEAD") == commits
        assert git(folder, "status", "--porcelain") == ""
    assert (worktree / "demo/reports/index.html").exists()
    assert git(worktree / "demo", "status", "--porcelain") == ""
    assert git(worktree / "demo", "log", "--format=%an %s") == (
        "demo Results on the digits\ndemo The pipeline"
    )
