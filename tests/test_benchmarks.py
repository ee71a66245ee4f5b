"""The reference loops run and learn: a slow or broken one would make the pipeline look fast."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT


def lines(script, *arguments):
    command = [sys.executable, ROOT / "benchmarks" / script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_notebooks_loop_learns(images):
    printed = lines("notebook.py", "4")
    assert len(printed) == 4
    assert float(printed[-1].split()[-1]) > 0.5
    assert all(re.search(r"[\d,]+ images/s +[\d.]+ s", line) for line in printed)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_upper_bound_is_measured(precision):
    (line,) = lines("floor.py", precision, "16", "0.1")
    assert re.fullmatch(r"[\d,]+ images/s", line)


def test_bench_runs_the_stage_and_finds_its_speed(images, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import bench

    printed, seconds, memory = bench.train(epochs=1, batch_size=16, precision="float32")
    assert re.search(r"[\d,]+ images/s", printed)
    assert seconds > 0
    assert memory > 100  # MB
