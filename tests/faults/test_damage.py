"""A flipped byte or a cut, in whatever the pipeline keeps: found, named, and made again."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import HERE, ROOT, dvc, make_repository
from test_pipeline import STAGES, cached, path_of, ran, tracked_bytes

KEPT = [path_of(output) for stage in STAGES.values() for output in stage.get("outs", [])]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = make_repository(tmp_path_factory.mktemp("damage") / "original")
    dvc(folder, "repro", "--quiet")
    return folder


@pytest.fixture
def repository(original, tmp_path):
    """A copy of the project on the digits, in which everything is up to date."""
    return shutil.copytree(original, tmp_path / "project", symlinks=True)


def flip(path, rng):
    """Change one bit in the middle half: in data, not in the names and dates around them."""
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content) // 4, 3 * len(content) // 4 + 1)] ^= 1 << rng.integers(8)
    replace(path, bytes(content))


def cut(path, rng):
    content = path.read_bytes()
    replace(path, content[: rng.integers(len(content))])


def replace(path, content):
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(content)
    path.chmod(mode)  # DVC's objects are read-only, which it takes for a sign of being sound


def doctor(folder, *arguments):
    command = [sys.executable, ROOT / "tools/doctor.py", *arguments]
    return subprocess.run(command, cwd=folder, env=HERE, capture_output=True, text=True)


@pytest.mark.parametrize("harm", [flip, cut])
def test_a_damaged_output_is_found_and_brought_back(repository, harm):
    before, rng = tracked_bytes(repository), np.random.default_rng(0)
    damaged = [file for file in before if not file.is_relative_to(repository / "reports/plots")]
    for file in damaged:
        harm(file, rng)
    status = dvc(repository, "status")
    for output in KEPT:
        assert f"modified:           {output}" in status
    again = dvc(repository, "repro")
    assert "cnn_train" in cached(again) + ran(again)
    assert {k: v for k, v in tracked_bytes(repository).items()} == before


@pytest.mark.parametrize("harm", [flip, cut])
def test_every_damaged_object_of_the_cache_is_named_and_made_again(repository, harm):
    before, rng = tracked_bytes(repository), np.random.default_rng(1)
    objects = [path for path in (repository / ".dvc/cache/files/md5").glob("*/*")]
    assert len(objects) > 10
    for path in objects:
        harm(path, rng)
    found = doctor(repository)
    assert found.returncode == 1
    for path in objects:
        assert f"{path.relative_to(repository)}: damaged" in found.stdout
    mended = doctor(repository, "--fix")
    assert mended.returncode == 0, mended.stdout
    assert mended.stdout.count(": mended") == len(objects)

    shutil.rmtree(repository / "data")
    dvc(repository, "repro", "--quiet")
    assert tracked_bytes(repository) == before
    assert doctor(repository).stdout == "nothing is wrong here\n"


def test_from_a_damaged_checkpoint_in_the_cache_nothing_is_computed(repository):
    before = tracked_bytes(repository)
    model = repository / "data/cnn/model.pth"
    (stored,) = (
        path
        for path in (repository / ".dvc/cache/files/md5").glob("*/*")
        if path.read_bytes() == model.read_bytes()
    )
    flip(stored, np.random.default_rng(2))
    model.unlink()
    dvc(repository, "checkout", "--quiet")  # DVC trusts its cache
    (repository / "params.yaml").write_text(
        (repository / "params.yaml")
        .read_text()
        .replace("calibration_bins: 15", "calibration_bins: 9")
    )
    failed = dvc(repository, "repro", "evaluate", status=255)
    assert "data/cnn/model.pth: damaged: its SHA-256 begins with" in failed
    assert (repository / "reports/metrics/evaluate.json").read_bytes() == before[
        repository / "reports/metrics/evaluate.json"
    ] or not (repository / "reports/metrics/evaluate.json").exists()


@pytest.mark.parametrize("stage", ["cnn_train", "evaluate", "plots", "report"])
def test_a_stage_names_the_damaged_file_that_it_reads(repository, stage):
    rng = np.random.default_rng(3)
    for name in STAGES[stage]["deps"]:
        path = repository / name
        if path.suffix not in (".npz", ".pth"):
            continue  # of a text, DVC's own checksum tells
        content = path.read_bytes()
        for harm in (flip, cut):
            harm(path, rng)
            if path.read_bytes() != content:
                done = subprocess.run(
                    [sys.executable, f"stages/{stage}.py"],
                    cwd=repository,
                    env=HERE,
                    capture_output=True,
                    text=True,
                )
                assert done.returncode == 1, (name, harm, done)
                assert done.stderr.splitlines()[-1].startswith(f"{name}: damaged: "), done.stderr
            replace(path, content)


def test_a_damaged_list_of_past_runs_is_only_a_run_that_is_done_again(repository):
    before, rng = tracked_bytes(repository), np.random.default_rng(4)
    for path in (repository / ".dvc/cache/runs").rglob("*"):
        if path.is_file():
            cut(path, rng)
    shutil.rmtree(repository / "data")
    Path(repository / "dvc.lock").unlink()
    dvc(repository, "repro", "--quiet")
    assert tracked_bytes(repository) == before
