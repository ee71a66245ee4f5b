"""Locale, kind of clone and line endings change no result. test_kills covers folder names."""

import os
import subprocess

import pytest
from repositories import copy_of, dvc, git, tracked_bytes
from test_pipeline import STAGES, ran
from workspaces import ENV


@pytest.fixture(scope="module")
def original(first_run, tmp_path_factory):
    return copy_of(first_run, tmp_path_factory.mktemp("platforms") / "original")


@pytest.mark.full
def test_a_shallow_clone_without_a_cache_computes_the_same_results(original, tmp_path):
    folder = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth", "1", original.as_uri(), folder)
    assert "cnn_train" in dvc(folder, "status")
    assert {*ran(dvc(folder, "repro"))} == {*STAGES} - {"report"}  # Git tracks the page
    assert tracked_bytes(folder) == tracked_bytes(original)
    assert "lr" in dvc(folder, "exp", "run", "--temp", "--name", "lr", "-S", "train.lr=0.03")


@pytest.mark.full
@pytest.mark.skipif(os.name != "posix", reason="locales are set by the environment on POSIX")
def test_a_locale_without_unicode_changes_no_result(original, tmp_path):
    folder = tmp_path / "plain"
    git(tmp_path, "clone", "--quiet", original, folder)
    locale = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        ["dvc", "repro", "--quiet"], cwd=folder, env=ENV | locale, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert tracked_bytes(folder) == tracked_bytes(original)


def test_a_checkout_with_autocrlf_keeps_the_line_endings_of_the_repository(original, tmp_path):
    folder = tmp_path / "windows"
    git(tmp_path, "-c", "core.autocrlf=true", "clone", "--quiet", original, folder)
    code = [*folder.rglob("*.py"), folder / "params.yaml", folder / "dvc.yaml", folder / "dvc.lock"]
    assert not [path for path in code if b"\r\n" in path.read_bytes()]
    git(folder, "config", "core.autocrlf", "true")
    assert ran(dvc(folder, "repro", "surfaces")) == ["surfaces"]  # only its output is missing
    assert git(folder, "status", "--porcelain") == ""
