"""A sweep runs each combination once, as a DVC experiment, even if workers are killed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from contextlib import chdir, suppress
from functools import partial

import psutil
import pytest
import yaml
from distributed import Client, LocalCluster
from repositories import commit, dvc, git, make_repository, run_tool
from workspaces import ENV, ROOT

from internals.clone import COPIES
from internals.cluster import clone, store
from internals.experiments import reference_of

pytestmark = pytest.mark.slow

sweep = partial(run_tool, "sweep")
SWEEP = [sys.executable, ROOT / "tools/sweep.py"]
# One thread per run, like the runs that these tests compare with.
ONE_THREAD = ENV | {"OMP_NUM_THREADS": "1"}
ALL_CORES = ("--jobs", str(os.cpu_count()))


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with images and without a trained network; a group shares its cache."""
    folder = make_repository(tmp_path_factory.mktemp("sweeps") / "project")
    dvc(folder, "config", "--local", "cache.shared", "group")
    dvc(folder, "repro", "--quiet", "download_mnist")
    commit(folder)
    return folder


@pytest.fixture
def start():
    """Return a function that starts a process in a new session; all are killed after the test."""
    started = []

    def start(command, **options):
        started.append(
            subprocess.Popen(
                command,
                start_new_session=True,
                # Background processes of a shell ignore Ctrl-C, and child processes inherit this.
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
    """The address of a Dask cluster and its two workers."""
    file = tmp_path / "scheduler.json"
    place = ["--host", "127.0.0.1", "--scheduler-file", file, "--dashboard-address", "127.0.0.1:0"]
    quiet = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", *place, "--port", "0"]
    start(scheduler, env=ONE_THREAD, **quiet)
    address = wait_until(lambda: address_in(file))
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", *place, "--no-nanny"]
    worker += ["--nthreads", "1", "--local-directory", tmp_path]
    # No `dvc`, `python` or module of this project on the path.
    bare = ONE_THREAD | {"PATH": os.defpath}
    workers = [start(worker, env=bare, **quiet) for _ in range(2)]
    with Client(address) as client:
        client.wait_for_workers(2, timeout=60)
    return address, workers


def experiments(folder):
    """Name to commit of the experiments based on a repository's last commit."""
    prefix = reference_of("", git(folder, "rev-parse", "HEAD"))
    lines = git(folder, "for-each-ref", "--format=%(refname) %(objectname)", prefix).splitlines()
    return dict(line.removeprefix(prefix).split() for line in lines)


def results(folder, name):
    """The files changed by an experiment: path to content."""
    revision = experiments(folder)[name]
    paths = git(folder, "diff", "--name-only", f"{revision}^", revision).splitlines()
    return {path: git(folder, "show", f"{revision}:{path}") for path in paths}


def outs(result):
    """The outputs of cnn_train in an experiment's dvc.lock."""
    return yaml.safe_load(result["dvc.lock"])["stages"]["cnn_train"]["outs"]


def training_runs_of(process):
    """The training runs among the descendants of a process."""
    training_runs = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):
            training_runs += [child] if "stages/cnn_train.py" in child.cmdline()[1:] else []
    return training_runs


def address_in(file):
    """The scheduler's address in its file, or None before the file is complete."""
    with suppress(OSError, ValueError):
        return json.loads(file.read_text())["address"]


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, condition
        time.sleep(0.1)
    return result


def test_a_sweep_gives_the_results_of_single_runs_and_lists_failures(repository, tmp_path):
    alone = shutil.copytree(repository, tmp_path / "alone")
    settings = ("-S", "train.epochs=1", "-S", "train.lr=0.02", "-S", "train.device=cpu,mps")
    done = sweep(repository, *ALL_CORES, *settings)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("runs: 2, already present: 0, in parallel: ")
    assert "device=mps,epochs=1,lr=0.02: params.yaml: train.device: " in done.stderr
    name = "device=cpu,epochs=1,lr=0.02"
    assert done.stdout.splitlines()[-1].startswith(f"| {name} | 1 ")
    assert experiments(repository).keys() == {name}

    command = ["dvc", "exp", "run", "--temp", "--name", name, *settings[:4]]
    command += ["-S", "train.device=cpu", "evaluate"]
    subprocess.run(command, cwd=alone, env=ONE_THREAD, check=True, capture_output=True)
    swept = results(repository, name)
    assert swept == results(alone, name)
    assert json.loads(swept["reports/metrics/train.json"])["machine"][0]["threads"] == 1

    before = experiments(repository)
    again = sweep(repository, *settings[:4], "-S", "train.device=cpu")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("runs: 1, already present: 1\n")
    assert again.stdout.splitlines()[-3:] == done.stdout.splitlines()[-3:]
    assert experiments(repository) == before
    (model,) = (out["md5"] for out in outs(swept) if out["path"] == "data/network/model.pth")
    stored = repository / f".dvc/cache/files/md5/{model[:2]}/{model[2:]}"
    assert stored.exists()
    assert stored.parent.stat().st_mode & 0o2070 == 0o2070  # the group can write
    assert not [*(repository / COPIES).glob("tmp*")]


@pytest.mark.parametrize(
    "signum", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.full)]
)
def test_an_interrupted_or_killed_sweep_leaves_no_process(signum, repository, start):
    command = [*SWEEP, *ALL_CORES, "-S", "train.epochs=100"]
    process = start(command, cwd=repository, env=ENV, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: training_runs_of(process))
    descendants = psutil.Process(process.pid).children(recursive=True)
    if signum == signal.SIGINT:  # as a terminal does
        os.killpg(process.pid, signum)
        assert process.wait(30) == 130
        assert "Traceback" not in process.stderr.read()
        assert not [*(repository / COPIES).glob("tmp*")]
    else:
        process.kill()
        process.wait(10)
    wait_until(lambda: not any(process.is_running() for process in descendants), 10)


@pytest.mark.full  # the Slurm test also loses a worker
def test_another_worker_repeats_the_run_of_a_killed_worker(repository, start, cluster):
    address, workers = cluster
    screen, terminal = os.openpty()
    termios.tcsetwinsize(screen, (24, 120))
    process = start(
        [*SWEEP, "-S", "train.epochs=2", "-S", "train.seed=range(1,3)"],
        cwd=repository,
        env=ENV | {"DASK_SCHEDULER_ADDRESS": address},
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    )
    running = wait_until(lambda: training_runs_of(workers[0]))
    workers[0].kill()
    wait_until(lambda: not any(training_run.is_running() for training_run in running), 10)

    output, _ = process.communicate(timeout=240)
    bar = os.read(screen, 65_536).decode()
    os.close(screen)
    os.close(terminal)
    assert process.returncode == 0, bar
    assert re.search(r"2 workers: +0%.*0/2 \[00:00<\?", bar)
    assert re.search(r"1 worker: +50%.*1/2 \[\d+:\d+<\d+:\d+", bar)  # elapsed < remaining
    names = {"epochs=2,seed=1", "epochs=2,seed=2"}
    head, *ended = output.splitlines()[:3]
    assert head.startswith("runs: 2, already present: 0, in parallel: 2, ")
    assert {line.split(": ")[0] for line in ended} == names
    assert names <= experiments(repository).keys()
    assert output.splitlines()[-1].startswith("| epochs=2  | 2 ")


@pytest.mark.full
def test_an_interrupted_sweep_stops_its_runs_and_leaves_the_cluster_running(
    repository, start, cluster
):
    address, workers = cluster
    environment = ENV | {"DASK_SCHEDULER_ADDRESS": address}
    process = start([*SWEEP, "-S", "train.epochs=100"], cwd=repository, env=environment)
    wait_until(lambda: any(map(training_runs_of, workers)))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 130
    wait_until(lambda: not any(map(training_runs_of, workers)), 10)


@pytest.mark.full
def test_a_worker_without_access_to_the_folder_clones_origin_and_pushes_its_data(
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
    addresses["identity"] = ["-c", "user.name=test", "-c", "user.email=test"]
    local = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(host="127.0.0.1", **local) as cluster, Client(cluster) as client:
        where = (reference, revision, addresses, {"OMP_NUM_THREADS": "1"})
        bundle, error = client.submit(clone.execute, "far", ["train.epochs=1"], *where).result()
    assert error is None
    with chdir(project):
        assert store(bundle, reference) is None
    (model,) = (o["md5"] for o in outs(results(project, "far")) if o["path"].endswith("model.pth"))
    assert (tmp_path / f"storage/files/md5/{model[:2]}/{model[2:]}").exists()
