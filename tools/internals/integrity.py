"""Whether DVC's cache holds what its names say.

Each check yields a line for what is wrong, and the function that removes it: it is made again.
"""

import hashlib
import os
from pathlib import Path

from dvc.repo import Repo
from dvc.stage.cache import _get_cache_hash
from dvc.utils.serialize import load_yaml


def cache_folder():
    """Where DVC is told to keep its cache: .dvc/cache, or elsewhere."""
    return Path(os.path.relpath(Repo().cache.local_cache_dir))


def cache():
    """Objects whose content has not the MD5 by which they are called: DVC trusts the name."""
    for path in sorted(cache_folder().glob("files/md5/*/*")):
        name = path.parent.name + path.name.removesuffix(".dir")
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != name:
            kind = "half-written" if len(name) != len(found) else f"damaged: its MD5 is {found}"
            yield f"{path}: {kind}; `dvc repro` or `dvc pull` makes it again", path.unlink


def past_runs():
    """Records of what stages made before, in a folder for each command and its inputs.

    A record is called by the SHA-256 of its content, but for sizes, which DVC measures anew. It
    stops at one that is cut where its YAML still parses, and at a folder without any.
    """
    runs = cache_folder() / "runs"
    for path in sorted(path for path in runs.glob("*/*/*") if not is_sound(path)):
        yield f"{path}: damaged; the stage runs again where it was needed", path.unlink
    for folder in sorted(runs.glob("*/*")):
        if all(not is_sound(path) for path in folder.iterdir()):
            yield f"{folder}: without a record of a run, at which DVC stops", folder.rmdir


def is_sound(record):
    try:
        return _get_cache_hash(load_yaml(record)) == record.name
    except Exception:  # whatever DVC raises at bytes that are no record
        return False
