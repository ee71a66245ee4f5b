"""Training in several processes: real ones, on this machine, over gloo."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT, outputs, remove, small_params
from test_training import STATES
from torch.nn.functional import cross_entropy

import cnn_train
from common.files import read_metrics, read_state
from common.machine import choose_precision
from common.mnist import TRAIN, read_images
from common.model import MODEL, DigitClassification, scale
from training.recipe import batches, hold_out, make_optimizer

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
CHANGES = {"epochs": 8, "lr": 0.1, "compile": False}
ENDLESS = {"epochs": 1000, "processes": 2, "compile": False}


def finish(process):
    """Wait until a training has gone well; what it said."""
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert errors == ""
    return out


def children_of(process):
    """The ids of the processes that train for this one."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in listed if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]


def lives(pid):
    """Whether a process runs; one that has ended may wait for somebody to ask how."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_for_the_end(pids):
    for _ in range(200):
        if not any(map(lives, pids)):
            return
        time.sleep(0.1)
    raise AssertionError(f"{pids} live on")


def go_on_after_a_kill(start, written, expected, **changes):
    """End a training by SIGKILL after an epoch; the next one goes on, to the bytes expected."""
    remove(expected)
    killed = start(**changes)
    killed.stdout.readline()
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert all(path.startswith("data/mnist") for path in outputs(written))
    assert "going on after epoch" in finish(start(**changes))
    assert outputs(written) == expected
    assert [*STATES.iterdir()] == []


def test_two_processes_learn_as_one_does_and_give_the_same_bytes_after_a_kill_and_by_torchrun(
    images, written, start
):
    cnn_train.main(**small_params()["train"] | CHANGES)
    alone = pd.read_csv("data/cnn/history.csv")
    said = finish(start(processes=2, **CHANGES))
    together, expected = pd.read_csv("data/cnn/history.csv"), outputs(written)
    assert said.count("epoch") == 8  # one of them speaks
    metrics = read_metrics("train")
    assert (metrics["processes"], metrics["images"]) == (2, 180)
    # BatchNorm sees half a batch in each: nearly the same, not quite.
    assert together["train_loss"].tolist() == pytest.approx(alone["train_loss"].tolist(), rel=0.3)
    assert together["train_loss"].tolist() != alone["train_loss"].tolist()
    assert together["test_acc"].iloc[-1] > 0.8

    go_on_after_a_kill(start, written, expected, processes=2, **CHANGES)

    remove(expected)
    parameters = small_params() | {"train": small_params()["train"] | CHANGES}
    Path("params.yaml").write_text(yaml.safe_dump(parameters))  # which speaks of one process
    threads = {"OMP_NUM_THREADS": str(metrics["threads"])}
    done = subprocess.run(
        [*TORCHRUN, ROOT / "stages/cnn_train.py"],
        capture_output=True,
        text=True,
        env=os.environ | threads,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert outputs(written) == expected


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.full)])
@pytest.mark.parametrize("precision", ["auto", pytest.param("bfloat16", marks=pytest.mark.full)])
def test_a_compiled_training_goes_on_after_a_kill_with_the_same_bytes(
    images, written, start, compiler, processes, precision
):
    """By itself in bfloat16 where the processor multiplies it: to emulate it takes minutes."""
    changes = {"processes": processes, "compile": True, "precision": precision, "epochs": 30}
    finish(start(**changes))
    metrics = read_metrics("train")
    expected = choose_precision(precision, torch.device("cpu"))
    assert (metrics["compiled"], metrics["precision"]) == ("yes", str(expected).split(".")[1])
    assert metrics["train_acc"] > 0.8
    go_on_after_a_kill(start, written, outputs(written), **changes)


def new_model():
    """The network as a training with the small parameters begins with it."""
    torch.manual_seed(small_params()["train"]["seed"])
    return DigitClassification()


def losses_of_halves(model, batch_size):
    """The loss of each half of each batch of the first epoch."""
    parameters, (pixels, labels) = small_params()["train"], read_images(TRAIN)
    learned, _ = hold_out(len(labels), parameters["validation"])
    return [
        cross_entropy(model(scale(pixels[half])), labels[half])
        for batch in batches(len(learned), batch_size, parameters["seed"], epoch=1)
        for half in learned[batch].split(batch_size // 2)
    ]


def test_each_process_learns_from_its_own_half_of_every_batch(images, start):
    standing = {"lr": 1e-12, "weight_decay": 0, "average": 0, "plain": 1, "epochs": 1}
    finish(start(processes=2, compile=False, **standing))
    found = pd.read_csv("data/cnn/history.csv")["train_loss"][0]
    losses = [loss.item() for loss in losses_of_halves(new_model(), 16)]
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_a_step_goes_by_the_mean_gradient_of_both_halves_of_the_batch(images, start):
    constant = {"lr": 0.1, "schedule": "constant", "warmup": 0}
    one_step = {"batch_size": 180, "epochs": 1, "average": 0, "plain": 1} | constant
    finish(start(processes=2, compile=False, **one_step))
    found, loss = read_state(MODEL), pd.read_csv("data/cnn/history.csv")["train_loss"][0]

    model = new_model()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = make_optimizer("sgd", model, 0.1, small_params()["train"]["weight_decay"])
    first, second = losses_of_halves(model, 180)
    expected = (first + second) / 2
    expected.backward()
    optimizer.step()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for name, value in model.named_parameters():
        if name.endswith("weight"):  # BatchNorm leaves the biases before it no gradient but noise
            step, error = value - before[name], value - found[name]
            assert error.norm() < 0.02 * step.norm(), name


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
def test_a_process_that_dies_ends_the_run_with_an_error_and_without_output(images, written, start):
    before = outputs(written)
    process = start(**ENDLESS)
    process.stdout.readline()
    _, second = children = children_of(process)
    os.kill(second, signal.SIGKILL)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 1
    assert errors == "process 2 of 2 was ended by SIGKILL: nothing was written\n"
    assert outputs(written) == before
    wait_for_the_end(children)


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_none_of_them_outlives_the_one_that_started_them(images, start, how):
    process = start(**ENDLESS)
    process.stdout.readline()
    children = children_of(process)
    assert len(children) == 2
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # Ctrl-C
    else:
        process.send_signal(how)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert errors == ("interrupted\n" if how == signal.SIGINT else "")
    wait_for_the_end(children)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"batch_size": 15}, "train.batch_size: should be a multiple of 2, the number of"),
        (
            {"lr": 1000.0, "weight_decay": 1, "schedule": "constant", "warmup": 0},
            "train.lr: the loss is not finite in epoch",
        ),
    ],
)
def test_what_all_of_them_find_wrong_is_said_once(images, written, start, changes, line):
    before = outputs(written)
    process = start(processes=2, **CHANGES | changes)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 2
    assert errors.startswith(f"params.yaml: {line}")
    assert errors.count("\n") == 1
    assert outputs(written) == before
