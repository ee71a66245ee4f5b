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
    """What changed in what a stage reads; and what is not known yet, path to its maker's name.

    The stage's record of its inputs becomes what it will find. `made` has (stage, output) by path
    for what the stages before it write, without the output where it is not known yet.
    """
    changes, awaited = ["its command changed"] if stage.changed_stage() else [], {}
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
            awaited[str(dep)] = maker.addressing
        else:
            changes += [f"{dep} changes"] if dep.hash_info != output.hash_info else []
            dep.hash_info, dep.meta = output.hash_info, output.meta
    return changes, awaited


def judge_data(stage, made):
    """The step of a .dvc file: `dvc add`, or an import, which is frozen unless a user says so.

    Data that changed are taken as they are found; missing data are an error. An import that is not
    frozen is made again.
    """
    changes, _ = read_inputs(stage, made)
    reasons = changes + [text for out in stage.outs for text in changed_file(out)]
    taken = stage.frozen or not stage.is_import
    if not reasons:
        verdict = "stays"
    elif taken:
        verdict = "runs" if all(out.exists for out in stage.outs) else "fails"
    else:
        verdict = "runs" if changes or not stage.outs_cached() else "cached"
    for out in stage.outs:
        if verdict == "runs" and taken:
            out.save()
        made[out.fs_path] = (stage, None if verdict == "runs" and not taken else out)
    return Step(stage, verdict, reasons, {})


def judge(stage, made):
    """The step of a stage, after those that `made` what it reads; what it writes is added there."""
    if stage.is_data_source:
        return judge_data(stage, made)
    changes, awaited = read_inputs(stage, made)
    if always := stage.is_callback or stage.always_changed:
        changes.append("it always runs")
    harmed = [out for out in stage.outs if out.status()]
    reasons = changes + [text for out in harmed for text in changed_file(out)]
    if stage.outs and not any(out.hash_info for out in stage.outs):
        reasons = ["not in dvc.lock"]
    moved = bool(changes) or not all(out.hash_info for out in stage.outs)
    lost = [f"{d} is missing" for d in stage.deps if d.fs_path not in made and not d.exists]
    if not reasons:
        restored = stage
    elif lost or always or not (stage.deps and stage.outs):  # DVC keeps no record of these
        restored = None
    else:
        restored = look_up(stage, moved, awaited)
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
