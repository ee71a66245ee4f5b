"""Experiments: names, parameters, statistics and sweeps over seeds."""

import json
import re
import shlex
import statistics
import subprocess
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from imitations import add_experiments, commit_results, edit_experiment
from repositories import commit, copy_of, dvc, git, make_repository, run_tool
from scipy.stats import ttest_rel
from workspaces import ENV, ROOT

from internals.experiments import find_results, mixed, name_of, reference_of
from internals.git import RunError, content_of
from internals.overrides import expand, override
from internals.seeds import describe
from internals.summary import summarise, tabulate_settings

from common.params import read_params

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with images and without a trained network."""
    folder = make_repository(tmp_path_factory.mktemp("experiments"))
    dvc(folder, "repro", "--quiet", "download_mnist")
    commit(folder)
    return folder


@pytest.fixture
def committed(computed, tmp_path):
    """The current folder: a repository with committed results."""
    folder = commit_results(computed, tmp_path / "project")
    with chdir(folder):
        yield folder


def seeds(folder, *arguments):
    return run_tool("sweep", folder, "--seeds", *arguments)


def test_an_experiment_is_named_after_its_overrides():
    assert name_of(["train.lr=0.1", "train.seed=3"]) == "lr=0.1,seed=3"
    assert name_of(["train.seed=3", "train.lr=0.1"]) == "lr=0.1,seed=3"
    assert name_of(["xor.lr=1", "+train.new=a b/c:d"]) == "new=a-b-c-d,xor.lr=1"
    assert name_of([]) == "default"


@pytest.mark.parametrize(
    "overrides",
    [
        ["train.lr=0.1", "train.seed=3", "data.dataset=digits"],
        ["train.lr=1e-05", "train.compile=true", "report.author='a, b'"],
        ["train.augment=null"],
        ["train.augment={shift: 1}", "train.augment.until=0.5"],
        ["+train.new=[1, 'two', {three: 3}]", "++train.lr=1", "+other.new=1"],
        ["~train.augment"],
        ["train.lr=${xor.lr}"],
    ],
)
def test_overrides_give_the_same_parameters_as_dvc(overrides, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(PARAMS))
    apply_overrides(path, overrides)
    assert override(PARAMS, overrides) == read_params(lambda _: path.read_text())


def test_lists_and_ranges_expand_to_every_combination(committed):
    runs = expand(["train.lr=0.1,0.2", "train.seed=range(1,3)", "train.epochs=1"], "HEAD")
    assert {name: run.overrides for name, run in runs.items()} == {
        f"epochs=1,lr={lr},seed={seed}": [f"train.lr={lr}", f"train.seed={seed}", "train.epochs=1"]
        for lr in (0.1, 0.2)
        for seed in (1, 2)
    }
    assert {run.setting for run in runs.values()} == {"epochs=1,lr=0.1", "epochs=1,lr=0.2"}
    runs = expand(["++train.seed=1,2", "train.lr=0.1"], "HEAD")
    assert [run.setting for run in runs.values()] == ["lr=0.1", "lr=0.1"]
    assert [*expand(["train.schedule=choice(linear,cosine)"], "HEAD")] == [
        "schedule=linear",
        "schedule=cosine",
    ]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.lr", "missing EQUAL"),
        ("train.seed=range(1,a)", "range"),
        ("train.seed=glob(*)", "not supported"),
        ("train.lr=interval(0,1)", "does not support"),
        ("report.author='b c','b:c'", "two combinations have this name"),
        ("train.lr=0.1,-1", r"^lr=-1: train.lr: -1 is less than or equal to the minimum of 0$"),
        ("train.optimizer=lion", r"^optimizer=lion: train.optimizer: 'lion' is not one of "),
        ("train.augment.shift=15", r"train.augment.shift: 15 is greater than the maximum of 14$"),
        ("train.epochs=2.0", r"^epochs=2.0: train.epochs: 2.0 is not of type 'integer'$"),
        ("train.epochs=true", r"^epochs=True: train.epochs: True is not of type 'integer'$"),
        ("train.lrr=1", r"^train.lrr=1: no such parameter in params.yaml$"),
        ("trian.lr=1", r"^trian.lr=1: no such parameter in params.yaml$"),
        ("train.opt=1", r"^train.opt=1: no such parameter in params.yaml$"),
        ("+train.lr=1", r"^Could not append to config. An item is already at 'train.lr'. "),
        ("train.lr=${nope.x}", r"^Interpolation key 'nope.x' not found full_key: train.lr$"),
        ("+train.new=1", r"^new=1: train: Additional properties are not allowed"),
    ],
)
def test_an_invalid_override_is_reported_in_one_line(setting, message, committed):
    with pytest.raises(RunError, match=message) as raised:
        expand([setting], "HEAD")
    assert "\n" not in str(raised.value)


def test_the_overrides_in_the_docs_are_valid(committed):
    files = ("README.md", "docs/recipe.md", "docs/experiments.md")
    text = "".join((ROOT / file).read_text(encoding="utf-8") for file in files)
    overrides = re.findall(r"-S ('?)(\S+=.+?)\1(?=[\s`\"])", text)
    assert len(overrides) > 25
    for _, setting in overrides:
        assert expand([setting], "HEAD")
    commands = re.findall(r'make (?:sweep|seeds) [^`\n]*SET="([^"]+)"', text)
    assert len(commands) > 5
    for command in commands:
        assert expand([word for word in shlex.split(command) if word != "-S"], "HEAD")


def test_the_summary_agrees_with_a_paired_t_test():
    rng = np.random.default_rng(0)
    base, other = rng.uniform(0.9, 1, 10), rng.uniform(0.9, 1, 8)
    table = summarise({"a": dict(enumerate(base)), "b": dict(enumerate(other)), "c": {99: 0.5}})
    a, b, c = (row for _, row in table.iterrows())
    assert (a["n"], a["difference"], a["95% interval"]) == (10, "", "")
    assert float(a["sd"]) == pytest.approx(100 * np.std(base, ddof=1), abs=5e-4)
    test = ttest_rel(100 * other, 100 * base[:8])
    difference = np.mean(100 * (other - base[:8]))
    assert (b["n"], b["pairs"]) == (8, "8")
    assert float(b["difference"]) == pytest.approx(difference, abs=5e-4)
    assert float(b["standard error"]) == pytest.approx(difference / test.statistic, abs=5e-4)
    low, high = map(float, b["95% interval"].split(" to "))
    assert (low, high) == pytest.approx([*test.confidence_interval()], abs=5e-4)
    assert (c["mean"], c["sd"], c["pairs"]) == ("50.000", "", "")


def test_equal_differences_have_no_interval():
    """Three pairs that differ by the same number of images do not exclude another difference."""
    base = {1: 0.95, 2: 0.96, 3: 0.99}
    table = summarise({"a": base, "b": base, "c": {seed: v - 0.01 for seed, v in base.items()}})
    assert table["difference"].tolist() == ["", "+0.000", "-1.000"]
    assert "95% interval" not in table


def test_a_single_setting_is_summarised_without_differences():
    table = summarise({"a": {1: 0.9, 2: 1.0}})
    assert [*table.columns] == ["setting", "n", "mean", "sd", "min", "max"]
    assert table.to_numpy().tolist() == [["a", 2, "95.000", "7.071", "90.000", "100.000"]]


def test_settings_with_a_run_without_validation_are_compared_on_the_test_images():
    settings = {"a": {1: {"val_acc": 0.9, "accuracy": 0.8}}, "b": {1: {"accuracy": 0.7}}}
    ((title, table),) = tabulate_settings(settings)
    assert title == "Accuracy on the test images, %"
    assert table["mean"].tolist() == ["80.000", "70.000"]


def test_an_entry_of_seeds_json_computed_by_hand():
    names = ("images", "test_images", "precision", "device", "threads", "torch")
    same, errors = dict.fromkeys(names, 1), [2, 1, 6]
    runs = [same | {"accuracy": 1 - n / 100, "loss": n / 10, "errors": n} for n in errors]
    numbers = {"mean": 0.97, "sd": 0.026458, "min": 0.94, "max": 0.99, "loss": 0.3}  # sd: √0.0007
    expected = {"commit": "c", **same, "seeds": 3, **numbers, "errors": errors}
    assert describe("c", runs) == expected
    assert mixed([*runs, dict.fromkeys(names, 2)]) == [f"{name} 1 or 2" for name in names]


def test_an_experiment_is_identified_by_its_parameters_not_its_name(committed):
    one_epoch = {"train.seed": 1, "train.epochs": 1}
    add_experiments(
        committed,
        {
            "seed=1": {"changes": one_epoch, "flips": 50},
            "mine": {"changes": {"train.seed": 2}},
            "seed=3": {"changes": {"train.seed": 3.0}},
        },
    )
    head = git(committed, "rev-parse", "HEAD")
    usable, blocked = find_results(expand(["train.seed=range(1,5)"], head), head)
    assert usable.keys() == {"seed=2", "seed=3"}
    assert usable["seed=2"]["images"] == 180  # without the validation images
    assert blocked == {
        "seed=1": "skipped: it has train.epochs 1, not 2; run `dvc exp remove seed=1` and retry"
    }


def test_seeds_with_other_parameters_are_reported_and_excluded(committed):
    add_experiments(
        committed,
        {
            "seed=1": {"changes": {"train.seed": 1, "train.epochs": 1}, "flips": 50},
            "seed=2": {"changes": {"train.seed": 2}},
        },
    )
    done = seeds(committed, "2")
    assert done.returncode == 1
    assert done.stdout.startswith("runs: 2, already present: 1\n")
    assert done.stderr.startswith("seed=1: skipped: it has train.epochs 1, not 2; ")
    assert not Path("reports/seeds.json").exists()


def test_an_experiment_with_metrics_of_other_parameters_is_reported(committed):
    add_experiments(committed, {"seed=1": {"changes": {"train.seed": 1}}})
    head, path = git(committed, "rev-parse", "HEAD"), "reports/metrics/train.json"
    text = git(committed, "show", f"{reference_of('seed=1', head)}:{path}")
    edit_experiment(committed, "seed=1", path, text.replace('"seed": 1,', '"seed": 9,'))
    usable, blocked = find_results(expand(["train.seed=1"], head), head)
    assert usable == {}
    assert "train.json: stale: computed with train.seed 9" in blocked["seed=1"]


def test_seeds_from_different_machines_are_not_summarised(committed):
    add_experiments(
        committed,
        {
            f"seed={seed}": {"changes": {"train.seed": seed}, "machine": {"threads": 8 * seed}}
            for seed in (1, 2)
        },
    )
    done = seeds(committed, "2")
    assert done.returncode == 1
    assert done.stderr == "default: these runs are not comparable: threads 16 or 8\n"
    assert not Path("reports/seeds.json").exists()


def test_runs_with_other_threads_are_reported_before_any_run_starts(committed):
    change = {"changes": {"train.seed": 1}, "machine": {"threads": 8}}
    add_experiments(committed, {"seed=1": change})
    done = seeds(committed, "2")
    assert done.returncode == 1
    assert done.stderr.startswith("seed=1: ran with 8 threads, missing runs of this setting would")
    assert done.stdout == ""


def test_an_experiment_that_ran_edited_code_is_not_used(committed):
    add_experiments(committed, {"seed=1": {"changes": {"train.seed": 1}}})
    head = git(committed, "rev-parse", "HEAD")
    runs = expand(["train.seed=1"], head)
    assert find_results(runs, head)[0].keys() == {"seed=1"}
    edit_experiment(committed, "seed=1", "stages/cnn_train.py", "an edit that DVC copied")
    usable, blocked = find_results(runs, head)
    assert usable == {}
    assert blocked["seed=1"].startswith("skipped: it ran edited code; ")


def test_content_of_reads_files_of_later_commits(committed):
    with pytest.raises(FileNotFoundError, match=r"new\.txt: not in HEAD"):
        content_of("HEAD", "new.txt")
    Path("new.txt").write_bytes(b"line\n\nline without end")
    commit(committed)
    assert content_of("HEAD", "new.txt") == b"line\n\nline without end"
    with pytest.raises(FileNotFoundError):
        content_of("HEAD", "params.yaml\nnew.txt")
    assert content_of("HEAD~", "params.yaml") == Path("params.yaml").read_bytes()


@pytest.mark.full
def test_one_network_per_seed_is_trained_and_seeds_json_summarises_them(repository):
    first = seeds(repository, "2", "-S", "train.epochs=1", "-S", "train.ema=0,0.1")
    assert first.returncode == 0, first.stderr
    path = repository / "reports/seeds.json"
    table = json.loads(path.read_text())
    assert table.keys() == {"ema=0,epochs=1", "ema=0.1,epochs=1"}
    entry = table["ema=0.1,epochs=1"]
    accuracies = [1 - errors / 360 for errors in entry["errors"]]
    assert entry["seeds"] == len(accuracies) == 2
    assert entry["mean"] == pytest.approx(statistics.mean(accuracies), abs=1e-6)
    assert entry["sd"] == pytest.approx(statistics.stdev(accuracies), abs=1e-6)
    assert (entry["min"], entry["max"]) == pytest.approx((min(accuracies), max(accuracies)))
    existing = json.loads((ROOT / "reports/seeds.json").read_text())
    assert entry.keys() == existing["validation=0"].keys()
    assert "ema=0.1,epochs=1,seed=2" in dvc(repository, "exp", "list", "--name-only")

    path.unlink()
    experiments = dvc(repository, "exp", "list")
    again = seeds(repository, "2", "-S", "train.epochs=1", "-S", "train.ema=0,0.1")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("runs: 4, already present: 4\n")
    assert dvc(repository, "exp", "list") == experiments
    assert json.loads(path.read_text()) == table


def test_uncommitted_edits_are_refused(committed):
    paths = [committed / name for name in ("images.dvc", "params.yaml", "stages/new.py")]
    paths[-1].parent.mkdir()
    for text in ("# one\n", "# two\n"):
        commit(committed)
        for path in paths:
            path.write_text(text)
    git(committed, "add", "params.yaml")
    refused = seeds(committed, "2")
    assert (refused.returncode, refused.stdout) == (1, "")
    edited = "images.dvc, params.yaml, stages/new.py: edited since the last commit"
    assert refused.stderr.startswith(edited)
    commit(committed)
    assert seeds(committed, "2").stderr == "the last commit has no valid params.yaml\n"


@pytest.mark.parametrize("text", ["<<<<<<< ours", "null", "[1]", '{"a": 1}', '{"a": {}}'])
def test_a_damaged_seeds_json_is_reported_before_any_run(committed, text):
    (committed / "reports/seeds.json").write_text(text)
    refused = seeds(committed, "2")
    assert (refused.returncode, refused.stdout) == (1, "")
    hint = "edit it, or run `git restore reports/seeds.json`"
    assert refused.stderr == f"reports/seeds.json: damaged or in conflict: {hint}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["1"], "--seeds: should be 2 or more, got 1"),
        (["2", "--jobs", "0"], "--jobs: should be 1 or more, got 0"),
    ],
)
def test_too_few_seeds_or_jobs_are_refused(arguments, message, tmp_path):
    refused = seeds(tmp_path, *arguments)
    assert refused.returncode == 2
    assert refused.stderr.endswith(f"error: {message}\n")


def test_an_invalid_override_starts_no_run(committed):
    refused = seeds(committed, "2", "-S", "train.lr=-1")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "lr=-1,seed=1: train.lr: -1 is less than or equal to the minimum of 0\n"
    )


@pytest.mark.slow
def test_dvc_exp_show_fits_120_columns_on_a_later_day(first_run, tmp_path, monkeypatch):
    folder = copy_of(first_run, tmp_path / "project")
    monkeypatch.setitem(ENV, "COLUMNS", "120")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "1700000000 +0000")  # DVC shows the date, not the time
    subprocess.run(["git", "commit", "--quiet", "--amend", "--no-edit"], cwd=folder, check=True)
    experiments = {"unstrung-bots": 0.03, "slower": 0.0012}  # a typical name of DVC, our own
    add_experiments(
        folder, {name: {"changes": {"train.lr": lr}} for name, lr in experiments.items()}
    )
    shown = dvc(folder, "exp", "show", "--only-changed", "--no-pager")
    for text in (*experiments, "Nov 14, 2023", "train.lr", "0.03", "0.0012"):
        assert text in shown
    assert max(map(len, shown.splitlines())) <= 120
