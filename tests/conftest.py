"""Options and fixtures. Functions that need torch or a stage import it themselves, because the main
process of pytest-xdist runs no tests.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import chdir, suppress
from pathlib import Path

import hypothesis
import pytest
import yaml
from browsing import browser, open_page, page  # noqa: F401 fixtures
from filelock import FileLock
from repositories import run_pipeline
from workspaces import INPUTS, ROOT, compute, prepare, small_params, write_images

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


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """The current folder: it contains params.yaml and no results."""
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
                shutil.rmtree(folder, ignore_errors=True)  # of a process whose build failed
                folder.mkdir()
                record.write_text(json.dumps(build(folder)))
        return folder, json.loads(record.read_text())

    return build_once


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


@pytest.fixture(scope="session")
def first_run(build_once):
    """The first `dvc repro` in a repository: folder, output and seconds. Tests that change the
    folder copy it first.
    """
    folder, record = build_once("a project", run_pipeline)
    return {"folder": folder} | record
