"""Run the commands of README.md and docs/ on the digits."""

import os
import re
import subprocess

import pytest
from repositories import copy_of
from workspaces import ENV, ROOT

TEXT = "\n".join(
    path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
)
RUN_ELSEWHERE = {  # start of a command: where it runs
    "make bench": "test_benchmarks.py",
    "make demo": ".ci/run",
    "make doctor": "test_doctor.py",
    "make pdf": ".ci/run",
    "make repro": ".ci/run, through make ci-report",
    "make test": ".ci/run",
    "make verify": ".ci/run",
    "dvc exp run -S data.dataset=fashion_mnist": "nowhere: it needs a network",
}


def commands():
    """The commands in code blocks, and inline `dvc exp run` and `make` commands with settings."""
    inline = r"`((?:dvc exp run -S|make \w+ \w+=)[^`]+)`"
    for block, line in re.findall(rf"```\w*\n(.*?)```|{inline}", TEXT, re.S):
        lines = block.replace("\\\n", " ").splitlines() or [line]
        yield from (line for line in lines if re.match(r"(dvc [a-z]+|git|make) ", line))


def run(folder, command, storage):
    """Run a command line with the project's Makefile, but without `make setup`, with two seeds
    instead of more, and with one thread per run: two threads are slow beside other tests.
    """
    command = re.sub(r"\bN=\d+", "N=2", command.replace("/srv/results", str(storage)))
    command = re.sub(r"^make ", f"make -f '{ROOT}/Makefile' READY= ACTIVE= ", command)
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=ENV | {"JOBS": str(os.cpu_count()), "COLUMNS": "130"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}"
    return done.stdout


@pytest.fixture
def repository(first_run, tmp_path):
    """The project on the digits with committed results and a remote `origin`."""
    folder, origin = copy_of(first_run, tmp_path / "project"), tmp_path / "origin.git"
    for command in (
        ["git", "init", "--quiet", "--bare", origin],
        ["git", "remote", "add", "origin", origin],
        ["git", "push", "--quiet", "--set-upstream", "origin", "HEAD"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    (folder / "tools").symlink_to(ROOT / "tools")
    return folder


@pytest.mark.full
def test_every_documented_command_runs(repository, tmp_path):
    printed = {
        command: run(repository, command, tmp_path / "storage")
        for command in commands()
        if not command.startswith((*RUN_ELSEWHERE,))
    }
    assert len(printed) > 10
    for start, text in (("dvc exp show", "0.001"), ("dvc metrics diff", "accuracy")):
        assert any(text in printed[command] for command in printed if command.startswith(start))


def test_commands_are_found_in_the_docs():
    assert len([*commands()]) > 15
