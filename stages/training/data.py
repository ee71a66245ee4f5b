"""The splits of the data set and the order in which training visits the images."""

import numpy as np
import torch

from common.mnist import TEST, TRAIN, read_images
from common.params import ParameterError


def read_splits(validation, device):
    """Images (n, 28, 28) uint8 and labels (n,) int64 of each split on the device: train, val, test.

    val, possibly empty, has the same images for all seeds.
    """
    (images, labels), test = (
        [torch.from_numpy(array).to(device) for array in read_images(path)]
        for path in (TRAIN, TEST)
    )
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)).to(device)
    val, train = order.tensor_split([round(validation * len(labels))])
    parts = {"train": (images[train], labels[train]), "val": (images[val], labels[val])}
    return parts | {"test": test}


def count_batches(count, batch_size):
    """The number of complete batches per epoch; ParameterError if it is zero."""
    if batch_size > count:
        limit = f"should be at most {count:,}, the number of training images"
        raise ParameterError("train.batch_size", f"{limit}, got {batch_size}")
    return count // batch_size


def shuffled_batches(count, batch_size, seed, epoch, device="cpu"):
    """Complete batches of the indices 0 … count - 1, shuffled by (seed, epoch).

    The incomplete last batch is dropped: BatchNorm cannot train on a single image.
    """
    # NumPy hashes both numbers; torch's CPU generator uses only the low 32 bits of a seed.
    order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(count)).to(device)
    return order[: count - count % batch_size].split(batch_size)


def epoch_generator(seed, epoch, device):
    """A generator seeded by (seed, epoch), so checkpoints need no random state."""
    mixed = np.random.SeedSequence([seed, epoch]).generate_state(1)[0]
    return torch.Generator(device).manual_seed(int(mixed))
