"""The reference loops run and learn. A slow or broken one would make the pipeline look fast."""

import re
import runpy
import shutil
import sys

import pytest
from workspaces import ROOT


@pytest.fixture
def run_benchmark(monkeypatch, capsys):
    """Return a function that runs a script of benchmarks/ in this process and returns its output
    lines.
    """

    def run_benchmark(script, *arguments):
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        runpy.run_path(str(ROOT / "benchmarks" / script), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run_benchmark


def test_the_notebooks_loop_learns(images, run_benchmark):
    printed = run_benchmark("notebook.py", "4")
    assert len(printed) == 4
    assert float(printed[-1].split()[-1]) > 0.5
    assert all(re.search(r"[\d,]+ images/s +[\d.]+ s", line) for line in printed)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_upper_bound_on_speed_is_measured(run_benchmark, precision):
    (line,) = run_benchmark("floor.py", precision, "16", "0.1")
    assert re.fullmatch(r"[\d,]+ images/s", line)


@pytest.mark.slow
def test_bench_runs_the_stage_and_measures_its_speed(images, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import bench

    with bench.workplace():
        shutil.copytree(images / "data/mnist", "data/mnist")
        printed, seconds, memory = bench.train(epochs=1, batch_size=16, precision="float32")
    assert re.search(r"[\d,]+ images/s", printed)
    assert seconds > 0
    assert memory > 100  # MB


@pytest.mark.slow
def test_load_measures_time_and_memory_by_size(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import load

    monkeypatch.setattr(load, "SIZES", {("surfaces", "points"): [5]})
    with load.workplace():
        (row,) = load.measure()
    assert (row["stage"], row["size"]) == ("surfaces", 25)
    assert row["s"] > 0
    assert row["MB"] > 100
