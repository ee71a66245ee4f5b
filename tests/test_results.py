"""Metrics contain their provenance, and stages refuse outdated results."""

import json
from pathlib import Path

import pytest
from test_pipeline import change
from workspaces import run_stage, small_params

from common.results import check, read_metrics

SECTIONS = ("surfaces", "xor", "train", "evaluate", "plots")


def test_every_stage_records_its_parameters_and_files(results):
    check(SECTIONS)
    (trained,) = read_metrics("train")["provenance"]
    assert trained["stage"] == "cnn_train"
    assert trained["params"] == small_params()["train"]
    assert trained["reads"].keys() == {"data/mnist/train.npz", "data/mnist/test.npz"}
    assert trained["writes"].keys() == {
        "data/network/model.pth",
        "data/network/weights.npz",
        "data/network/history.csv",
        "reports/plots/history.json",
    }
    (evaluated,) = read_metrics("evaluate")["provenance"]
    model = "data/network/model.pth"
    assert evaluated["reads"][model] == trained["writes"][model]


@pytest.mark.parametrize(
    ("section", "name", "value", "readers"),
    [
        ("train", "seed", 1, ["evaluate", "plots", "report"]),
        ("train", "augment", None, ["evaluate", "plots", "report"]),
        ("evaluate", "batch_size", 21, ["plots", "report"]),
        ("xor", "lr", 0.2, ["plots", "report"]),
        ("surfaces", "target", 0.4, ["plots", "report"]),
        ("plots", "errors", 5, ["report"]),
    ],
)
def test_results_of_other_parameters_are_refused_in_one_line(
    section, name, value, readers, results, written, capsys
):
    change(results, section, name, value)
    before = written()
    for stage in readers:
        capsys.readouterr()
        assert run_stage(stage) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"reports/metrics/{section}.json: stale: computed with {section}.")
        assert f"{section}.{name}" in line
        assert "`dvc repro --force --single-item " in line
    assert written() == before


@pytest.mark.slow
def test_results_of_another_network_or_other_images_are_refused(results, capsys):
    change(results, "train", "seed", 1)
    assert run_stage("cnn_train") == 0
    assert run_stage("plots") == 1  # evaluate ran on another network
    line = capsys.readouterr().err
    assert line.startswith("reports/metrics/evaluate.json: stale: computed from a different data/n")
    assert run_stage("evaluate") == 0
    assert run_stage("plots") == 0
    images = Path("data/mnist/test.npz").read_bytes()
    Path("data/mnist/test.npz").write_bytes(images + b"?")
    assert run_stage("report") == 1
    assert capsys.readouterr().err.startswith("data/mnist/test.npz: damaged: its MD5 is ")


def test_an_integer_parameter_equals_the_same_float(results):
    change(results, "train", "label_smoothing", 0)  # an integer; it was 0.0
    check(SECTIONS)


@pytest.mark.parametrize("edit", [{"val_acc": 1.0}, {"note": 1}, {"splits": []}])
def test_edited_metrics_are_refused(edit, results, capsys):
    metrics = read_metrics("train") | edit
    Path("reports/metrics/train.json").write_text(json.dumps(metrics))
    assert run_stage("evaluate") == 1
    reason = "its metrics are not those that cnn_train wrote"
    assert f"train.json: damaged: {reason}; delete it" in capsys.readouterr().err


def test_the_layout_of_a_metrics_file_does_not_matter(results):
    metrics = read_metrics("train")
    Path("reports/metrics/train.json").write_text(json.dumps(dict(reversed(metrics.items()))))
    check(["train"])


@pytest.mark.parametrize(
    "metrics",
    [{}, None, 1, []]
    + [{"provenance": value} for value in (None, 1, [], [{}], [1], [{"stage": "cnn_train"}])]
    + [
        {"provenance": [{"stage": "", "params": {}, "reads": {}, "writes": {}} | change]}
        for change in ({}, {"params": None}, {"reads": []}, {"writes": "x"})
    ],
)
def test_metrics_without_valid_provenance_are_refused(metrics, results, capsys):
    Path("reports/metrics/train.json").write_text(json.dumps(metrics))
    assert run_stage("evaluate") == 1
    assert "train.json: damaged: it has no valid provenance; " in capsys.readouterr().err
