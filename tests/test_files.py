"""Missing, damaged and unwritable files are reported in one line, and no data is lost."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from workspaces import run_stage

import surfaces
import xor_train
from common import files, results
from common.params import ParameterError
from common.stage import run


def test_a_missing_input_is_reported_with_the_command_that_creates_it(workspace, capsys):
    def main(extent, points, target, lr, tolerance, steps):
        files.read_arrays("data/xor.npz")

    with pytest.raises(SystemExit) as stopped:
        run(main, section="surfaces")
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("data/xor.npz: not found; run `dvc repro`")


def test_a_non_finite_result_is_reported_in_one_line_and_writes_no_metrics(workspace, capsys):
    def main(seed, lr, steps, snapshot_every, starts):
        return xor_train.main(seed, 1e30, steps, snapshot_every, starts)

    with pytest.raises(SystemExit) as stopped:
        run(main, section="xor")
    assert stopped.value.code == 2
    assert re.fullmatch(
        r"params\.yaml: xor: the metric [\w.]+ is (nan|inf); try smaller parameters\n",
        capsys.readouterr().err,
    )
    assert not Path("reports/metrics").exists()


@pytest.mark.parametrize(
    ("value", "name"), [(float("nan"), "loss"), ([1.0, {"min": float("inf")}], r"loss\.1\.min")]
)
def test_a_non_finite_metric_is_refused_with_its_name(value, name, workspace, written):
    with pytest.raises(ParameterError, match=rf"train: the metric {name} is (nan|inf)"):
        results.write_metrics("train", {"loss": value})
    assert written() == {}


def test_arrays_have_the_same_bytes_with_every_version_of_python(workspace):
    files.write_arrays("arrays.npz", numbers=np.arange(3), name="digits")
    assert results.md5_of("arrays.npz") == "317da7efddfba8196a28c392537d5f2f"
    assert files.read_arrays("arrays.npz")["numbers"].tolist() == [0, 1, 2]


def test_plot_data_keep_six_significant_digits_even_of_small_numbers(workspace):
    files.write_rows("rows.json", pd.DataFrame({"lr": [2 / 3e9, None], "epoch": [1, 2]}))
    rows = json.loads(Path("rows.json").read_text())["rows"]
    assert rows == [{"lr": 6.66667e-10, "epoch": 1}, {"lr": None, "epoch": 2}]


def test_a_flipped_byte_in_an_array_is_detected(workspace):
    files.write_arrays("arrays.npz", zeros=[0] * 100)
    content = bytearray(Path("arrays.npz").read_bytes())
    content[400] ^= 1
    Path("arrays.npz").write_bytes(content)
    with pytest.raises(files.DamagedFileError, match=r"arrays\.npz: damaged: .*CRC.*; delete it"):
        files.read_arrays("arrays.npz")
    Path("arrays.npz").write_bytes(content[:300])
    with pytest.raises(files.DamagedFileError, match=r"arrays\.npz: damaged"):
        files.read_arrays("arrays.npz")


def test_a_flipped_bit_in_an_archives_directory_is_detected_or_harmless(workspace):
    path = Path("arrays.npz")
    files.write_arrays(path, numbers=[1, 2, 3])
    content, refused = path.read_bytes(), 0
    for bit in range(8 * content.index(b"PK\x01\x02"), 8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert files.read_arrays(path)["numbers"].tolist() == [1, 2, 3]
        except files.DamagedFileError:
            refused += 1
    assert refused > 100


def test_damaged_metrics_are_reported_by_file_name(workspace):
    results.write_metrics("train", {"loss": 2 / 3, "errors": 12_345_678_901})
    assert results.read_metrics("train") == {"loss": 0.6666666667, "errors": 12_345_678_901}
    Path("reports/metrics/train.json").write_text('{"loss": 1')
    with pytest.raises(files.DamagedFileError, match=r"reports/metrics/train\.json: damaged"):
        results.read_metrics("train")


def test_a_failed_write_leaves_the_old_file_and_no_partial_one(written, monkeypatch):
    files.write_bytes("kept", b"before")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="could not be written: No space left on device: 'kept'"):
        files.write_bytes("kept", b"after")
    assert Path("kept").read_bytes() == b"before"
    assert {*written()} == {"kept"}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_reported_in_one_line(workspace, capsys):
    Path("reports").mkdir(mode=0o500)
    with pytest.raises(SystemExit) as stopped:
        run(surfaces.main, section="surfaces")
    assert stopped.value.code == 1
    assert re.fullmatch(r"reports/.*: could not be written: .*\n", capsys.readouterr().err)


def test_a_file_in_place_of_a_folder_is_reported_in_one_line(workspace, capsys):
    Path("reports").touch()
    with pytest.raises(SystemExit) as stopped:
        run(surfaces.main, section="surfaces")
    assert stopped.value.code == 1
    assert re.fullmatch(r"reports/.*: could not be written: .*\n", capsys.readouterr().err)


@pytest.mark.parametrize("name", ["data", "data/network", "reports"])
def test_a_linked_output_folder_is_refused_before_any_computation(name, workspace, capsys):
    (workspace / "another disk").mkdir()
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).symlink_to(workspace / "another disk")
    assert run_stage("surfaces") == 1
    line = capsys.readouterr().err
    assert line.startswith(f"{name}: DVC does not track files behind a symbolic link")
    assert "dvc cache dir" in line
    assert line.count("\n") == 1
    assert not [*(workspace / "another disk").iterdir()]
