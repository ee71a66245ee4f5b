"""Metrics of a stage and their provenance.

reports/metrics/SECTION.json holds headline metrics as numbers, and details as lists, which DVC does
not display. `provenance` holds the stage, its parameters, an MD5 of its metrics and of each other
file under data/ and reports/ that it read or wrote. dvc.lock alone proves nothing: `dvc commit`,
`dvc exp save` and frozen stages can record parameters that did not produce the results.
"""

import hashlib
import json
import math
from pathlib import Path

from common.files import DamagedFileError, round_floats, write_bytes
from common.params import ParameterError, compare, flatten, printable, read_params, select

METRICS = Path("reports/metrics")


class StaleResultError(OSError):
    """A result that other parameters or inputs produced; str() is the message for users."""


def metrics_path(section):
    return METRICS / f"{section}.json"


def write_metrics(section, metrics, provenance=None):
    """Write {name: number or list} as JSON, rounded to 10 significant digits; ParameterError for a
    non-finite number.
    """
    rounded = round_floats(json.dumps(metrics), 10)
    for name, value in flatten(rounded):
        if isinstance(value, float) and not math.isfinite(value):
            raise ParameterError(section, f"the metric {name} is {value}; try smaller parameters")
    if provenance:
        rounded["provenance"] = [provenance | {"metrics": digest_metrics(rounded)}]
    write_bytes(metrics_path(section), (json.dumps(rounded, indent=2) + "\n").encode())


def digest_metrics(metrics):
    """The MD5 of metrics without provenance; it does not depend on the layout of the file."""
    text = json.dumps(metrics, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def read_metrics(section, read=Path.read_bytes):
    """The metrics of a section: {name: number or list}."""
    try:
        return json.loads(read(metrics_path(section)))
    except ValueError as error:
        raise DamagedFileError(metrics_path(section), error) from None


def by_name(value):
    """Nested metrics with each list of named rows as a dict; the name is a row's first value, if
    that is a string.
    """
    match value:
        case dict():
            return {name: by_name(member) for name, member in value.items()}
        case [dict() as row, *_] if isinstance(next(iter(row.values()), None), str):
            return {next(iter(row.values())): by_name(row) for row in value}
    return value


def md5_of(path):
    """The MD5 of a file, which dvc.lock uses, too."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def check(sections, read=Path.read_bytes, digest=md5_of):
    """Raise StaleResultError unless the results of these sections match params.yaml, the files in
    their provenance, and each other. Sections without metrics are skipped.

    read(path) returns a file's content; digest(path) its MD5, or None if unknown: Git revisions
    contain no files under data/.
    """
    params, known = read_params(read), {}
    for section in sections:
        path = metrics_path(section)
        try:
            metrics = read_metrics(section, read)
            (made,) = metrics.pop("provenance")
            stage, reads, writes = made["stage"], made["reads"], made["writes"]
            recorded, files = dict(made["params"]), (reads | writes).items()
            intact = made["metrics"] == digest_metrics(metrics)
        except FileNotFoundError:
            continue
        except (AttributeError, LookupError, TypeError, ValueError):
            raise DamagedFileError(path, "it has no valid provenance") from None
        if not intact:
            raise DamagedFileError(path, f"its metrics are not those that {stage} wrote")
        rerun = f"run `dvc repro --force --single-item {stage}`"
        for name, old, new in compare(recorded, select(params, section)):
            found = f"computed with {section}.{name} {old}, params.yaml has {new}"
            hint = f"(after `dvc unfreeze {stage}` if it is frozen)"
            raise StaleResultError(printable(f"{path}: stale: {found}; {rerun} {hint}"))
        for file, md5 in files:
            found = known.setdefault(file, digest(file) or md5)
            if found != md5 and file in writes:
                raise DamagedFileError(file, f"its MD5 is {found}, {stage} wrote {md5}")
            if found != md5:
                raise StaleResultError(f"{path}: stale: computed from a different {file}; {rerun}")
