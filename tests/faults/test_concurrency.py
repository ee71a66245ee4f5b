"""Each concurrent run in a repository writes its own results or reports a lock."""

import pytest
from repositories import copy_of, dvc, experiment, start_dvc, tracked_bytes


@pytest.fixture(scope="module")
def repository(first_run, tmp_path_factory):
    return copy_of(first_run, tmp_path_factory.mktemp("at once") / "project")


@pytest.mark.full
def test_two_concurrent_experiments_and_a_repro_keep_their_own_results(repository):
    before = tracked_bytes(repository)
    values = {"slow": 0.001, "fast": 0.05}
    running = {
        name: start_dvc(repository, "exp", "run", "--temp", "--name", name, "-S", f"train.lr={lr}")
        for name, lr in values.items()
    }
    running["repro"] = start_dvc(repository, "repro")
    output = {name: process.communicate(timeout=600)[0] for name, process in running.items()}
    done = {name for name, process in running.items() if process.returncode == 0}
    for name in {*running} - done:
        assert "busy" in output[name] or "lock" in output[name].lower(), output[name]
    for name in {*values} - done:  # retry after the lock is released
        dvc(repository, "exp", "run", "--temp", "--name", name, "-S", f"train.lr={values[name]}")

    assert tracked_bytes(repository) == before
    losses = set()
    for name, lr in values.items():
        row = experiment(repository, name)
        assert row["params"]["params.yaml"]["data"]["train"]["lr"] == lr
        losses.add(row["metrics"]["reports/metrics/train.json"]["data"]["val_loss"])
        alone, lr = f"{name}-alone", f"train.lr={lr}"
        dvc(repository, "exp", "run", "--temp", "--force", "--name", alone, "-S", lr)
        assert experiment(repository, alone)["metrics"] == row["metrics"]
    assert len(losses) == 2


@pytest.mark.full
def test_experiments_of_two_queue_workers_keep_their_own_results(repository):
    for seed in (1, 2, 3):
        name, setting = f"seed-{seed}", f"train.seed={seed}"
        dvc(repository, "exp", "run", "--queue", "--name", name, "-S", setting)
    dvc(repository, "queue", "start", "-j", "2")
    for seed in (1, 2, 3):
        dvc(repository, "queue", "logs", "--follow", f"seed-{seed}")
    losses = set()
    for seed in (1, 2, 3):
        row = experiment(repository, f"seed-{seed}")
        assert row["params"]["params.yaml"]["data"]["train"]["seed"] == seed
        losses.add(row["metrics"]["reports/metrics/train.json"]["data"]["val_loss"])
    assert len(losses) == 3
