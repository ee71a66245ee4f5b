"""Compare the content of DVC's cache with its checksums.

Each check yields one line per damaged file and a function to delete it. `dvc repro` or `dvc pull`
restores the file.
"""

import json
import os
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

from dvc.utils import dict_sha256
from dvc.utils.serialize import load_yaml

from internals.clone import cache_settings
from internals.processes import in_use

from common.results import METRICS, md5_of


def cache_folder():
    """The folder of DVC's cache: .dvc/cache or a configured one."""
    return Path(os.path.relpath(cache_settings()["cache.dir"]))


def cache():
    """Cache objects whose MD5 differs from their name. DVC does not check this."""
    for path in sorted(cache_folder().glob("files/md5/*/*")):
        if path.name.startswith(".") and in_use(path):
            continue  # temporary file of a process, possibly in another clone
        if (found := md5_of(path)) != path.parent.name + path.name.removesuffix(".dir"):
            hint = "`dvc repro` or `dvc pull` restores it"
            yield f"{path}: damaged: its MD5 is {found}; {hint}", path.unlink


def run_cache():
    """Run-cache folders (one per stage and inputs) that are empty or have a damaged record, and
    records whose results belong to other parameters or inputs.

    `dvc repro` fails on truncated records that are still valid YAML, and on empty folders.
    """
    top = cache_folder()
    for folder in sorted(top.glob("runs/*/*")):
        records = {record: read_record(record) for record in sorted(folder.iterdir())}
        if not records or None in records.values():
            yield f"{folder}: damaged; its stage reruns if needed", partial(shutil.rmtree, folder)
            continue
        for record, entry in records.items():
            if not is_consistent(entry, top / "files/md5"):
                reason = "its results belong to other parameters or inputs"
                yield f"{record}: {reason}; its stage reruns if needed", partial(forget, record)


def read_record(record):
    """The content of a record; None unless its name is the SHA-256 of the content without sizes."""
    try:
        entry = load_yaml(record)
        return entry if dict_sha256(entry, exclude=["size", "nfiles"]) == record.name else None
    except Exception:  # DVC raises errors of many types for damaged records
        return None


def is_consistent(entry, objects):
    """Whether the metrics in a record were computed with its parameters, inputs and outputs: `dvc
    commit` and `dvc exp save` record whatever is in the workspace. `objects` is the cache's folder.
    """
    files = {file["path"]: file.get("md5", "") for file in [*entry.get("deps", []), *entry["outs"]]}
    params = entry.get("params", {}).get("params.yaml", {})
    for path in (Path(out["path"]) for out in entry["outs"]):
        if path.parent != METRICS:
            continue
        md5 = files[path.as_posix()]
        try:
            metrics = (objects / md5[:2] / md5[2:]).read_bytes()
            (made,) = json.loads(metrics)["provenance"]
        except (LookupError, OSError, TypeError, ValueError):
            continue  # no longer in the cache, or a user's own metrics
        recorded = (made["reads"] | made["writes"]).items()
        if made["params"] != params.get(path.stem):
            return False
        if any(files.get(name, found) != found for name, found in recorded):
            return False
    return True


def forget(record):
    """Delete a record and, if it was the last one, its folder."""
    record.unlink()
    with suppress(OSError):
        record.parent.rmdir()
