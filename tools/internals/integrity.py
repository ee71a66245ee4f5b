"""Compare the content of DVC's cache with its checksums.

Each check yields one line per damaged file and a function to delete it. `dvc repro` or `dvc pull`
restores the file.
"""

import os
import shutil
from functools import partial
from pathlib import Path

from dvc.utils import dict_sha256
from dvc.utils.serialize import load_yaml

from internals.clone import cache_settings

from common.results import md5_of


def cache_folder():
    """The folder of DVC's cache: .dvc/cache or a configured one."""
    return Path(os.path.relpath(cache_settings()["cache.dir"]))


def cache():
    """Cache objects whose MD5 differs from their name. DVC does not check this."""
    for path in sorted(cache_folder().glob("files/md5/*/*")):
        if (found := md5_of(path)) != path.parent.name + path.name.removesuffix(".dir"):
            hint = "`dvc repro` or `dvc pull` restores it"
            yield f"{path}: damaged: its MD5 is {found}; {hint}", path.unlink


def run_cache():
    """Run-cache folders, one per stage and inputs, without records or with a damaged one.

    `dvc repro` fails on truncated records that are still valid YAML, and on empty folders.
    """
    for folder in sorted((cache_folder() / "runs").glob("*/*")):
        records = [*map(is_sound, folder.iterdir())]
        if not records or not all(records):
            yield f"{folder}: damaged; its stage reruns if needed", partial(shutil.rmtree, folder)


def is_sound(record):
    """Whether a record's name is the SHA-256 of its content without sizes."""
    try:
        return dict_sha256(load_yaml(record), exclude=["size", "nfiles"]) == record.name
    except Exception:  # DVC raises errors of many types for damaged records
        return False
