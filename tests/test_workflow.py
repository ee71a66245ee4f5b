"""The workflows pin their actions, have few permissions and call make."""

import re
import subprocess

import pytest
import yaml
from workspaces import ENV, ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


assert WORKFLOWS


def steps(workflow):
    """Every step of every job."""
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_to_commits_and_permissions_are_read_only(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    uses = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert uses
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in uses)
    assert workflow["permissions"] == {"contents": "read"}
    elevated = {name for name, job in workflow["jobs"].items() if "permissions" in job}
    assert elevated <= {"publish"}
    assert all(job["timeout-minutes"] for job in workflow["jobs"].values())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_commands_call_make_and_contain_no_expressions(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    commands = [step["run"] for step in steps(workflow) if "run" in step]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert all(command.split()[1] in targets for command in commands if command.startswith("make"))
    assert "make ci-report" in commands
    assert not any("${{" in command for command in commands)


def test_an_unknown_base_is_reported_before_the_pipeline_runs(tmp_path):
    command = ["make", "-f", ROOT / "Makefile", "READY=", "ci-report", "BASE=nope"]
    (tmp_path / "ci-report").mkdir()  # of an earlier run
    done = subprocess.run(command, cwd=tmp_path, env=ENV, capture_output=True, text=True)
    assert done.returncode != 0
    assert "BASE=nope: no such revision" in done.stdout
    assert "dvc repro" not in done.stdout
    assert not (tmp_path / "ci-report").exists()
