"""Random walks over a user's actions: no page, table or check shows a number with parameters that
did not produce it.

The pipeline is a small one, of the real stages' names and their own `common/` code, whose numbers
are a formula of the parameters. An oracle computes the formula.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import HERE, ROOT

sys.path.append(str(ROOT / "tools"))
from internals.experiments import find_problem

PARAMS = {"data": {"dataset": 1}, "train": {"lr": 1, "seed": 1}, "evaluate": {"bins": 1}}
STAGES = {
    "download_mnist": ("data", "dataset", [], ["data/images"], []),
    "cnn_train": ("train", "lr, seed", ["data/images"], ["data/model"], []),
    "evaluate": (
        "evaluate",
        "bins",
        ["data/images", "data/model", "reports/metrics/train.json"],
        ["data/predictions"],
        [],
    ),
    "report": (
        "report",
        "points",
        ["data/predictions", *(f"reports/metrics/{s}.json" for s in PARAMS)],
        [],
        ["reports/index.html"],
    ),
}
SCRIPT = """
from pathlib import Path
import json, yaml
from common.files import write_bytes
from common.results import read_metrics
from common.stage import run

def number(path):
    return float(Path(path).read_text())

def main({signature}):
    {body}

if __name__ == "__main__":
    run(main, section="{section}")
"""
BODIES = {
    "download_mnist": """value = dataset * 1000
    write_bytes("data/images", str(value).encode())
    return {"images": value}""",
    "cnn_train": """value = number("data/images") + 10 * lr + 100 * seed
    write_bytes("data/model", str(value).encode())
    return {"val_acc": value, "splits": [{"images": 1}], "machine": [{"device": "cpu"}]}""",
    "evaluate": """value = number("data/model") * bins + number("data/images")
    write_bytes("data/predictions", str(value).encode())
    return {"accuracy": value, "errors": 0}""",
    "report": """params = yaml.safe_load(Path("params.yaml").read_text())
    shown = {s: read_metrics(s) for s in ("data", "train", "evaluate")}
    write_bytes("reports/index.html", json.dumps({"params": params, "shown": shown}).encode())""",
}


def oracle(params):
    """The three numbers of these parameters."""
    images = params["data"]["dataset"] * 1000
    trained = images + 10 * params["train"]["lr"] + 100 * params["train"]["seed"]
    return images, trained, trained * params["evaluate"]["bins"] + images


def shown_by(metrics):
    return (
        metrics["data"]["images"],
        metrics["train"]["val_acc"],
        metrics["evaluate"]["accuracy"],
    )


class Walk:
    def __init__(self, folder, seed):
        self.folder, self.random, self.trace = folder, random.Random(seed), []  # noqa: S311

    def call(self, *command):
        """The command's status; what it prints does not count."""
        environment = HERE | {"GIT_EDITOR": "true", "DVC_NO_ANALYTICS": "1"}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True
        )

    def git(self, *arguments):
        return self.call("git", *arguments)

    def dvc(self, *arguments):
        return self.call(sys.executable, "-m", "dvc", *arguments)

    def build(self):
        folder = self.folder
        (folder / "stages").mkdir(parents=True)
        shutil.copytree(
            ROOT / "stages/common",
            folder / "stages/common",
            ignore=shutil.ignore_patterns("__pycache__", "model.py", "weights.py", "mnist.py"),
        )
        stages = {}
        for name, (section, signature, deps, outs, uncached) in STAGES.items():
            text = SCRIPT.replace("{signature}", signature).replace("{section}", section)
            (folder / f"stages/{name}.py").write_text(text.replace("{body}", BODIES[name]))
            stages[name] = {
                "cmd": f"python stages/{name}.py",
                "deps": [f"stages/{name}.py", *deps],
                "params": [*PARAMS, "report"] if name == "report" else [section],
                "outs": [*outs, *({path: {"cache": False}} for path in uncached)],
            }
            if section in PARAMS:
                stages[name]["metrics"] = [{f"reports/metrics/{section}.json": {"cache": False}}]
        (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
        self.write_params(PARAMS | {"report": {"points": 1}})
        for name in (".gitattributes", ".dvcignore"):
            shutil.copy(ROOT / name, folder)
        (folder / ".gitignore").write_text("/data/\n__pycache__\n.*.part\n")
        self.git("init", "--quiet", "--initial-branch=main")
        for name, value in (("user.name", "t"), ("user.email", "t@l"), ("commit.gpgsign", "false")):
            self.git("config", name, value)
        self.dvc("init", "--quiet")
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", "start")
        assert self.dvc("repro").returncode == 0
        self.commit()

    def read_params(self):
        return yaml.safe_load((self.folder / "params.yaml").read_text())

    def write_params(self, params):
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    # A user's actions.

    def change(self):
        section, name = self.random.choice(
            [("train", "lr"), ("train", "seed"), ("data", "dataset"), ("evaluate", "bins")]
        )
        return section, name, self.random.randint(1, 3)

    def edit(self):
        section, name, value = self.change()
        params = self.read_params()
        params[section][name] = value
        self.write_params(params)

    def repro(self):
        self.dvc("repro")

    def force(self):
        self.dvc("repro", "--force", "--single-item", self.random.choice([*STAGES]))

    def run_experiment(self):
        section, name, value = self.change()
        self.dvc("exp", "run", "-S", f"{section}.{name}={value}")

    def save_experiment(self):
        self.dvc("exp", "save", "--force")

    def apply(self):
        if names := self.dvc("exp", "list", "--name-only").stdout.split():
            self.dvc("exp", "apply", self.random.choice(names))

    def commit(self):
        self.git("add", ".")
        self.git("commit", "--quiet", "--allow-empty", "-m", "results")

    def commit_outputs(self):
        self.dvc("commit", "--force")

    def freeze(self):
        self.dvc(self.random.choice(["freeze", "unfreeze"]), self.random.choice([*STAGES]))

    def switch(self):
        name = self.random.choice(["main", "a", "b"])
        if self.git("switch", "--quiet", name).returncode:
            self.git("switch", "--quiet", "--create", name)
        if self.random.random() < 0.7:
            self.dvc("checkout", "--force")

    def merge(self):
        name = self.random.choice(["main", "a", "b"])
        strategy = self.random.choice([[], ["-X", "ours"], ["-X", "theirs"], ["-s", "ours"]])
        if self.git("merge", "--no-edit", *strategy, name).returncode:
            side = self.random.choice(["--ours", "--theirs"])
            self.git("checkout", side, "--", ".")
            self.git("add", "--all")
            if self.git("commit", "--quiet", "--no-edit").returncode:
                self.git("merge", "--abort")

    def stash(self):
        self.git("stash", self.random.choice(["push", "pop"]), "--quiet")

    def restore(self):
        path = self.random.choice(["params.yaml", ".", "dvc.lock", "reports"])
        self.git("restore", path)

    def collect_garbage(self):
        self.dvc("gc", "--workspace", "--force")

    def worktree(self):
        place = self.folder.parent / f"worktree-{len(self.trace)}"
        if self.git("worktree", "add", "--detach", "--quiet", str(place)).returncode == 0:
            Walk(place, self.random.random()).dvc("repro")
            self.check_workspace(place)

    # What must hold after each.

    def check_workspace(self, folder):
        """The page, and results that pass the check, are those of their parameters."""
        page = folder / "reports/index.html"
        if page.exists() and "<<<<<<<" not in page.read_text():
            content = json.loads(page.read_text())
            assert shown_by(content["shown"]) == oracle(content["params"]), self.trace
        code = (
            "import json, sys; sys.path.insert(0, 'stages')\n"
            "from common.results import check, read_metrics\n"
            "sections = ('data', 'train', 'evaluate')\n"
            "found = [read_metrics(s) for s in sections]\n"
            "check(sections)\n"
            "print(json.dumps(dict(zip(sections, found))))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env=HERE
        )
        if done.returncode == 0:
            params = yaml.safe_load((folder / "params.yaml").read_text())
            assert shown_by(json.loads(done.stdout)) == oracle(params), self.trace

    def read_json(self, revision, section):
        return json.loads(self.git("show", f"{revision}:reports/metrics/{section}.json").stdout)

    def check_revisions(self):
        """Branches and experiments that make compare would quote are those of their parameters."""
        names = self.git("for-each-ref", "--format=%(refname)").stdout.split()
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            for name in (n for n in names if "exec" not in n and "stash" not in n):
                if find_problem(name) is None:
                    metrics = {s: self.read_json(name, s) for s in PARAMS}
                    params = yaml.safe_load(self.git("show", f"{name}:params.yaml").stdout)
                    assert shown_by(metrics) == oracle(params), (name, self.trace)
        finally:
            os.chdir(before)

    def take(self, steps):
        actions = [self.edit] * 4 + [self.repro] * 4 + [self.run_experiment, self.commit] * 2
        actions += [self.save_experiment, self.apply, self.commit_outputs, self.freeze, self.force]
        actions += [self.switch, self.merge, self.merge, self.stash, self.restore]
        actions += [self.collect_garbage, self.worktree]
        for _ in range(steps):
            action = self.random.choice(actions)
            self.trace.append(action.__name__)
            action()
            self.check_workspace(self.folder)
        self.check_revisions()


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walks") / "start"
    Walk(folder, 0).build()
    return folder


def walk(start, folder, seed):
    shutil.copytree(start, folder, symlinks=True)
    Walk(folder, seed).take(10)
    shutil.rmtree(folder)


@pytest.mark.parametrize("seed", range(2))
def test_no_number_is_shown_with_parameters_that_did_not_produce_it(start, tmp_path, seed):
    walk(start, tmp_path / "walk", seed)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(2, int(os.environ.get("WALKS", 40))))
def test_the_same_in_many_walks(start, tmp_path, seed):
    walk(start, tmp_path / "walk", seed)
