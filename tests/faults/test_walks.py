"""Random walks over user actions on a small pipeline. No page, table or check may combine a number
with parameters that did not produce it.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import chdir

import pytest
import yaml
from forks import run_dvc, start_pool
from repositories import set_identity
from small_pipeline import PARAMS, STAGES, formula, numbers, write_pipeline
from workspaces import ENV

from internals.experiments import find_problem

from common.params import ParameterError, read_params, select
from common.results import check, read_metrics

WALKS = int(os.environ.get("WALKS", 40))  # with --full


class Walk:
    """User actions in a repository, with counts of actions, and of accepted and refused results."""

    def __init__(self, folder, pool, seed=0):
        self.folder, self.pool, self.random = folder, pool, random.Random(seed)  # noqa: S311
        self.trace, self.counts = [], Counter()

    def git(self, *arguments):
        environment = ENV | {"GIT_EDITOR": "true"}
        command = ["git", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True
        )

    def dvc(self, *arguments):
        log = self.folder.with_name(f"{self.folder.name}.log")
        return self.pool.apply(run_dvc, (self.folder, log, *arguments))

    def pick(self, *options):
        return self.random.choice(options)

    def change(self):
        section = self.pick("train", "train", "data", "evaluate")
        return section, self.pick(*PARAMS[section]), self.random.randint(1, 3)

    # Actions.

    def edit(self):
        section, name, value = self.change()
        params = yaml.safe_load((self.folder / "params.yaml").read_text())
        params[section][name] = value
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    def repro(self):
        self.dvc("repro")

    def force(self):
        self.dvc("repro", "--force", "--single-item", self.pick(*STAGES))

    def run_script(self):
        script = f"stages/{self.pick(*STAGES, 'report')}.py"
        subprocess.run([sys.executable, script], cwd=self.folder, env=ENV, capture_output=True)

    def run_experiment(self):
        section, name, value = self.change()
        self.dvc("exp", "run", *self.pick([], ["--temp"]), "-S", f"{section}.{name}={value}")

    def save_experiment(self):
        self.dvc("exp", "save", "--force")

    def apply(self):
        format = "--format=%(refname:lstrip=4)"
        if names := self.git("for-each-ref", format, "refs/exps/??/").stdout.split():
            self.dvc("exp", "apply", self.pick(*names))

    def commit(self):
        self.git("add", ".")
        self.git("commit", "--quiet", "--allow-empty", "-m", "results")

    def commit_outputs(self):
        self.dvc("commit", "--force")

    def freeze(self):
        self.dvc(self.pick("freeze", "freeze", "unfreeze"), self.pick(*STAGES))

    def switch(self):
        name = self.pick("main", "a", "b")
        if self.git("switch", "--quiet", name).returncode:
            self.git("switch", "--quiet", "--create", name)
        if self.random.random() < 0.7:
            self.dvc("checkout", "--force")

    def merge(self):
        strategy = self.pick([], ["-X", "ours"], ["-X", "theirs"], ["-s", "ours"])
        if self.git("merge", "--no-edit", *strategy, self.pick("main", "a", "b")).returncode:
            self.git("checkout", self.pick("--ours", "--theirs"), "--", ".")
            self.git("add", "--all")
            if self.git("commit", "--quiet", "--no-edit").returncode:
                self.git("merge", "--abort")

    def stash(self):
        self.git("stash", self.pick("push", "pop"), "--quiet")

    def restore(self):
        self.git("restore", self.pick("params.yaml", ".", "dvc.lock", "reports"))

    def collect_garbage(self):
        self.dvc("gc", "--workspace", "--force")

    def worktree(self):
        worktree_folder = self.folder.with_name(f"{self.folder.name}-{len(self.trace)}")
        if self.git("worktree", "add", "--detach", "--quiet", str(worktree_folder)).returncode == 0:
            Walk(worktree_folder, self.pool).dvc("repro")
            self.check_folder(worktree_folder)

    # Checks after each action, and at the end.

    def compare(self, kind, metrics, params):
        """Count displayed numbers and compare them with the formula of their parameters."""
        self.counts[f"{kind} accepted"] += 1
        assert numbers(metrics) == formula(params), (kind, self.trace)

    def check_folder(self, folder):
        """Compare the page, and the results that the stages' check accepts."""
        page = folder / "reports/index.html"
        if page.exists():
            content = json.loads(page.read_text())
            self.compare("page", content["shown"], content["params"])
        with chdir(folder):
            try:
                metrics = {section: read_metrics(section) for section in PARAMS}
                check(PARAMS)
            except (OSError, ParameterError):
                self.counts["folder refused"] += 1
                return
            params = {section: select(read_params(), section) for section in PARAMS}
        self.compare("folder", metrics, params)

    def check_revisions(self):
        """Compare the branches and experiments that `make compare` accepts."""

        def show(path):
            return self.git("show", f"{name}:{path}").stdout

        references = self.git("for-each-ref", "--format=%(refname)", "refs/heads", "refs/exps/??/")
        for name in references.stdout.split():
            with chdir(self.folder):
                problem = find_problem(name)
            if problem:
                self.counts["revision refused"] += 1
            else:
                metrics = {s: json.loads(show(f"reports/metrics/{s}.json")) for s in PARAMS}
                self.compare("revision", metrics, yaml.safe_load(show("params.yaml")))

    def take(self, steps):
        actions = [self.edit] * 4 + [self.repro] * 4 + [self.run_experiment, self.commit] * 2
        actions += [self.save_experiment, self.apply, self.commit_outputs, self.freeze, self.force]
        actions += [self.switch, self.merge, self.merge, self.stash, self.restore]
        actions += [self.collect_garbage, self.worktree, *[self.run_script] * 4]
        for _ in range(steps):
            action = self.pick(*actions)
            self.trace.append(action.__name__)
            action()
            self.check_folder(self.folder)
        self.check_revisions()
        self.counts["actions"] = steps


@pytest.fixture(scope="module")
def pool():
    with start_pool() as pool:
        yield pool


@pytest.fixture(scope="module")
def pipeline(pool, tmp_path_factory):
    """A repository of the small pipeline with committed results."""
    folder = tmp_path_factory.mktemp("walks") / "pipeline"
    write_pipeline(folder)
    walk = Walk(folder, pool)
    walk.git("init", "--quiet", "--initial-branch=main")
    set_identity(folder)
    assert walk.dvc("repro") == 0
    walk.commit()
    return folder


def walk(pipeline, folder, pool, seed):
    """Take ten random actions in a copy of the pipeline."""
    shutil.copytree(pipeline, folder / "walk", symlinks=True)
    walk = Walk(folder / "walk", pool, seed)
    walk.take(10)
    print(f"walk {seed}:", json.dumps(walk.counts), " ".join(walk.trace))
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=pytest.mark.slow) for seed in range(4)]
    + [pytest.param(seed, marks=pytest.mark.full) for seed in range(4, WALKS)],
)
def test_no_number_is_shown_with_parameters_that_did_not_produce_it(pipeline, tmp_path, pool, seed):
    walk(pipeline, tmp_path, pool, seed)


@pytest.mark.slow
def test_a_missing_check_for_stale_results_is_detected(pipeline, tmp_path, pool):
    """Without the check, the page shows a frozen stage's numbers with edited parameters."""
    unchecked = shutil.copytree(pipeline, tmp_path / "unchecked", symlinks=True)
    with open(unchecked / "stages/common/stage.py", "a") as code:
        code.write("\n\ndef check(*arguments, **options):\n    pass\n")
    walk = Walk(unchecked, pool)
    walk.dvc("freeze", "cnn_train")
    params = PARAMS | {"train": {"lr": 2, "seed": 1}, "report": {"points": 1}}
    (unchecked / "params.yaml").write_text(yaml.safe_dump(params))
    walk.dvc("repro")
    with pytest.raises(AssertionError, match="page"):
        walk.check_folder(unchecked)
