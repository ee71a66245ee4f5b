"""Repositories with small parameters, in which tests run Git, DVC and the tools."""

import json
import shutil
import subprocess
import sys
import time
from functools import partial

from workspaces import ENV, ROOT, prepare


def copy_project(folder):
    """Copy the pipeline of the working tree, without its results, into a folder."""
    prepare(folder)
    for name in (".dvcignore", ".gitattributes", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(
        ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc")


def make_repository(folder):
    """Commit a copy of the pipeline, with small parameters, to a new Git repository."""
    folder.mkdir(parents=True, exist_ok=True)
    copy_project(folder)
    git(folder, "init", "--quiet")
    set_identity(folder)
    commit(folder)
    return folder


def set_identity(folder):
    """Give a repository an author, and disable signatures, which the user may have enabled."""
    for name, value in (("user.name", "t"), ("user.email", "t@l"), ("commit.gpgsign", "false")):
        git(folder, "config", name, value)


def run_pipeline(folder):
    """Run `dvc repro` on the digits in a new repository."""
    make_repository(folder)
    started = time.monotonic()
    output = dvc(folder, "repro")
    return {"output": output, "seconds": time.monotonic() - started}


def copy_of(first_run, folder):
    """Copy the repository of `first_run` and commit its results; no stage is outdated."""
    shutil.copytree(first_run["folder"], folder, symlinks=True)
    dvc(folder, "status", "--quiet")  # DVC caches hashes by inode, and the copy has new ones
    commit(folder)
    return folder


def tracked_bytes(folder):
    """All files in data/ and reports/, path relative to the folder to bytes."""
    files = (path for name in ("data", "reports") for path in (folder / name).rglob("[!.]*"))
    return {path.relative_to(folder): path.read_bytes() for path in files if path.is_file()}


def commit(folder):
    """Commit all files that Git does not ignore."""
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "all", "--allow-empty")


def git(folder, *arguments):
    """Run git in a folder; return its output."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, env=ENV, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def start_dvc(folder, *arguments):
    """Start dvc in a folder, with stderr redirected to stdout."""
    return subprocess.Popen(
        ["dvc", *arguments],
        cwd=folder,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def dvc(folder, *arguments, status=0):
    """Run dvc in a folder; return its output."""
    process = start_dvc(folder, *arguments)
    output, _ = process.communicate()
    assert process.returncode == status, output
    return output


def run_tool(name, folder, *arguments):
    """Run tools/NAME.py in a folder; return the finished process."""
    command = [sys.executable, ROOT / f"tools/{name}.py", *arguments]
    done = subprocess.run(command, cwd=folder, env=ENV, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done


doctor = partial(run_tool, "doctor")


def experiment(folder, name):
    """Parameters and metrics of an experiment, from `dvc exp show`."""
    shown = json.loads(dvc(folder, "exp", "show", "--json"))
    (row,) = (
        row["revs"][0]["data"]
        for baseline in shown
        for row in baseline["experiments"] or []
        if row["name"] == name
    )
    return row
