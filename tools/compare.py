"""Compare the experiments of the last commit with the commit's own results, on the test images.

make compare [RUNS="slower faster"]  prints a table, sorted by validation accuracy, and writes
reports/compare.html. Runs that differ only in train.seed belong to one setting. Settings with
several common seeds are compared as settings, paired by seed. All results are read from Git.
"""

import argparse
import sys

from internals.compare_page import PAGE, write_page
from internals.comparison import as_text, group_by_setting, read_result, tabulate
from internals.experiments import experiments_of, find_problem, require_results
from internals.git import RunError, current_commit, exit_on_user_error
from internals.seeds import seed_deviations
from internals.summary import tabulate_settings

BASE = "this commit"


def choose(names, commit):
    """Map names to revisions: the commit and all its experiments, or those named. Skip invalid
    experiments with a message.
    """
    experiments, chosen = experiments_of(commit), {BASE: commit}
    if unknown := [name for name in names if name not in experiments]:
        found = f"no such experiment of this commit; existing: {', '.join(experiments) or 'none'}"
        hint = f"for those of other commits: dvc metrics diff HEAD {unknown[0]}"
        raise RunError(f"{unknown[0]}: {found}; {hint}")
    require_results(commit)
    for name in sorted(names) or experiments:
        if problem := find_problem(experiments[name]):
            print(f"{name}: skipped: {problem}", file=sys.stderr)
        else:
            chosen[name] = experiments[name]
    if len(chosen) < 2:
        raise RunError("nothing to compare: run an experiment, `dvc exp run -S train.lr=0.001`")
    return chosen


def main(names):
    commit = current_commit()
    results = {name: read_result(revision) for name, revision in choose(names, commit).items()}
    for name, result in results.items():
        for metric in ("device", "precision", "threads", "torch"):
            found, expected = (r.metrics.get(metric) for r in (result, results[BASE]))
            if found != expected:
                print(f"{name}: {metric} {found}, but {expected} in this commit", file=sys.stderr)
    groups = group_by_setting(results, BASE)
    table = tabulate(results, BASE, groups)
    print(as_text(table).to_markdown(index=False, disable_numparse=True))
    by_seed = {
        label: {seed: results[name].metrics for seed, name in group.items()}
        for label, group in groups.items()
    }
    settings = dict(tabulate_settings(by_seed))
    for title, rows in settings.items():
        print(f"\n{title}\n\n{rows.to_markdown(index=False, disable_numparse=True)}")
    notes = [
        "Difference, interval and p (McNemar) compare two networks on the same test images, not "
        "two settings, because results also vary between seeds."
    ]
    if deviations := seed_deviations(commit, results[BASE].metrics["test_images"]):
        notes.append(f"Standard deviation of errors between seeds: {deviations}.")
    print("", *notes, sep="\n")
    write_page(commit, results, BASE, table, settings, notes)
    print(f"The page is {PAGE}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="experiments; default: all of this commit")
    with exit_on_user_error():
        main(parser.parse_args().names)
