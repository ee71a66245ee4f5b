"""Run the whole pipeline on scikit-learn's digits in demo/, a separate Git repository.

A complete new demo/ replaces the existing one, unless the user has changed its branches,
experiments or files.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from internals.git import clear_variables

DEMO, PART, FORMER = Path("demo"), Path(".demo.part"), Path(".demo.former.part")
COPIED = [".dvc", ".dvcignore", ".gitattributes", ".gitignore", "Makefile", "dvc.yaml", "stages"]
COPIED += ["params.yaml", "params.schema.json", "requirements.lock", "tools"]
# 1,437 training images instead of 60,000: smaller batches give more steps per epoch, and a lower
# learning rate keeps training stable. Both were chosen on the validation images.
OVERRIDES = ["-S", "data.dataset=digits", "-S", "train.batch_size=32", "-S", "train.lr=0.01"]
# Environment variables of all commands in demo/, without the user's Git and DVC configuration.
ISOLATED = dict.fromkeys(("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"), os.devnull)
ISOLATED |= dict.fromkeys(("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"), "/nonexistent")
ISOLATED |= {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("DVC_", "GIT_")) or name in ("DVC_SITE_CACHE_DIR", "GIT_EXEC_PATH")
}
SETTINGS = {"user.name": "demo", "user.email": "demo@localhost", "commit.gpgsign": "false"}


def run(*command):
    subprocess.run(command, cwd=PART, env=ISOLATED, check=True)


def state(folder):
    """The branches, experiments and changed files of a repository."""
    commands = ["for-each-ref"], ["status", "--porcelain"]
    return b"".join(
        subprocess.run(["git", *command], cwd=folder, env=ISOLATED, stdout=subprocess.PIPE).stdout
        for command in commands
    )


def copy_pipeline():
    """Copy the tracked files of the working tree and link to this project's environment."""
    command = ["git", "ls-files", "-z", *COPIED]
    tracked = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    for name in os.fsdecode(tracked).split("\0"):
        if Path(name).is_file():
            (PART / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, PART / name)
    (PART / ".venvs").symlink_to("../.venvs")
    environment = Path(sys.prefix).resolve()
    inside = environment.is_relative_to(Path.cwd().resolve())
    (PART / ".venv").symlink_to(os.path.relpath(environment, PART) if inside else environment)


def build():
    shutil.rmtree(PART, ignore_errors=True)
    PART.mkdir()
    copy_pipeline()
    run("git", "init", "--quiet", "--template=")
    for name, value in SETTINGS.items():
        run("git", "config", name, value)
    run("dvc", "config", "--quiet", "--local", "cache.dir", ".dvc/cache")
    run("git", "add", ".")
    run("git", "commit", "--quiet", "-m", "The pipeline")
    run("dvc", "exp", "run", *OVERRIDES)
    run("git", "add", ".")
    run("git", "commit", "--quiet", "-m", "Results on the digits")
    (PART / ".git/made").write_bytes(state(PART))


def main():
    clear_variables()
    Path(".dvc/tmp").mkdir(exist_ok=True)
    with FileLock(".dvc/tmp/demo.lock"):
        if FORMER.exists() and not DEMO.exists():  # killed between the two renames below
            FORMER.rename(DEMO)
        made = DEMO / ".git/made"
        if DEMO.exists() and not (made.is_file() and made.read_bytes() == state(DEMO)):
            sys.exit("demo/ has changed since make demo: to rebuild it, run `rm -r demo` first")
        build()
        if DEMO.exists():
            shutil.rmtree(FORMER, ignore_errors=True)  # left by a killed run
            DEMO.rename(FORMER)
        PART.rename(DEMO)
        shutil.rmtree(FORMER, ignore_errors=True)
    print("The page is demo/reports/index.html, the metrics are in demo/reports/metrics.")
    print("Run your own experiments in demo/:")
    print("  . .venv/bin/activate && cd demo")
    print("  dvc exp run -S train.lr=0.001 --name slower && make compare")


if __name__ == "__main__":
    try:
        main()
    except (subprocess.CalledProcessError, OSError) as error:
        sys.exit(f"make demo failed and changed nothing: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
