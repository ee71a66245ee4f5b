"""Combinations and effects of parameter overrides in the syntax of `dvc exp run -S`."""

import json
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

from internals.experiments import SEED, name_of, params_of
from internals.git import RunError

from common.params import PARAMS

SCHEMA = Path(__file__).resolve().parents[2] / "params.schema.json"


class Run(NamedTuple):
    """One combination of a sweep."""

    overrides: list  # as for `dvc exp run -S`
    params: dict  # all of params.yaml
    setting: str  # the name of the overrides without train.seed


def override(params, overrides):
    """The parameters after overrides, equivalent to dvc.utils.hydra.apply_overrides."""
    from dvc.utils.hydra import to_hydra_overrides

    params = deepcopy(params)
    for change in to_hydra_overrides(overrides):
        *groups, name = change.key_or_group.split(".")
        group, value = params, change.value()
        for part in groups:
            group = group.setdefault(part, {}) if isinstance(group, dict) else None
        if not isinstance(group, dict) or (name not in group and not change.input_line[0] == "+"):
            raise RunError(f"{change.input_line}: no such parameter in {PARAMS}")
        if change.is_delete():
            del group[name]
        elif isinstance(value, dict) and isinstance(group.get(name), dict):
            group[name] |= value
        else:
            group[name] = value
    return params


def expand(settings, commit):
    """Every combination of lists and ranges, in the order of Hydra's sweeper: name to Run.

    RunError if a combination violates params.schema.json.
    """
    from dvc.exceptions import DvcException  # lazy: local workers load this file
    from dvc.utils.hydra import get_hydra_sweeps
    from hydra.errors import HydraException
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match
    from jsonschema.validators import extend

    # JSON Schema accepts 2.0 as an integer, the stages do not.
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, v: type(v) is int)
    Validator = extend(Draft202012Validator, type_checker=types)
    sections = json.loads(SCHEMA.read_text(encoding="utf-8"))["properties"]
    validators = {name: Validator(rules) for name, rules in sections.items()}
    base, runs = params_of(commit), {}
    if not base:
        raise RunError(f"the last commit has no valid {PARAMS}")
    try:
        sweeps = [sweep["params.yaml"] for sweep in get_hydra_sweeps({"params.yaml": settings})]
        for overrides in sweeps:
            name, params = name_of(overrides), override(base, overrides)
            for section in validators.keys() & params.keys():
                if error := best_match(validators[section].iter_errors(params[section])):
                    place = ".".join(map(str, (section, *error.absolute_path)))
                    raise RunError(f"{name}: {place}: {error.message}")
            unseeded = [o for o in overrides if o.lstrip("+").partition("=")[0] != SEED]
            if name in runs:
                raise RunError(f"{name}: two combinations have this name")
            runs[name] = Run(overrides, params, name_of(unseeded))
    except (DvcException, HydraException) as error:
        raise RunError(": ".join(str(error).splitlines()[:2])) from None
    return runs
