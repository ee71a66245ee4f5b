"""A changed parameter or file under stages/ outdates exactly the stages that depend on it,
according to imports, signatures and file names.
"""

import inspect
import subprocess
from importlib import import_module

import pytest
import yaml
from dvc.repo import Repo
from repositories import copy_of
from test_pipeline import STAGES, change, local_imports, quoted_sources, section_of
from workspaces import ROOT

STYLES = ("stages/figures.mplstyle", "stages/figures_dark.mplstyle")
FILES = sorted(
    subprocess.run(
        ["git", "ls-files", "stages"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
)
PARAMETERS = [
    (section_of(stage), name)
    for stage in STAGES
    for name in inspect.signature(import_module(stage).main).parameters
]


def sample(cases):
    """Mark all but every eighth case as full. test_pipeline.py compares dvc.yaml with the code."""
    rows = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [
        pytest.param(*row, marks=pytest.mark.full if i % 8 else ()) for i, row in enumerate(rows)
    ]


def readers_of(path):
    """The stages that import, quote or draw with a file."""
    if path.startswith("stages/page/"):
        return {"report"}
    if path in STYLES:
        return {"plots"}
    scripts = {stage: ROOT / f"stages/{stage}.py" for stage in STAGES}
    quoting = {"report"} if path in quoted_sources() else set()
    return quoting | {
        stage
        for stage, script in scripts.items()
        if ROOT / path in {script} | local_imports(script)
    }


@pytest.fixture(scope="module")
def repository(first_run, tmp_path_factory):
    return copy_of(first_run, tmp_path_factory.mktemp("staleness") / "project")


def outdated_stages(folder):
    """The stages whose parameters or files differ from dvc.lock."""
    with Repo(str(folder)) as repo:
        return {name.rpartition(":")[2] for name in repo.status()}


def test_every_file_has_a_reader():
    assert [path for path in FILES if not readers_of(path)] == []


@pytest.mark.parametrize(("section", "name"), sample(PARAMETERS))
def test_a_changed_parameter_outdates_its_stage_and_the_page(repository, section, name):
    before = change(repository, section, name, "another value")
    outdated = outdated_stages(repository)
    (repository / "params.yaml").write_text(before)
    assert outdated == {stage for stage in STAGES if section_of(stage) == section} | {"report"}
    assert outdated_stages(repository) == set()


@pytest.mark.parametrize("path", sample(FILES))
def test_a_changed_file_outdates_exactly_its_readers(repository, path):
    file = repository / path
    before = file.read_bytes()
    comment = {".html": b"<!-- changed -->\n", ".css": b"/* changed */\n", ".js": b"// changed\n"}
    file.write_bytes(before + comment.get(file.suffix, b"# changed\n"))
    outdated = outdated_stages(repository)
    file.write_bytes(before)
    assert outdated == readers_of(path)
    assert outdated_stages(repository) == set()


def test_stages_depend_on_no_other_code():
    declared = {dep for stage in STAGES.values() for dep in stage["deps"]}
    folders = {dep for dep in declared if (ROOT / dep).is_dir()}
    code = {dep for dep in declared if dep.startswith("stages/")} - folders
    assert code == {path for path in FILES if not path.startswith(tuple(f"{f}/" for f in folders))}
    assert {section for stage in STAGES.values() for section in stage["params"]} == {
        *yaml.safe_load((ROOT / "params.yaml").read_text())
    }
