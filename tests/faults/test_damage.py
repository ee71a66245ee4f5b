"""Flipped bits and truncated files in outputs and in DVC's cache are reported and restored."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from repositories import copy_of, doctor, dvc, tracked_bytes
from test_pipeline import STAGES, cached, ran
from workspaces import run_stage

from common.stage import list_paths

CACHED_OUTPUTS = [str(path) for stage in STAGES.values() for path in list_paths(stage, "outs")]


@pytest.fixture
def repository(first_run, tmp_path):
    return copy_of(first_run, tmp_path / "project")


def flip(path, rng):
    """Flip one bit in the middle half, away from file names and dates of an archive. Skip sizes in
    run cache records: the checksum does not cover them.
    """
    content, line = bytearray(path.read_bytes()), b"size"
    while b"size" in line:
        offset = rng.integers(len(content) // 4, 3 * len(content) // 4 + 1)
        line = content[:offset].rpartition(b"\n")[2]
    content[offset] ^= 1 << rng.integers(8)
    replace(path, bytes(content))


def cut(path, rng):
    """Keep at most nine tenths; a text without only its last line feed would still be complete."""
    content = path.read_bytes()
    replace(path, content[: rng.integers(1 + 9 * len(content) // 10)])


def replace(path, content):
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(content)
    path.chmod(mode)  # DVC trusts read-only objects in its cache


@pytest.mark.parametrize("damage", [flip, cut])
def test_damaged_outputs_are_reported_and_restored(repository, damage):
    before, rng = tracked_bytes(repository), np.random.default_rng(0)
    for file in before:
        if not file.is_relative_to("reports/plots"):
            damage(repository / file, rng)
    status = dvc(repository, "status")
    for output in CACHED_OUTPUTS:
        assert f"modified:           {output}" in status
    again = dvc(repository, "repro")
    assert "cnn_train" in cached(again) + ran(again)
    assert tracked_bytes(repository) == before


def objects_of(folder):
    """The objects in DVC's cache."""
    return [*(folder / ".dvc/cache/files/md5").glob("*/*")]


def records_of(folder):
    """The records of the run cache."""
    return [path for path in (folder / ".dvc/cache/runs").rglob("*") if path.is_file()]


@pytest.mark.full
@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize(
    "kinds",
    [
        (objects_of, records_of),
        (objects_of,),
        (records_of,),
    ],
)
def test_damage_in_the_cache_is_reported_and_recomputed(repository, kinds, damage):
    """Without the doctor, `dvc repro` fails at a truncated record that is still valid YAML
    (`failed to reproduce 'xor_train': 'outs'`), and at a folder without records.
    """
    before, rng = tracked_bytes(repository), np.random.default_rng(1)
    assert len(objects_of(repository)) > 10
    assert len(records_of(repository)) == len(STAGES) - 1  # the page is not in the run cache
    paths = [path for kind in kinds for path in kind(repository)]
    for path in paths:
        damage(path, rng)
    report = doctor(repository)
    assert report.returncode == 1
    for path in paths:
        reported = path.parent if "runs" in path.parts else path
        assert f"{reported.relative_to(repository)}: damaged" in report.stdout
    fixed = doctor(repository, "--fix")
    assert fixed.returncode == 0, fixed.stdout
    assert not any(path.exists() for path in paths)
    assert len(re.findall(r": damaged.*: fixed$", fixed.stdout, re.M)) == len(paths)

    shutil.rmtree(repository / "data")
    expected = [*STAGES]
    if records_of in kinds:
        (repository / "dvc.lock").unlink()
    else:
        expected.remove("report")  # Git tracks the page
    assert ran(dvc(repository, "repro")) == expected
    assert tracked_bytes(repository) == before
    assert doctor(repository).stdout == "no problems found\n"


def test_evaluate_refuses_a_damaged_network_from_the_cache(repository):
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
def test_a_stage_reports_a_damaged_input(repository, stage, monkeypatch, capsys):
    rng = np.random.default_rng(3)
    monkeypatch.chdir(repository)
    for name in STAGES[stage]["deps"]:
        path = repository / name
        if path.suffix not in (".npz", ".pth"):
            continue  # text files are covered by the checksums in dvc.lock
        content = path.read_bytes()
        for damage in (flip, cut):
            damage(path, rng)
            if path.read_bytes() != content:
                assert run_stage(stage) == 1, (name, damage)
                line = capsys.readouterr().err.splitlines()[-1]
                # The second message if the stage does not read the provenance of this file.
                assert f"{name}: damaged: " in line or f"from a different {name}; " in line, line
            replace(path, content)
