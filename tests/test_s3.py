"""Share results through a local S3 server."""

import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from http.client import HTTPConnection

import pytest
from repositories import commit, dvc, git, make_repository
from test_pipeline import ran
from test_sharing import clone


@pytest.fixture
def endpoint(tmp_path):
    """The address of a local S3 server with a bucket `results`."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    with open(tmp_path / "log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(300):
            with suppress(ConnectionRefusedError), closing(HTTPConnection("127.0.0.1", port)) as s3:
                s3.request("PUT", "/results")
                assert s3.getresponse().status == 200
                break
            assert server.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.full
def test_results_are_shared_through_s3(endpoint, tmp_path):
    ours = make_repository(tmp_path / "ours")
    dvc(ours, "remote", "add", "--default", "storage", "s3://results/basics")
    dvc(ours, "remote", "modify", "storage", "endpointurl", endpoint)
    dvc(ours, "repro", "--quiet", "surfaces")
    commit(ours)
    keys = {"access_key_id": "a key", "secret_access_key": "a secret"}
    for name, value in keys.items():
        dvc(ours, "remote", "modify", "--local", "storage", name, value)
    dvc(ours, "push")
    assert "a secret" not in git(ours, "show", "HEAD:.dvc/config")
    assert git(ours, "status", "--short") == ""

    theirs = clone(ours, tmp_path / "theirs")
    for name, value in keys.items():
        dvc(theirs, "remote", "modify", "--local", "storage", name, value)
    dvc(theirs, "pull", "surfaces")
    assert ran(dvc(theirs, "repro", "surfaces")) == []
    assert (theirs / "data/surfaces.npz").read_bytes() == (ours / "data/surfaces.npz").read_bytes()
