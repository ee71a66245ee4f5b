"""What `dvc repro` would do with each stage, and why, found without running any.

DVC's own objects are asked, in the order in which dvc/stage/__init__.py and cache.py ask them.
"""

import reprlib
from pathlib import Path
from typing import NamedTuple

from dvc.dependency import ParamsDependency
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.stage.cache import _get_cache_hash
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils.flatten import flatten

FOUND = {"deleted": "is missing", "modified": "changed", "not in cache": "is not in the cache"}


class Step(NamedTuple):
    """What becomes of a stage: it stays, runs, fails, comes from the cache (cached), is only to be
    checked out (checkout), or is asked when others have run (asked)."""

    stage: object
    verdict: str
    reasons: list  # texts
    awaited: dict  # what it reads of stages that run before: path to name of the stage


def changed_params(section):
    """How the parameters that a stage reads differ from dvc.lock."""
    before, after = flatten(section.hash_info.value or {}), flatten(section.read_params())
    for name in [*after, *(before.keys() - after.keys())]:
        if name not in before:
            yield f"{name} is new"
        elif name not in after:
            yield f"{name} is gone"
        elif before[name] != after[name]:
            yield f"{name} from {reprlib.repr(before[name])} to {reprlib.repr(after[name])}"


def changed_file(entry):
    """How a file that a stage reads or writes differs from dvc.lock."""
    for status in entry.status().values():
        if not entry.exists:
            yield f"{entry} is missing"
        else:
            yield f"{entry} {FOUND[status] if entry.hash_info else 'is new'}"


def without(run, paths):
    """What a run in the cache is known by, but for some inputs: command, inputs, and outputs."""
    inputs = {dep["path"]: dep.get("md5") for dep in run.get("deps", [])}
    inputs = {path: md5 for path, md5 in inputs.items() if path not in paths}
    return run["cmd"], run.get("params"), inputs, [out["path"] for out in run.get("outs", [])]


def look_up(stage, moved, awaited):
    """The stage with the outputs that DVC takes from its cache, as StageCache.restore; or None.

    Where its inputs moved, they are looked for among the past runs; else dvc.lock has the outputs.
    Where inputs are awaited, any past run may fit that is alike in all others.
    """
    past, run = stage.repo.stage_cache, to_single_stage_lockfile(stage)
    runs = [] if moved else [run]
    if awaited:
        files = Path(past.cache_dir).glob("*/*/*")
        found = [past._load_cache(path.parent.name, path.name) for path in files]
        wanted = without(run, awaited)
        runs += [other for other in found if other and without(other, awaited) == wanted]
    elif moved:
        folder = Path(past._get_cache_dir(_get_cache_hash(run, key=True)))
        newest = sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime)[-1:]
        runs += filter(None, [past._load_cache(folder.name, path.name) for path in newest])
    stages = (past._create_stage(run, wdir=stage.wdir) for run in runs)
    return next((cached for cached in stages if cached.outs_cached()), None)


def read_inputs(stage, made):
    """What changed in what a stage reads; and what is not known yet, path to name of the maker.

    The stage's record of its inputs becomes what it will find. `made` has (stage, output) by path
    for what the stages before it write, without the output where it is not known yet.
    """
    changes, awaited = ["its command changed"] if stage.cmd_changed else [], {}
    for dep in [] if stage.frozen else stage.deps:
        maker, output = made.get(dep.fs_path, (None, None))
        if isinstance(dep, ParamsDependency):
            changes += changed_params(dep)
            dep.save()
        elif not maker:
            changes += changed_file(dep)
            if dep.exists:
                dep.save()
        elif not output:
            awaited[str(dep)] = maker.name
        else:
            changes += [f"{dep} changes"] if dep.hash_info != output.hash_info else []
            dep.hash_info, dep.meta = output.hash_info, output.meta
    return changes, awaited


def judge(stage, made):
    """The step of a stage, after those that `made` what it reads; what it writes is added there."""
    changes, awaited = read_inputs(stage, made)
    harmed = [out for out in stage.outs if out.status()]
    reasons = changes + [text for out in harmed for text in changed_file(out)]
    if not any(out.hash_info for out in stage.outs):
        reasons = ["not in dvc.lock"]
    moved = bool(changes) or not all(out.hash_info for out in stage.outs)
    lost = [f"{d} is missing" for d in stage.deps if d.fs_path not in made and not d.exists]
    restored = stage if not reasons else None if lost else look_up(stage, moved, awaited)
    if lost and not stage.frozen:
        verdict, reasons = "fails", lost
    elif not restored:
        verdict = "runs"
    elif awaited:
        verdict = "asked"
    elif not reasons:
        verdict = "stays"
    else:
        alone = not moved and all(out.use_cache and not out.exists for out in harmed)
        verdict = "checkout" if alone else "cached"
    known = {} if awaited or not restored else {out.fs_path: out for out in restored.outs}
    made |= {out.fs_path: (stage, known.get(out.fs_path)) for out in stage.outs}
    return Step(stage, verdict, reasons, awaited)


def plan(repo):
    """The steps of `dvc repro`, in its order."""
    made = {}
    graph, stages = get_active_graph(repo.index.graph), collect_stages(repo, ["dvc.yaml"])
    return [judge(stage, made) for stage in plan_repro(graph, stages)]
