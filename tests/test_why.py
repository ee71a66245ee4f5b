"""`make why` predicts what `dvc repro` runs."""

import json
import logging
import runpy
import shutil
import subprocess
from importlib.metadata import version

import pytest
import yaml
from dvc.exceptions import ReproductionError
from dvc.repo import Repo
from repositories import copy_of, dvc, git
from test_pipeline import STAGES, change
from workspaces import ENV, ROOT

import why

NOTHING = "nothing changed: dvc repro runs nothing"


@pytest.fixture(scope="module")
def repository(first_run, tmp_path_factory):
    """The project on the digits with everything up to date."""
    return copy_of(first_run, tmp_path_factory.mktemp("why") / "project")


@pytest.fixture
def predict(monkeypatch, capsys):
    """Return a function that runs `make why` in a folder and returns its output: stage to text, and
    the last line.
    """
    monkeypatch.setattr(logging.getLogger("dvc"), "handlers", [])

    def predict(folder):
        monkeypatch.chdir(folder)
        capsys.readouterr()
        why.main()
        *lines, last = capsys.readouterr().out.splitlines()
        return {name: text.strip() for name, text in (line.split(" ", 1) for line in lines)}, last

    return predict


def test_a_changed_parameter_outdates_its_stages_and_later_stages_may_rerun(repository, predict):
    assert predict(repository) == ({}, NOTHING)
    for stage in STAGES:
        (repository / f".dvc/tmp/times/{stage}").write_text("150" if stage == "plots" else "2")
    before = change(repository, "surfaces", "target", 0.4)
    with open(repository / "stages/surfaces.py", "a") as file:
        file.write("# a comment\n")
    predicted, last = predict(repository)
    reason = "stages/surfaces.py changed, surfaces.target from 0.5 to 0.4"
    assert predicted == dict.fromkeys(STAGES, "up to date") | {
        "surfaces": f"outdated, about 2 s: {reason}",
        "plots": "may rerun, about 2 min, depending on surfaces",
        "report": f"outdated, about 2 s: {reason}",
    }
    assert last == "dvc repro: 2 outdated, about 4 s; 1 may rerun, about 2 min"
    (repository / ".dvc/tmp/times/report").unlink()
    assert predict(repository)[1].startswith("dvc repro: 2 outdated; ")
    git(repository, "restore", "stages")
    (repository / "params.yaml").write_text(before)


@pytest.mark.full
def test_the_duration_of_a_successful_run_is_saved_even_in_a_temporary_copy(repository):
    times = repository / ".dvc/tmp/times"
    (times / "xor_train").unlink()
    before = change(repository, "xor", "lr", -1)
    dvc(repository, "repro", "xor_train", status=255)
    assert not (times / "xor_train").exists()
    (repository / "params.yaml").write_text(before)
    dvc(repository, "exp", "run", "--temp", "-S", "xor.steps=61", "xor_train")
    assert 0 < float((times / "xor_train").read_text()) < 600


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The current folder: a repository with user data and stages of every kind."""
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    for name in ("data/raw/extra.txt", "import.txt", "sub/code.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    with Repo.init() as repo:
        repo.add("data/raw/extra.txt")
        repo.imp_url("import.txt", "data/imported.txt")
    pipeline = """
      first: {cmd: cp data/raw/extra.txt a.txt, deps: [data/raw/extra.txt], outs: [a.txt]}
      check: {cmd: cat a.txt, deps: [a.txt]}
      inside: {cmd: cp ../a.txt o.txt, wdir: sub, deps: [../a.txt, code.txt], outs: [o.txt]}
      alone: {cmd: echo > alone.txt, outs: [alone.txt]}
      reads:
        {cmd: cp data/imported.txt b.txt, deps: [data/imported.txt], params: [x], outs: [b.txt]}
    """
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": yaml.safe_load(pipeline)}))
    (tmp_path / "params.yaml").write_text("x: 1\n")
    return tmp_path


def reproduce():
    """Run `dvc repro`; return the names of the stages it ran or restored from the cache."""
    with Repo() as repo:
        return {stage.addressing for stage in repo.reproduce()}


def test_reruns_of_user_stages_and_data_are_predicted(project, predict):
    predicted, _ = predict(project)
    new = {name for name, text in predicted.items() if text == "outdated: not in dvc.lock"}
    assert new == {"first", "check", "inside", "reads"}
    assert predicted["alone"] == "outdated: alone.txt is missing"
    assert reproduce() == new | {"alone"}
    assert predict(project) == ({}, NOTHING)
    untracked = git(project, "status", "--porcelain", "--untracked-files=all").splitlines()
    assert "?? data/raw/extra.txt.dvc" in untracked
    assert not {"?? data/raw/extra.txt", "?? data/imported.txt", "?? a.txt"} & {*untracked}

    (project / "data/raw/extra.txt").unlink()  # it may be a link into the cache
    (project / "data/raw/extra.txt").write_text("2")
    (project / "b.txt").unlink()
    predicted, last = predict(project)
    assert predicted == {
        "data/raw/extra.txt.dvc": "changed data: data/raw/extra.txt changed",
        "first": "outdated: data/raw/extra.txt changed",
        "check": "may rerun, depending on first",
        "inside": "may rerun, depending on first",
        "alone": "up to date",
        "data/imported.txt.dvc": "up to date",
        "reads": "restored from the cache: b.txt is missing",
    }
    assert last == "dvc repro: 1 changed data; 1 outdated; 2 may rerun; 1 restored from the cache"
    assert reproduce() == {"data/raw/extra.txt.dvc", "first", "check", "inside", "reads"}

    (project / "data/raw/extra.txt").unlink()
    (project / "data/raw/extra.txt").write_text("1")
    predicted, _ = predict(project)
    assert predicted["first"] == "restored from the cache: data/raw/extra.txt changed"
    assert predicted["inside"] == "may rerun, depending on first"
    assert reproduce() == {"data/raw/extra.txt.dvc", "first", "check", "inside"}

    for name in ("a.txt", "sub/o.txt"):
        (project / name).unlink()
    predicted, _ = predict(project)
    assert predicted["first"] == "restored from the cache: a.txt is missing"
    assert predicted["inside"] == "restored from the cache: sub/o.txt is missing"
    assert reproduce() == {"first", "inside"}

    shutil.rmtree(project / ".dvc/cache")
    (project / "a.txt").unlink()
    predicted, _ = predict(project)
    assert predicted["check"] == "may rerun, depending on first"


def test_a_long_list_of_reasons_is_shortened():
    assert why.join("abcabde") == "a, b, c and 2 more"


def test_another_torch_version_is_reported_but_outdates_no_stage(project, predict):
    reproduce()
    file, installed = project / "reports/metrics/train.json", version("torch").partition("+")[0]
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"machine": [{"torch": "2.0.1+cu118"}]}))
    predicted, last = predict(project)
    assert " ".join(*predicted.items()) == NOTHING
    assert last.startswith(f"trained with torch 2.0.1, installed: {installed}; ")
    assert last.endswith("dvc repro --force --single-item cnn_train")
    for text in (f'{{"machine": [{{"torch": "{installed}+cpu"}}]}}', "[", "{}", "null"):
        file.write_text(text)
        assert why.changed_torch() == ""


def test_missing_inputs_and_frozen_stages_are_predicted(project, predict):
    reproduce()
    for name in ("a.txt", "alone.txt", "data/imported.txt", "sub/code.txt"):
        (project / name).unlink()
    (project / "params.yaml").write_text("y: 1\n")
    predicted, last = predict(project)
    assert predicted == {
        "data/raw/extra.txt.dvc": "up to date",
        "first": "restored from the cache: a.txt is missing",
        "check": "up to date",  # DVC restores its input
        "inside": "cannot run: sub/code.txt is missing",
        "alone": "outdated: alone.txt is missing",
        "data/imported.txt.dvc": "cannot run: data/imported.txt is missing",
        "reads": "cannot run: x is missing",
    }
    assert last == "dvc repro fails at inside"
    with Repo() as repo:
        repo.freeze("inside")
    predicted, last = predict(project)
    assert predicted["inside"] == "up to date"
    assert last == "dvc repro fails at data/imported.txt.dvc"
    with pytest.raises(ReproductionError, match="data/imported"):
        reproduce()


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("params.yaml", "x: [", "params.yaml"),
        ("dvc.yaml", "stages: {xor: {cmd: a, outz: [b]}}", "'./dvc.yaml' validation failed"),
        ("dvc.lock", "stages: [", "dvc.lock"),
    ],
)
def test_an_invalid_file_is_reported_in_one_line(project, predict, name, text, line):
    (project / name).write_text(text)
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(why.__file__, run_name="__main__")
    assert line in stopped.value.code
    assert len(stopped.value.code.splitlines()) == 1


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
def test_git_ignores_outputs_but_no_dvc_file(path, ignored):
    command = ["git", "check-ignore", "--quiet", "--no-index", path]
    assert (subprocess.run(command, cwd=ROOT, env=ENV).returncode == 0) == ignored
