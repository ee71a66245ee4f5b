"""Metrics of a stage and their provenance.

reports/metrics/SECTION.json holds headline metrics as numbers, and details as lists, which DVC does
not display. `provenance` holds the stage, its parameters, and the MD5 of each file that it read or
wrote. dvc.lock is no proof: `dvc commit`, `dvc exp save` and frozen stages can record parameters
that did not produce the results.
"""

import hashlib
import json
import math
from pathlib import Path

import yaml

from common.files import DamagedFileError, write_bytes
from common.params import brief, flatten, printable, read_section, read_text

METRICS = "reports/metrics/"


class StaleResultError(RuntimeError):
    """A result that other parameters or inputs produced; str() is the message for users."""


def metrics_path(section):
    return f"{METRICS}{section}.json"


def round_numbers(value):
    """A JSON value with its numbers rounded to 10 significant digits."""
    if isinstance(value, dict):
        return {name: round_numbers(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [round_numbers(member) for member in value]
    return float(f"{value:.10g}") if isinstance(value, float) else value


def write_metrics(section, metrics, provenance=None):
    """Write {name: number or list} as JSON; FloatingPointError for a non-finite value."""
    path = metrics_path(section)
    for name, value in flatten(metrics):
        if isinstance(value, float) and not math.isfinite(value):
            raise FloatingPointError(f"{path}: {name} is {value}")
    content = round_numbers(metrics) | ({"provenance": [provenance]} if provenance else {})
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_metrics(section, read=read_text):
    """The metrics of a section: {name: number or list}."""
    try:
        return json.loads(read(metrics_path(section)))
    except ValueError as error:
        raise DamagedFileError(metrics_path(section), error) from None


def md5_of(path):
    """The MD5 of a file, which dvc.lock uses, too."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def list_files(stage, kinds):
    """Paths under data/ and reports/ that dvc.yaml lists for a stage, folders expanded."""
    entry = yaml.safe_load(read_text("dvc.yaml"))["stages"].get(stage, {})
    entries = (item for kind in kinds for item in entry.get(kind, []))
    paths = [Path(next(iter(item)) if isinstance(item, dict) else item) for item in entries]
    for path in paths:
        if path.parts[0] in ("data", "reports"):
            yield from sorted(path.glob("[!.]*")) if path.is_dir() else [path]


def describe_run(stage, params, read, metrics):
    """The provenance of a finished stage; `read` maps paths to MD5s, `metrics` is its own file."""
    written = list_files(stage, ("outs", "metrics", "plots"))
    writes = {path.as_posix(): md5_of(path) for path in written if path != Path(metrics)}
    return {"stage": stage, "params": params, "reads": read, "writes": writes}


def check(sections, read=read_text, digest=md5_of):
    """Raise StaleResultError unless the results of these sections match params.yaml, the files in
    their provenance, and each other. Sections without metrics are skipped.

    read(path) returns a file's text; digest(path) its MD5, or None if unknown: Git revisions
    contain no files under data/.
    """
    known = {}
    for section in sections:
        path = metrics_path(section)
        try:
            metrics = read_metrics(section, read)
        except FileNotFoundError:
            continue
        if not metrics.get("provenance"):
            raise DamagedFileError(path, "it has no provenance")
        (made,) = metrics["provenance"]
        rerun = f"run `dvc repro --force --single-item {made['stage']}`"
        now, then = dict(flatten(read_section(section, read))), dict(flatten(made["params"]))
        for name in [*now, *(then.keys() - now.keys())]:
            if name not in now or name not in then or now[name] != then[name]:
                old, new = (brief.repr(p[name]) if name in p else "absent" for p in (then, now))
                found = f"computed with {section}.{name} {old}, params.yaml has {new}"
                hint = f"(after `dvc unfreeze {made['stage']}` if it is frozen)"
                raise StaleResultError(printable(f"{path}: stale: {found}; {rerun} {hint}"))
        for file, md5 in (made["reads"] | made["writes"]).items():
            found = known.setdefault(file, digest(file) or md5)
            if found != md5 and file in made["writes"]:
                raise DamagedFileError(file, f"its MD5 is {found}, {made['stage']} wrote {md5}")
            if found != md5:
                raise StaleResultError(f"{path}: stale: computed from another {file}; {rerun}")
