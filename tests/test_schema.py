"""params.yaml, dvc.yaml and dvc.lock against their schemas; the schema against what stages take."""

import inspect
from copy import deepcopy
from importlib import import_module

import jsonschema
import pytest
import yaml
from conftest import ROOT
from dvc.schema import COMPILED_LOCKFILE_SCHEMA, COMPILED_MULTI_STAGE_SCHEMA
from pydantic import ValidationError
from test_pipeline import PIPELINE, STAGES, section_of
from voluptuous import Invalid

import schema
from common.params import ParameterError, validate
from page.facts import flatten

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

    def use(**given):
        pass

    use.__signature__, use.__annotations__ = inspect.signature(main), main.__annotations__
    try:
        validate(use, section, given)
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
    ("section", "name"),
    [(s, name) for s in PARAMS for name, _ in flatten(PARAMS[s])] + [("train", "augment")],
)
def test_a_value_is_refused_by_both_or_by_none(validator, section, name):
    refused = 0
    for value in VALUES + WORDS:
        params = deepcopy(PARAMS)
        *groups, last = name.split(".")
        group = params[section]
        for part in groups:
            group = group[part]
        group[last] = value
        taken = is_taken(section, params[section])
        assert validator.is_valid(params) == taken, value
        refused += not taken
    assert refused > 4


def test_a_name_too_many_or_too_few_is_refused_by_both(validator):
    for section, group in [*((section, None) for section in PARAMS), ("train", "augment")]:
        for harm in (lambda p: p.update(pints=1), lambda p: p.popitem()):
            params = deepcopy(PARAMS)
            harm(params[section][group] if group else params[section])
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
