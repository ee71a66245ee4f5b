"""Folders with small parameters and images, in which tests run stages."""

import os
import runpy
import shutil
import signal
import sys
from contextlib import chdir
from pathlib import Path

import numpy as np
import yaml

from common.files import write_arrays
from common.mnist import TEST, TRAIN
from common.params import validate
from common.results import write_metrics
from common.stage import describe_run

ROOT = Path(__file__).resolve().parent.parent


def isolate():
    """Remove settings of an outer make, a Git hook, DVC, Dask and the user from the environment."""
    make = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}  # `make test` exports them to child processes
    for name in make & {*os.environ}:
        del os.environ[name]
    for name in {*os.environ} - {"GIT_EXEC_PATH", "MPLCONFIGDIR"}:
        if name.startswith(("DASK_", "DVC_", "GIT_", "MATPLOTLIB", "MPL", "PYTHON")):
            del os.environ[name]
    os.environ |= dict.fromkeys(("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"), os.devnull)
    os.environ |= dict.fromkeys(("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"), "/nonexistent")
    os.umask(0o022)
    # Shells start background jobs with SIGINT ignored, and child processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


isolate()
# Finds `python` and `dvc` of this virtual environment.
ENV = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
SMALL = {
    "data": {"dataset": "digits"},
    "surfaces": {"points": 12, "steps": 3000},
    "xor": {"steps": 60, "snapshot_every": 20, "starts": 30},
    "train": {"epochs": 2, "batch_size": 16, "lr": 0.02, "precision": "float32"},
    "evaluate": {"batch_size": 20},
    "plots": {"dpi": 30, "errors": 4},
    "report": {"points": 8},
}
INPUTS = ("dvc.yaml", "params.schema.json")


def small_params():
    """params.yaml with the values of SMALL, so a run takes seconds."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section, changes in SMALL.items():
        params[section] |= changes
    return params


def train(**changes):
    """Run cnn_train in the current folder, with small parameters."""
    import cnn_train

    metrics = cnn_train.main(**validate(cnn_train.main, small_params()["train"] | changes))
    write_metrics("train", metrics)
    return metrics


def prepare(folder):
    """Write params.yaml with small parameters, and copy the other files that a stage reads."""
    (folder / "params.yaml").write_text(yaml.safe_dump(small_params()))
    for name in INPUTS:
        shutil.copy(ROOT / name, folder)


def write_images():
    """Write 200 training and 100 test images of ten easy classes in download_mnist's format."""
    rng = np.random.default_rng(0)
    classes = np.array([str(digit) for digit in range(10)])
    for path, count in ((TRAIN, 200), (TEST, 100)):
        labels = np.arange(count, dtype=np.uint8) % 10
        pixels = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for pixel, label in zip(pixels, labels, strict=True):
            pixel[2 * label : 2 * label + 6, 4:24] += 180
        write_arrays(path, images=pixels, labels=labels, classes=classes, dataset="digits")


def compute(folder):
    """Run every stage but report in a folder, on the small data set."""
    prepare(folder)
    with chdir(folder):
        write_images()
        images = describe_run("download_mnist", "data", SMALL["data"], {})
        write_metrics("data", {"train_images": 200, "test_images": 100}, images)
        for stage in ("surfaces", "xor_train", "cnn_train", "evaluate", "plots"):
            assert run_stage(stage) == 0


def outputs(written):
    """The files written by stages, without checkpoints: path to bytes."""
    return {name: content for name, content in written().items() if not name.startswith(".dvc")}


def remove(results):
    """Delete the outputs of a training run and keep the images."""
    for name in results:
        if not name.startswith("data/mnist"):
            Path(name).unlink()


def run_stage(stage):
    """Run a stage like `python stages/STAGE.py`, but in this process; return its exit status."""
    try:
        runpy.run_path(str(ROOT / f"stages/{stage}.py"), run_name="__main__")
    except SystemExit as ended:
        return ended.code
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return 0
