"""Temporary copies of the project: their folder, and the settings they share with the project."""

import os
from pathlib import Path

# DVC's folder for copies; `make doctor` removes those of killed runs.
COPIES = Path(".dvc/tmp/exps")
# A clone without the hooks, templates and restrictions of the user's Git configuration.
CLONE = ["git", "-c", "protocol.file.allow=always", "-c", "clone.rejectShallow=false", "clone"]
CLONE += ["--quiet", "--no-checkout", "--template=", "-c", "core.hooksPath=/dev/null"]


def absolute_mirror():
    """MNIST_MIRROR as an absolute path, for runs in other folders; {} if it is not set."""
    mirror = os.environ.get("MNIST_MIRROR")
    if not mirror:
        return {}
    folder = Path(mirror).expanduser()
    return {"MNIST_MIRROR": str(folder.resolve()) if folder.is_dir() else mirror}


def cache_settings():
    """DVC options for sharing the cache and its file permissions with a clone."""
    from dvc.repo import Repo  # lazy: local workers load this file

    with Repo() as repo:
        config, folder = repo.config["cache"], repo.cache.local_cache_dir
    settings = {"cache.dir": folder, "cache.shared": config.get("shared")}
    settings["cache.type"] = ",".join(config.get("type") or ())
    return {option: value for option, value in settings.items() if value}
