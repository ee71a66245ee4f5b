"""Parameters and files: what is wrong is said in one line, and nothing is lost."""

import re
from pathlib import Path

import pytest
import yaml

import surfaces
import xor_train
from common import files
from common.params import run


def stopped_line(capsys, status=2):
    """The one line with which `surfaces`, run on the params.yaml at hand, ends."""
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


WRONG = [
    ({"points": 1}, "surfaces.points: should be greater than or equal to 2, got 1"),
    ({"points": True}, "surfaces.points: should not be true or false, got True"),
    ({"points": 2.5}, "surfaces.points: should be a valid integer, .*got 2.5"),
    ({"extent": -1}, "surfaces.extent: should be greater than 0, got -1"),
    ({"extent": "wide"}, "surfaces.extent: should be a valid number, .*got 'wide'"),
    ({"extent": float("inf")}, "surfaces.extent: should be a finite number, got inf"),
    ({"target": float("nan")}, "surfaces.target: should be .*, got nan"),
    ({"target": None}, "surfaces.target: should be a valid number, got None"),
    ({1: 2}, "surfaces.1: unknown parameter, got 2"),
    (
        {"extend": 3},
        "surfaces.extend: unknown parameter, got 3; surfaces takes extent, points",
    ),
]


@pytest.mark.parametrize(("changes", "line"), WRONG)
def test_a_wrong_parameter_is_named_with_its_value_and_what_is_allowed(
    changes, line, workspace, capsys, written
):
    change(changes)
    found = stopped_line(capsys)
    assert found.startswith("params.yaml: ")
    assert re.search(line, found), found
    assert written() == {}


def test_a_missing_parameter_is_named(workspace, capsys):
    params = yaml.safe_load(Path("params.yaml").read_text())
    del params["surfaces"]["target"]
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert stopped_line(capsys) == (
        "params.yaml: surfaces.target: missing; "
        "surfaces takes extent, points, target, lr, tolerance, steps; missing here: target"
    )


BROKEN = {
    "": "surfaces: missing",
    "surfaces: 3": "surfaces: missing",
    "surfaces: [": "not valid YAML",
    "surfaces: !!python/object/apply:os.mkdir [exploited]": "not valid YAML",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_is_refused_and_nothing_in_it_is_run(text, workspace, capsys):
    Path("params.yaml").write_text(text)
    assert BROKEN[text] in stopped_line(capsys)
    assert not Path("exploited").exists()


def test_a_missing_file_says_where_to_run(workspace, capsys):
    Path("params.yaml").unlink()
    assert "run from the root" in stopped_line(capsys)


def test_a_number_that_yaml_reads_as_text_arrives_as_a_number(workspace):
    change({"extent": 0.5})
    text = Path("params.yaml").read_text().replace("extent: 0.5", "extent: 1e-05")
    Path("params.yaml").write_text(text)
    assert yaml.safe_load(Path("params.yaml").read_text())["surfaces"]["extent"] == "1e-05"
    run(surfaces.main, section="surfaces")
    assert files.read_arrays("data/surfaces.npz")["weight"].max() == 1e-05


def test_a_missing_input_is_named_and_who_makes_it(workspace, capsys):
    def main(extent, points, target, lr, tolerance, steps):
        files.read_arrays("data/xor.npz")

    with pytest.raises(SystemExit) as stopped:
        run(main, section="surfaces")
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("data/xor.npz: not found; `dvc repro` makes")


def test_a_misspelt_parameter_gives_one_line_that_names_both_spellings(workspace, capsys):
    text = Path("params.yaml").read_text().replace("points:", "pints:")
    Path("params.yaml").write_text(text)
    line = stopped_line(capsys)
    assert "surfaces.pints: unknown parameter, got 12; " in line
    assert line.endswith("missing here: points")


def test_a_result_that_is_not_finite_is_one_line_and_writes_nothing(workspace, capsys, written):
    def main(seed, lr, steps, snapshot_every, starts):
        xor_train.main(seed, 1e30, steps, snapshot_every, starts)

    with pytest.raises(SystemExit) as stopped:
        run(main, section="xor")
    assert stopped.value.code == 1
    assert re.fullmatch(
        r"reports/metrics/xor\.json: \w+ is (nan|inf): try smaller numbers in xor.*\n",
        capsys.readouterr().err,
    )
    assert written() == {}


def test_a_metric_that_is_not_finite_is_refused_by_name(workspace, written):
    with pytest.raises(FloatingPointError, match=r"metrics\.json: loss is nan"):
        files.write_metrics("metrics.json", {"loss": float("nan")})
    assert written() == {}


def test_a_flipped_byte_in_an_array_is_found_on_reading(workspace):
    files.write_arrays("arrays.npz", zeros=[0] * 100)
    content = bytearray(Path("arrays.npz").read_bytes())
    content[400] ^= 1
    Path("arrays.npz").write_bytes(content)
    with pytest.raises(Exception, match="CRC"):
        files.read_arrays("arrays.npz")


def test_what_is_half_written_never_stays(workspace, monkeypatch):
    files.write_bytes("kept", b"before")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_bytes("kept", b"after")
    assert Path("kept").read_bytes() == b"before"
    assert sorted(path.name for path in workspace.iterdir()) == ["kept", "params.yaml"]
