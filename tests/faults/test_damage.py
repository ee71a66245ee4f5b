"""A flipped byte or a cut, in whatever the pipeline keeps: found, named, and made again."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import copy_of, doctor, dvc, run_stage, tracked_bytes
from test_pipeline import STAGES, cached, path_of, ran

KEPT = [path_of(output) for stage in STAGES.values() for output in stage.get("outs", [])]


@pytest.fixture
def repository(first_run, tmp_path):
    return copy_of(first_run, tmp_path / "project")


def flip(path, rng):
    """Change one bit in the middle half: in data, not in the names and dates around them, and not
    in the sizes of a record, which DVC measures anew.
    """
    content, line = bytearray(path.read_bytes()), b"size"
    while b"size" in line:
        place = rng.integers(len(content) // 4, 3 * len(content) // 4 + 1)
        line = content[:place].rpartition(b"\n")[2]
    content[place] ^= 1 << rng.integers(8)
    replace(path, bytes(content))


def cut(path, rng):
    """Leave nine tenths at most: without its last line feed a text is still whole."""
    content = path.read_bytes()
    replace(path, content[: rng.integers(1 + 9 * len(content) // 10)])


def replace(path, content):
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(content)
    path.chmod(mode)  # DVC's objects are read-only, which it takes for a sign of being sound


@pytest.mark.parametrize("harm", [flip, cut])
def test_a_damaged_output_is_found_and_brought_back(repository, harm):
    before, rng = tracked_bytes(repository), np.random.default_rng(0)
    for file in before:
        if not file.is_relative_to("reports/plots"):
            harm(repository / file, rng)
    status = dvc(repository, "status")
    for output in KEPT:
        assert f"modified:           {output}" in status
    again = dvc(repository, "repro")
    assert "cnn_train" in cached(again) + ran(again)
    assert tracked_bytes(repository) == before


def objects_of(folder):
    """What stages wrote, as DVC's cache has it."""
    return [*(folder / ".dvc/cache/files/md5").glob("*/*")]


def records_of(folder):
    """What DVC's cache says of past runs."""
    return [path for path in (folder / ".dvc/cache/runs").rglob("*") if path.is_file()]


@pytest.mark.parametrize("harm", [cut, pytest.param(flip, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    "kinds",
    [
        (objects_of, records_of),
        *(pytest.param((kind,), marks=pytest.mark.full) for kind in (objects_of, records_of)),
    ],
)
def test_whatever_is_damaged_in_the_cache_is_named_and_made_again(repository, kinds, harm):
    """DVC itself stops at a record that is cut where its YAML still parses, and at a folder of
    records that is empty: `failed to reproduce 'xor_train': 'outs'`."""
    before, rng = tracked_bytes(repository), np.random.default_rng(1)
    assert len(objects_of(repository)) > 10
    assert len(records_of(repository)) == len(STAGES) - 1  # DVC does not keep the page
    paths = [path for kind in kinds for path in kind(repository)]
    for path in paths:
        harm(path, rng)
    found = doctor(repository)
    assert found.returncode == 1
    for path in paths:
        assert f"{path.relative_to(repository)}: damaged" in found.stdout
    mended = doctor(repository, "--fix")
    assert mended.returncode == 0, mended.stdout
    assert not any(path.exists() for path in paths)
    assert len(re.findall(r": damaged.*: mended$", mended.stdout, re.M)) == len(paths)

    shutil.rmtree(repository / "data")
    expected = [*STAGES]
    if records_of in kinds:
        (repository / "dvc.lock").unlink()
    else:
        expected.remove("report")  # the page is in Git, and right
    assert ran(dvc(repository, "repro")) == expected
    assert tracked_bytes(repository) == before
    assert doctor(repository).stdout == "nothing is wrong here\n"


def test_from_a_damaged_checkpoint_in_the_cache_nothing_is_computed(repository):
    before = tracked_bytes(repository)
    model = repository / "data/network/model.pth"
    content = model.read_bytes()
    (stored,) = (path for path in objects_of(repository) if path.read_bytes() == content)
    flip(stored, np.random.default_rng(2))
    model.unlink()
    dvc(repository, "checkout", "--quiet")  # DVC trusts its cache
    (repository / "params.yaml").write_text(
        (repository / "params.yaml")
        .read_text()
        .replace("calibration_bins: 15", "calibration_bins: 9")
    )
    failed = dvc(repository, "repro", "evaluate", status=255)
    assert "data/network/model.pth: damaged: its MD5 is" in failed
    metrics = Path("reports/metrics/evaluate.json")
    assert tracked_bytes(repository).get(metrics) in (None, before[metrics])


@pytest.mark.parametrize(
    "stage",
    [
        "evaluate",
        *(pytest.param(s, marks=pytest.mark.full) for s in ("cnn_train", "plots", "report")),
    ],
)
def test_a_stage_names_the_damaged_file_that_it_reads(repository, stage, monkeypatch, capsys):
    rng = np.random.default_rng(3)
    monkeypatch.chdir(repository)
    for name in STAGES[stage]["deps"]:
        path = repository / name
        if path.suffix not in (".npz", ".pth"):
            continue  # of a text, DVC's own checksum tells
        content = path.read_bytes()
        for harm in (flip, cut):
            harm(path, rng)
            if path.read_bytes() != content:
                assert run_stage(stage) == 1, (name, harm)
                line = capsys.readouterr().err.splitlines()[-1]
                # Or, if the provenance of what wrote it is not read: other results used it.
                assert f"{name}: damaged: " in line or f"from another {name}; " in line, line
            replace(path, content)
