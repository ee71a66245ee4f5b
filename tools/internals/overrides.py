"""Combinations and effects of parameter overrides in the syntax of `dvc exp run -S`."""

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

from internals.experiments import SEED, name_of, params_of
from internals.git import RunError

from common.params import PARAMS, flatten

SCHEMA = Path(__file__).resolve().parents[2] / "params.schema.json"


class Run(NamedTuple):
    """One combination of a sweep."""

    overrides: list  # as for `dvc exp run -S`
    params: dict  # all of params.yaml
    setting: str  # the name of the overrides without train.seed


def override(params, overrides):
    """The parameters after overrides, set by DVC as in `dvc exp run -S`."""
    from dvc.utils.hydra import apply_overrides  # lazy: local workers load this file

    known = [f"{name}." for name, _ in flatten(params)]
    for text in overrides:
        name = text.partition("=")[0]
        if name[0] not in "+~" and not any(leaf.startswith(f"{name}.") for leaf in known):
            raise RunError(f"{text}: no such parameter in {PARAMS}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "params.json")  # a third of the time of YAML
        path.write_text(json.dumps(params, default=str))
        apply_overrides(path, overrides)
        return json.loads(path.read_text())


def expand(settings, commit):
    """Every combination of lists and ranges, in the order of Hydra's sweeper: name to Run.

    RunError if a combination violates params.schema.json.
    """
    from dvc.exceptions import DvcException  # lazy, see above
    from dvc.utils.hydra import get_hydra_sweeps
    from hydra.errors import HydraException
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match
    from jsonschema.validators import extend
    from omegaconf.errors import OmegaConfBaseException

    # JSON Schema accepts 2.0 as an integer, the stages do not.
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, v: type(v) is int)
    sections = json.loads(SCHEMA.read_text(encoding="utf-8"))["properties"]  # users may add others
    validator = extend(Draft202012Validator, type_checker=types)({"properties": sections})
    base, runs = params_of(commit), {}
    if not base:
        raise RunError(f"the last commit has no valid {PARAMS}")
    try:
        sweeps = [sweep["params.yaml"] for sweep in get_hydra_sweeps({"params.yaml": settings})]
        for overrides in sweeps:
            name, params = name_of(overrides), override(base, overrides)
            if error := best_match(validator.iter_errors(params)):
                place = ".".join(map(str, error.absolute_path))
                raise RunError(f"{name}: {place}: {error.message}")
            unseeded = [o for o in overrides if o.lstrip("+").partition("=")[0] != SEED]
            if name in runs:
                raise RunError(f"{name}: two combinations have this name")
            runs[name] = Run(overrides, params, name_of(unseeded))
    except (DvcException, HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, HydraException) else error
        raise RunError(" ".join(" ".join(str(cause).splitlines()[:2]).split())) from None
    return runs
