"""The image files that download_mnist writes."""

import os
from pathlib import Path

import numpy as np

from common.files import read_arrays

TRAIN, TEST = "data/mnist/train.npz", "data/mnist/test.npz"
TITLES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "digits": "Digits",
}


def absolute_mirror():
    """{"MNIST_MIRROR": URL}, the user's mirror of the images; {} if it is not set.

    A relative folder starts at the root of the project. `dvc exp run --temp` and `--queue` run in a
    copy; DVC_ROOT is the original root.
    """
    mirror = os.environ.get("MNIST_MIRROR", "")
    if mirror and ":/" not in mirror:
        folder = Path(os.environ.get("DVC_ROOT", "")) / Path(mirror).expanduser()
        mirror = folder.resolve().as_uri()
    return {"MNIST_MIRROR": mirror} if mirror else {}


def read_images(path):
    """Pixels (n, 28, 28) uint8 and labels (n,) int64."""
    arrays = read_arrays(path)
    return arrays["images"], arrays["labels"].astype(np.int64)


def read_names(arrays):
    """The data set's display name and the names of its ten classes."""
    name = str(arrays["dataset"])
    return TITLES.get(name, name), arrays["classes"].tolist()
