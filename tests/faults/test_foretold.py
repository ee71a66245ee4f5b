"""What `make why` foretells, against what `dvc repro` does, in small pipelines with any history."""

import logging
import random
import subprocess
import sys
from contextlib import suppress

import pytest
import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo

from internals.plan import plan

# Each writes the half of its parameter, so that two values give one result, and what it read.
CODE = """import sys, yaml
name, reads, *writes = sys.argv[1:]
found = [str(yaml.safe_load(open("params.yaml"))[name]["value"] // 2)]
found += [open(path).read() for path in filter(None, reads.split(","))]
for path in writes:
    open(path, "w").write(f"{path} of {name}: {found}")
"""
# Name to what it reads and what it writes: data for the cache, and metrics and a page for Git.
STAGES = {
    "a": ([], ["a.out", "a.json"]),
    "b": (["a.out"], ["b.out", "b.json"]),
    "c": ([], ["c.out"]),
    "d": (["b.out", "c.out", "a.json"], ["d.out"]),
    "e": (["d.out", "b.json"], ["e.html"]),
}


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    """Five stages in an empty repository, as the current folder."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    Repo.init().close()
    stages = {}
    for name, (reads, writes) in STAGES.items():
        (tmp_path / f"{name}.py").write_text(CODE)
        command = f"'{sys.executable}' {name}.py {name} '{','.join(reads)}' {' '.join(writes)}"
        stages[name] = {
            "cmd": command,
            "deps": [f"{name}.py", "shared.py", *reads],
            "params": [name, "a"],
            "outs": [path for path in writes if path.endswith(".out")],
            "metrics": [{path: {"cache": False}} for path in writes if path.endswith(".json")],
        }
    stages["e"]["outs"] = [{"e.html": {"cache": False}}]
    (tmp_path / "shared.py").touch()
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({name: {"value": 0} for name in STAGES}))
    return tmp_path


def change_parameter(folder, rng):
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params[rng.choice([*params])]["value"] = rng.randrange(4)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def change_code(folder, rng):
    (folder / f"{rng.choice([*STAGES])}.py").write_text(CODE + rng.choice(["", "# a comment\n"]))


def change_shared_code(folder, rng):
    (folder / "shared.py").write_text(rng.choice(["", "# a comment\n"]))


def remove_code(folder, rng):
    if rng.random() < 0.3:
        (folder / f"{rng.choice([*STAGES])}.py").unlink(missing_ok=True)


def remove_output(folder, rng):
    (folder / rng.choice(outputs())).unlink(missing_ok=True)


def change_output(folder, rng):
    path = folder / rng.choice(outputs())
    path.unlink(missing_ok=True)  # it may be a link into the cache
    path.write_text("{}")


def remove_from_cache(folder, rng):
    objects = [path for path in (folder / ".dvc/cache/files").rglob("*") if path.is_file()]
    if objects:
        rng.choice(sorted(objects)).unlink()


def remove_lock(folder, rng):
    if rng.random() < 0.3:
        (folder / "dvc.lock").unlink(missing_ok=True)


def run_one_stage(folder, rng):
    with Repo() as repo, suppress(DvcException):
        repo.reproduce([rng.choice([*STAGES])])


def outputs():
    return [path for _, writes in STAGES.values() for path in writes]


ACTIONS = [change_parameter] * 3 + [change_code, change_shared_code, remove_code, remove_output]
ACTIONS += [change_output, remove_from_cache, remove_lock, run_one_stage]


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(2, 20))]
)
def test_what_is_foretold_is_what_happens(pipeline, caplog, seed):
    rng = random.Random(seed)  # noqa: S311
    for _ in range(12):
        for action in rng.choices(ACTIONS, k=rng.randrange(1, 4)):
            action(pipeline, rng)
        with Repo() as repo:
            steps = plan(repo)
        caplog.clear()
        with Repo() as repo, caplog.at_level(logging.INFO, "dvc"):
            try:
                repo.reproduce()
            except DvcException:
                assert "fails" in [step.verdict for step in steps]
        for step in steps:
            if step.verdict == "fails":  # and those after it are not reached
                (pipeline / f"{step.stage.name}.py").write_text(CODE)
                break
            said = [text for text in caplog.messages if f"tage '{step.stage.name}'" in text]
            happened = {
                "runs": any(text.startswith("Running") for text in said),
                "cached": any("is cached - skipping run" in text for text in said),
                "stays": any("didn't change, skipping" in text for text in said),
            }
            happened |= {"checkout": happened["cached"], "asked": sum(happened.values()) == 1}
            assert happened[step.verdict], (step, said)
