"""A full disk and read-only folders are reported in one line, and existing files are kept."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_pipeline import STAGES
from workspaces import ROOT, outputs, run_stage, small_params

import report
from common.stage import list_paths
from training.history import CURVES, HISTORY


def outputs_of(stage):
    return [str(path) for path in list_paths(STAGES[stage], "plots", "outs", "metrics")]


ALL = [(stage, k, output) for stage in STAGES for k, output in enumerate(outputs_of(stage))]
# The first output of each stage, or of two stages; all with --full.
FIRST = [pytest.param(s, output, marks=[pytest.mark.full] if k else []) for s, k, output in ALL]
OF_TWO = [
    pytest.param(
        s, output, marks=[pytest.mark.full] if k or s not in ("cnn_train", "report") else []
    )
    for s, k, output in ALL
]
# Root can write anywhere unless it drops these capabilities.
UNPRIVILEGED = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    if os.name == "posix" and os.geteuid() == 0
    else []
)


@pytest.fixture
def project(results):
    """A folder with the results of all stages on a small data set."""
    report.main(**small_params()["report"])
    return results


def start_stage(stage, wrapper=(), **options):
    """Run a stage in its own process."""
    command = [*wrapper, sys.executable, ROOT / f"stages/{stage}.py"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def file_in(path):
    """The path, or the first file in it if it is a folder."""
    path = Path(path)
    return next(file for file in sorted(path.iterdir())) if path.is_dir() else path


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("stage", "output"), FIRST)
def test_a_full_disk_is_reported_in_one_line_and_the_old_file_is_kept(
    project, written, capsys, monkeypatch, stage, output
):
    monkeypatch.setattr("common.stage.refuse_links", lambda: None)  # the test writes through one
    path = file_in(output)
    before = outputs(written)
    path.with_name(f".{path.name}.{os.getpid()}.part").symlink_to("/dev/full")
    capsys.readouterr()
    assert run_stage(stage) == 1
    line = f"{path}: could not be written: No space left on device\n"
    assert capsys.readouterr().err == line
    after = outputs(written)  # without the checkpoint
    # cnn_train deletes an earlier run's results before it replaces the history.
    deleted = {*outputs_of(stage)} - {CURVES, HISTORY} if stage == "cnn_train" else set()
    assert after.keys() | deleted == before.keys() | deleted
    # download_mnist replaces the synthetic images with scikit-learn's.
    others = (before.keys() - outputs_of(stage) | {path.as_posix()}) - deleted
    assert {name: after[name] for name in others} == {name: before[name] for name in others}


@pytest.mark.skipif(
    UNPRIVILEGED != [] and shutil.which("setpriv") is None, reason="root can write anywhere"
)
@pytest.mark.parametrize(("stage", "output"), OF_TWO)
def test_a_read_only_folder_is_reported_in_one_line_and_the_old_file_is_kept(
    project, written, stage, output
):
    path = file_in(output)
    before = written()[path.as_posix()]
    path.parent.chmod(0o500)
    try:
        done = start_stage(stage, UNPRIVILEGED)
    finally:
        path.parent.chmod(0o700)
    assert done.returncode == 1, done.stderr
    line = done.stderr.splitlines()[-1]
    # cnn_train may fail to delete an earlier result.
    assert re.fullmatch(r"\S+: (could not be written: )?Permission denied", line), line
    assert done.stderr.count("denied") == 1
    assert written()[path.as_posix()] == before
    assert not [name for name in written() if name.endswith(".part")]


@pytest.mark.full
def test_a_full_disk_during_training_keeps_all_results(project, written):
    import resource

    before = written()

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # less than a checkpoint

    done = start_stage("cnn_train", preexec_fn=limit)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith(".dvc/tmp/training/")
    assert line.endswith(": could not be written: File too large")
    assert {k: v for k, v in written().items() if not k.startswith(".dvc")} == before
