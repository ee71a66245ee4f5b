"""Run the commands of README.md and docs/experiments.md on the digits."""

import re
import subprocess

import pytest
from conftest import HERE, ROOT, copy_of

README = (ROOT / "README.md").read_text(encoding="utf-8")
RECIPES = README[README.index("## Recipes") : README.index("## When something is wrong")]
RECIPES += (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
ELSEWHERE = {
    "dvc exp run -S data.dataset=fashion_mnist": "needs a network",
}


def commands(text):
    """The command lines in blocks, and inline `dvc exp run` and `make` with settings."""
    for block, inline in re.findall(
        r"```\n(.*?)```|`((?:dvc exp run|make \w+) [^`]+)`", text, re.S
    ):
        lines = block.replace("\\\n", " ").splitlines() or [inline]
        known = r"(dvc [a-z]+|git|make) "
        yield from (line for line in lines if re.match(known, line))


def run(folder, command, storage):
    """Run a command line with the project's Makefile, without its set-up."""
    command = command.replace("/srv/results", str(storage))
    command = re.sub(r"^make ", f"make -f '{ROOT}/Makefile' READY= ACTIVE= ", command)
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}"
    return done.stdout


@pytest.fixture
def repository(first_run, tmp_path):
    """The project on the digits, its results committed, with a remote `origin`."""
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
def test_the_first_recipe_compares_two_learning_rates(repository, tmp_path):
    first = RECIPES[: RECIPES.index("**Train as the notebook does")]
    said = {command: run(repository, command, tmp_path) for command in commands(first)}
    assert len(said) >= 6
    (shown,) = (text for command, text in said.items() if command.startswith("dvc exp show"))
    assert "0.001" in shown
    assert "accuracy" in said["dvc metrics diff HEAD slower"]


@pytest.mark.full
def test_every_recipe_runs(repository, tmp_path):
    for command in commands(RECIPES):
        if not any(command.startswith(start) for start in ELSEWHERE):
            run(repository, command, tmp_path / "storage")


def test_the_commands_that_are_not_run_are_in_the_text():
    found = [*commands(RECIPES)]
    assert len(found) > 15
    assert all(any(command.startswith(start) for command in found) for start in ELSEWHERE)
