"""Attacks through data and parameters fail. test_params, test_files, test_evaluate and
test_report cover params.yaml, weights and the page.
"""

import ast
import hashlib
import io
import os
import re
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import pytest
import torch
from repositories import dvc, make_repository, run_tool
from workspaces import ROOT

from common.files import DamagedFileError, read_arrays
from training.checkpoint import Checkpoint

CODE = [*(ROOT / "stages").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
# Calls that run data as code; torch.load and yaml.load are checked separately.
DANGEROUS = {"eval", "exec", "__import__", "system", "popen", "getoutput", "extractall"}
MODULES = {"marshal", "shelve", "dill", "cloudpickle", "joblib", "tarfile"}


def calls(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node, getattr(node.func, "attr", getattr(node.func, "id", ""))


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.stem)
def test_no_script_runs_data_as_code_or_parameters_in_a_shell(path):
    for node, name in calls(path):
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        target = ast.unparse(node.func)
        if name in DANGEROUS and target != "self.eval":
            assert target.endswith(".eval"), target  # Module.eval takes no arguments
            assert not node.args
        assert "shell" not in keywords
        if target == "torch.load":
            assert ast.unparse(keywords["weights_only"]) == "True"
        if target in ("np.load", "numpy.load"):
            assert ast.unparse(keywords["allow_pickle"]) == "False"
        if target == "YAML":
            assert ast.unparse(keywords["typ"]) == "'safe'"
        assert target != "yaml.load"
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert not imported & MODULES


class Attack:
    def __reduce__(self):
        return os.mkdir, ("exploited",)


def test_pickled_code_in_arrays_does_not_run(workspace):
    np.savez("arrays.npz", images=np.array([Attack()], dtype=object))
    with pytest.raises(DamagedFileError, match=r"arrays\.npz: damaged"):
        read_arrays("arrays.npz")
    assert not Path("exploited").exists()


def test_pickled_code_in_a_checkpoint_does_not_run(workspace):
    buffer = io.BytesIO()
    torch.save({"model": Attack()}, buffer)
    path = Path(".dvc/tmp/training/k")
    path.parent.mkdir(parents=True)
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    with pytest.raises(UnpicklingError):
        Checkpoint("k").load()
    assert not Path("exploited").exists()


def test_no_shell_executes_a_parameter(tmp_path):
    folder = make_repository(tmp_path)
    attack = "train.optimizer='$(touch exploited);`touch exploited`|touch exploited'"
    assert run_tool("sweep", folder, "--seeds", "2", "-S", attack).returncode == 1
    assert not [*folder.rglob("exploited")]


def test_every_dependency_is_locked_by_hash():
    lock = (ROOT / "requirements.lock").read_text()
    blocks = re.findall(
        r"^([\w.-]+)==[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", lock, re.M
    )
    assert {name for name, _ in blocks} == {*re.findall(r"^([\w.-]+)==", lock, re.M)}
    assert "://" not in lock


def test_only_download_mnist_opens_connections():
    """Its addresses come from torchvision and the environment, never from data."""
    opening = {
        path.stem
        for path in CODE
        for _, name in calls(path)
        if name in ("urlopen", "urlretrieve", "socket", "create_connection")
    }
    assert opening == {"download_mnist"}


def test_dvc_runs_no_command_in_a_stage_name(tmp_path):
    folder = make_repository(tmp_path)
    failed = dvc(folder, "repro", "surfaces;touch exploited", status=255)
    assert "not found inside 'dvc.yaml'" in failed
    assert not [*folder.rglob("exploited")]
