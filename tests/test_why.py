"""`make why`, and whether `dvc repro` then does what it said."""

import subprocess
import sys

import pytest
import yaml
from conftest import HERE, ROOT, copy_of, dvc, git
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
    assert told(said, "runs") == ["evaluate", "report"]  # the page quotes the stage
    assert said["plots"].startswith("is asked after evaluate: may run")
    assert said["plots"].endswith(
        "if data/predictions.csv or reports/metrics/evaluate.json changes"
    )
    assert said["report"].endswith(" s: stages/evaluate.py changed")
    assert ran(dvc(repository, "repro")) == ["evaluate", "report"]  # the same results as before

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


def test_stages_and_files_that_users_add_are_foretold_too(tmp_path):
    """Data of their own, and stages without outputs, without inputs or in another folder."""
    git(tmp_path, "init", "--quiet")
    dvc(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    for name in ("data/raw/extra.txt", "import.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    (tmp_path / "sub").mkdir()
    dvc(tmp_path, "add", "data/raw/extra.txt")
    dvc(tmp_path, "import-url", "import.txt", "data/imported.txt")
    stages = {
        "mine": (
            "cp data/raw/extra.txt out.txt",
            {"deps": ["data/raw/extra.txt"], "outs": ["out.txt"]},
        ),
        "check": ("cat out.txt", {"deps": ["out.txt"]}),
        "inside": (
            "cp ../out.txt o.txt",
            {"wdir": "sub", "deps": ["../out.txt"], "outs": ["o.txt"]},
        ),
        "alone": ("echo > alone.txt", {"outs": ["alone.txt"]}),
        "reads": (
            "cat data/imported.txt > read.txt",
            {"deps": ["data/imported.txt"], "outs": ["read.txt"]},
        ),
    }
    pipeline = {name: {"cmd": cmd, **rest} for name, (cmd, rest) in stages.items()}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": pipeline}))
    added = {"mine", "inside", "alone", "reads"}
    assert {*told(why(tmp_path)[0], "runs: not in dvc.lock")} == added
    dvc(tmp_path, "repro")
    assert why(tmp_path) == ({}, "nothing changed: dvc repro runs nothing")
    found = git(tmp_path, "status", "--porcelain", "--untracked-files=all")
    assert "data/raw/extra.txt.dvc" in found
    assert not {"?? data/raw/extra.txt", "?? data/imported.txt", "?? out.txt"} & {
        *found.splitlines()
    }

    (tmp_path / "data/raw/extra.txt").write_text("2")
    (tmp_path / "alone.txt").unlink()
    said, _ = why(tmp_path)
    assert said["data/raw/extra.txt.dvc"] == "runs: data/raw/extra.txt changed"
    assert said["mine"] == "runs: data/raw/extra.txt changes"
    assert said["inside"] == "is asked after mine: may run, if out.txt changes"
    assert said["alone"] == "runs: alone.txt is missing"
    assert told(said, "as it was") == ["data/imported.txt.dvc", "reads"]
    happened = dvc(tmp_path, "repro")
    for name in ("mine", "check", "inside", "alone"):
        assert f"Running stage '{name}'" in happened
    (tmp_path / "data/imported.txt").unlink()
    assert why(tmp_path)[1] == "dvc repro ends at data/imported.txt.dvc"
    dvc(tmp_path, "repro", status=255)


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("data/mnist/train.npz", True),
        ("data/plots_dark/cut.png", True),
        ("data/mine/raw.csv", True),
        ("data/mine/raw.csv.dvc", False),
        ("data/raw.csv.dvc", False),
        ("data/mine/.gitignore", False),
        (".venv", True),
        (".venvs/0123/bin/python", True),
        ("demo/dvc.yaml", True),
    ],
)
def test_git_ignores_what_stages_write_and_no_dvc_file(path, ignored):
    command = ["git", "check-ignore", "--quiet", "--no-index", path]
    assert (subprocess.run(command, cwd=ROOT, env=HERE).returncode == 0) == ignored
