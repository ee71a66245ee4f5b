"""Errors in parameters and files are reported in one line and lose no data."""

import os
import re
from pathlib import Path

import pytest
import torch
import yaml
from conftest import run_stage, small_params
from dvc.utils.serialize import parse_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import cnn_train
import surfaces
import xor_train
from common import files, results, weights
from common.params import Loader, validate
from common.stage import exit_on_user_error, run


def error_line(capsys, status=2):
    """Run `surfaces` and return its error message, one line."""
    with pytest.raises(SystemExit) as stopped:
        run(surfaces.main, section="surfaces")
    assert stopped.value.code == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err.rstrip()


def change(changes):
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["surfaces"] |= changes
    Path("params.yaml").write_text(yaml.safe_dump(params))


INVALID = [
    ({"points": 1}, "surfaces.points: should be greater than or equal to 2, got 1"),
    ({"points": True}, "surfaces.points: should be a valid integer, got True"),
    ({"points": "3"}, "surfaces.points: should be a valid integer, got '3'"),
    ({"extent": False}, "surfaces.extent: should be a valid number, got False"),
    ({"points": 2.5}, "surfaces.points: should be a valid integer, got 2.5"),
    ({"extent": -1}, "surfaces.extent: should be greater than 0, got -1"),
    ({"extent": "wide"}, "surfaces.extent: should be a valid number, got 'wide'"),
    ({"extent": float("inf")}, "surfaces.extent: should be a finite number, got inf"),
    ({"target": float("nan")}, "surfaces.target: should be .*, got nan"),
    ({"target": None}, "surfaces.target: should be a valid number, got None"),
    ({1: 2}, "surfaces.1: unknown parameter, got 2"),
    (
        {"extend": 3},
        "surfaces.extend: unknown parameter, got 3; surfaces takes extent, points",
    ),
]


@pytest.mark.parametrize(("changes", "line"), INVALID)
def test_an_invalid_parameter_is_reported_with_its_value(changes, line, workspace, capsys, written):
    change(changes)
    message = error_line(capsys)
    assert message.startswith("params.yaml: ")
    assert re.search(line, message), message
    assert written() == {}


def test_a_missing_parameter_is_reported_by_name(workspace, capsys):
    params = yaml.safe_load(Path("params.yaml").read_text())
    del params["surfaces"]["target"]
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert error_line(capsys) == (
        "params.yaml: surfaces.target: missing; "
        "surfaces takes extent, points, target, lr, tolerance, steps; missing here: target"
    )


AUGMENT = [
    ({"shift": True}, "shift: should be a valid integer, got True"),
    ({"shift": 2.0}, "shift: should be a valid integer, got 2.0"),
    ({"shift": 15}, "shift: should be less than or equal to 14, got 15"),
    ({"rotation": "10"}, "rotation: should be a valid number, got '10'"),
    ({"until": float("nan")}, "until: should be .*, got nan"),
    ({"shfit": 2}, "shfit: unknown parameter, got 2; train.augment takes shift, rotation, scale"),
]


@pytest.mark.parametrize(("changes", "line"), AUGMENT)
def test_an_invalid_member_of_a_group_is_reported_with_its_group(changes, line, workspace, capsys):
    parameters = small_params()["train"]
    parameters["augment"] |= changes
    with pytest.raises(SystemExit) as stopped, exit_on_user_error("train"):
        validate(cnn_train.main, "train", parameters)
    assert stopped.value.code == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert re.match(rf"params\.yaml: train\.augment\.{line}", message), message


def test_an_incomplete_group_and_a_group_of_another_type_are_refused(workspace, capsys):
    parameters = small_params()["train"]
    augment = parameters["augment"]
    del (missing := dict(augment))["shift"]
    for group, line in (
        (missing, "train.augment.shift: missing; train.augment takes shift, rotation, scale"),
        ([*augment.values()], "train.augment: should be a dictionary"),
        (1, "train.augment: should be a dictionary"),
    ):
        with pytest.raises(SystemExit), exit_on_user_error("train"):
            validate(cnn_train.main, "train", parameters | {"augment": group})
        (message,) = capsys.readouterr().err.splitlines()
        assert message.startswith(f"params.yaml: {line}"), message


INVALID_FILES = {
    "": "surfaces: missing",
    "surfaces: 3": "surfaces: missing",
    "surfaces: [": "not valid YAML",
    "surfaces: !!python/object/apply:os.mkdir [exploited]": "not valid YAML",
    "surfaces: {points: 2, points: 3}": "found 'points' twice",
    "surfaces: {}\nsurfaces: {}": "found 'surfaces' twice",
    "surfaces: " + "[" * 5000: "nested too deeply",
    "surfaces: {points: " + "9" * 200_000 + "}": "more than 20,000 characters",
    "surfaces: 2001-13-45": "not valid YAML",
    "surfaces: !!int x": "not valid YAML",
    "surfaces: \x00": "not valid YAML",
    'surfaces: {"\\e[31m\\n": 1}': r"surfaces.\x1b[31m\n: unknown parameter, got 1",
    "surfaces: &a {pints: [*a]}": "surfaces.pints: unknown parameter, got [{'pints': [...]}]",
}


@pytest.mark.parametrize("text", INVALID_FILES, ids=lambda text: text[:20])
def test_an_invalid_file_is_refused_and_its_code_does_not_run(text, workspace, capsys):
    Path("params.yaml").write_text(text)
    assert INVALID_FILES[text] in error_line(capsys)
    assert not Path("exploited").exists()


def test_the_message_for_a_missing_file_names_the_folder_to_run_in(workspace, capsys):
    Path("params.yaml").unlink()
    assert "run from the root" in error_line(capsys)


WORDS = """yes no on off y n true True TRUE ~ null Null 12:30 1:30.5 .inf -.Inf .nan
010 0o10 08 1_000 1e-05 1E5 -.5 .5e3 .5e+3 1. 0b11 0x1F 2001-01-01"""
SCALARS = st.one_of(
    st.from_regex(r"[-+]?[0-9._]{1,6}([eE][-+]?[0-9]{1,2})?", fullmatch=True),
    st.from_regex(r"[-+]?0[box]?[0-9a-fA-F_]{1,4}", fullmatch=True),
    st.sampled_from(re.split(r"\s", WORDS)),
)


@settings(deadline=None)
@given(SCALARS)
def test_a_stage_reads_the_same_value_from_params_yaml_as_dvc(scalar):
    """Both fail, or both have the same value of the same type."""
    values = []
    for parse in (parse_yaml, lambda text, _: Loader(text).get_single_data()):
        try:
            values.append(repr(parse(f"lr: {scalar}", "params.yaml")["lr"]))
        except Exception:
            values.append("error")
    assert values[0] == values[1]


def test_a_missing_input_is_reported_with_the_command_that_creates_it(workspace, capsys):
    def main(extent, points, target, lr, tolerance, steps):
        files.read_arrays("data/xor.npz")

    with pytest.raises(SystemExit) as stopped:
        run(main, section="surfaces")
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("data/xor.npz: not found; run `dvc repro`")


def test_a_misspelt_parameter_is_reported_with_the_missing_name(workspace, capsys):
    text = Path("params.yaml").read_text().replace("points:", "pints:")
    Path("params.yaml").write_text(text)
    line = error_line(capsys)
    assert "surfaces.pints: unknown parameter, got 12; " in line
    assert line.endswith("missing here: points")


def test_a_non_finite_result_is_reported_in_one_line_and_writes_no_metrics(workspace, capsys):
    def main(seed, lr, steps, snapshot_every, starts):
        return xor_train.main(seed, 1e30, steps, snapshot_every, starts)

    with pytest.raises(SystemExit) as stopped:
        run(main, section="xor")
    assert stopped.value.code == 1
    assert re.fullmatch(
        r"reports/metrics/xor\.json: [\w.]+ is (nan|inf): try smaller numbers in xor.*\n",
        capsys.readouterr().err,
    )
    assert not Path("reports/metrics").exists()


@pytest.mark.parametrize(
    ("value", "name"), [(float("nan"), "loss"), ([1.0, {"min": float("inf")}], r"loss\.1\.min")]
)
def test_a_non_finite_metric_is_refused_with_its_name(value, name, workspace, written):
    with pytest.raises(FloatingPointError, match=rf"metrics/train\.json: {name} is (nan|inf)"):
        results.write_metrics("train", {"loss": value})
    assert written() == {}


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


def test_damaged_weights_are_refused(workspace):
    content = weights.pack_state({"weight": torch.arange(5.0)})
    Path("model.pth").write_bytes(content)
    assert torch.equal(weights.read_state("model.pth")["weight"], torch.arange(5.0))
    for damaged in (content[:200], b"", b"<html>", content.replace(b"PK", b"XX")):
        Path("model.pth").write_bytes(damaged)
        with pytest.raises(files.DamagedFileError, match=r"model\.pth: damaged: "):
            weights.read_state("model.pth")


def test_code_in_a_weights_file_does_not_run(workspace):
    class Attack:
        def __reduce__(self):
            return os.mkdir, ("exploited",)

    torch.save({"weight": Attack()}, "model.pth")
    with pytest.raises(files.DamagedFileError):
        weights.read_state("model.pth")
    assert not Path("exploited").exists()


def test_damaged_metrics_are_reported_by_file_name(workspace):
    results.write_metrics("train", {"loss": 1.0})
    assert results.read_metrics("train") == {"loss": 1.0}
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


def test_a_write_replaces_the_partial_file_of_a_killed_process(written):
    Path(".kept.part").write_bytes(b"a half")
    files.write_bytes("kept", b"whole")
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
