"""Sweeps: every combination once, as a DVC experiment, whatever happens to a worker."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import chdir, suppress

import psutil
import pytest
import yaml
from conftest import HERE, ROOT, commit, dvc, git, make_repository
from distributed import Client, LocalCluster

import clone
from internals.cluster import COPIES, store
from internals.runs import CLONE, RunError, reference_of
from sweep import expand, tabulate

SWEEP = [sys.executable, ROOT / "tools/sweep.py"]
ENVIRONMENT = {name: value for name, value in HERE.items() if name != "DASK_SCHEDULER"}
# One thread each, as many as these tests give to what they compare with.
ONE_THREAD = ENVIRONMENT | {"OMP_NUM_THREADS": "1"}
ALL_CORES = ("--jobs", str(os.cpu_count()))


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with images, in which nothing was trained; its cache is shared by a group."""
    folder = make_repository(tmp_path_factory.mktemp("sweeps") / "project")
    dvc(folder, "config", "--local", "cache.shared", "group")
    dvc(folder, "repro", "--quiet", "download_mnist")
    commit(folder)
    return folder


@pytest.fixture
def start():
    """A function that starts a process in a session of its own; all are ended after the test."""
    started = []

    def start(command, **options):
        started.append(
            subprocess.Popen(
                command,
                start_new_session=True,
                # Tests that run in the background of a shell inherit that Ctrl-C is ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
                **options,
            )
        )
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.fixture
def cluster(start, tmp_path):
    """The address of a Dask cluster, and its two workers."""
    file = tmp_path / "scheduler.json"
    place = ["--host", "127.0.0.1", "--scheduler-file", file, "--no-dashboard"]
    quiet = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", *place, "--port", "0"]
    start(scheduler, env=ONE_THREAD, **quiet)
    address = wait_until(lambda: address_in(file))
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", *place, "--no-nanny"]
    worker += ["--nthreads", "1", "--local-directory", tmp_path]
    # With neither `dvc` nor `python` on the path, and none of our modules.
    bare = ONE_THREAD | {"PATH": os.defpath}
    workers = [start(worker, env=bare, **quiet) for _ in range(2)]
    with Client(address) as client:
        client.wait_for_workers(2, timeout=60)
    return address, workers


def sweep(folder, *arguments, **environment):
    command, environment = [*SWEEP, *arguments], ENVIRONMENT | environment
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def experiments(folder):
    """Name to commit of the experiments of a repository's last commit."""
    prefix = reference_of("", git(folder, "rev-parse", "HEAD"))
    lines = git(folder, "for-each-ref", "--format=%(refname) %(objectname)", prefix).splitlines()
    return dict(line.removeprefix(prefix).split() for line in lines)


def results(folder, name):
    """What an experiment changed: path to content."""
    revision = experiments(folder)[name]
    paths = git(folder, "diff", "--name-only", f"{revision}^", revision).splitlines()
    return {path: git(folder, "show", f"{revision}:{path}") for path in paths}


def outs(result):
    """What DVC keeps of an experiment's training."""
    return yaml.safe_load(result["dvc.lock"])["stages"]["cnn_train"]["outs"]


def trainings_of(process):
    """The trainings that a process has started, or a child of its."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):
            found += [child] if "stages/cnn_train.py" in child.cmdline()[1:] else []
    return found


def address_in(file):
    """What a scheduler wrote, or None as long as it has not."""
    with suppress(OSError, ValueError):
        return json.loads(file.read_text())["address"]


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, condition
        time.sleep(0.1)
    return found


def test_lists_and_ranges_give_every_combination():
    assert expand(["train.lr=0.1,0.2", "train.seed=range(1,3)", "train.epochs=1"]) == {
        f"epochs=1,lr={lr},seed={seed}": [f"train.lr={lr}", f"train.seed={seed}", "train.epochs=1"]
        for lr in (0.1, 0.2)
        for seed in (1, 2)
    }
    assert list(expand(["train.schedule=choice(linear,cosine)"])) == [
        "schedule=linear",
        "schedule=cosine",
    ]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.lr", "missing EQUAL"),
        ("train.seed=range(1,a)", "range"),
        ("train.seed=glob(*)", "not supported"),
        ("train.lr=interval(0,1)", "does not support"),
        ("train.a='b c','b:c'", "two combinations would have this name"),
    ],
)
def test_what_cannot_be_expanded_is_one_line(setting, message):
    with pytest.raises(RunError, match=message) as raised:
        expand([setting])
    assert "\n" not in str(raised.value)


def test_the_table_has_a_row_for_all_seeds_and_chooses_by_the_validation_images():
    runs = expand(["train.lr=0.1,0.2", "train.seed=1,2"])
    val, test = (0.5, 0.6, 0.7, 0.9), (0.99, 0.97, 0.91, 0.95)
    results = {
        name: {"val_acc": v, "accuracy": t} for name, v, t in zip(runs, val, test, strict=True)
    }
    assert tabulate(runs, results).to_numpy().tolist() == [
        ["lr=0.2", 2, "80.00%", "14.14", "93.00%", "2.83"],
        ["lr=0.1", 2, "55.00%", "7.07", "98.00%", "1.41"],
    ]
    for seed in (1, 2):  # as it is where no image is held out
        del results[f"lr=0.1,seed={seed}"]["val_acc"]
    del results["lr=0.2,seed=1"]
    assert tabulate(runs, results).to_numpy().tolist() == [
        ["lr=0.1", 2, "", "", "98.00%", "1.41"],
        ["lr=0.2", 1, "90.00%", "", "95.00%", ""],
    ]


def test_a_sweep_gives_what_plain_runs_give_and_lists_what_failed(repository, tmp_path):
    alone = shutil.copytree(repository, tmp_path / "alone")
    settings = ("-S", "train.epochs=1", "-S", "train.lr=0.02,-1")
    done = sweep(repository, *ALL_CORES, *settings)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("runs: 2, there already: 0, at once: ")
    assert "epochs=1,lr=-1: params.yaml: train.lr: should be greater than 0, got -1" in done.stderr
    assert "Traceback" not in done.stderr
    name = "epochs=1,lr=0.02"
    assert done.stdout.splitlines()[-1].startswith(f"| {name} | 1 ")
    assert experiments(repository).keys() == {name}

    command = ["dvc", "exp", "run", "--temp", "--name", name, *settings[:2]]
    command += ["-S", "train.lr=0.02", "evaluate"]
    subprocess.run(command, cwd=alone, env=ONE_THREAD, check=True, capture_output=True)
    found = results(repository, name)
    assert found == results(alone, name)
    assert json.loads(found["reports/metrics/train.json"])["machine"][0]["threads"] == 1

    before = experiments(repository)
    again = sweep(repository, "-S", "train.epochs=1", "-S", "train.lr=0.02")
    assert again.returncode == 0, again.stderr
    table = done.stdout.splitlines()[-3:]
    assert again.stdout.splitlines() == ["runs: 1, there already: 1", *table]
    assert experiments(repository) == before
    (model,) = (out["md5"] for out in outs(found) if out["path"] == "data/network/model.pth")
    stored = repository / f".dvc/cache/files/md5/{model[:2]}/{model[2:]}"
    assert stored.exists()
    assert stored.parent.stat().st_mode & 0o2070 == 0o2070  # as the group's
    assert not [*(repository / COPIES).glob("tmp*")]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_sweep_that_is_ended_leaves_no_process(how, repository, start):
    command = [*SWEEP, *ALL_CORES, "-S", "train.epochs=100"]
    process = start(command, cwd=repository, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: trainings_of(process))
    family = psutil.Process(process.pid).children(recursive=True)
    if how == signal.SIGINT:  # as a terminal does
        os.killpg(process.pid, how)
        assert process.wait(30) == 130
        assert "Traceback" not in process.stderr.read()
        assert not [*(repository / COPIES).glob("tmp*")]
    else:
        process.kill()
        process.wait(10)
    wait_until(lambda: not any(member.is_running() for member in family), 10)


def test_the_run_of_a_worker_that_is_killed_is_made_by_another(repository, start, cluster):
    address, workers = cluster
    process = start(
        [*SWEEP, "-S", "train.epochs=2", "-S", "train.seed=range(1,3)"],
        cwd=repository,
        env=ENVIRONMENT | {"DASK_SCHEDULER": address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    trainings = wait_until(lambda: trainings_of(workers[0]))
    workers[0].kill()
    wait_until(lambda: not any(training.is_running() for training in trainings), 10)

    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    names = {"epochs=2,seed=1", "epochs=2,seed=2"}
    head, *ended = output.splitlines()[:3]
    assert head.startswith("runs: 2, there already: 0, at once: 2, ")
    assert {line.split(": ")[0] for line in ended} == names
    assert names <= experiments(repository).keys()
    assert output.splitlines()[-1].startswith("| epochs=2     | 2 ")


def test_a_sweep_that_is_ended_ends_its_runs_in_a_cluster_that_stays(repository, start, cluster):
    address, workers = cluster
    environment = ENVIRONMENT | {"DASK_SCHEDULER": address}
    process = start([*SWEEP, "-S", "train.epochs=100"], cwd=repository, env=environment)
    wait_until(lambda: any(map(trainings_of, workers)))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 130
    wait_until(lambda: not any(map(trainings_of, workers)), 10)


def test_a_worker_that_does_not_see_the_folder_clones_the_origin_and_pushes_the_data(
    repository, tmp_path
):
    project = shutil.copytree(repository, tmp_path / "project")
    shutil.rmtree(project / ".dvc/cache")
    dvc(project, "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    commit(project)
    git(project, "clone", "--quiet", "--bare", ".", tmp_path / "origin")
    revision = git(project, "rev-parse", "HEAD")
    reference = reference_of("far", revision)
    addresses = dict.fromkeys(("root", "folder", "copies"), "/nowhere")
    addresses |= {"subfolder": "", "cache": {"cache.dir": "/nowhere"}}
    addresses["origin"] = str(tmp_path / "origin")
    addresses["clone"] = [*CLONE, "-c", "user.name=test", "-c", "user.email=test"]
    local = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(host="127.0.0.1", **local) as cluster, Client(cluster) as client:
        where = (reference, revision, addresses, {"OMP_NUM_THREADS": "1"})
        bundle, error = client.submit(clone.execute, "far", ["train.epochs=1"], *where).result()
    assert error is None
    with chdir(project):
        assert store(bundle, reference) is None
    (model,) = (o["md5"] for o in outs(results(project, "far")) if o["path"].endswith("model.pth"))
    assert (tmp_path / f"storage/files/md5/{model[:2]}/{model[2:]}").exists()
