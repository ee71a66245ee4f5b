"""Results are shared through a DVC remote and Git, as experiments and as branches."""

import json

import pytest
import yaml
from repositories import commit, copy_of, dvc, experiment, git, set_identity, tracked_bytes
from test_pipeline import change, ran


def clone(origin, folder):
    """Clone a repository; the clone has its own cache."""
    git(origin, "clone", "--quiet", origin, folder)
    set_identity(folder)
    return folder


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ours(first_run, tmp_path_factory):
    """A repository with results, pushed to a bare repository and to a DVC remote in a folder."""
    folder = tmp_path_factory.mktemp("sharing")
    ours = copy_of(first_run, folder / "ours")
    git(ours, "init", "--quiet", "--bare", folder / "origin.git")
    git(ours, "remote", "add", "origin", folder / "origin.git")
    dvc(ours, "remote", "add", "--default", "storage", str(folder / "a store"))
    commit(ours)
    dvc(ours, "push")
    git(ours, "push", "--quiet", "origin", "HEAD")
    return ours


@pytest.fixture(scope="module")
def theirs(ours):
    """A clone without data."""
    return clone(ours.parent / "origin.git", ours.parent / "theirs")


def read_params(folder):
    return yaml.safe_load((folder / "params.yaml").read_text())


def test_after_clone_and_pull_no_stage_is_outdated(ours, theirs):
    assert not (theirs / "data").exists()
    dvc(theirs, "pull")
    assert ran(dvc(theirs, "repro")) == []
    assert tracked_bytes(theirs) == tracked_bytes(ours)
    assert git(theirs, "status", "--short") == ""


@pytest.mark.full
def test_an_experiment_is_pushed_pulled_shown_and_applied_by_name(ours, theirs):
    dvc(ours, "exp", "run", "--name", "longer", "-S", "xor.steps=61", "xor_train")
    arrays = (ours / "data/xor.npz").read_bytes()
    git(ours, "restore", ".")
    dvc(ours, "checkout", "--force")
    dvc(ours, "exp", "push", "origin", "longer")

    assert dvc(theirs, "exp", "list", "--name-only").split() == []
    assert "longer" in dvc(theirs, "exp", "list", "origin", "--name-only").split()
    dvc(theirs, "exp", "pull", "origin", "longer")
    row = experiment(theirs, "longer")
    assert row["params"]["params.yaml"]["data"]["xor"]["steps"] == 61
    dvc(theirs, "exp", "apply", "longer")
    assert read_params(theirs)["xor"]["steps"] == 61
    assert (theirs / "data/xor.npz").read_bytes() == arrays
    assert ran(dvc(theirs, "repro", "xor_train")) == []


def test_branches_are_compared_in_a_clone_without_data(ours, tmp_path):
    main = git(ours, "branch", "--show-current")
    git(ours, "switch", "--quiet", "--create", "slower")
    change(ours, "train", "lr", 0.001)
    dvc(ours, "repro", "--quiet", "evaluate")
    commit(ours)
    git(ours, "push", "--quiet", "origin", "slower")
    git(ours, "switch", "--quiet", main)
    dvc(ours, "checkout", "--force")

    fresh = clone(ours.parent / "origin.git", tmp_path / "fresh")
    branches = (main, "origin/slower")
    params = json.loads(dvc(fresh, "params", "diff", *branches, "--json"))
    assert params == {"params.yaml": {"train.lr": {"old": 0.02, "new": 0.001, "diff": -0.019}}}
    metrics = json.loads(dvc(fresh, "metrics", "diff", *branches, "--json"))
    for stage, name in (("train", "val_loss"), ("evaluate", "accuracy")):
        old, new = (
            json.loads(git(fresh, "show", f"{branch}:reports/metrics/{stage}.json"))[name]
            for branch in branches
        )
        difference = metrics[f"reports/metrics/{stage}.json"][name]
        assert (difference["old"], difference["new"]) == (old, new)
        assert old != new
    assert not any("surfaces" in path or "xor" in path for path in metrics)

    drawn = json.loads(dvc(fresh, "plots", "diff", *branches, "--json"))["data"]
    assert drawn.keys() > {"accuracy", "loss", "confusion", "xor", "reports/figures/history.png"}
    (curves,) = drawn["accuracy"]
    for branch in branches:
        rows = json.loads(git(fresh, "show", f"{branch}:reports/plots/history.json"))["rows"]
        points = {
            (row["epoch"], row["val_acc"])
            for row in curves["content"]["data"]["values"]
            if row["rev"] == branch
        }
        assert points == {(row["epoch"], row["val_acc"]) for row in rows}
    assert not (fresh / "data").exists()
