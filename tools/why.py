"""Say what changed since dvc.lock, stage by stage, and what `dvc repro` would make of it.

make why   a line for each stage, in the order of `dvc repro`, and about how long it takes: as long
           as the last time that DVC ran it here, with whatever parameters.

Nothing is run. What a stage that runs will write is not known before: those that read it are asked
after it, and then they run, come from the cache, or stay as they are.
"""

import sys
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

from internals.git import clear_git_variables
from internals.plan import plan

TIMES = Path(".dvc/tmp/times")


def duration(steps):
    """', about 2 min' for some steps together, or nothing where one was never measured."""
    seconds = 0
    for step in steps:
        try:
            seconds += float((TIMES / step.stage.addressing).read_text())
        except (OSError, ValueError):
            return ""
    if seconds >= 100:
        return f", about {seconds / 60:.0f} min"
    return f", about {max(1, seconds):.0f} s" if steps else ""


def listed(texts, joint="and", most=4):
    """'a, b and c' of texts, each once, and of many the first alone."""
    texts = [*dict.fromkeys(texts)]
    if len(texts) > most:
        texts = [*texts[: most - 1], f"{len(texts) - most + 1} more"]
    return f" {joint} ".join([", ".join(texts[:-1]), texts[-1]]) if texts[1:] else texts[0]


def describe(step):
    """What becomes of a stage, in words."""
    why = listed(step.reasons) if step.reasons else ""
    if step.verdict == "asked":
        change = "change" if len(step.awaited) > 2 else "changes"
        why = why or f"if {listed(step.awaited, 'or', most=2)} {change}"
        return f"is asked after {listed(step.awaited.values())}: may run{duration([step])}, {why}"
    return {
        "stays": "as it was",
        "fails": f"cannot run: {why}",
        "cached": f"comes from the cache: {why}",
        "checkout": f"needs only dvc checkout: {why}",
        "runs": f"runs{duration([step])}: {why}",
    }[step.verdict]


def sum_up(steps):
    """All of it in one line."""
    of = {
        verdict: [step for step in steps if step.verdict in verdict.split()]
        for verdict in ("fails", "runs", "asked", "cached checkout")
    }
    if not any(of.values()):
        return "nothing changed: dvc repro runs nothing"
    fails, runs, asked, cached = of.values()
    if fails:
        return f"dvc repro ends at {fails[0].stage.addressing}"
    parts = [f"{len(runs) or 'nothing'} to run{duration(runs)}"]
    parts += [f"{len(asked)} to ask again{duration(asked)}"] if asked else []
    parts += [f"{len(cached)} from the cache"] if cached else []
    return f"dvc repro: {'; '.join(parts)}"


def one_line(error):
    """An error of DVC's, and what it was made of, which says where."""
    cause = getattr(error, "exc", error)
    while cause.__cause__:
        cause = cause.__cause__
    return " ".join(f"{error}{'' if cause is error else f': {cause}'}".split())


def main():
    clear_git_variables()
    with Repo() as repo:
        steps = plan(repo)
    if any(step.verdict != "stays" for step in steps):
        width = max(len(step.stage.addressing) for step in steps)
        for step in steps:
            print(f"{step.stage.addressing:{width}}  {describe(step)}")
    print(sum_up(steps))


if __name__ == "__main__":
    try:
        main()
    except (DvcException, RecursionError) as error:
        sys.exit(one_line(error))
