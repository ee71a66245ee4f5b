"""Variables of a shell, hook or notebook and settings in a home folder change no result."""

import os
import shutil
import subprocess
import sys

import pytest
from imitations import add_experiments
from repositories import commit, doctor, git, make_repository
from workspaces import ENV, ROOT

pytestmark = pytest.mark.slow

# Variables that the Makefile removes.
CLEARED = {
    "CDPATH": "/tmp",  # noqa: S108
    "DVC_EXP_BASELINE_REV": "0" * 40,
    "DVC_EXP_NAME": "another",
    "DVC_ROOT": "/nonexistent",
    "DVC_STAGE": "another",
    "GIT_NAMESPACE": "another",
    "MATPLOTLIBRC": "/nonexistent",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONHOME": "/nonexistent",
    "PYTHONINSPECT": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONPATH": "/nonexistent",
    "PYTHONSAFEPATH": "1",
    "PYTHONWARNINGS": "error",
    "VIRTUAL_ENV": "/nonexistent",
}
CLEARED |= dict.fromkeys(("PIP_TARGET", "PIP_CONSTRAINT", "UV_PYTHON", "UV_SYSTEM_PYTHON"), "x")
CLEARED |= dict.fromkeys(
    subprocess.check_output(["git", "rev-parse", "--local-env-vars"], text=True).split(), "x"
)
# Variables that users set deliberately, and the Makefile keeps.
PRESERVED = {"CUDA_VISIBLE_DEVICES": "", "GIT_SSH_COMMAND": "ssh", "MNIST_MIRROR": "/srv/mnist"}
PRESERVED |= {"OMP_NUM_THREADS": "1", "PYTHON": sys.executable, "UV_CACHE_DIR": "/srv/uv"}
# Settings that do not change the bytes of a figure.
FIGURES = {
    "a notebook's backend": ({"MPLBACKEND": "module://matplotlib_inline.backend_inline"}, ""),
    "an unknown backend": ({"MPLBACKEND": "none"}, ""),
    "a desktop's backend": ({}, "backend: TkAgg"),
    "ticks": ({}, "xtick.direction: in\nfont.size: 20\nsavefig.dpi: 10"),
    "LaTeX": ({}, "text.usetex: True"),
    "a key unknown to Matplotlib": ({}, "no.such.key: 1"),
    "a locale": ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, ""),
    "hashes": ({"PYTHONHASHSEED": "7"}, ""),
    "a time zone": ({"TZ": "Asia/Kathmandu"}, ""),
    "no home": ({"HOME": "/nonexistent"}, ""),
}


def test_make_clears_inherited_variables_and_keeps_user_settings():
    shown = subprocess.run(
        ["make", "--no-print-directory", "-f", ROOT / "Makefile", "-f", "-", "show"],
        input="show:\n\t@env\n",
        env=os.environ | CLEARED | PRESERVED,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    environment = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    assert not environment.keys() & CLEARED.keys()
    assert {name: environment.get(name) for name in PRESERVED} == PRESERVED


def test_make_sets_a_user_name_without_an_account():
    """DVC and torch fail without a user name."""
    command = ["make", "-f", ROOT / "Makefile", "-f", "-", "show"]
    bare = {name: ENV[name] for name in ENV if name not in ("LOGNAME", "USER", "HOME")}
    shown = "show:\n\t@echo name: $$LOGNAME\n"
    done = subprocess.run(command, input=shown, env=bare, capture_output=True, text=True)
    assert "name: " in done.stdout
    assert done.stdout.split()[-1] not in ("", "name:")


def draw(folder, environment=(), settings=""):
    """Run `plots` with these settings in the home and the current folder; return name to bytes."""
    for path in (folder / "home/.config/matplotlib/matplotlibrc", folder / "matplotlibrc"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(settings)
    own = {"HOME": str(folder / "home"), "MATPLOTLIBRC": str(folder / "matplotlibrc")}
    command = [sys.executable, ROOT / "stages/plots.py"]
    done = subprocess.run(
        command, cwd=folder, env=ENV | own | dict(environment), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return read_figures(folder)


def read_figures(folder):
    return {path: path.read_bytes() for path in folder.glob("*/*/*.png")}


def test_figures_do_not_depend_on_user_settings(results):
    expected = read_figures(results)
    variables = {name: value for values, _ in FIGURES.values() for name, value in values.items()}
    assert len(expected) > 10
    assert draw(results, variables, "\n".join(text for _, text in FIGURES.values())) == expected


@pytest.mark.full
@pytest.mark.parametrize("name", FIGURES)
def test_figures_do_not_depend_on_a_single_setting(name, results):
    assert draw(results, *FIGURES[name]) == read_figures(results)


@pytest.fixture(scope="module")
def repository(first_run, tmp_path_factory):
    """The project with committed results, in a subfolder of a larger repository."""
    top = tmp_path_factory.mktemp("isolation") / 'it\'s $HOME: a "lärger" repository'
    top.mkdir()
    folder = shutil.copytree(first_run["folder"], top / "the project", symlinks=True)
    shutil.move(folder / ".git", top)
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    git(top, "rm", "-r", "--quiet", "--cached", ".")
    commit(top)
    return folder


def make(folder, target, *settings, **environment):
    """Run a target of the Makefile successfully and return its output."""
    command = ["make", "-sf", ROOT / "Makefile", target, *settings, "READY=", "ACTIVE="]
    done = subprocess.run(
        command, cwd=folder, env=ENV | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def victim(tmp_path):
    """Another repository, and the variables that Git sets in its hooks."""
    folder = make_repository(tmp_path / "victim")
    git_folder = str(folder / ".git")
    variables = {"GIT_DIR": git_folder, "GIT_COMMON_DIR": git_folder, "GIT_WORK_TREE": str(folder)}
    variables |= {"GIT_INDEX_FILE": f"{git_folder}/index", "GIT_PREFIX": "stages/"}
    return folder, variables | {"GIT_OBJECT_DIRECTORY": f"{git_folder}/objects"}


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_tools_work_in_a_subfolder_and_ignore_the_variables_of_a_hook(repository, victim):
    add_experiments(repository, {"other": {"changes": {"evaluate.batch_size": 10}}})
    folder, variables = victim
    before = content(folder)
    assert "| other" in make(repository, "compare", **variables)
    assert make(repository, "why", **variables) == "nothing changed: dvc repro runs nothing\n"
    assert make(repository, "doctor", **variables) == "no problems found\n"
    assert content(folder) == before
    assert git(repository, "status", "--porcelain") == ""
    git(repository, "update-ref", "refs/exps/exec/EXEC_BASELINE", "HEAD")
    git(repository, "checkout", "--quiet", "--detach", git(repository, "rev-parse", "HEAD"))
    assert "HEAD is detached" in doctor(repository).stdout
    assert doctor(repository, "--fix").returncode == 0


@pytest.mark.full
def test_runs_work_in_a_subfolder_and_ignore_the_variables_of_a_hook(repository, victim):
    folder, variables = victim
    before = content(folder)
    seeds = make(repository, "seeds", "N=2", "SET=-S train.epochs=1", **variables)
    assert "epochs=1" in seeds
    table = make(repository, "sweep", "SET=-S train.lr=0.05 -S train.epochs=1", **variables)
    assert "| epochs=1,lr=0.05" in table
    assert content(folder) == before
