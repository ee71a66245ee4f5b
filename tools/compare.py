"""Compare the experiments of the last commit with the commit's own results, on the test images.

make compare [RUNS="slower faster"]  prints a table and writes reports/compare.html. The best run on
the validation images comes first. Runs that differ in train.seed alone form a setting. Settings
with several common seeds are compared as settings, paired by seed. All results are read from Git.
"""

import argparse
import sys

from internals.compare_page import PAGE, write_page
from internals.comparison import as_text, group_by_setting, read_result, tabulate
from internals.experiments import experiments_of, find_problem
from internals.git import RunError, current_commit, exit_on_user_error
from internals.seeds import seed_deviations
from internals.summary import tabulate_settings

BASE = "this commit"


def choose(names, commit):
    """Name to revision of the commit and its experiments, or of some; reports invalid ones."""
    revisions = {BASE: commit} | experiments_of(commit)
    if unknown := [name for name in names if name not in revisions]:
        existing = ", ".join(name for name in revisions if name != BASE) or "none"
        raise RunError(f"{unknown[0]}: no such experiment of this commit; there are: {existing}")
    chosen = {n: r for n, r in revisions.items() if not names or n in (BASE, *names)}
    for name, revision in [*chosen.items()]:
        if problem := find_problem(revision):
            if name == BASE:
                raise RunError(
                    f"the last commit has no valid results ({problem}): dvc repro, commit"
                )
            print(f"{name}: left out: {problem}", file=sys.stderr)
            del chosen[name]
    if len(chosen) < 2:
        raise RunError("nothing to compare: `dvc exp run -S train.lr=0.001` makes an experiment")
    return chosen


def main(names):
    commit = current_commit()
    results = {name: read_result(revision) for name, revision in choose(names, commit).items()}
    for name, result in results.items():
        for what in ("device", "precision"):
            its, commits = (r.metrics.get(what) for r in (result, results[BASE]))
            if its != commits:
                print(f"{name}: its {what} is {its}, this commit's {commits}", file=sys.stderr)
    groups = group_by_setting(results, BASE)
    table = tabulate(results, BASE, groups)
    print(as_text(table).to_markdown(index=False, disable_numparse=True))
    by_seed = {
        label: {seed: results[name].metrics for seed, name in group.items()}
        for label, group in groups.items()
    }
    settings = dict(tabulate_settings(by_seed)) if groups else {}
    for title, rows in settings.items():
        print(f"\n{title}\n\n{rows.to_markdown(index=False, disable_numparse=True)}")
    notes = [
        "Difference, interval and p (McNemar) compare two networks on the same test images; two "
        "seeds of one setting differ, too."
    ]
    if deviations := seed_deviations():
        notes.append(f"Standard deviation of errors between seeds: {deviations}.")
    print("", *notes, sep="\n")
    write_page(commit, results, BASE, table, settings, notes)
    print(f"The page is {PAGE}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="experiments; without names, all of this commit")
    with exit_on_user_error():
        main(parser.parse_args().names)
