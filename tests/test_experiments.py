"""Runs with other parameters, as DVC experiments, in a repository of their own."""

import json
import statistics
import subprocess
import sys

import pytest
from conftest import HERE, ROOT, commit, dvc, make_repository

from internals.runs import name_of


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with images, in which nothing was trained."""
    folder = make_repository(tmp_path_factory.mktemp("experiments"))
    dvc(folder, "repro", "--quiet", "download_mnist")
    commit(folder)
    return folder


def seeds(folder, *arguments):
    command = [sys.executable, ROOT / "tools/seeds.py", *arguments]
    return subprocess.run(command, cwd=folder, env=HERE, capture_output=True, text=True)


def test_an_experiment_is_called_by_its_parameters():
    assert name_of(["train.lr=0.1", "train.seed=3"]) == "lr=0.1,seed=3"
    assert name_of(["train.seed=3", "train.lr=0.1"]) == "lr=0.1,seed=3"
    assert name_of(["xor.lr=1", "+train.new=a b/c:d"]) == "new=a-b-c-d,xor.lr=1"
    assert name_of([]) == "default"


def test_seeds_are_trained_once_and_summed_up(repository):
    first = seeds(repository, "2", "-S", "train.epochs=1")
    assert first.returncode == 0, first.stderr
    table = json.loads((repository / "reports/seeds.json").read_text())
    entry = table["epochs=1"]
    accuracies = [1 - errors / 360 for errors in entry["errors"]]
    assert entry["seeds"] == len(accuracies) == 2
    assert entry["mean"] == pytest.approx(statistics.mean(accuracies), abs=1e-6)
    assert entry["sd"] == pytest.approx(statistics.stdev(accuracies), abs=1e-6)
    assert (entry["min"], entry["max"]) == pytest.approx((min(accuracies), max(accuracies)))
    assert "epochs=1,seed=2" in dvc(repository, "exp", "list", "--name-only")

    experiments = dvc(repository, "exp", "list")
    again = seeds(repository, "2", "-S", "train.epochs=1")
    assert again.returncode == 0, again.stderr
    assert dvc(repository, "exp", "list") == experiments
    assert json.loads((repository / "reports/seeds.json").read_text()) == table


def test_edits_that_are_not_committed_are_refused(repository):
    """DVC would take them into its copy, and the result would pass for the commit's."""
    params = repository / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("lr: 0.02", "lr: 0.03"))
    refused = seeds(repository, "2", "-S", "train.epochs=1", "-S", "train.rotation=0")
    params.write_text(before)
    assert refused.returncode == 1
    assert refused.stderr.startswith("params.yaml: edited since the last commit")
    assert "rotation" not in dvc(repository, "exp", "list", "--name-only")


def test_a_damaged_table_is_named_before_anything_runs(repository):
    table = repository / "reports/seeds.json"
    table.parent.mkdir(exist_ok=True)
    before = table.read_text() if table.exists() else None
    table.write_text("<<<<<<< ours")
    refused = seeds(repository, "2", "-S", "train.epochs=1", "-S", "train.rotation=0")
    table.write_text(before) if before else table.unlink()
    assert refused.returncode == 1
    assert refused.stderr.startswith("reports/seeds.json: not JSON")
    assert "rotation" not in dvc(repository, "exp", "list", "--name-only")


def test_a_run_that_fails_says_why_and_changes_no_table(repository):
    table = repository / "reports/seeds.json"
    before = table.read_text() if table.exists() else None
    failed = seeds(repository, "2", "-S", "train.lr=-1")
    assert failed.returncode == 1
    assert "params.yaml: train.lr: should be greater than 0, got -1" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert (table.read_text() if table.exists() else None) == before
