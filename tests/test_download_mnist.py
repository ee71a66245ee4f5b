"""Download from a local server that is correct, faulty or unreachable."""

import gzip
import hashlib
import inspect
import re
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays_of
from torchvision.datasets import MNIST

import download_mnist
from common.files import read_arrays
from common.mnist import TITLES

NAMES = [name for name, _ in MNIST.resources]
pack = partial(gzip.compress, mtime=0)  # without a time stamp, so test ids are stable


def idx(array):
    """An array of bytes as a gzipped IDX file."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return pack(header + array.tobytes())


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Bypass proxies: the servers are local."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def files(monkeypatch):
    """A small data set; its checksums replace torchvision's."""
    rng = np.random.default_rng(0)
    shapes = [(50, 28, 28), (50,), (20, 28, 28), (20,)]
    content = [idx(rng.integers(0, 10, shape, dtype=np.uint8)) for shape in shapes]
    sums = [hashlib.md5(file, usedforsecurity=False).hexdigest() for file in content]
    monkeypatch.setattr(MNIST, "resources", list(zip(NAMES, sums, strict=True)))
    monkeypatch.setattr(MNIST, "mirrors", [])
    return dict(zip(NAMES, content, strict=True))


@pytest.fixture
def serve(files):
    """Return a function that starts a server with the given behaviour and returns its address."""
    servers, done = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = files[self.path.rpartition("/")[2]]
            behaviour = self.server.behaviour
            if behaviour == "silent":
                done.wait(20)
                return
            if behaviour == "redirects":
                self.send_response(302)
                self.send_header("Location", self.path)
                self.end_headers()
                return
            self.send_response(404 if behaviour == "missing" else 200)
            if behaviour != "endless":
                self.send_header("Content-Length", len(content))
            self.end_headers()
            if behaviour == "truncated":
                self.wfile.write(content[: len(content) // 2])
            elif behaviour == "corrupt":
                self.wfile.write(content[:-1] + b"?")
            elif behaviour == "slow":
                for byte in content:
                    if done.wait(0.1):
                        return
                    self.wfile.write(bytes([byte]))
            elif behaviour == "endless":
                for _ in range(64):
                    self.wfile.write(b"0" * 4096)
            else:
                self.wfile.write(content)

        def log_message(self, *args):
            pass

    def start(behaviour):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.behaviour, server.daemon_threads = behaviour, True
        servers.append(server)
        # By default shutdown() polls every 0.5 s, most of the duration of a test.
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    done.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def expected_arrays(files):
    return [np.array(download_mnist.read_idx(files[name])) for name in NAMES]


def assert_arrays_match(files):
    train, test = read_arrays("data/mnist/train.npz"), read_arrays("data/mnist/test.npz")
    actual = [train["images"], train["labels"], test["images"], test["labels"]]
    for expected, array in zip(expected_arrays(files), actual, strict=True):
        np.testing.assert_array_equal(array, expected)
    assert train["dataset"] == "mnist"
    assert train["classes"].tolist() == [str(digit) for digit in range(10)]


def test_images_are_downloaded_from_a_correct_server(workspace, files, serve, monkeypatch, written):
    monkeypatch.setenv("MNIST_MIRROR", serve("correct"))
    download_mnist.main(dataset="mnist")
    assert_arrays_match(files)
    first = written()
    download_mnist.main(dataset="mnist")
    assert written() == first


@pytest.mark.parametrize("kind", ["folder", "relative folder", "home folder", "file address"])
def test_a_folder_can_be_a_mirror(kind, workspace, files, monkeypatch):
    mirror = workspace / "möglich ein Spiegel"
    mirror.mkdir()
    for name, content in files.items():
        (mirror / name).write_bytes(content)
    address = {
        "folder": f"{mirror}/",
        "relative folder": mirror.name,
        "home folder": f"~/{mirror.name}",
        "file address": f"{mirror.as_uri()}/",
    }
    monkeypatch.setenv("HOME", str(workspace))
    monkeypatch.setenv("MNIST_MIRROR", address[kind])
    download_mnist.main(dataset="mnist")
    assert_arrays_match(files)


def test_a_relative_mirror_is_resolved_against_the_project_root_even_in_a_temporary_copy(
    workspace, files, monkeypatch
):
    (workspace / "mirror").mkdir()
    for name, content in files.items():
        (workspace / "mirror" / name).write_bytes(content)
    copy = workspace / ".dvc/tmp/exps/copy"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(workspace))
    monkeypatch.setenv("MNIST_MIRROR", "mirror")
    download_mnist.main(dataset="mnist")
    assert_arrays_match(files)


FAULTS = {
    "corrupt": r"MD5 of [\d,]+ bytes is \w+, expected ",
    "truncated": "MD5 of|IncompleteRead",
    "missing": "HTTP Error 404: Not Found",
    "silent": "timed out",
    "redirects": "HTTP Error 302",
    "slow": "not finished after 1 s",
    "endless": "more than 100,000 bytes",
}


@pytest.fixture
def short_timeouts(monkeypatch):
    monkeypatch.setattr(download_mnist, "READ_TIMEOUT", 0.5)
    monkeypatch.setattr(download_mnist, "TOTAL_TIMEOUT", 1)
    monkeypatch.setattr(download_mnist, "LARGEST", 100_000)


@pytest.mark.parametrize("behaviour", FAULTS)
def test_a_faulty_server_is_reported_with_the_reason_and_nothing_is_written(
    behaviour, workspace, serve, short_timeouts, monkeypatch, capsys, written
):
    address = serve(behaviour)
    monkeypatch.setenv("MNIST_MIRROR", address)
    started = time.monotonic()
    with pytest.raises(SystemExit) as stopped:
        download_mnist.main(dataset="mnist")
    assert stopped.value.code == 1
    assert time.monotonic() - started < 10
    message = capsys.readouterr().err
    assert f"{address}/{NAMES[0]}: " in message
    assert re.search(FAULTS[behaviour], message), message
    assert "MNIST_MIRROR" in message
    assert "data.dataset=digits" in message
    assert written() == {}


@pytest.mark.parametrize("behaviour", ["corrupt", "missing", "silent", "truncated"])
def test_the_next_mirror_is_used_after_a_faulty_one(
    behaviour, workspace, files, serve, short_timeouts, monkeypatch
):
    monkeypatch.setenv("MNIST_MIRROR", serve(behaviour))
    monkeypatch.setattr(MNIST, "mirrors", [f"{serve('missing')}/", f"{serve('well')}/"])
    download_mnist.main(dataset="mnist")
    assert_arrays_match(files)


def test_every_unreachable_address_is_reported_the_users_mirror_first(
    workspace, files, monkeypatch, capsys
):
    dead = ["http://127.0.0.1:9", "http://127.0.0.1:10"]
    monkeypatch.setenv("MNIST_MIRROR", dead[0])
    monkeypatch.setattr(MNIST, "mirrors", [f"{dead[1]}/"])
    with pytest.raises(SystemExit):
        download_mnist.main(dataset="mnist")
    message = capsys.readouterr().err
    first, second = (message.index(f"{address}/{NAMES[0]}: ") for address in dead)
    assert first < second
    assert message.count("refused") == 2


def test_an_unreachable_mirror_of_another_scheme_is_reported(workspace, files, monkeypatch, capsys):
    monkeypatch.setenv("MNIST_MIRROR", "ftp://127.0.0.1/mnist")
    with pytest.raises(SystemExit):
        download_mnist.main(dataset="mnist")
    assert "ftp://127.0.0.1/mnist/train-images-idx3-ubyte.gz: " in capsys.readouterr().err


def test_the_digits_need_no_network_and_a_fifth_of_each_class_is_held_out(workspace, written):
    download_mnist.main(dataset="digits")
    first = written()
    download_mnist.main(dataset="digits")
    assert written() == first
    train, test = read_arrays("data/mnist/train.npz"), read_arrays("data/mnist/test.npz")
    assert len(train["labels"]) + len(test["labels"]) == 1797
    assert train["images"].shape[1:] == (28, 28)
    assert train["images"].max() == 255
    fractions = np.bincount(test["labels"]) / np.bincount([*train["labels"], *test["labels"]])
    np.testing.assert_allclose(fractions, 0.2, atol=0.01)


@settings(deadline=None)
@given(arrays_of.arrays(np.uint8, arrays_of.array_shapes(max_dims=3)))
def test_reading_an_idx_file_returns_the_written_array(array):
    np.testing.assert_array_equal(download_mnist.read_idx(idx(array)), array)


def test_every_data_set_has_a_title():
    (dataset,) = inspect.signature(download_mnist.main).parameters.values()
    assert {*get_args(dataset.annotation)} == {*TITLES}
