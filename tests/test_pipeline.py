"""dvc.yaml matches the code; `dvc repro` runs exactly the outdated stages."""

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from repositories import copy_of, dvc, tracked_bytes
from workspaces import ENV, INPUTS, ROOT, small_params

from common.params import validate
from common.stage import list_paths

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = PIPELINE["stages"]


def local_imports(path):
    """The files under stages/ that a file imports, directly or indirectly."""
    tree, files = ast.parse(path.read_text(encoding="utf-8")), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            file = ROOT / "stages" / f"{name.replace('.', '/')}.py"
            if file.exists():
                files |= {file} | local_imports(file)
    return files


def quoted_sources():
    """The scripts whose functions the page quotes."""
    templates = (ROOT / "stages/page").glob("*.html")
    text = "".join(path.read_text(encoding="utf-8") for path in templates)
    return {*re.findall(r'code_of\("(stages/[^"]+)"', text)}


def section_of(stage):
    """The section of params.yaml that a stage passes to run()."""
    tree = ast.parse((ROOT / f"stages/{stage}.py").read_text(encoding="utf-8"))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    (section,) = (
        keyword.value.value
        for call in calls
        if getattr(call.func, "id", "") == "run"
        for keyword in call.keywords
    )
    return section


def test_each_script_is_a_stage():
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")}
    assert scripts == {*STAGES}
    assert all(STAGES[name]["cmd"] == f"python stages/{name}.py" for name in STAGES)
    assert all(STAGES[name]["desc"] for name in STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_the_dependencies_of_a_stage_match_its_imports(stage):
    script = ROOT / f"stages/{stage}.py"
    code = {path.relative_to(ROOT).as_posix() for path in {script} | local_imports(script)}
    if stage == "plots":
        code |= {"stages/figures.mplstyle", "stages/figures_dark.mplstyle"}
    if stage == "report":
        code = {path for path in code if not path.startswith("stages/page/")} | {"stages/page"}
        code |= quoted_sources()
    assert {dep for dep in STAGES[stage]["deps"] if dep.startswith("stages/")} == code


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_parameters_of_its_main(stage):
    section = section_of(stage)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    quoted = {*params} if stage == "report" else {section}
    assert {*STAGES[stage]["params"]} == quoted
    parameters = inspect.signature(import_module(stage).main).parameters
    assert {*params[section]} == {*parameters}
    assert all(p.default is inspect.Parameter.empty for p in parameters.values())


@pytest.fixture
def opened():
    """The files that this process opens for reading, in order."""
    record, recording = [], True

    def hook(event, arguments):
        if recording and event == "open" and "r" in (arguments[1] or ""):
            record.append(arguments[0])

    sys.addaudithook(hook)
    yield record
    recording = False  # a hook cannot be removed


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_only_declared_files(stage, results, opened):
    main = import_module(stage).main
    main(**validate(main, small_params()[section_of(stage)]))
    read = {Path(os.path.relpath(path)) for path in opened if not isinstance(path, int)}
    inputs = {path for path in read if path.parts[0] in ("data", "reports")}
    declared = {Path(dep) for dep in STAGES[stage]["deps"]}
    assert [path for path in inputs if not declared & {path, *path.parents}] == []
    assert inputs or not any(path.parts[0] == "data" for path in declared)


def test_every_parameter_belongs_to_a_stage_and_has_a_comment():
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert {*yaml.safe_load(text)} == {section_of(stage) for stage in STAGES}
    assert all("#" in line for line in text.splitlines() if line.startswith("  "))


def test_stages_and_plots_read_files_that_a_stage_writes():
    kinds = "outs", "metrics", "plots"
    outputs = {str(path) for stage in STAGES.values() for path in list_paths(stage, *kinds)}
    read = {dep for stage in STAGES.values() for dep in stage["deps"]}
    assert {path for path in read if not path.startswith("stages/")} <= outputs | {*INPUTS}
    drawn = {path for plot in PIPELINE["plots"] for path in next(iter(plot.values()))["y"]}
    assert drawn <= outputs


@pytest.fixture(scope="module")
def repository(first_run, tmp_path_factory):
    """The project on the digits, after its first run, in a folder with a space in its name."""
    return copy_of(first_run, tmp_path_factory.mktemp("pipeline") / "a project")


def change(folder, section, name, value):
    """Set one parameter; return the previous text of params.yaml."""
    before = (folder / "params.yaml").read_text()
    params = yaml.safe_load(before)
    params[section][name] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return before


def ran(output):
    """The stages that DVC ran, from its output."""
    return [stage for stage in STAGES if f"Running stage '{stage}'" in output]


def cached(output):
    """The stages that DVC restored from its cache, from its output."""
    return [stage for stage in STAGES if f"Stage '{stage}' is cached - skipping run" in output]


def test_the_first_repro_runs_every_stage_and_the_second_runs_none(first_run, tmp_path):
    assert ran(first_run["output"]) == [*STAGES]
    folder = shutil.copytree(first_run["folder"], tmp_path / "a project", symlinks=True)
    assert ran(dvc(folder, "repro")) == []


@pytest.mark.slow
def test_repro_runs_only_outdated_stages(repository):
    first = tracked_bytes(repository)

    before = change(repository, "train", "lr", 0.01)
    assert ran(dvc(repository, "repro")) == ["cnn_train", "evaluate", "plots", "report"]
    assert tracked_bytes(repository) != first
    assert "val_acc" in dvc(repository, "metrics", "show")

    (repository / "params.yaml").write_text(before)
    again = dvc(repository, "repro")
    assert cached(again) == ["cnn_train", "evaluate", "plots"]
    assert ran(again) == ["report"]  # Git tracks its output, so DVC does not cache it
    assert tracked_bytes(repository) == first

    change(repository, "train", "lr", -1)
    refused = dvc(repository, "repro", status=255)
    assert "params.yaml: train.lr: should be greater than 0, got -1" in refused
    assert "Traceback" not in refused
    (repository / "params.yaml").write_text(before)
    assert ran(dvc(repository, "repro")) == []
    assert tracked_bytes(repository) == first


@pytest.mark.full
def test_make_ci_report_shows_what_changed_on_a_branch(repository):
    before = change(repository, "surfaces", "target", 0.4)
    (repository / "tools").symlink_to(ROOT / "tools")
    command = ["make", "-f", ROOT / "Makefile", "ci-report", "READY=", "ACTIVE=", "BASE=HEAD"]
    subprocess.run(command, cwd=repository, env=ENV, check=True)
    (repository / "params.yaml").write_text(before)

    summary = (repository / "ci-report/summary.md").read_text()
    assert re.search(r"\| params.yaml +\| surfaces.target +\| 0.5 +\| 0.4 ", summary)
    assert re.search(r"\| reports/metrics/surfaces.json +\| l2_sum +\| [\d.]+ +\| [\d.]+", summary)
    assert "xor" not in summary
    assert "0.4" in (repository / "ci-report/index.html").read_text(encoding="utf-8")
    assert (repository / "ci-report/plots/index.html").exists()
    model = repository / "data/network/model.pth"
    assert (repository / "ci-report/model.pth").read_bytes() == model.read_bytes()
