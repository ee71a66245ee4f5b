"""Training in several processes: real ones, on this machine, over gloo."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from test_training import STATES, results, start

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
SHORT = {"epochs": 2, "compile": False}


def finish(**changes):
    """Train, and check that it went well; what it said."""
    process = start(**changes)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert errors == ""
    return out


def children_of(process):
    """The process ids of a process's children that train; multiprocessing has one that does not."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True
    )
    lines = (line.split(maxsplit=1) for line in listed.stdout.splitlines())
    return [int(pid) for pid, command in lines if "spawn_main" in command]


def wait_for_the_end(pids):
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return
        time.sleep(0.1)
    raise AssertionError(f"{pids} live on")


def test_two_processes_learn_as_one_does_and_give_the_same_bytes_twice(images, written):
    changes = SHORT | {"epochs": 4, "lr": 0.1}
    finish(**changes)
    alone = pd.read_csv("data/cnn/history.csv")
    said = finish(processes=2, **changes)
    together, first = pd.read_csv("data/cnn/history.csv"), results(written)
    assert said.count("epoch") == 4  # one of them speaks
    metrics = json.loads(Path("reports/metrics/train.json").read_text())
    assert (metrics["processes"], metrics["images"], metrics["threads"]) == (2, 180, 1)
    # BatchNorm sees half a batch in each: nearly the same, not quite.
    assert together["train_loss"].tolist() == pytest.approx(alone["train_loss"].tolist(), rel=0.1)
    assert together["train_loss"].tolist() != alone["train_loss"].tolist()
    assert together["test_acc"].iloc[-1] > 0.9
    finish(processes=2, **changes)
    assert results(written) == first


def test_torchrun_trains_as_train_processes_does(images, written):
    finish(processes=2, **SHORT)
    expected = results(written)
    start(**SHORT).communicate(timeout=300)  # leaves a params.yaml that speaks of one process
    assert results(written) != expected
    done = subprocess.run(
        [*TORCHRUN, ROOT / "stages/cnn_train.py"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert results(written) == expected


def test_two_processes_killed_between_epochs_end_with_the_same_bytes(images, written):
    changes = SHORT | {"epochs": 6, "processes": 2}
    finish(**changes)
    expected = results(written)
    for path in expected:
        if not path.startswith("data/mnist"):
            Path(path).unlink()
    killed = start(**changes)
    killed.stdout.readline()
    killed.stdout.readline()
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert {path for path in results(written) if not path.startswith("data/mnist")} == set()
    assert "going on after epoch" in finish(**changes)
    assert results(written) == expected
    assert [*STATES.iterdir()] == []


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
def test_a_process_that_dies_ends_the_run_with_an_error_and_without_output(images, written):
    before = results(written)
    process = start(processes=2, **SHORT | {"epochs": 1000})
    process.stdout.readline()
    _, second = children = children_of(process)
    os.kill(second, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == "process 2 of 2 was ended by SIGKILL: nothing was written\n"
    assert results(written) == before
    wait_for_the_end(children)


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_none_of_them_outlives_the_one_that_started_them(images, how):
    process = start(processes=2, **SHORT | {"epochs": 1000})
    process.stdout.readline()
    children = children_of(process)
    assert len(children) == 2
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # Ctrl-C
    else:
        process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert errors == ("interrupted\n" if how == signal.SIGINT else "")
    wait_for_the_end(children)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"batch_size": 15}, "train.batch_size: should be a multiple of 2, the number of"),
        ({"batch_size": 181}, "train.batch_size: should be at most 180, the number of images"),
        (
            {"lr": 1000.0, "weight_decay": 1, "schedule": "constant", "warmup": 0},
            "train.lr: the loss is not finite in epoch",
        ),
    ],
)
def test_what_all_of_them_find_wrong_is_said_once(images, written, changes, line):
    before = results(written)
    process = start(processes=2, **SHORT | changes)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert errors.startswith(f"params.yaml: {line}")
    assert errors.count("\n") == 1
    assert results(written) == before
