"""Shared fixtures and functions: options, a workspace with small parameters, a small data set, a
repository with the results of `dvc repro`.

Functions that need torch or a stage import it themselves, because the main process of pytest-xdist
runs no tests.
"""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from contextlib import chdir, suppress
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import yaml
from browsing import browser, open_page  # noqa: F401 fixtures
from filelock import FileLock

from common.files import write_arrays
from common.mnist import TEST, TRAIN
from common.params import validate
from common.results import describe_run, metrics_path, write_metrics

ROOT = Path(__file__).resolve().parent.parent


def isolate():
    """Remove the settings of an outer make, a Git hook, DVC and the user from the environment."""
    make = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}  # `make test` exports them to child processes
    for name in make & {*os.environ}:
        del os.environ[name]
    for name in {*os.environ} - {"GIT_EXEC_PATH", "MPLCONFIGDIR"}:
        if name.startswith(("DVC_", "GIT_", "MATPLOTLIB", "MPL", "PYTHON")):
            del os.environ[name]
    os.environ |= dict.fromkeys(("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"), os.devnull)
    os.environ |= dict.fromkeys(("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"), "/nonexistent")
    os.umask(0o022)
    # Shells start background jobs with SIGINT ignored, and child processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


isolate()
# Finds `python` and `dvc` of this virtual environment.
ENV = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
SMALL = {
    "data": {"dataset": "digits"},
    "surfaces": {"points": 12, "steps": 3000},
    "xor": {"steps": 60, "snapshot_every": 20, "starts": 30},
    "train": {"epochs": 2, "batch_size": 16, "lr": 0.02, "precision": "float32"},
    "evaluate": {"batch_size": 20},
    "plots": {"dpi": 30, "errors": 4},
    "report": {"points": 8},
}
LEFT_OUT = pytest.StashKey[dict]()


def pytest_addoption(parser):
    parser.addoption(
        "--full", action="store_true", help="run tests/faults in full and the tests marked full"
    )


def pytest_configure(config):
    """Set the number of hypothesis examples and register the markers."""
    examples = 1000 if config.getoption("--full") else 60
    hypothesis.settings.register_profile("faults", max_examples=examples)
    hypothesis.settings.load_profile("faults")
    config.addinivalue_line("markers", "slow: takes seconds; `make test-slow` runs it")
    config.addinivalue_line("markers", "full: takes minutes; `make test-faults` runs it")
    config.addinivalue_line("markers", "gpu: needs a CUDA device; skipped without one")
    config.stash[LEFT_OUT] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Select tests/faults and full tests with --full, all but full tests without it.

    All tests in tests/faults are slow.
    """
    for item in items:
        if item.path.parent.name == "faults":
            item.add_marker("slow")
    full = [item for item in items if item.get_closest_marker("full")]
    kept = [item for item in items if item not in full]
    if config.getoption("--full"):
        kept = full + [item for item in kept if item.path.parent.name == "faults"]
    left_out = [item for item in items if item not in kept]
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)
    if gpu_tests := [item for item in items if item.get_closest_marker("gpu")]:
        import torch

        if not torch.cuda.is_available():
            for item in gpu_tests:
                item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


def pytest_deselected(items):
    """Count the deselected tests by marker."""
    for item in items:
        counts = item.config.stash[LEFT_OUT]
        name = next((n for n in ("full", "slow") if item.get_closest_marker(n)), "fast")
        counts[name] = counts.get(name, 0) + 1


def pytest_sessionfinish(session):
    """Pass a worker's counts to the main process."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Read the counts of a worker. All workers collect the same tests."""
    node.config.stash[LEFT_OUT] |= getattr(node, "workeroutput", {}).get("left_out", {})


def pytest_terminal_summary(terminalreporter, config):
    command = {"fast": "test", "slow": "test-slow", "full": "test-faults"}
    counts = config.stash[LEFT_OUT].items()
    if counts:
        text = ", ".join(f"{n} {name} tests (make {command[name]})" for name, n in counts)
        terminalreporter.write_line(f"left out: {text}")


def small_params():
    """params.yaml with the values of SMALL, so a run takes seconds."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section, changes in SMALL.items():
        params[section] |= changes
    return params


def train(**changes):
    """Run cnn_train in the current folder, with small parameters."""
    import cnn_train

    metrics = validate(cnn_train.main, "train", small_params()["train"] | changes)
    write_metrics("train", metrics)
    return metrics


INPUTS = ("dvc.yaml", "params.schema.json")


def prepare(folder):
    """Write params.yaml with small parameters, and copy the other files that a stage reads."""
    (folder / "params.yaml").write_text(yaml.safe_dump(small_params()))
    for name in INPUTS:
        shutil.copy(ROOT / name, folder)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """The current folder: it contains params.yaml and no results."""
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_images():
    """Write 200 training and 100 test images of ten easy classes in download_mnist's format."""
    rng = np.random.default_rng(0)
    classes = np.array([str(digit) for digit in range(10)])
    for path, count in ((TRAIN, 200), (TEST, 100)):
        labels = np.arange(count, dtype=np.uint8) % 10
        pixels = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for pixel, label in zip(pixels, labels, strict=True):
            pixel[2 * label : 2 * label + 6, 4:24] += 180
        write_arrays(path, images=pixels, labels=labels, classes=classes, dataset="digits")


@pytest.fixture
def images(workspace):
    """The workspace, with images."""
    write_images()
    return workspace


@pytest.fixture(scope="session")
def build_once(tmp_path_factory, worker_id):
    """Return a function of `name` and `build`. The first test process that calls it runs
    `build(folder)`; every process gets the folder and the returned value.
    """
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent

    def build_once(name, build):
        folder, record = shared / name, shared / f"{name}.json"
        with FileLock(shared / f"{name}.lock"):
            if not record.exists():
                folder.mkdir()
                record.write_text(json.dumps(build(folder)))
        return folder, json.loads(record.read_text())

    return build_once


def compute(folder):
    """Run every stage but report in a folder, on the small data set."""
    prepare(folder)
    with chdir(folder):
        write_images()
        images = describe_run("download_mnist", SMALL["data"], {}, metrics_path("data"))
        write_metrics("data", {"train_images": 200, "test_images": 100}, images)
        for stage in ("surfaces", "xor_train", "cnn_train", "evaluate", "plots"):
            assert run_stage(stage) == 0


@pytest.fixture(scope="session")
def computed(build_once):
    """A folder with the results of every stage but report. Tests must not change it."""
    folder, _ = build_once("computed", compute)
    return folder


@pytest.fixture(scope="session")
def page_path(computed, tmp_path_factory):
    """The path of the page of these results, reports/index.html in a separate folder."""
    import report

    folder = tmp_path_factory.mktemp("a page")
    shutil.copytree(computed, folder, dirs_exist_ok=True)
    with chdir(folder):
        report.main(**small_params()["report"])
    return folder / "reports/index.html"


@pytest.fixture
def results(computed, workspace):
    """The workspace, with the results of every stage but report."""
    shutil.copytree(computed, workspace, dirs_exist_ok=True)
    return workspace


@pytest.fixture
def written(workspace):
    """Return a function that reads all files written into the workspace, path to bytes."""

    def read():
        files = (path for path in workspace.rglob("*") if path.is_file())
        return {
            path.relative_to(workspace).as_posix(): path.read_bytes()
            for path in files
            if path.name not in ("params.yaml", *INPUTS)
        }

    return read


def outputs(written):
    """The files written by stages, without checkpoints: path to bytes."""
    return {name: content for name, content in written().items() if not name.startswith(".dvc")}


def remove(results):
    """Delete the outputs of a training run and keep the images."""
    for name in results:
        if not name.startswith("data/mnist"):
            Path(name).unlink()


@pytest.fixture
def compiler():
    """Skip the test without a C++ compiler, which torch.compile needs."""
    if not shutil.which(os.environ.get("CXX", "g++")):
        pytest.skip("no compiler on this machine")


@pytest.fixture
def start():
    """Return a function that starts a training run in the current folder, in a new session."""
    started = []

    def start(environment=(), **changes):
        parameters = small_params()
        parameters["train"] |= {"epochs": 6} | changes
        Path("params.yaml").write_text(yaml.safe_dump(parameters))
        started.append(
            subprocess.Popen(
                [sys.executable, ROOT / "stages/cnn_train.py"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                # Background processes of a shell ignore Ctrl-C, and child processes inherit this.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
                env={n: value for n, value in os.environ.items() if n != "DVC_ROOT"}
                | dict(environment),
            )
        )
        return started[-1]

    yield start
    for process in started:  # a failed test may leave some running
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def run_stage(stage):
    """Run a stage like `python stages/STAGE.py`, but in this process; return its exit status."""
    try:
        runpy.run_path(str(ROOT / f"stages/{stage}.py"), run_name="__main__")
    except SystemExit as ended:
        return ended.code
    return 0


def copy_project(folder):
    """Copy the pipeline of the working tree, without its results, into a folder."""
    prepare(folder)
    for name in (".dvcignore", ".gitattributes", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(
        ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc")


def make_repository(folder):
    """Commit a copy of the pipeline, with small parameters, to a new Git repository."""
    folder.mkdir(parents=True, exist_ok=True)
    copy_project(folder)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    for name in ("name", "email"):
        subprocess.run(["git", "config", f"user.{name}", "test"], cwd=folder, check=True)
    subprocess.run(["git", "config", "commit.gpgsign", "false"], cwd=folder, check=True)
    commit(folder)
    return folder


def run_pipeline(folder):
    """Run `dvc repro` on the digits in a new repository."""
    make_repository(folder)
    started = time.monotonic()
    output = dvc(folder, "repro")
    return {"output": output, "seconds": time.monotonic() - started}


@pytest.fixture(scope="session")
def first_run(build_once):
    """The first `dvc repro` in a repository: folder, output and seconds. Tests that change the
    folder copy it first.
    """
    folder, record = build_once("a project", run_pipeline)
    return {"folder": folder} | record


def copy_of(first_run, folder):
    """Copy the repository of `first_run` and commit its results; no stage is outdated."""
    shutil.copytree(first_run["folder"], folder, symlinks=True)
    dvc(folder, "status", "--quiet")  # DVC caches hashes by inode, and the copy has new ones
    commit(folder)
    return folder


def tracked_bytes(folder):
    """All files in data/ and reports/, path relative to the folder to bytes."""
    files = (path for name in ("data", "reports") for path in (folder / name).rglob("[!.]*"))
    return {path.relative_to(folder): path.read_bytes() for path in files if path.is_file()}


def commit(folder):
    """Commit all files that Git does not ignore."""
    for command in (["add", "."], ["commit", "-qm", "all", "--allow-empty"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


def git(folder, *arguments):
    """Run git in a folder; return its output."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, env=ENV, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def start_dvc(folder, *arguments):
    """Start dvc in a folder, with stderr redirected to stdout."""
    return subprocess.Popen(
        ["dvc", *arguments],
        cwd=folder,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def dvc(folder, *arguments, status=0):
    """Run dvc in a folder; return its output."""
    process = start_dvc(folder, *arguments)
    output, _ = process.communicate()
    assert process.returncode == status, output
    return output


def doctor(folder, *arguments):
    """Run `make doctor` in a folder; return the finished process."""
    command = [sys.executable, ROOT / "tools/doctor.py", *arguments]
    done = subprocess.run(command, cwd=folder, env=ENV, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done


def experiment(folder, name):
    """Parameters and metrics of an experiment, from `dvc exp show`."""
    shown = json.loads(dvc(folder, "exp", "show", "--json"))
    (row,) = (
        row["revs"][0]["data"]
        for baseline in shown
        for row in baseline["experiments"] or []
        if row["name"] == name
    )
    return row
