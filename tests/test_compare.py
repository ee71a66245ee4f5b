"""The table of experiments beside the last commit, read from Git alone."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import HERE, ROOT, commit, copy_of, dvc, git

from common.results import md5_of
from compare import compare_errors
from internals.runs import reference_of


def wrong(*images, count=1000):
    """A column that says which of `count` images a network has wrong."""
    return pd.Series(np.isin(np.arange(count), images))


def test_a_difference_in_errors_worked_by_hand():
    base, other = wrong(1, 2, 3, 4, 50), wrong(50, 60)  # 4 are mended, 1 is broken, 1 stays
    difference, (low, high), p = compare_errors(base, other)
    assert difference == -3
    half = 1.959964 * np.sqrt(5 - 9 / 1000)
    assert (low, high) == pytest.approx((-3 - half, -3 + half))
    assert p == pytest.approx(2 * (5 + 1) / 2**5)  # 0 or 1 of 5 fair coins, on both sides


def test_the_same_mistakes_are_no_difference():
    assert compare_errors(wrong(3, 5), wrong(3, 5)) == (0, (0, 0), 1)


@pytest.fixture(scope="module")
def repository(first_run, tmp_path_factory):
    """The project on the digits, its results committed, with two experiments, a half and none."""
    folder = copy_of(first_run, tmp_path_factory.mktemp("compare") / "project")
    for name, change in (("worse", "train.lr=0.00001"), ("same", "evaluate.calibration_bins=9")):
        dvc(folder, "exp", "run", "--temp", "--name", name, "-S", change, "evaluate")
    for name, stage in (("half", "cnn_train"), ("none", "surfaces")):
        dvc(folder, "exp", "run", "--temp", "--name", name, "-S", "train.lr=0.03", stage)
    return folder


def compare(folder, *names):
    command = [sys.executable, ROOT / "tools/compare.py", *names]
    return subprocess.run(command, cwd=folder, env=HERE, capture_output=True, text=True)


def rows(table):
    """Name of the run to its cells."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    header, _, *cells = [line for line in lines if line]
    return {row[0]: dict(zip(header, row, strict=True)) for row in cells}


def test_runs_are_set_beside_the_commit_the_best_first_with_what_differs_alone(repository):
    done = compare(repository)
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    assert [*table] in (["this commit", "same", "worse"], ["same", "this commit", "worse"])
    assert {*table["worse"]} == {
        *("run", "evaluate.calibration_bins", "lr"),
        *("val", "test", "errors", "loss", "difference", "beyond chance"),
    }
    assert table["same"]["difference"] == "+0 (+0 to +0)"
    assert table["same"]["beyond chance"] == "no, p = 1"
    assert table["worse"]["beyond chance"].startswith("yes, p = ")
    more = int(table["worse"]["errors"]) - int(table["this commit"]["errors"])
    assert table["worse"]["difference"].startswith(f"{more:+d} (")
    assert (repository / "reports/compare.png").stat().st_size > 10_000
    status = subprocess.run(["git", "status", "--short"], cwd=repository, capture_output=True)
    assert status.stdout == b""


def test_a_run_that_ended_before_evaluate_is_left_out_and_said_so(repository):
    """It holds the metrics of the network before, which would pass for its own."""
    done = compare(repository, "half", "none", "worse")
    assert [*rows(done.stdout)] == ["this commit", "worse"]
    half, none = done.stderr.splitlines()
    assert half.startswith("half: left out: reports/metrics/evaluate.json: stale: computed from an")
    assert none.startswith("none: left out: reports/metrics/train.json: stale: computed with train")


def test_a_run_of_another_precision_is_named(repository):
    """As where the commit holds the results of another machine."""
    ours = git(repository, "rev-parse", "HEAD")
    trained, evaluated = (repository / f"reports/metrics/{s}.json" for s in ("train", "evaluate"))
    before = md5_of(trained)
    trained.write_text(
        trained.read_text().replace('"precision": "float32"', '"precision": "bfloat16"', 1)
    )
    evaluated.write_text(evaluated.read_text().replace(before, md5_of(trained)))
    commit(repository)
    theirs = git(repository, "rev-parse", "HEAD")
    git(repository, "update-ref", reference_of("worse", theirs), reference_of("worse", ours))
    done = compare(repository)
    git(repository, "reset", "--quiet", "--hard", ours)
    assert done.stderr == "worse: its precision is float32, this commit's bfloat16\n"


def test_an_unknown_run_is_one_line_with_those_that_there_are(repository):
    done = compare(repository, "other")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "other: no such experiment of this commit; there are: " in done.stderr
    assert "worse" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_commit_without_results_is_said_to_be_one(tmp_path):
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    done = compare(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("the last commit has no valid results")
    assert done.stderr.count("\n") == 1
