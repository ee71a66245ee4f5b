"""The image files that download_mnist writes."""

import numpy as np

from common.files import read_arrays

TRAIN, TEST = "data/mnist/train.npz", "data/mnist/test.npz"
TITLES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "digits": "Digits",
}


def read_images(path):
    """Pixels (n, 28, 28) uint8 and labels (n,) int64."""
    arrays = read_arrays(path)
    return arrays["images"], arrays["labels"].astype(np.int64)


def read_names(arrays):
    """The data set's display name and the names of its ten classes."""
    name = str(arrays["dataset"])
    return TITLES.get(name, name), arrays["classes"].tolist()
