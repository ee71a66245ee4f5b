"""What tests share: a workspace with small parameters, and a small data set."""

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
import torch
import yaml
from browsing import browser, open_page  # noqa: F401 fixtures
from filelock import FileLock

import cnn_train
import report
from common.files import write_arrays
from common.mnist import TEST, TRAIN
from common.params import validate
from common.results import describe_run, metrics_path, write_metrics

ROOT = Path(__file__).resolve().parent.parent


def isolate():
    """Take from the environment what a hook, a notebook or a user has set for these programs."""
    make = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}  # set by `make test`, and inherited by inner makes
    for name in make & {*os.environ}:
        del os.environ[name]
    for name in {*os.environ} - {"GIT_EXEC_PATH", "MPLCONFIGDIR"}:
        if name.startswith(("DVC_", "GIT_", "MATPLOTLIB", "MPL", "PYTHON")):
            del os.environ[name]
    os.environ |= dict.fromkeys(("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"), os.devnull)
    os.environ |= dict.fromkeys(("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"), "/nonexistent")
    os.umask(0o022)


isolate()
# The stages run with this very Python.
HERE = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
SMALL = {
    "data": {"dataset": "digits"},
    "surfaces": {"points": 12, "steps": 3000},
    "xor": {"steps": 60, "snapshot_every": 20, "starts": 30},
    "train": {"epochs": 2, "batch_size": 16, "lr": 0.02, "precision": "float32"},
    "evaluate": {"batch_size": 20},
    "plots": {"dpi": 30, "mistakes": 4},
    "report": {"points": 8},
}


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="tests/faults at their full length")


def pytest_configure(config):
    """How many cases hypothesis tries; a test that sets deadlines keeps them."""
    examples = 1000 if config.getoption("--full") else 60
    hypothesis.settings.register_profile("faults", max_examples=examples)
    hypothesis.settings.load_profile("faults")
    config.addinivalue_line("markers", "slow: takes seconds; belongs to `make test-slow`")
    config.addinivalue_line("markers", "full: takes minutes; runs with --full alone")
    config.addinivalue_line("markers", "gpu: needs a CUDA device; skipped without one")


def pytest_collection_modifyitems(config, items):
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))
    if not config.getoption("--full"):
        left_out = [item for item in items if item.get_closest_marker("full")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def full(request):
    """Whether tests/faults run at their full length, as `make test-faults` has it."""
    return request.config.getoption("--full")


def small_params():
    """params.yaml, with numbers that take seconds instead of minutes."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section, changes in SMALL.items():
        params[section] |= changes
    return params


def train(**changes):
    """Run cnn_train in the current folder, with small parameters."""
    metrics = validate(cnn_train.main, "train", small_params()["train"] | changes)
    write_metrics("train", metrics)
    return metrics


def prepare(folder):
    """Write params.yaml with small parameters, and dvc.yaml."""
    (folder / "params.yaml").write_text(yaml.safe_dump(small_params()))
    shutil.copy(ROOT / "dvc.yaml", folder)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """An empty folder to run stages in, with params.yaml, as the current one."""
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_images():
    """Two hundred images of ten easy classes, in the files that download_mnist writes."""
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
def computed(tmp_path_factory):
    """A folder in which every stage but report has run, once for all tests."""
    folder = tmp_path_factory.mktemp("computed")
    prepare(folder)
    with chdir(folder):
        write_images()
        images = describe_run("download_mnist", SMALL["data"], {}, metrics_path("data"))
        write_metrics("data", {"train_images": 200, "test_images": 100}, images)
        for stage in ("surfaces", "xor_train", "cnn_train", "evaluate", "plots"):
            assert run_stage(stage) == 0
    return folder


@pytest.fixture(scope="session")
def made(computed, tmp_path_factory):
    """The file that report makes of two hundred images."""
    folder = tmp_path_factory.mktemp("a page")
    shutil.copytree(computed, folder, dirs_exist_ok=True)
    with chdir(folder):
        (folder / "params.yaml").write_text(yaml.safe_dump(small_params()))
        report.main(**small_params()["report"])
    return folder / "reports/index.html"


@pytest.fixture
def results(computed, workspace):
    """The workspace, with the results of every stage but report."""
    shutil.copytree(computed, workspace, dirs_exist_ok=True)
    return workspace


@pytest.fixture
def written(workspace):
    """A function: every file of the workspace but params.yaml, path to bytes."""

    def read():
        files = (path for path in workspace.rglob("*") if path.is_file())
        return {
            path.relative_to(workspace).as_posix(): path.read_bytes()
            for path in files
            if path.name not in ("params.yaml", "dvc.yaml")
        }

    return read


def outputs(written):
    """What a training wrote, without the state that it may have left."""
    return {name: content for name, content in written().items() if not name.startswith(".dvc")}


def remove(results):
    """Remove what a training wrote, but not the images that it read."""
    for name in results:
        if not name.startswith("data/mnist"):
            Path(name).unlink()


@pytest.fixture
def compiler():
    """Skips a test without the C++ compiler that torch.compile needs."""
    if not shutil.which(os.environ.get("CXX", "g++")):
        pytest.skip("no compiler on this machine")


@pytest.fixture
def start():
    """A function that starts a real training in the current folder, in a session of its own."""
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
                # Tests that run in the background of a shell inherit that Ctrl-C is ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
                env={n: value for n, value in os.environ.items() if n != "DVC_ROOT"}
                | dict(environment),
            )
        )
        return started[-1]

    yield start
    for process in started:  # and what a failed test left
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def run_stage(stage):
    """Run a stage as `python stages/STAGE.py` does, but in this process: its exit status."""
    try:
        runpy.run_path(str(ROOT / f"stages/{stage}.py"), run_name="__main__")
    except SystemExit as ended:
        return ended.code
    return 0


def copy_project(folder):
    """The project as it stands in the working tree, without what it made, in a new folder."""
    for name in (".dvcignore", ".gitattributes", ".gitignore", "dvc.yaml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(
        ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc")
    (folder / "params.yaml").write_text(yaml.safe_dump(small_params()))


def make_repository(folder):
    """The project as it stands, in a Git repository with a first commit, on the digits."""
    folder.mkdir(parents=True, exist_ok=True)
    copy_project(folder)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    for name in ("name", "email"):
        subprocess.run(["git", "config", f"user.{name}", "test"], cwd=folder, check=True)
    subprocess.run(["git", "config", "commit.gpgsign", "false"], cwd=folder, check=True)
    commit(folder)
    return folder


@pytest.fixture(scope="session")
def first_run(tmp_path_factory, worker_id):
    """The first `dvc repro` of a repository on the digits, which all test processes share: its
    folder, seconds and what it printed. Tests that change it take a copy.
    """
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    folder, record = shared / "a project", shared / "first run.json"
    with FileLock(shared / "first run.lock"):
        if not record.exists():
            make_repository(folder)
            started = time.monotonic()
            said = dvc(folder, "repro")
            record.write_text(json.dumps({"said": said, "seconds": time.monotonic() - started}))
    return {"folder": folder} | json.loads(record.read_text())


def copy_of(first_run, folder):
    """A copy of that repository, in which everything is up to date, with its results committed."""
    shutil.copytree(first_run["folder"], folder, symlinks=True)
    dvc(folder, "status", "--quiet")  # DVC knows its files by their inodes, which are new
    commit(folder)
    return folder


def tracked_bytes(folder):
    """What the stages have written, path in the folder to bytes."""
    files = (path for name in ("data", "reports") for path in (folder / name).rglob("[!.]*"))
    return {path.relative_to(folder): path.read_bytes() for path in files if path.is_file()}


def commit(folder):
    """Commit all that Git does not ignore."""
    for command in (["add", "."], ["commit", "-qm", "all", "--allow-empty"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


def git(folder, *arguments):
    """What `git ARGUMENTS` prints in a folder."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, env=HERE, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def start_dvc(folder, *arguments):
    """A process of `dvc ARGUMENTS` in a folder, whose output and errors are one text."""
    return subprocess.Popen(
        ["dvc", *arguments],
        cwd=folder,
        env=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def dvc(folder, *arguments, status=0):
    """What `dvc ARGUMENTS` prints in a folder."""
    process = start_dvc(folder, *arguments)
    said, _ = process.communicate()
    assert process.returncode == status, said
    return said


def doctor(folder, *arguments):
    """`make doctor` in a folder, as a finished process."""
    command = [sys.executable, ROOT / "tools/doctor.py", *arguments]
    done = subprocess.run(command, cwd=folder, env=HERE, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done


def experiment(folder, name):
    """Parameters and metrics of an experiment, as `dvc exp show` has them."""
    shown = json.loads(dvc(folder, "exp", "show", "--json"))
    (row,) = (
        row["revs"][0]["data"]
        for baseline in shown
        for row in baseline["experiments"] or []
        if row["name"] == name
    )
    return row
