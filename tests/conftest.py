"""What tests share: a workspace with small parameters, and a small data set."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from common.files import write_arrays
from common.mnist import TEST, TRAIN

ROOT = Path(__file__).resolve().parent.parent
SMALL = {
    "surfaces": {"points": 12},
    "xor": {"steps": 60, "snapshot_every": 20, "starts": 30},
    "train": {"epochs": 2, "batch_size": 16, "lr": 0.003, "precision": "float32"},
    "plots": {"dpi": 30, "mistakes": 4},
}


def small_params():
    """params.yaml, with numbers that take seconds instead of minutes."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section, changes in SMALL.items():
        params[section] |= changes
    return params


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """An empty folder to run stages in, with params.yaml, as the current one."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(small_params()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def images(workspace):
    """Two hundred images of ten easy classes, in the files that download_mnist writes."""
    rng = np.random.default_rng(0)
    classes = np.array([str(digit) for digit in range(10)])
    for path, count in ((TRAIN, 200), (TEST, 100)):
        labels = np.arange(count, dtype=np.uint8) % 10
        pixels = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for pixel, label in zip(pixels, labels, strict=True):
            pixel[2 * label : 2 * label + 6, 4:24] += 180
        write_arrays(path, images=pixels, labels=labels, classes=classes, dataset="digits")
    return workspace


@pytest.fixture
def written(workspace):
    """A function: every file of the workspace but params.yaml, path to bytes."""

    def read():
        files = (path for path in workspace.rglob("*") if path.is_file())
        return {
            path.relative_to(workspace).as_posix(): path.read_bytes()
            for path in files
            if path.name != "params.yaml"
        }

    return read


def copy_project(folder):
    """The project as it stands in the working tree, without what it made, in a new folder."""
    for name in (".gitattributes", ".gitignore", "dvc.yaml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(
        ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc")
    (folder / "params.yaml").write_text(yaml.safe_dump(small_params()))
