"""Fetch, verify and unpack a data set of 28 × 28 images in ten classes.

reads   params.yaml: data
        MNIST_MIRROR          environment: a folder, or an http, https or file address, that
                              holds the data set's four files; it is tried before the public ones
writes  data/mnist/train.npz  images (n, 28, 28) uint8, labels (n,) uint8, classes (10,) their
        data/mnist/test.npz   names, dataset () the data set's name
"""

import gzip
import hashlib
import math
import os
import time
import zlib
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
from tqdm import tqdm

from common.files import write_arrays
from common.mnist import TEST, TRAIN
from common.params import run, stop

SILENCE = 20  # seconds without a byte after which a server is given up
PATIENCE = 900  # seconds that one file may take
LARGEST = 64 << 20  # bytes; unpacked, the largest of the files has 47 MB


class RefusedError(Exception):
    """What an address gave is not the file that was asked for; str() says why."""


def mirror_from_environment():
    """MNIST_MIRROR as an address, in a list; an empty list where it is not set.

    A relative folder is meant from the project's root. DVC_ROOT is that root in `dvc exp run
    --temp` and `--queue` too, which run in a copy elsewhere; outside DVC it is the current folder.
    """
    mirror = os.environ.get("MNIST_MIRROR", "").rstrip("/")
    if not mirror:
        return []
    scheme = mirror.partition(":")[0].lower()
    if scheme not in ("http", "https", "file"):
        if "://" in mirror:
            stop(1, f"MNIST_MIRROR: expected a folder, http, https or file address, got {mirror}")
        folder = Path(os.environ.get("DVC_ROOT", "")) / Path(mirror).expanduser()
        mirror = folder.resolve().as_uri()
    return [mirror]


def fetch(address):
    """The bytes at an address; OSError or RefusedError where it does not serve them in time."""
    started, content = time.monotonic(), bytearray()
    try:
        with urlopen(address, timeout=SILENCE) as response:
            length = int(response.headers.get("Content-Length") or 0)
            name = address.rpartition("/")[2]
            with tqdm(
                total=length or None,
                desc=name,
                unit="B",
                unit_scale=True,
                leave=False,
                disable=None,
            ) as bar:
                while chunk := response.read1(1 << 16):
                    content += chunk
                    bar.update(len(chunk))
                    if len(content) > LARGEST:
                        raise RefusedError(f"more than {LARGEST:,} bytes")
                    if time.monotonic() - started > PATIENCE:
                        raise RefusedError(f"not finished after {PATIENCE} s")
    except HTTPError as error:
        raise RefusedError(f"HTTP status {error.code} {error.reason}") from None
    except (HTTPException, ValueError) as error:
        raise RefusedError(f"{type(error).__name__}: {error}") from None
    if len(content) < length:
        raise RefusedError(f"{len(content):,} bytes of {length:,}, then the connection ended")
    return bytes(content)


def verify(content, md5):
    """RefusedError unless the bytes have this MD5, the checksum that torchvision lists."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise RefusedError(f"MD5 is {found}, expected {md5}")


def fetch_verified(name, md5, mirrors, failures):
    """The array in the first file `name` of a mirror that is right, or None; notes each failure."""
    for mirror in mirrors:
        address = f"{mirror.rstrip('/')}/{name}"
        try:
            content = fetch(address)
            verify(content, md5)
            return read_idx(content)
        except (OSError, RefusedError) as error:
            reason = getattr(error, "reason", None) or error
            failures.append(f"  {address}: {reason}")


def read_idx(packed):
    """The array in a gzipped IDX file of bytes: magic 0, 0, 8, dimensions; their sizes; the data.

    RefusedError where it is something else, or unpacks to more than LARGEST bytes. The format is
    described on the MNIST page of Yann LeCun.
    """
    try:
        with gzip.open(BytesIO(packed)) as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise RefusedError(f"not a whole gzip file: {error}") from None
    if len(content) > LARGEST:
        raise RefusedError(f"more than {LARGEST:,} bytes when unpacked")
    if content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * sum(content[3:4]):
        raise RefusedError(f"not an IDX file of bytes: it begins with {content[:4]!r}")
    shape = np.frombuffer(content, ">u4", count=content[3], offset=4).tolist()
    data = np.frombuffer(content, np.uint8, offset=4 + 4 * content[3])
    if math.prod(shape) != len(data):
        raise RefusedError(f"{len(data):,} bytes of data, expected {shape}")
    return data.reshape(shape)


def check(images, labels, classes):
    """RefusedError unless these are images of 28 × 28 pixels, each with the number of a class."""
    if images.shape != (len(labels), 28, 28) or labels.shape != (len(images),):
        shapes = f"images {images.shape} with labels {labels.shape}"
        raise RefusedError(f"{shapes}, expected (n, 28, 28) with (n,)")
    if len(labels) == 0 or labels.max() >= len(classes):
        raise RefusedError(f"labels should be 0 to {len(classes) - 1}, got {set(labels.tolist())}")


def download(dataset):
    """The four arrays of a data set of torchvision's, and the names of its classes.

    Ends the process, with nothing written, where a file is to be had from no mirror.
    """
    # Here, not above: the import takes seconds, and `digits` needs none of it.
    from torchvision.datasets import KMNIST, MNIST, FashionMNIST

    source = {"mnist": MNIST, "fashion_mnist": FashionMNIST, "kmnist": KMNIST}[dataset]
    mirrors = mirror_from_environment() + source.mirrors
    arrays = []
    for name, md5 in source.resources:
        failures = []
        array = fetch_verified(name, md5, mirrors, failures)
        if array is None:
            stop(
                1,
                f"{dataset}: {name} could be had from none of {len(mirrors)} addresses:",
                *failures,
                "Two ways out: set MNIST_MIRROR to a folder or address that holds the four files,",
                "or go without a network: dvc exp run -S data.dataset=digits",
            )
        arrays.append(array)
    classes = [name.split(" - ")[0] for name in source.classes]
    return *arrays, classes


def digits():
    """scikit-learn's 1,797 digits, as four arrays and class names, like download().

    Their 8 × 8 pixels from 0 to 16 are interpolated to 28 × 28 from 0 to 255. A fifth of each
    class, always the same images, is the test set.
    """
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    source = load_digits()
    small = torch.from_numpy(source.images)[:, None]
    large = torch.nn.functional.interpolate(small, size=(28, 28), mode="bilinear")[:, 0]
    images = (large * 255 / 16).round().byte().numpy()
    labels = source.target.astype(np.uint8)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, stratify=labels, random_state=0
    )
    return train_images, train_labels, test_images, test_labels, [str(d) for d in range(10)]


def main(dataset: Literal["mnist", "fashion_mnist", "kmnist", "digits"]):
    *arrays, classes = digits() if dataset == "digits" else download(dataset)
    splits = {TRAIN: arrays[:2], TEST: arrays[2:]}
    try:
        for images, labels in splits.values():
            check(images, labels, classes)
    except RefusedError as error:
        stop(1, f"{dataset}: {error}")
    for path, (images, labels) in splits.items():
        write_arrays(path, images=images, labels=labels, classes=classes, dataset=dataset)
        print(f"{path}: {len(labels):,} images of {dataset}")


if __name__ == "__main__":
    run(main, section="data")
