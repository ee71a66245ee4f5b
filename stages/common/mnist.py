"""The images that download_mnist keeps."""

import torch

from common.files import read_arrays

TRAIN, TEST = "data/mnist/train.npz", "data/mnist/test.npz"


def read_images(path):
    """Pixels (n, 28, 28) uint8 and labels (n,) int64, as tensors."""
    arrays = read_arrays(path)
    return torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"]).long()


def read_names(path):
    """The data set's name, and the names of its ten classes."""
    arrays = read_arrays(path)
    return str(arrays["dataset"]), arrays["classes"].tolist()
