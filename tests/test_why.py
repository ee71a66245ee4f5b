"""`make why`, and whether `dvc repro` then does what it said."""

import subprocess
import sys

import pytest
from conftest import HERE, ROOT, copy_of, dvc
from test_pipeline import STAGES, cached, change, ran

SAME = dict.fromkeys(STAGES, "as it was")


@pytest.fixture(scope="module")
def repository(first_run, tmp_path_factory):
    """The project on the digits, in which everything is up to date."""
    return copy_of(first_run, tmp_path_factory.mktemp("why") / "project")


def why(folder, status=0):
    """What `make why` prints in a folder: stage to text, and the last line."""
    command = [sys.executable, ROOT / "tools/why.py"]
    done = subprocess.run(command, cwd=folder, env=HERE, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    *lines, last = (done.stderr if status else done.stdout).splitlines()
    return {name: text.strip() for name, text in (line.split(" ", 1) for line in lines)}, last


def told(said, what):
    return [stage for stage, text in said.items() if text.startswith(what)]


def test_what_nothing_changed_in_runs_nothing(repository):
    assert why(repository) == ({}, "nothing changed: dvc repro runs nothing")
    assert ran(dvc(repository, "repro")) == []


def test_a_parameter_is_named_with_both_values_and_brought_back_by_the_cache(repository):
    before = change(repository, "surfaces", "target", 0.4)
    said, last = why(repository)
    assert said["surfaces"].endswith(" s: surfaces.target from 0.5 to 0.4")
    assert said["report"].endswith(" s: surfaces.target from 0.5 to 0.4")
    assert told(said, "runs, about") == ["surfaces", "report"]
    assert told(said, "is asked after surfaces: may run, about") == ["plots"]
    assert said["plots"].endswith("if data/surfaces.npz or reports/metrics/surfaces.json changes")
    assert told(said, "as it was") == ["download_mnist", "xor_train", "cnn_train", "evaluate"]
    assert last.startswith("dvc repro: 2 to run, about ")
    assert "; 1 to ask again, about " in last
    assert ran(dvc(repository, "repro")) == ["surfaces", "plots", "report"]

    (repository / "params.yaml").write_text(before)
    said, last = why(repository)
    assert said["surfaces"] == "comes from the cache: surfaces.target from 0.4 to 0.5"
    assert said["plots"].startswith("comes from the cache: data/surfaces.npz changes")
    assert told(said, "runs") == ["report"]
    assert last.startswith("dvc repro: 1 to run, about ")
    assert last.endswith("; 2 from the cache")
    output = dvc(repository, "repro")
    assert cached(output) == ["surfaces", "plots"]
    assert ran(output) == ["report"]
    assert why(repository)[0] == {}


def test_a_comment_in_a_file_runs_its_stage_and_those_after_it_are_asked(repository):
    file = repository / "stages/evaluate.py"
    before = file.read_text()
    file.write_text(before + "# a comment\n")
    said, _ = why(repository)
    assert said["evaluate"].endswith(" s: stages/evaluate.py changed")
    assert told(said, "runs") == ["evaluate"]
    assert said["plots"].startswith("is asked after evaluate: may run")
    assert said["plots"].endswith(
        "if data/predictions.csv or reports/metrics/evaluate.json changes"
    )
    assert said["report"].startswith("is asked after evaluate and plots: may run")
    assert said["report"].endswith("if data/predictions.csv or 3 more change")
    assert ran(dvc(repository, "repro")) == ["evaluate"]  # which wrote what it had written

    file.unlink()
    assert why(repository)[0]["evaluate"] == "cannot run: stages/evaluate.py is missing"
    assert why(repository)[1] == "dvc repro ends at evaluate"
    file.write_text(before)
    assert told(why(repository)[0], "comes from the cache") == ["evaluate"]
    assert cached(dvc(repository, "repro")) == ["evaluate"]


def test_a_deleted_output_is_brought_back_and_nothing_runs(repository):
    (repository / "data/xor.npz").unlink()
    said, last = why(repository)
    assert said == SAME | {"xor_train": "needs only dvc checkout: data/xor.npz is missing"}
    assert last == "dvc repro: nothing to run; 1 from the cache"
    dvc(repository, "checkout")
    assert why(repository)[0] == {}

    (repository / "reports/metrics/xor.json").unlink()  # which no checkout brings back
    said, _ = why(repository)
    missing = "comes from the cache: reports/metrics/xor.json is missing"
    assert said == SAME | {"xor_train": missing}
    output = dvc(repository, "repro")
    assert (ran(output), cached(output)) == ([], ["xor_train"])
    assert why(repository)[0] == {}


def test_in_a_clone_without_a_cache_all_of_it_runs_and_no_time_is_known(repository, tmp_path):
    subprocess.run(["git", "clone", "--quiet", repository, tmp_path / "clone"], check=True)
    said, last = why(tmp_path / "clone")
    assert said["xor_train"] == "runs: data/xor.npz is missing and data/xor.pth is missing"
    assert told(said, "runs: ") == [stage for stage in STAGES if stage != "report"]
    assert told(said, "is asked after") == ["report"]
    assert last == "dvc repro: 6 to run; 1 to ask again"
    assert ran(dvc(tmp_path / "clone", "repro", "surfaces")) == ["surfaces"]


def test_a_time_is_taken_of_what_succeeds_also_in_a_copy(repository):
    times = repository / ".dvc/tmp/times"
    assert {path.name for path in times.iterdir()} == {*STAGES}
    (times / "xor_train").unlink()
    before = change(repository, "xor", "lr", -1)
    dvc(repository, "repro", "xor_train", status=255)
    assert why(repository)[0]["xor_train"].startswith("runs: xor.lr from 0.1 to -1")
    (repository / "params.yaml").write_text(before)
    dvc(repository, "repro", "xor_train")

    dvc(repository, "exp", "run", "--temp", "-S", "xor.steps=61", "xor_train")
    assert 0 < float((times / "xor_train").read_text()) < 600
    assert why(repository)[0] == {}


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("params.yaml", "train: [", "params.yaml"),
        ("params.yaml", "train: {lr: 1}", "Parameters 'data' are missing from 'params.yaml'."),
        ("dvc.yaml", "stages: {xor: {cmd: a, outz: [b]}}", "'./dvc.yaml' validation failed: "),
        ("dvc.lock", "stages: [", "unable to read: 'dvc.lock', YAML file structure is corrupted"),
    ],
)
def test_a_file_that_is_wrong_is_one_line(repository, name, text, line):
    before = (repository / name).read_text()
    (repository / name).write_text(text)
    said, last = why(repository, status=1)
    (repository / name).write_text(before)
    assert said == {}
    assert line in last
