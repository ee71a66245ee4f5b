"""Several runs at once in one repository: each gives its own result, or says who is in its way."""

import pytest
from conftest import copy_of, dvc, experiment, start_dvc, tracked_bytes


@pytest.fixture(scope="module")
def repository(first_run, tmp_path_factory):
    return copy_of(first_run, tmp_path_factory.mktemp("at once") / "project")


@pytest.mark.full
def test_two_experiments_in_copies_and_a_repro_beside_them_are_not_mixed(repository):
    before = tracked_bytes(repository)
    values = {"slow": 0.001, "fast": 0.05}
    running = {
        name: start_dvc(repository, "exp", "run", "--temp", "--name", name, "-S", f"train.lr={lr}")
        for name, lr in values.items()
    }
    running["repro"] = start_dvc(repository, "repro")
    said = {name: process.communicate(timeout=600)[0] for name, process in running.items()}
    done = {name for name, process in running.items() if process.returncode == 0}
    for name in {*running} - done:
        assert "busy" in said[name] or "lock" in said[name].lower(), said[name]
    for name in {*values} - done:  # who was in the way is gone
        dvc(repository, "exp", "run", "--temp", "--name", name, "-S", f"train.lr={values[name]}")

    assert tracked_bytes(repository) == before
    weights = set()
    for name, lr in values.items():
        row = experiment(repository, name)
        assert row["params"]["params.yaml"]["data"]["train"]["lr"] == lr
        weights.add(row["metrics"]["reports/metrics/train.json"]["data"]["weights"])
        alone, lr = f"{name}-alone", f"train.lr={lr}"
        dvc(repository, "exp", "run", "--temp", "--force", "--name", alone, "-S", lr)
        assert experiment(repository, alone)["metrics"] == row["metrics"]
    assert len(weights) == 2


@pytest.mark.full
def test_a_queue_with_two_workers_keeps_its_experiments_apart(repository):
    for seed in (1, 2, 3):
        name, setting = f"seed-{seed}", f"train.seed={seed}"
        dvc(repository, "exp", "run", "--queue", "--name", name, "-S", setting)
    dvc(repository, "queue", "start", "-j", "2")
    for seed in (1, 2, 3):
        dvc(repository, "queue", "logs", "--follow", f"seed-{seed}")
    weights = set()
    for seed in (1, 2, 3):
        row = experiment(repository, f"seed-{seed}")
        assert row["params"]["params.yaml"]["data"]["train"]["seed"] == seed
        weights.add(row["metrics"]["reports/metrics/train.json"]["data"]["weights"])
    assert len(weights) == 3
