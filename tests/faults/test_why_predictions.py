"""`make why` predicts what `dvc repro` runs in a small pipeline after random actions."""

import logging
import random
import subprocess
from contextlib import suppress

import pytest
import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo

from why import FAILS, OUTDATED, RESTORED, UNCHANGED, UNSURE, plan

# Name to inputs and outputs. DVC caches *.out; Git tracks *.json and *.html.
STAGES = {
    "a": ([], ["a.out", "a.json"]),
    "b": (["a.out"], ["b.out", "b.json"]),
    "c": ([], ["c.out"]),
    "d": (["b.out", "c.out", "a.json"], ["d.out"]),
    "e": (["d.out", "b.json"], ["e.html"]),
}
OUTPUTS = [path for _, writes in STAGES.values() for path in writes]


def write_script(name):
    """A stage that writes its inputs and half of its parameter: two values give the same result."""
    reads, writes = STAGES[name]
    value = f"$(($(sed -n 's/^{name}: //p' params.yaml) / 2))"
    script = f"for file in {' '.join(writes)}; do cat /dev/null {' '.join(reads)} > $file; "
    return script + f'echo "$file of {name}: {value}" >> $file; done\n'


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    """The current folder: a repository with five stages and no results."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    Repo.init().close()
    stages = {}
    for name, (reads, writes) in STAGES.items():
        (tmp_path / f"{name}.sh").write_text(write_script(name))
        stages[name] = {
            "cmd": f"sh {name}.sh",
            "deps": [f"{name}.sh", "shared.sh", *reads],
            "params": ["a", name],
            "outs": [path for path in writes if path.endswith(".out")],
            "metrics": [{path: {"cache": False}} for path in writes if path.endswith(".json")],
        }
    stages["e"]["outs"] = [{"e.html": {"cache": False}}]
    (tmp_path / "shared.sh").touch()
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(dict.fromkeys(STAGES, 0)))
    return tmp_path


def change_parameter(folder, rng):
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params[rng.choice([*params])] = rng.randrange(4)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def change_code(folder, rng):
    name = rng.choice([*STAGES])
    (folder / f"{name}.sh").write_text(write_script(name) + rng.choice(["", "# a comment\n"]))


def change_shared_code(folder, rng):
    (folder / "shared.sh").write_text(rng.choice(["", "# a comment\n"]))


def remove_code(folder, rng):
    if rng.random() < 0.3:
        (folder / f"{rng.choice([*STAGES])}.sh").unlink(missing_ok=True)


def remove_outputs(folder, rng):
    for path in rng.choice([[rng.choice(OUTPUTS)], OUTPUTS]):
        (folder / path).unlink(missing_ok=True)


def change_output(folder, rng):
    path = folder / rng.choice(OUTPUTS)
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
        repo.reproduce([rng.choice([*STAGES])], single_item=rng.random() < 0.5)


ACTIONS = [change_parameter] * 3 + [change_code, change_shared_code, remove_code, remove_outputs]
ACTIONS += [change_output, remove_from_cache, remove_lock, run_one_stage]
EVENTS = {"Running": "runs", "is cached": "restored", "didn't change": "skipped"}
ALLOWED = {
    OUTDATED: {"runs", "restored"},
    UNSURE: {"runs", "restored", "skipped"},
    RESTORED: {"restored"},
    UNCHANGED: {"skipped"},
}


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(1, 40))]
)
def test_dvc_repro_does_what_make_why_predicts(pipeline, caplog, seed):
    rng = random.Random(seed)  # noqa: S311
    for _ in range(6):
        for action in rng.choices(ACTIONS, k=rng.randrange(1, 4)):
            action(pipeline, rng)
        with Repo() as repo:
            steps = {step.stage.name: step.verdict for step in plan(repo)}
        caplog.clear()
        with Repo() as repo, caplog.at_level(logging.INFO, "dvc"):
            try:
                repo.reproduce()
            except DvcException:
                assert FAILS in steps.values()
        for name, verdict in steps.items():
            if verdict == FAILS:  # the stages after it were not reached
                (pipeline / f"{name}.sh").write_text(write_script(name))
                break
            log = "\n".join(text for text in caplog.messages if f"tage '{name}'" in text)
            (event,) = (event for text, event in EVENTS.items() if text in log)
            assert event in ALLOWED[verdict], (name, verdict, log)
