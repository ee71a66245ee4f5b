"""Find damage from killed runs and disk errors, and repair it on request.

make doctor        prints one line per finding; exit status 1 if there are any
make doctor FIX=1  repairs them; uncommitted edits and the branch stay unchanged
"""

import argparse
import re
import sys
from contextlib import suppress
from pathlib import Path

from internals.git import commit_of, exit_on_user_error
from internals.integrity import cache, run_cache
from internals.leftovers import copies, dvc_locks, git_locks, head, partial_files, references
from internals.processes import at_work

from common.params import ParameterError, parse, read_params, select
from common.results import StaleResultError, check, read_metrics


def note_stash():
    """Print a note if the latest stash was made on HEAD: DVC stashes edits temporarily."""
    edits = commit_of("stash^")
    if edits and edits == commit_of("HEAD"):
        found = "stash@{0} contains uncommitted edits made on this commit"
        print(f"{found}; if yours are missing, run git stash pop")


def results():
    """Conflict markers, and results recorded in dvc.lock under the wrong parameters. Parameters
    edited since the last run are not reported.
    """
    conflict = re.compile("^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
    for path in filter(Path.exists, map(Path, ("dvc.lock", "dvc.yaml", "params.yaml"))):
        if conflict.search(path.read_text(errors="replace")):
            hint = "edit the file" if path.name != "dvc.lock" else f"`git checkout HEAD {path}`"
            yield f"{path}: conflict markers: {hint}, then `dvc repro`", None
            return
    try:
        recorded = dict(parse(Path("dvc.lock").read_bytes())["stages"])
    except FileNotFoundError:
        recorded = {}
    except Exception:  # the parser raises errors of many types
        yield "dvc.lock: damaged: `git restore dvc.lock`, or delete it and run `dvc repro`", None
        return
    for path in sorted(Path("reports/metrics").glob("*.json")):
        try:
            check([path.stem])
        except StaleResultError as error:
            (made,), now = read_metrics(path.stem)["provenance"], select(read_params(), path.stem)
            entry = recorded.get(made["stage"], {}).get("params", {}).get("params.yaml", {})
            if made["params"] != now == entry.get(path.stem):
                yield str(error), None
        except (OSError, ParameterError):
            pass  # missing or damaged: `dvc repro` reports it


def examine(find, fix):
    """Print the findings of a check and fix them if requested; return those left with their fix."""
    found = left = dict(find())
    if fix and found:
        for action in filter(None, found.values()):
            with suppress(OSError):
                action()
        left = dict(find())
    for line, action in found.items():
        end = "" if not (fix and action) else ": could not be fixed" if line in left else ": fixed"
        print(f"{line}{end}")
    return left


def main(fix):
    if not Path(".dvc").is_dir():
        sys.exit("no .dvc in this folder: run make doctor in the project's root")
    if busy := [*at_work()]:
        sys.exit("\n".join([*busy, "wait for these processes or stop them"]))
    note_stash()
    checks = (git_locks, head, references, dvc_locks, copies, partial_files, results)
    left = {}
    for find in (*checks, cache, run_cache):
        left |= examine(find, fix)
    if left and not fix:
        hint = "; try make doctor FIX=1" if any(left.values()) else ""
        print(f"problems: {len(left)}{hint}")
    elif not left:
        print("no problems found" if not fix else "no problems left")
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fix", action="store_true")
    with exit_on_user_error():
        main(parser.parse_args().fix)
