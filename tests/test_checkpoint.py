"""Interrupted training runs continue with the same bytes; diverging ones stop with one line."""

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from workspaces import outputs, remove, small_params, train

import cnn_train
from common.mnist import TEST, TRAIN
from common.params import ParameterError
from training import checkpoint
from training.checkpoint import Checkpoint, make_key

CHECKPOINTS = Path(".dvc/tmp/training")


def kill_at_random_moments(kills, start, written, **changes):
    """Kill a training run several times, then let it finish; count continuations."""
    continued, rng = 0, np.random.default_rng(0)
    for _ in range(kills):
        remove(outputs(written))  # as DVC does before it runs a stage
        process = start(epochs=8, **changes)
        printed = [process.stdout.readline() for _ in range(rng.integers(1, 3))]
        time.sleep(rng.random() * 0.3)
        os.killpg(process.pid, signal.SIGKILL)
        printed += process.communicate()[0].splitlines()
        continued += any("continuing after epoch" in line for line in printed)
        if process.returncode == 0:
            return continued
    process = start(epochs=8, **changes)
    printed, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return continued + ("continuing after epoch" in printed)


@pytest.mark.parametrize(
    ("kills", "changes"),
    [
        pytest.param(2, {}, marks=pytest.mark.slow),
        pytest.param(8, {}, marks=pytest.mark.full),
        pytest.param(8, {"device": "cuda"}, marks=[pytest.mark.slow, pytest.mark.gpu]),
    ],
)
def test_a_training_run_killed_at_random_moments_ends_with_the_same_bytes(
    images, written, start, kills, changes
):
    undisturbed = start(epochs=8, **changes)
    assert undisturbed.wait(600) == 0, undisturbed.stderr.read()
    expected = outputs(written)
    assert kill_at_random_moments(kills, start, written, **changes) > 0
    assert outputs(written) == expected
    assert [*CHECKPOINTS.iterdir()] == []


@pytest.mark.slow
@pytest.mark.parametrize("last", ["write_arrays", "describe_splits"])
def test_a_rerun_after_an_interruption_in_the_last_step_writes_every_result_without_training(
    images, written, monkeypatch, capsys, last
):
    train()
    expected = outputs(written)

    def interrupt(*arguments, **arrays):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cnn_train, last, interrupt)
        with pytest.raises(KeyboardInterrupt):
            train()
    remove(outputs(written))  # as DVC does
    capsys.readouterr()
    train()
    assert outputs(written) == expected
    assert re.fullmatch(r"continuing after epoch \d+\n", capsys.readouterr().out)


def test_an_interrupted_run_leaves_its_history_and_no_results_of_another_run(
    images, written, monkeypatch
):
    train()
    names = outputs(written).keys()
    save = cnn_train.Checkpoint.save

    def interrupt(self, history):
        save(self, history)
        if len(history) == 3:  # before its history is written
            raise KeyboardInterrupt

    monkeypatch.setattr(cnn_train.Checkpoint, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(epochs=4, seed=1)
    history = {"data/network/history.csv", "reports/plots/history.json"}
    assert outputs(written).keys() == {name for name in names if "mnist" in name} | history
    rows = json.loads(Path("reports/plots/history.json").read_text())["rows"]
    assert [row["epoch"] for row in rows] == [1, 2]


@pytest.mark.slow
def test_training_restarts_after_a_damaged_checkpoint(images, written, capsys, monkeypatch):
    train(epochs=1)
    expected = outputs(written)
    monkeypatch.setattr(cnn_train.Checkpoint, "remove", lambda self: None)
    train(epochs=1)
    (path,) = CHECKPOINTS.iterdir()
    content = path.read_bytes()

    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (bytes(flipped), content[:1000], b""):
        path.write_bytes(damaged)
        capsys.readouterr()
        train(epochs=1)
        captured = capsys.readouterr()
        assert captured.err == f"{path}: damaged; training restarts\n"
        assert "continuing" not in captured.out
        assert outputs(written) == expected

    train(epochs=1, seed=1)  # a run with another seed does not load it
    assert "continuing" not in capsys.readouterr().out
    Path(TEST).write_bytes(Path(TRAIN).read_bytes())  # nor does one with other test images
    train(epochs=1)
    assert "continuing" not in capsys.readouterr().out


def test_the_key_depends_on_files_settings_threads_versions_and_code(images, monkeypatch):
    keys = [make_key([TRAIN], 1), make_key([TRAIN], 2), make_key([TEST], 1)]
    for owner, name, value in (
        (torch, "get_num_threads", lambda: 99),
        (torch, "__version__", "0"),
        (checkpoint, "STAGES", images / "elsewhere"),  # no code
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            keys.append(make_key([TRAIN], 1))
    assert len({*keys}) == 6
    assert make_key([TRAIN], 1) == keys[0]


def test_identical_concurrent_runs_share_a_checkpoint(workspace):
    first, second = Checkpoint("a key"), Checkpoint("a key")
    assert first.load() == second.load() == []
    first.save([{"epoch": 1}])
    second.save([{"epoch": 1}])
    assert first.load() == second.load() == [{"epoch": 1}]
    first.remove()
    second.save([{"epoch": 1}, {"epoch": 2}])
    assert second.load() == [{"epoch": 1}, {"epoch": 2}]
    second.remove()
    first.remove()
    assert [*CHECKPOINTS.iterdir()] == []


@pytest.mark.slow
def test_ctrl_c_stops_training_at_once_with_one_line(images, start):
    process = start(epochs=1000)
    process.stdout.readline()
    started = time.perf_counter()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    seconds = time.perf_counter() - started
    assert process.returncode == 130
    assert errors == "interrupted\n"
    assert seconds < 5  # within a second on an idle machine


@pytest.mark.slow
def test_ctrl_c_after_the_last_epoch_does_not_discard_the_run(images, start):
    process = start(epochs=1)
    while not Path("reports/metrics/train.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


def test_a_non_finite_loss_is_reported_with_its_step(images, written):
    before = outputs(written)
    changes = {"schedule": "constant", "warmup": 0, "ema": 0, "augment": None, "lr": 1e30}
    with pytest.raises(ParameterError) as refused:
        cnn_train.main(**small_params()["train"] | changes)
    assert str(refused.value) == (
        "params.yaml: train.lr: the loss is not finite in epoch 1, step 2, at a learning rate of "
        "1e+30; try a lower one"
    )
    assert outputs(written) == before
    assert not CHECKPOINTS.exists()
