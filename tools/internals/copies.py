"""Copies of the project for runs: where they are, and what they share with it."""

import os
from pathlib import Path

COPIES = Path(
    ".dvc/tmp/exps"
)  # DVC's own place for them; `make doctor` removes those of killed runs
# A clone without the hooks, templates and restrictions in a user's settings of Git.
CLONE = ["git", "-c", "protocol.file.allow=always", "-c", "clone.rejectShallow=false", "clone"]
CLONE += ["--quiet", "--no-checkout", "--template=", "-c", "core.hooksPath=/dev/null"]


def absolute_mirror():
    """MNIST_MIRROR for a run in another folder; {} if it is not set."""
    mirror = os.environ.get("MNIST_MIRROR")
    if not mirror:
        return {}
    folder = Path(mirror).expanduser()
    return {"MNIST_MIRROR": str(folder.resolve()) if folder.is_dir() else mirror}


def cache_settings():
    """DVC's options for a clone that shares the cache and its file permissions."""
    from dvc.repo import Repo  # here, because local workers load this file too

    with Repo() as repo:
        config, folder = repo.config["cache"], repo.cache.local_cache_dir
    settings = {"cache.dir": folder, "cache.shared": config.get("shared")}
    settings["cache.type"] = ",".join(config.get("type") or ())
    return {option: value for option, value in settings.items() if value}
