"""Reproduce the results of the last commit in a clone and compare them with the committed results.

make verify          reruns all stages, ignoring cached results, and prints each metric with its
                     tolerance; exit status 1 if a metric is outside its tolerance
make verify QUICK=1  runs only the surfaces and XOR
make repro           ends with a one-line comparison of the results in this folder
"""

import argparse
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import yaml

from internals.clone import COPIES, activated, cache_settings, clone_steps
from internals.differences import Results, conclude, tabulate
from internals.experiments import require_results
from internals.git import RunError, commit_of, content_of, current_commit, exit_on_user_error, git

from common.mnist import absolute_mirror
from common.results import METRICS, check
from common.stage import list_paths

QUICK = {"surfaces": "surfaces", "xor": "xor_train"}  # section: stage
PAGE = "reports/index.html"


def sections_of(read):
    """The sections whose stages write metrics, from the dvc.yaml that read(path) returns."""
    stages = yaml.safe_load(read(Path("dvc.yaml")))["stages"].values()
    paths = (path for stage in stages for path in list_paths(stage, "metrics"))
    return [path.stem for path in paths if path.parent == METRICS]


def read_committed(commit, sections=None):
    """The results of a commit; RunError if they do not match its parameters."""
    read = partial(content_of, commit)
    sections = sections or sections_of(read)
    require_results(commit, sections)
    return Results(sections, read)


def reproduce(commit, folder, stages):
    """Run stages of a commit in a clone in `folder`; return the project's path in the clone."""
    top, prefix = git("rev-parse", "--show-toplevel"), git("rev-parse", "--show-prefix")
    clone = Path(folder, "project")
    project = clone / prefix
    imported = [] if stages else git("ls-tree", "-rz", "--name-only", commit).split("\0")
    target = ["--single-item", *stages] if stages else []
    steps = [
        # With these settings, a later `dvc repro` finds the results in the cache.
        *clone_steps(top, clone, prefix, commit, cache_settings()),
        *((project, "dvc", "pull", "--quiet", path) for path in imported if path.endswith(".dvc")),
        (project, "dvc", "repro", "--force", "--no-run-cache", *target),
    ]
    environment = activated(absolute_mirror())
    for place, *command in steps:
        if subprocess.run(command, cwd=place, env=environment).returncode:
            raise RunError(f"{' '.join(command[:2])} failed in a clone of the last commit")
    return project


def verify(quick):
    started, commit = time.monotonic(), current_commit()
    committed = read_committed(commit, QUICK if quick else None)
    COPIES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=COPIES.resolve()) as folder:
        clone = reproduce(commit, folder, QUICK.values() if quick else ())
        here = Results(committed.made, lambda path: (clone / path).read_bytes())
        page = git("hash-object", "--no-filters", clone / PAGE)
        same_page = quick or page == commit_of(f"{commit}:./{PAGE}")
    table = tabulate(committed, here)
    line, good = conclude(table, here.machine)
    print(table.fillna("").to_string(index=False, float_format="{:.6g}".format))
    different = [path for path, md5 in committed.files.items() if here.files.get(path) != md5]
    different += [] if same_page else [PAGE]
    bytes_here = f"different bytes in {', '.join(different)}" if different else "the same bytes"
    print(f"{len(committed.files) + (not quick)} files: {bytes_here}")
    if here.machine.get("precision") != committed.machine.get("precision"):
        print(f"the committed results were computed in {committed.machine['precision']}")
    if quick:
        print("quick: the CNN was not trained")
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    print(f"{line}; {minutes} min {seconds} s")
    sys.exit(0 if good else 1)


def compare_here():
    """Print one line for `make repro`: this folder's results compared with the last commit's.

    Results of different parameters are not compared.
    """
    sections = sections_of(Path.read_bytes)
    check(sections)
    try:
        committed, here = read_committed(current_commit()), Results(sections, Path.read_bytes)
    except (FileNotFoundError, RunError) as error:
        print(f"not compared: {error}")
        return
    old, new = ({s: made["params"] for s, made in r.made.items()} for r in (committed, here))
    if missing := old.keys() - new.keys():
        print(f"not compared with the last commit: no results of {', '.join(sorted(missing))} here")
    elif changed := [section for section in old if old[section] != new[section]]:
        print(
            f"not compared with the last commit: different parameters in {', '.join(changed)}; "
            f"computed in {here.machine['precision']} on {here.machine['device']}"
        )
    else:
        table = tabulate(committed, here)
        new = table["committed"].isna()
        print(conclude(table[~new], here.machine)[0])
        if new.any():
            print(f"not in the last commit: {', '.join(table['metric'][new])}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="skip the CNN")
    parser.add_argument("--here", action="store_true", help="compare this folder, run nothing")
    arguments = parser.parse_args()
    with exit_on_user_error():
        compare_here() if arguments.here else verify(arguments.quick)
