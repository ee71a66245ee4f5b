"""params.yaml, dvc.yaml and dvc.lock against their schemas; the schema against what stages take."""

import inspect
from copy import deepcopy
from importlib import import_module
from typing import get_args

import jsonschema
import pytest
import yaml
from conftest import ROOT
from dvc.schema import COMPILED_LOCKFILE_SCHEMA, COMPILED_MULTI_STAGE_SCHEMA
from pydantic import ConfigDict, ValidationError, validate_call
from test_pipeline import PIPELINE, STAGES, section_of
from voluptuous import Invalid

import schema
from common.params import ParameterError, check_names, check_types

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
MAINS = {section_of(stage): import_module(stage).main for stage in STAGES}
VALUES = (None, [], [1], {}, {"a": 1}, True, False, -1, 0, 1, 2, 20, 10**9, -(10**9), -0.5, 0.5)
WORDS = ("", "auto", "adam", "mnist", "no such choice")


@pytest.fixture(scope="module")
def validator():
    """What the file says, as an editor takes it."""
    found = yaml.safe_load((ROOT / "params.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def is_taken(section, given):
    """Whether the stage of a section takes these parameters."""
    main = MAINS[section]
    known = inspect.signature(main).parameters

    def use(**given):
        pass

    use.__signature__, use.__annotations__ = inspect.signature(main), main.__annotations__
    try:
        check_names(section, given, known)
        check_types(section, given, known)
        validate_call(use, config=ConfigDict(allow_inf_nan=False))(**given)
    except (ParameterError, ValidationError):
        return False
    return True


def test_the_schema_is_that_of_the_signatures():
    text = (ROOT / "params.schema.json").read_text(encoding="utf-8")
    assert text == schema.generate(), "make schema renews it"
    first, *_ = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()
    assert first == "# yaml-language-server: $schema=params.schema.json"


def test_params_yaml_is_valid(validator):
    assert [*validator.iter_errors(PARAMS)] == []
    assert all(is_taken(section, PARAMS[section]) for section in MAINS)


@pytest.mark.parametrize(
    ("section", "name"), [(section, name) for section in PARAMS for name in PARAMS[section]]
)
def test_a_value_is_refused_by_both_or_by_none(validator, section, name):
    """But for 0 and 1 in place of false and true, and numbers as text, which the stages take."""
    kind = inspect.signature(MAINS[section]).parameters[name].annotation
    lax = (0, 1) if kind is bool or True in get_args(kind) else ()
    refused = 0
    for value in VALUES + WORDS:
        if type(value) is int and value in lax:
            continue
        params = deepcopy(PARAMS)
        params[section][name] = value
        taken = is_taken(section, params[section])
        assert validator.is_valid(params) == taken, value
        refused += not taken
    assert refused > 4


def test_a_name_too_many_or_too_few_is_refused_by_both(validator):
    for section in PARAMS:
        for harm in (lambda p: p.update(pints=1), lambda p: p.popitem()):
            params = deepcopy(PARAMS)
            harm(params[section])
            assert not validator.is_valid(params)
            assert not is_taken(section, params[section])
    assert not validator.is_valid(PARAMS | {"trian": {}})
    assert not validator.is_valid({name: PARAMS[name] for name in PARAMS if name != "train"})


def test_dvc_yaml_and_dvc_lock_are_as_dvc_wants_them():
    assert COMPILED_MULTI_STAGE_SCHEMA(PIPELINE) == PIPELINE
    COMPILED_LOCKFILE_SCHEMA(yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8")))
    wrong = deepcopy(PIPELINE)
    wrong["stages"]["surfaces"]["outz"] = ["data/surfaces.npz"]
    with pytest.raises(Invalid, match="outz"):
        COMPILED_MULTI_STAGE_SCHEMA(wrong)
