"""The page loads each of its scripts; they are short and free of lint."""

import json
import shutil
import subprocess

import pytest
from workspaces import ROOT

import report

FOLDER = ROOT / "stages/page/scripts"
SCRIPTS = sorted(FOLDER.glob("*.js"))
OXLINT = {
    "env": {"browser": True, "es2024": True},
    "categories": {"correctness": "error", "suspicious": "error"},
    "rules": {
        "no-undef": "error",
        "prefer-const": "error",
        "unicorn/consistent-function-scoping": "off",  # helpers stay next to their use
    },
}


def test_the_page_loads_every_script_and_every_style():
    assert {path.stem for path in SCRIPTS} == {*report.SCRIPTS}
    assert {path.stem for path in (ROOT / "stages/page/styles").glob("*.css")} == {*report.STYLES}


def test_every_script_has_at_most_200_lines():
    lengths = {path.name: len(path.read_text().splitlines()) for path in SCRIPTS}
    assert {name: lines for name, lines in lengths.items() if lines > 200} == {}


@pytest.mark.skipif(not shutil.which("oxlint"), reason="no oxlint: make setup installs it")
def test_oxlint_reports_no_errors_in_the_joined_scripts(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(OXLINT))
    joined = tmp_path / "page.js"
    joined.write_text("\n".join((FOLDER / f"{name}.js").read_text() for name in report.SCRIPTS))
    command = ["oxlint", "--config", tmp_path / "config.json", joined]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
