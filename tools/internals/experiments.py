"""DVC experiments of a commit: names, parameters and results."""

import hashlib
import json
import re
from functools import partial

from internals.git import RunError, content_of, git

from common.mnist import TEST
from common.params import ParameterError, compare, read_params
from common.results import check, metrics_path

SECTIONS = ("data", "train", "evaluate")  # of params.yaml; the others do not affect the network
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
    names = git("for-each-ref", "--format=%(refname:lstrip=4)", reference_of("", commit)).split()
    return {name: reference_of(name, commit) for name in names}


def params_of(revision):
    """All parameters of a revision; {} if its params.yaml is missing or invalid."""
    try:
        return read_params(partial(content_of, revision))
    except ParameterError:
        return {}


def relevant(params):
    """The parameters that affect the metrics of the network."""
    return {section: values for section, values in params.items() if section in SECTIONS}


def code_of(revision):
    """A hash of the code of a revision; DVC copies uncommitted edits into experiments."""
    listing = git("ls-tree", revision, "dvc.yaml", "stages")
    return hashlib.sha256(listing.encode()).hexdigest()[:7]


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


def require_results(commit, sections=SECTIONS):
    """RunError if the results of the last commit do not match its parameters."""
    if problem := find_problem(commit, sections):
        reason = f"the last commit has no valid results ({problem})"
        raise RunError(f"{reason}: run dvc repro and commit")


def metrics_of(revision):
    """Metrics and machine of a revision, the number of its training images and the MD5 of its test
    images: name to value.
    """
    metrics = {}
    for section in ("train", "evaluate"):
        metrics |= json.loads(content_of(revision, metrics_path(section)))
    images = {"images": metrics["splits"][0]["images"]}
    images["test_images"] = metrics["provenance"][0]["reads"].get(TEST)
    return metrics | metrics["machine"][0] | images


def find_results(runs, commit):
    """Existing results of runs, and errors of blocked runs: two dicts by run name.

    Runs are matched with the commit's experiments by parameters, not by name. A run without results
    is blocked if an experiment with other parameters or invalid results has its name.
    """
    existing, code = experiments_of(commit), code_of(commit)
    params = {name: params_of(revision) for name, revision in existing.items()}

    def problem_of(name):
        edited = code_of(existing[name]) != code
        return "it ran edited code" if edited else find_problem(existing[name])

    results, blocked = {}, {}
    for name, run in runs.items():
        equal = (other for other in existing if params[other] == run.params)
        usable = next((other for other in equal if not problem_of(other)), None)
        if usable:
            results[name] = metrics_of(existing[usable])
        elif name in existing:
            changes = compare(params[name], run.params)
            different = "; ".join(f"{p} {found}, not {wanted}" for p, found, wanted in changes)
            problem = f"it has {different}" if different else problem_of(name)
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
