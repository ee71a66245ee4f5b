"""Time `make compare`, `make sweep` and `dvc exp show` with many existing experiments.

python benchmarks/experiments.py FOLDER [COUNT ...]   copies FOLDER, a repository with committed
results such as demo/, and adds experiments to the copy without running the pipeline. They are
copies of the commit's results with other parameters and matching provenance.
"""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from hashlib import md5
from pathlib import Path

import pandas as pd
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "stages"))
from common.results import digest_metrics

ROOT = Path(__file__).resolve().parent.parent
METRICS, PLOTS = "reports/metrics/{}.json", "reports/plots/{}.json"


def git(folder, *arguments, text=None):
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, input=text, capture_output=True, check=True)
    return done.stdout


@cache
def read_text(folder, commit, path):
    return git(folder, "show", f"{commit}:./{path}").decode()


def write_rows(rows):
    return '{"rows": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]}\n"


def imitate(folder, commit, changes, flips=0, shift=0.0, machine=()):
    """The files of an experiment with changed parameters: path to text.

    Example: changes={"train.lr": 0.1}, machine={"precision": "bfloat16"}. The predictions of
    `flips` random test images are replaced; `shift` is added to all validation accuracies.
    """

    def read(path):
        return read_text(folder, commit, path)

    params = yaml.safe_load(read("params.yaml"))
    for name, value in changes.items():
        section, member = name.split(".")
        params[section][member] = value
    train, evaluate = (json.loads(read(METRICS.format(s))) for s in ("train", "evaluate"))
    history, predictions = (
        json.loads(read(PLOTS.format(n)))["rows"] for n in ("history", "predictions")
    )
    train["machine"][0] |= dict(machine)
    rng = random.Random(str(changes))  # noqa: S311
    for row in rng.sample(predictions, flips):
        row["predicted"] = rng.randrange(10)
    for row in [train, *history]:
        if row.get("val_acc") is not None:
            row["val_acc"] = min(1.0, row["val_acc"] + shift)
    evaluate["errors"] = sum(row["actual"] != row["predicted"] for row in predictions)
    evaluate["accuracy"] = 1 - evaluate["errors"] / len(predictions)
    files = {"params.yaml": yaml.safe_dump(params), PLOTS.format("history"): write_rows(history)}
    files[PLOTS.format("predictions")] = write_rows(predictions)
    for metrics, section in ((train, "train"), (evaluate, "evaluate")):
        made = metrics["provenance"][0]
        made["params"] = params[section]
        made["metrics"] = digest_metrics({n: v for n, v in metrics.items() if n != "provenance"})
        for kind in ("reads", "writes"):
            for path in made[kind].keys() & files.keys():
                made[kind][path] = md5(files[path].encode(), usedforsecurity=False).hexdigest()
        files[METRICS.format(section)] = json.dumps(metrics, indent=2) + "\n"
    return files


def add_experiments(folder, experiments):
    """Add experiments to the last commit: name to keyword arguments of `imitate`."""
    commit = git(folder, "rev-parse", "HEAD").decode().strip()
    prefix = git(folder, "rev-parse", "--show-prefix").decode().rstrip("\n")
    stream = []
    for name, arguments in experiments.items():
        reference = f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"
        stream += [f"commit {reference}", f"committer a <a@b> {int(time.time())} +0000"]
        stream += [f"data {len(name.encode())}", name, f"from {commit}"]
        for path, text in imitate(folder, commit, **arguments).items():
            stream += [f"M 100644 inline {prefix}{path}", f"data {len(text.encode())}", text]
    git(folder, "fast-import", "--quiet", "--force", text="\n".join([*stream, ""]).encode())


def timed(folder, *command):
    """CPU seconds of a command and its children, which depend little on other load."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(source, count):
    """CPU seconds of each command with `count` existing experiments."""
    with tempfile.TemporaryDirectory() as parent:
        folder = shutil.copytree(source, Path(parent, "copy"), symlinks=True)
        git(folder, "reset", "--quiet", "--hard")
        existing = git(folder, "for-each-ref", "--format=delete %(refname)", "refs/exps/*/*/*")
        git(folder, "update-ref", "--stdin", text=existing)
        lrs, seeds = (0.05, 0.1), range(1, count // 2 + 1)
        experiments = {
            f"lr={lr},seed={seed}": {"changes": {"train.lr": lr, "train.seed": seed}, "flips": 5}
            for lr in lrs
            for seed in seeds
        }
        add_experiments(folder, experiments)
        python, seed = sys.executable, f"train.seed=range(1,{count // 2 + 1})"
        sweep = [python, ROOT / "tools/sweep.py", "-S", "train.lr=0.05,0.1", "-S", seed]
        return {
            "experiments": count,
            "make compare": timed(folder, python, ROOT / "tools/compare.py"),
            "make sweep, nothing to run": timed(folder, *sweep),
            "dvc exp show": timed(folder, "dvc", "exp", "show", "--csv"),
        }


if __name__ == "__main__":
    source, *counts = sys.argv[1:]
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    rows = [measure(source, int(count)) for count in counts or (20, 200)]
    print("CPU seconds:")
    print(pd.DataFrame(rows).round(1).to_markdown(index=False))
