"""`make verify` accepts rounding differences between machines and detects wrong constants."""

import subprocess
import sys
from contextlib import chdir
from functools import partial
from math import sqrt
from pathlib import Path

import pytest
from pandas import read_csv
from repositories import copy_of, git, run_tool
from workspaces import ENV

from internals.differences import Results, conclude, name_values, tabulate
from internals.tolerances import rule_of

from common.files import read_arrays
from common.results import read_metrics, write_metrics
from verify import sections_of

verify = partial(run_tool, "verify")
MUTATIONS = [
    ("download_mnist", "download_mnist.py", "random_state=0", "random_state=1", "MD5 of data/mn"),
    ("surfaces", "surfaces.py", "2 * lr * slope", "2.5 * lr * slope", "surfaces.ce_steps"),
    ("surfaces", "surfaces.py", "(-extent, extent", "(-extent, 1.0001 * extent", "surfaces.l2_sum"),
    ("xor_train", "xor_train.py", "p - lr * g", "p - 1.001 * lr * g", "xor.xor_loss"),
    ("xor_train", "xor_train.py", "correct(ends) == 4", "correct(ends) >= 2", "xor.xor_solved"),
    ("evaluate", "evaluate.py", "- confidence", "- 0.9 * confidence", "evaluate.ece.0"),
    ("evaluate", "common/statistics.py", "z=1.959964", "z=2", "evaluate.interval.0"),
]
TRAINING = [
    ("cnn_train.py", "manual_seed(seed)", "manual_seed(seed + 1)"),
    ("training/optimizer.py", "(peak *", "(1.1 * peak *"),
    ("training/optimizer.py", "momentum=0.9", "momentum=0.5"),
    ("training/optimizer.py", "warmup * steps", "0.1 * warmup * steps"),
    ("training/data.py", "[seed, epoch]).perm", "[seed + 1, epoch]).perm"),
    ("training/augment.py", "shear = draws[3]", "shear = 2 * draws[3]"),
]
MUTATIONS += [  # one in every run, all with --full
    pytest.param("cnn_train", *mutation, "train.first_", marks=[pytest.mark.full] if k else [])
    for k, mutation in enumerate(TRAINING)
]


@pytest.fixture(scope="module")
def repository(first_run, tmp_path_factory):
    return copy_of(first_run, tmp_path_factory.mktemp("verify") / "a project")


@pytest.fixture
def project(repository):
    """The current folder: the repository, restored after the test."""
    saved = {path: path.read_bytes() for path in (repository / "data").rglob("*") if path.is_file()}
    with chdir(repository):
        yield repository
        git(repository, "reset", "--quiet", "--hard")
    for path, content in saved.items():
        path.write_bytes(content)


def read_results(without=None):
    sections = [section for section in sections_of(Path.read_bytes) if section != without]
    return Results(sections, Path.read_bytes)


def run(*stages, **environment):
    for stage in stages:
        command = [sys.executable, f"stages/{stage}.py"]
        subprocess.run(command, env=ENV | environment, check=True, capture_output=True)


def edit(name, old, new):
    path = Path("stages", name)
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "file", "old", "new", "metric"), MUTATIONS)
def test_a_wrong_constant_moves_a_metric_outside_tolerance(stage, file, old, new, metric, project):
    committed = read_results()
    edit(file, old, new)
    run(stage)
    table = tabulate(committed, read_results()).set_index("metric")
    verdicts = table["verdict"][table.index.str.startswith(metric)]
    assert len(verdicts) > 0
    assert (verdicts == "OUTSIDE").any()
    line, reproduced = conclude(table.reset_index(), {})
    assert line.startswith("NOT reproduced: ")
    assert not reproduced


@pytest.mark.parametrize(
    ("metric", "value", "n", "tolerance"),
    [
        ("surfaces.ce_steps", 81_417, 1, 0),
        ("surfaces.l2_sum", -500.0, 1, 5e-7),
        ("surfaces.l2_sum", 0.0, 1, 1e-12),
        ("xor.xor_loss", 0.5, 1, 1e-6),
        ("xor.xor_solved", 0.5, 19_998, 1.96 * sqrt(2 * 0.25 / 19_998)),
        ("train.val_acc", 1.0, 98, 1.96 * sqrt(2 * 0.99 * 0.01 / 98)),
        ("train.first_losses.0", 2.0, 54_000, 0.01),
        ("train.first_epoch_loss", 1.0, 13_500, 0.01),
        ("train.first_epoch_loss", 1.0, 60_000, 0.005),
        ("train.val_loss", 0.02, 2_500, 3.3 * sqrt(8) * 0.0006),
        ("evaluate.loss", 0.02, 10_000, 3.3 * sqrt(2) * 0.0006),
        ("evaluate.ece.0", 0.01, 40_000, 3.3 * sqrt(2) * 0.001),
        ("evaluate.train_mode.one class.accuracy", 0.2, 10_000, 3.3 * sqrt(2) * 0.006),
        ("evaluate.errors", 99, 9_998, 9_998 * 1.96 * sqrt(2 * 0.01 * 0.99 / 9_998)),
        ("evaluate.accuracy", 0.5, 9_998, 1.96 * sqrt(0.5 / 9_998)),
    ],
)
def test_a_tolerance_computed_by_hand(metric, value, n, tolerance):
    assert rule_of(metric)(value, n) == pytest.approx(tolerance, rel=1e-9)


def test_the_sample_size_is_the_number_of_images_or_starts_of_a_metric(project):
    results = read_results()
    train, test = (len(read_arrays(f"data/mnist/{n}.npz")["labels"]) for n in ("train", "test"))
    val = round(0.1 * train)
    sizes = {"evaluate.loss": test, "evaluate.recall.9": test / 10, "train.val_acc": val}
    sizes |= {"train.splits.val.loss": val, "train.splits.train.loss": train - val}
    sizes |= {"train.first_epoch_loss": train - val, "xor.interval.0": 30}
    assert {name: results.sample_size(name) for name in sizes} == sizes
    first_loss = read_csv("data/network/history.csv")["train_loss"][0]
    assert results.values["train.first_epoch_loss"] == pytest.approx(first_loss, rel=1e-5)
    results.values["xor.xor_solved"] = 0.8
    assert results.sample_size("xor.levels.0.fraction") == pytest.approx(6)  # the unsolved ones
    results.values |= {"xor.xor_solved": 1.0, "train.splits.val.images": 0}
    assert results.sample_size("xor.levels.0.fraction") == results.sample_size("train.val_acc") == 1


@pytest.mark.full
@pytest.mark.parametrize("change", ["two threads", "bfloat16"])
def test_another_thread_count_or_precision_is_within_the_tolerances(change, project):
    committed = read_results()
    if change == "bfloat16":
        params = Path("params.yaml").read_text()
        Path("params.yaml").write_text(params.replace("float32", "bfloat16"))
    run("cnn_train", "evaluate", OMP_NUM_THREADS="2" if change == "two threads" else "1")
    table = tabulate(committed, here := read_results())
    assert here.files["data/network/model.pth"] != committed.files["data/network/model.pth"]
    line, reproduced = conclude(table, here.machine)
    assert reproduced, table[table["verdict"] == "OUTSIDE"]
    assert here.machine["precision"] in line


def test_results_on_imported_images_are_compared_without_data_metrics(project):
    """After `dvc import-url`, no stage writes reports/metrics/data.json."""
    git(project, "rm", "--quiet", "reports/metrics/data.json")
    git(project, "commit", "--quiet", "-m", "imported images")
    try:
        done = verify(project, "--here")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("reproduced: ")
        images = read_results(without="data").images
        assert images.keys() == {"data/mnist/train.npz", "data/mnist/test.npz"}
    finally:
        git(project, "reset", "--quiet", "--hard", "HEAD^")


def test_the_first_losses_are_not_compared_between_a_cpu_and_a_gpu(project):
    """GPUs draw other random numbers."""
    committed, here = read_results(), read_results()
    here.machine |= {"device": "cuda"}
    here.values |= dict.fromkeys((n for n in here.values if "first_" in n), 0.0)
    line, reproduced = conclude(tabulate(committed, here), here.machine)
    assert reproduced
    assert line.endswith("float32 on cuda")
    here.machine["device"] = "cpu"
    assert not conclude(tabulate(committed, here), here.machine)[1]


def test_the_same_network_may_be_rounded_differently_by_another_processor(project):
    committed, here = read_results(), read_results()
    for name in ("loss", "ece.0"):
        here.values[f"evaluate.{name}"] *= 1 + 1e-6
    assert conclude(tabulate(committed, here), here.machine)[1]
    here.values["evaluate.loss"] *= 1.00002
    assert "evaluate.loss" in conclude(tabulate(committed, here), here.machine)[0]
    here.made["evaluate"] |= {"reads": {}}  # another network
    assert conclude(tabulate(committed, here), here.machine)[1]


def test_results_without_validation_images_are_compared(project):
    results = read_results(), read_results()
    for each in results:
        each.values |= {f"train.splits.val.{name}": None for name in ("loss", "accuracy")}
    assert not conclude(tabulate(*results), results[0].machine)[1]
    val = {"split": "val", "images": 0, "loss": None, "accuracy": None}
    assert name_values({"splits": [val]}) == {"splits.val.images": 0}


@pytest.mark.slow
def test_make_repro_reports_the_comparison_with_the_last_commit_in_one_line(project):
    done = verify(project, "--here")
    assert done.returncode == 0
    assert done.stdout.startswith("reproduced: ")
    assert done.stdout.endswith(" identical; float32 on cpu\n")

    params = Path("params.yaml")
    params.write_text(params.read_text().replace("lr: 0.1\n", "lr: 0.2\n"))
    stale = verify(project, "--here")
    assert stale.returncode == 1
    assert stale.stderr.startswith("reports/metrics/xor.json: stale: computed with xor.lr 0.1")
    run("xor_train", "plots")
    assert "different parameters in xor" in verify(project, "--here").stdout
    git(project, "commit", "--quiet", "--message", "no results", "params.yaml")
    stale = verify(project, "--here").stdout
    git(project, "reset", "--quiet", "--soft", "HEAD^")
    assert stale.startswith("not compared: the last commit has no valid results (reports/metrics/x")
    Path("reports/metrics/plots.json").unlink()
    assert verify(project, "--here").stdout.endswith(": no results of plots here\n")


def test_metrics_of_all_stages_are_compared(project):
    assert {*read_results().made} == {path.stem for path in Path("reports/metrics").iterdir()}
    assert all(rule_of(name) for name in read_results().values)


def test_a_new_metric_is_reported_and_needs_a_tolerance(project):
    (made,) = read_metrics("plots")["provenance"]
    write_metrics("plots", {"figures": 11}, made)
    reproduced, new = verify(project, "--here").stdout.splitlines()
    assert reproduced.startswith("reproduced: ")
    assert new == "not in the last commit: plots.figures"
    git(project, "commit", "--quiet", "--all", "--message", "a metric")
    try:
        assert verify(project, "--here").stderr.startswith("plots.figures: no tolerance; ")
    finally:
        git(project, "reset", "--quiet", "--hard", "HEAD^")


@pytest.mark.full
def test_quick_verification_runs_in_a_clone_and_changes_no_file_here(project):
    Path("params.yaml").write_text(Path("params.yaml").read_text() + "\n# an edit\n")
    before = git(project, "status", "--porcelain")
    done = verify(project, "--quick")
    assert done.returncode == 0, done.stderr
    *_, files, quick, line = done.stdout.splitlines()
    assert files.endswith("the same bytes")
    assert quick == "quick: the CNN was not trained"
    assert line.startswith("reproduced: ")
    assert git(project, "status", "--porcelain") == before
    assert not [*Path(".dvc/tmp/exps").iterdir()]


@pytest.mark.slow
def test_verification_of_results_of_other_code_fails(project):
    edit("surfaces.py", "2 * lr * slope", "2.5 * lr * slope")
    git(project, "commit", "--quiet", "--all", "--message", "another step size")
    done = verify(project, "--quick")
    git(project, "reset", "--quiet", "--hard", "HEAD^")
    assert done.returncode == 1, done.stderr
    line = done.stdout.splitlines()[-1]
    assert line.startswith("NOT reproduced: ")
    assert "surfaces.ce_steps" in line
