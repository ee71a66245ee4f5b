"""Show which stages are outdated compared with dvc.lock, and why, without running anything.

make why   prints one line per stage in the order of `dvc repro`, with the duration of its last run

A stage is restored from the cache if the cache has its results for the current inputs, and no
earlier step changes these inputs; missing inputs that an earlier step restores count as unchanged.
Stages that read outputs of an outdated stage may rerun.
"""

import json
import logging
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from dvc.exceptions import DvcException
from dvc.fs import localfs
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.stage.cache import RunCacheNotFoundError

from internals.git import RunError, exit_on_user_error

from common.params import compare
from common.results import metrics_path

TIMES = Path(".dvc/tmp/times")
CHANGES = {"deleted": "is missing", "new": "is new", "not in cache": "is not in the cache"}
FAILS, OUTDATED, UNSURE, RESTORED = "cannot run", "outdated", "may rerun", "restored from the cache"
DATA, UNCHANGED = "changed data", "up to date"  # no command: DVC records the changed data


class Step(NamedTuple):
    stage: object
    verdict: str
    reasons: list  # strings; for UNSURE, the stages it depends on


def describe(path, change):
    return f"{path} {CHANGES.get(change, 'changed')}"


def is_cached(stage, changed):
    """Whether the cache has the results of a stage, for its current inputs if they have changed,
    else for those in dvc.lock.
    """
    if changed:
        stage.save_deps()  # in memory
        for out in stage.outs:  # those in dvc.lock belong to other inputs
            out.hash_info = type(out.hash_info)()
    try:
        stage.repo.stage_cache.restore(stage, dry=True)
    except RunCacheNotFoundError:
        return False
    return True


def judge(stage, steps, status):
    """The step of a stage, from the steps of its upstream stages and its entry in `dvc status`."""
    reasons, missing, awaited = [text for text in status if isinstance(text, str)], [], []
    changes = {kind: new for part in status if isinstance(part, dict) for kind, new in part.items()}
    steps = [step for step in steps if step.verdict not in (DATA, UNCHANGED)]
    written = [(step, out) for step in steps for out in step.stage.outs]
    settled = True  # no earlier step writes an input
    for dep in stage.deps:
        made = [(s, out) for s, out in written if localfs.overlaps(dep.fs_path, out.fs_path)]
        for step, out in made:
            settled = False
            if step.verdict != RESTORED or out.hash_info != dep.hash_info:
                awaited.append(step.stage.addressing)
            else:  # make DVC treat it as restored
                dep.get_hash, dep.changed = (lambda dep=dep: dep.hash_info), (lambda: False)
        change = None if made else changes.get("changed deps", {}).get(str(dep))
        if isinstance(change, dict):
            missing += [f"{n} is missing" for n in dep.params if change.get(n) == "deleted"]
            differences = compare(dep.hash_info.value or {}, dep.read_params())
            reasons += [f"{name} from {old} to {new}" for name, old, new in differences]
        elif change:
            (missing if change == "deleted" else reasons).append(describe(dep, change))
    if stage.deps and not any(entry.hash_info for entry in [*stage.deps, *stage.outs]):
        reasons = ["not in dvc.lock"]
    is_data = stage.frozen or not (stage.cmd or stage.is_import)
    if is_data:
        missing += [describe(out, "deleted") for out in stage.outs if not out.exists]
    if missing:
        return Step(stage, FAILS, missing)
    if awaited and not reasons:
        return Step(stage, UNSURE, awaited)
    changed = bool(reasons)
    reasons = reasons or [describe(*c) for c in changes.get("changed outs", {}).items()]
    if is_data or not reasons:
        return Step(stage, DATA if reasons else UNCHANGED, reasons)
    certain = settled or not changed
    return Step(stage, RESTORED if certain and is_cached(stage, changed) else OUTDATED, reasons)


def plan(repo):
    """The steps of `dvc repro` in its order."""
    status, graph, steps = repo.status(check_updates=False), get_active_graph(repo.index.graph), {}
    for stage in plan_repro(graph, repo.stage.collect("dvc.yaml")):
        read = [steps[other] for other in graph[stage]]
        steps[stage] = judge(stage, read, status.get(stage.addressing, []))
    return [*steps.values()]


def duration(*steps):
    """', about 2 min' for the steps that may run; '' if one of them was never timed."""
    paths = [TIMES / s.stage.addressing for s in steps if s.verdict in (OUTDATED, UNSURE)]
    try:
        seconds = sum(float(path.read_text()) for path in paths)
    except (OSError, ValueError):
        return ""
    text = f"{seconds / 60:.0f} min" if seconds >= 100 else f"{max(1, seconds):.0f} s"
    return f", about {text}" if paths else ""


def join(texts, most=3):
    """The distinct texts as 'a, b, c and 2 more'."""
    texts = [*dict.fromkeys(texts)]
    rest = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + rest


def sum_up(steps):
    """Summarise all steps in one line."""
    groups = {step.verdict: [s for s in steps if s.verdict == step.verdict] for step in steps}
    if FAILS in groups:
        return f"dvc repro fails at {groups[FAILS][0].stage.addressing}"
    verdicts = [verdict for verdict in (DATA, OUTDATED, UNSURE, RESTORED) if verdict in groups]
    parts = [f"{len(groups[v])} {v}{duration(*groups[v])}" for v in verdicts]
    return f"dvc repro: {'; '.join(parts)}" if parts else "nothing changed: dvc repro runs nothing"


def changed_torch():
    """A note if the network was trained with another version of torch, else ''."""
    try:
        (machine,) = json.loads(metrics_path("train").read_text())["machine"]
        before, now = (text.partition("+")[0] for text in (machine["torch"], version("torch")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return ""  # no results, or damaged ones
    how = "this makes no stage outdated; to retrain: dvc repro --force --single-item cnn_train"
    return f"trained with torch {before}, installed: {now}; {how}" if before != now else ""


def main():
    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    try:
        with Repo() as repo:
            steps = plan(repo)
    except (DvcException, RecursionError) as error:
        raise RunError(" ".join(str(error).split())) from None
    if all(step.verdict == UNCHANGED for step in steps):
        steps = []
    width = max((len(step.stage.addressing) for step in steps), default=0)
    for step in steps:
        joint = ", depending on " if step.verdict == UNSURE else ": " if step.reasons else ""
        why = f"{duration(step)}{joint}{join(step.reasons)}"
        print(f"{step.stage.addressing:{width}}  {step.verdict}{why}")
    print(*filter(None, (sum_up(steps), changed_torch())), sep="\n")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
