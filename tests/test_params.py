"""Invalid parameters are reported in one line; YAML is parsed as in DVC."""

import re
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from workspaces import small_params

import cnn_train
import surfaces
from common.params import compare, read_params, validate
from common.stage import exit_on_user_error, run


def error_line(capsys):
    """Run `surfaces` and return its error message, one line."""
    with pytest.raises(SystemExit) as stopped:
        run(surfaces.main, section="surfaces")
    assert stopped.value.code == 2
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
    ({"extend": 3}, "surfaces.extend: unknown parameter, got 3"),
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
    assert error_line(capsys) == "params.yaml: surfaces.target: missing"


def test_differences_are_listed_by_dotted_name_including_added_and_removed_parameters():
    before, after = {"lr": 1, "augment": {"shift": 2}, "old": 3}, {"lr": 1.0, "augment": None}
    assert [*compare(before, after)] == [
        ("augment", "absent", "None"),
        ("augment.shift", "2", "absent"),
        ("old", "3", "absent"),
    ]


AUGMENT = [
    ({"shift": True}, "shift: should be a valid integer, got True"),
    ({"shift": 2.0}, "shift: should be a valid integer, got 2.0"),
    ({"shift": 15}, "shift: should be less than or equal to 14, got 15"),
    ({"rotation": "10"}, "rotation: should be a valid number, got '10'"),
    ({"until": float("nan")}, "until: should be .*, got nan"),
    ({"shfit": 2}, "shfit: unknown parameter, got 2"),
]


@pytest.mark.parametrize(("changes", "line"), AUGMENT)
def test_an_invalid_member_of_a_group_is_reported_with_its_group(changes, line, workspace, capsys):
    parameters = small_params()["train"]
    parameters["augment"] |= changes
    with pytest.raises(SystemExit) as stopped, exit_on_user_error("train"):
        validate(cnn_train.main, parameters)
    assert stopped.value.code == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert re.match(rf"params\.yaml: train\.augment\.{line}", message), message


def test_an_incomplete_group_and_a_group_of_another_type_are_refused(workspace, capsys):
    parameters = small_params()["train"]
    augment = parameters["augment"]
    del (missing := dict(augment))["shift"]
    for group, line in (
        (missing, "train.augment.shift: missing"),
        ([*augment.values()], "train.augment: should be a dictionary"),
        (1, "train.augment: should be a dictionary"),
    ):
        with pytest.raises(SystemExit), exit_on_user_error("train"):
            validate(cnn_train.main, parameters | {"augment": group})
        (message,) = capsys.readouterr().err.splitlines()
        assert message.startswith(f"params.yaml: {line}"), message


INVALID_FILES = {
    "": "surfaces: missing",
    "surfaces: 3": "surfaces: missing",
    "surfaces: [": "not valid YAML: line 1: expected the node content",
    "surfaces: !!python/object/apply:os.mkdir [exploited]": "not valid YAML",
    "surfaces: {points: 2, points: 3}": 'line 1: found duplicate key "points"',
    "surfaces: {}\nsurfaces: {}": 'line 2: found duplicate key "surfaces"',
    "surfaces: " + "[" * 5000: "not valid YAML",
    "surfaces: {points: " + "9" * 200_000 + "}": "more than 20,000 bytes",
    "surfaces: 2001-13-45": "not valid YAML",
    "surfaces: !!int x": "not valid YAML",
    "surfaces: \x00": "not valid YAML",
}


@pytest.mark.parametrize("text", INVALID_FILES, ids=lambda text: text[:20])
def test_an_invalid_file_is_refused_and_its_code_does_not_run(text, workspace, capsys):
    Path("params.yaml").write_text(text)
    assert INVALID_FILES[text] in error_line(capsys)
    assert not Path("exploited").exists()


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ('"\\e[31m\\n"', "1", r"surfaces.\x1b[31m\n: unknown parameter, got 1"),
        ("pints", "&a [*a]", "surfaces.pints: unknown parameter, got [[[...]]]"),
    ],
)
def test_a_strange_name_or_value_is_reported_in_one_line(name, value, line, workspace, capsys):
    text = yaml.safe_dump({"surfaces": small_params()["surfaces"]})
    Path("params.yaml").write_text(f"{text}  {name}: {value}\n")
    assert error_line(capsys) == f"params.yaml: {line}"


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
    text, values = f"lr: {scalar}", []
    for parse in (lambda: parse_yaml(text, "params.yaml"), lambda: read_params(lambda path: text)):
        try:
            values.append(repr(parse()["lr"]))
        except Exception:
            values.append("error")
    assert values[0] == values[1]


def test_a_misspelt_parameter_is_reported_with_the_missing_name(workspace, capsys):
    text = Path("params.yaml").read_text().replace("points:", "pints:")
    Path("params.yaml").write_text(text)
    with pytest.raises(SystemExit):
        run(surfaces.main, section="surfaces")
    assert capsys.readouterr().err.splitlines() == [
        "params.yaml: surfaces.points: missing",
        "params.yaml: surfaces.pints: unknown parameter, got 12",
    ]
