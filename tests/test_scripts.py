"""The page's scripts as files: they parse, they are small, and the page loads all of them."""

import shutil
import subprocess

import pytest
from conftest import ROOT

import report

SCRIPTS = sorted((ROOT / "stages/page/scripts").glob("*.js"))


def test_the_page_loads_every_script_and_every_style():
    assert {path.stem for path in SCRIPTS} == {*report.SCRIPTS}
    assert {path.stem for path in (ROOT / "stages/page/styles").glob("*.css")} == {*report.STYLES}


@pytest.mark.skipif(not shutil.which("node"), reason="no Node.js is installed")
def test_the_scripts_parse_together_in_strict_mode(tmp_path):
    joined = tmp_path / "page.js"
    joined.write_text("\n".join(path.read_text() for path in map(find, report.SCRIPTS)))
    done = subprocess.run(["node", "--check", joined], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def find(name):
    return ROOT / f"stages/page/scripts/{name}.js"
