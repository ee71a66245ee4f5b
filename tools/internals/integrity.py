"""Compare the content of DVC's cache with its checksums.

Each check yields one line per damaged file and a function to delete it. `dvc repro` or `dvc pull`
restores the file.
"""

import hashlib
import os
from pathlib import Path

from dvc.repo import Repo
from dvc.stage.cache import _get_cache_hash
from dvc.utils.serialize import load_yaml


def cache_folder():
    """The folder of DVC's cache: .dvc/cache or a configured one."""
    return Path(os.path.relpath(Repo().cache.local_cache_dir))


def cache():
    """Cache objects whose MD5 differs from their name. DVC does not check this."""
    for path in sorted(cache_folder().glob("files/md5/*/*")):
        name = path.parent.name + path.name.removesuffix(".dir")
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != name:
            kind = "half-written" if len(name) != len(found) else f"damaged: its MD5 is {found}"
            yield f"{path}: {kind}; `dvc repro` or `dvc pull` restores it", path.unlink


def run_cache():
    """Run-cache entries: one folder per stage and inputs, with one record per run.

    The name of a record is the SHA-256 of its content without sizes. `dvc repro` fails on truncated
    records that are still valid YAML, and on folders without records.
    """
    runs = cache_folder() / "runs"
    for path in sorted(path for path in runs.glob("*/*/*") if not is_sound(path)):
        yield f"{path}: damaged; its stage reruns if needed", path.unlink
    for folder in sorted(runs.glob("*/*")):
        if all(not is_sound(path) for path in folder.iterdir()):
            yield f"{folder}: contains no run record, so DVC fails", folder.rmdir


def is_sound(record):
    try:
        return _get_cache_hash(load_yaml(record)) == record.name
    except Exception:  # DVC raises errors of many types for damaged records
        return False
