"""DVC experiments of a commit: names, parameters and results."""

import hashlib
import json
import re
from functools import partial

from internals.git import RunError, content_of, git

from common.mnist import TEST
from common.params import ParameterError, flatten, read_params
from common.results import check, metrics_path

METRICS = ("train", "evaluate")
SECTIONS = ("data", *METRICS)  # of params.yaml; the others do not affect these metrics
SEED = "train.seed"  # runs of a setting differ only in this parameter
# Runs of one setting are comparable if these metrics are equal.
SAME = ("images", "test_images", "precision", "device", "threads", "torch")


def name_of(overrides):
    """The experiment name for overrides, in any order: train.lr=0.1, train.seed=3 → lr=0.1,seed=3.

    Characters not allowed in Git references become dashes.
    """
    short = ",".join(sorted(override.lstrip("+").removeprefix("train.") for override in overrides))
    return re.sub(r"[^\w.,=+-]+|\.\.+", "-", short).strip(".-") or "default"


def reference_of(name, commit):
    """The Git reference of an experiment of a commit."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def experiments_of(commit):
    """The experiments of a commit: name to reference, sorted by name."""
    prefix = reference_of("", commit)
    names = git("for-each-ref", "--format=%(refname)", prefix).split()
    return {name.removeprefix(prefix): name for name in names}


def params_of(revision):
    """All parameters of a revision; {} if its params.yaml is missing or invalid."""
    try:
        return read_params(partial(content_of, revision))
    except ParameterError:
        return {}


def code_of(revision):
    """A hash of the code of a revision; DVC copies uncommitted edits into experiments."""
    listing = git("ls-tree", revision, "dvc.yaml", "stages")
    return hashlib.sha256(listing.encode()).hexdigest()[:7]


def flat(params):
    """Dotted name to value; null, empty lists and empty mappings become strings."""
    return {n: json.dumps(v) if v in (None, [], {}) else v for n, v in flatten(params)}


def find_problem(revision, sections=SECTIONS):
    """A one-line reason if a revision's results do not match its parameters, else None."""

    def digest(path):
        if path.startswith("data/"):
            return None  # tracked by DVC, not by Git
        return hashlib.md5(content_of(revision, path), usedforsecurity=False).hexdigest()

    try:
        for section in [s for s in sections if s != "data"]:  # users may have their own data stage
            content_of(revision, metrics_path(section))
        check(sections, partial(content_of, revision), digest)
    except (OSError, ParameterError) as error:
        return str(error)


def metrics_of(revision):
    """Metrics and machine of a revision, the number of its training images and the MD5 of its test
    images: name to value.
    """
    metrics = {}
    for section in METRICS:
        metrics |= json.loads(content_of(revision, metrics_path(section)))
    images = {"images": metrics["splits"][0]["images"]}
    images["test_images"] = metrics["provenance"][0]["reads"].get(TEST)
    return metrics | metrics["machine"][0] | images


def find_results(runs, commit):
    """Existing results of runs, and errors of blocked runs: two dicts by run name.

    Runs are matched with the commit's experiments by parameters, not by name. A run without results
    is blocked if an experiment with other parameters or invalid results has its name.
    """
    params, by_params = {}, {}
    for name, revision in experiments_of(commit).items():
        params[name] = flat(params_of(revision))
        by_params.setdefault(frozenset(params[name].items()), []).append(revision)
    results, blocked, code = {}, {}, code_of(commit)
    for name, run in runs.items():
        wanted = flat(run.params)
        for revision in by_params.get(frozenset(wanted.items()), ()):
            problem = find_problem(revision) if code_of(revision) == code else "it ran edited code"
            if not problem:
                results[name] = metrics_of(revision)
                break
        else:
            if name in params:
                found = params[name]
                changed = sorted(dict(found.items() ^ wanted.items()))
                different = [f"{p} {found.get(p)}, not {wanted.get(p)}" for p in changed]
                problem = f"it has {'; '.join(different)}" if different else problem
                blocked[name] = f"skipped: {problem}; run `dvc exp remove {name}` and retry"
    return results, blocked


def mixed(metrics):
    """The metrics in SAME that differ between runs, as 'threads 1 or 2'."""
    found = {name: sorted({str(run.get(name)) for run in metrics}) for name in SAME}
    return [f"{name} {' or '.join(values)}" for name, values in found.items() if len(values) > 1]


def refuse_edits():
    """RunError on uncommitted edits of code or parameters, because runs use the last commit."""
    files = ("params.yaml", "dvc.yaml", "stages", "*?.dvc")
    if edited := git("diff", "--name-only", "--relative", "HEAD", "--", *files):
        files = ", ".join(edited.splitlines())
        raise RunError(f"{files}: edited since the last commit; commit or `git restore .` first")
