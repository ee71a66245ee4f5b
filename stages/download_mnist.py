"""Download, verify and unpack a data set of 28 × 28 images in ten classes.

reads   params.yaml: data
        MNIST_MIRROR               environment variable: folder or URL (http, https, file) with the
                                   data set's four files; tried before the public mirrors
writes  data/mnist/train.npz       images (n, 28, 28) uint8; labels (n,) uint8; classes (10,), the
        data/mnist/test.npz        names of the classes; dataset (), the name of the data set
        reports/metrics/data.json  the number of images of each split
"""

import gzip
import hashlib
import time
from http.client import HTTPException
from typing import Literal
from urllib.request import urlopen

import numpy as np
from tqdm import tqdm

from common.files import write_arrays
from common.mnist import TEST, TRAIN, absolute_mirror
from common.stage import run, stop

READ_TIMEOUT, TOTAL_TIMEOUT = 20, 900  # seconds: between two reads, and per file
LARGEST = 64 << 20  # bytes


def fetch(url, md5):
    """Download a file; OSError if it takes too long, is too large or has a different MD5."""
    started, content, name = time.monotonic(), bytearray(), url.rpartition("/")[2]
    bar = {"desc": name, "unit": "B", "unit_scale": True, "leave": False, "disable": None}
    with urlopen(url, timeout=READ_TIMEOUT) as response:
        length = int(response.headers.get("Content-Length") or 0)
        with tqdm(total=length or None, **bar) as progress:
            while chunk := response.read1(1 << 16):
                content += chunk
                progress.update(len(chunk))
                if len(content) > LARGEST:
                    raise OSError(f"more than {LARGEST:,} bytes")
                if time.monotonic() - started > TOTAL_TIMEOUT:
                    raise OSError(f"not finished after {TOTAL_TIMEOUT} s")
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise OSError(f"MD5 of {len(content):,} bytes is {found}, expected {md5}")
    return content


def read_idx(packed):
    """The array in a gzipped IDX file: bytes 0, 0, 8 (uint8), number of dimensions; sizes; data."""
    content = gzip.decompress(packed)
    sizes = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(sizes)


def download(dataset):
    """Training images and labels, test images and labels, class names of a torchvision data set.

    The data set has ten classes; `resources` lists these four files. Their MD5s make further checks
    of the format redundant.
    """
    # Imported here because it takes seconds and `digits` does not need it.
    from torchvision.datasets import KMNIST, MNIST, FashionMNIST

    source = {"mnist": MNIST, "fashion_mnist": FashionMNIST, "kmnist": KMNIST}[dataset]
    mirrors = [*absolute_mirror().values(), *source.mirrors]
    arrays = []
    # vars excludes inherited resources: EMNIST would get the files of MNIST.
    for name, md5 in vars(source)["resources"]:
        failures = []
        for mirror in mirrors:
            url = f"{mirror.rstrip('/')}/{name}"
            try:
                arrays.append(read_idx(fetch(url, md5)))
                break
            except (OSError, HTTPException, ValueError) as error:
                reason = " ".join(str(error).split())
                failures.append(f"  {url}: {reason}")
        else:
            stop(
                1,
                f"{dataset}: {name} is not available from any of {len(mirrors)} URLs:",
                *failures,
                "Set MNIST_MIRROR to a folder or URL with the four files, or work offline:",
                "dvc exp run -S data.dataset=digits",
            )
    return *arrays, [name.split(" - ")[0] for name in source.classes]


def digits():
    """The same for scikit-learn's 1,797 digits.

    8 × 8 pixels in [0, 16] are interpolated to 28 × 28 in [0, 255]. The test set is a fixed
    stratified fifth.
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
    metrics = {}
    for split, path in (("train", TRAIN), ("test", TEST)):
        images, labels, *arrays = arrays
        write_arrays(path, images=images, labels=labels, classes=classes, dataset=dataset)
        metrics[f"{split}_images"] = len(labels)
        print(f"{path}: {len(labels):,} images of {dataset}")
    return metrics


if __name__ == "__main__":
    run(main, section="data")
