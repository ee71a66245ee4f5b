"""params.yaml, dvc.yaml and dvc.lock match their schemas; params.schema.json matches the stages."""

import json
import re
from copy import deepcopy
from importlib import import_module

import jsonschema
import pytest
import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA, COMPILED_MULTI_STAGE_SCHEMA
from pydantic import ValidationError
from test_pipeline import PIPELINE, STAGES, section_of
from voluptuous import Invalid
from workspaces import ROOT

import schema
from common.params import flatten, validate
from page.facts import read_defaults

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
SCHEMA = (ROOT / "params.schema.json").read_text(encoding="utf-8")
DEFAULTS = read_defaults(ROOT / "params.schema.json")
VALIDATOR = jsonschema.Draft202012Validator(json.loads(SCHEMA))
MAINS = {section_of(stage): import_module(stage).main for stage in STAGES}
VALUES = (None, [], [1], {}, {"a": 1}, True, False, -1, 0, 1, 2, 20, 10**9, -(10**9), -0.5, 0.5)
WORDS = ("", "auto", "adam", "mnist", "no such choice")


def accepts(section, given):
    """Whether the stage of a section accepts these parameters."""
    try:
        validate(MAINS[section], given)
    except ValidationError:
        return False
    return True


def test_the_schema_matches_the_signatures():
    assert schema.generate(DEFAULTS) == SCHEMA, "outdated: run make schema"
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA))
    first, *_ = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()
    assert first == "# yaml-language-server: $schema=params.schema.json"


def test_params_yaml_and_the_defaults_are_valid():
    assert [*VALIDATOR.iter_errors(PARAMS)] == [*VALIDATOR.iter_errors(DEFAULTS)] == []
    assert all(accepts(section, PARAMS[section]) for section in MAINS)


def test_editing_params_yaml_changes_no_existing_default(tmp_path, monkeypatch):
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    edited = re.sub(
        r"(\bshift:) \d+", r"\1 3", re.sub(r"(batch_size:) \d+", r"\1 100", text, count=1)
    )
    monkeypatch.setattr(schema, "PARAMS", tmp_path / "params.yaml")
    schema.PARAMS.write_text(edited, encoding="utf-8")
    assert schema.generate(DEFAULTS) == SCHEMA

    def defaults(known):
        generated = json.loads(schema.generate(known))["properties"]["train"]["properties"]
        return generated["batch_size"]["default"], generated["augment"]["default"]["shift"]

    new = deepcopy(DEFAULTS)  # without these two parameters
    del new["train"]["batch_size"], new["train"]["augment"]["shift"]
    assert defaults(new) == defaults({}) == (100, 3)


@pytest.mark.parametrize(
    ("section", "name"),
    [(s, name) for s in PARAMS for name, _ in flatten(PARAMS[s])] + [("train", "augment")],
)
def test_the_schema_and_the_stage_accept_the_same_values(section, name):
    refused = 0
    for value in VALUES + WORDS:
        params = deepcopy(PARAMS)
        *groups, last = name.split(".")
        group = params[section]
        for part in groups:
            group = group[part]
        group[last] = value
        accepted = accepts(section, params[section])
        assert VALIDATOR.is_valid(params) == accepted, value
        refused += not accepted
    assert refused > 4


def test_the_schema_and_the_stage_refuse_unknown_and_missing_names():
    for section, group in [*((section, None) for section in PARAMS), ("train", "augment")]:
        for damage in (lambda p: p.update(pints=1), lambda p: p.popitem()):
            params = deepcopy(PARAMS)
            damage(params[section][group] if group else params[section])
            assert not VALIDATOR.is_valid(params)
            assert not accepts(section, params[section])
    assert not VALIDATOR.is_valid(PARAMS | {"trian": {}})
    assert not VALIDATOR.is_valid({name: PARAMS[name] for name in PARAMS if name != "train"})


def test_dvc_yaml_and_dvc_lock_match_dvcs_schemas():
    assert COMPILED_MULTI_STAGE_SCHEMA(PIPELINE) == PIPELINE
    COMPILED_LOCKFILE_SCHEMA(yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8")))
    invalid = deepcopy(PIPELINE)
    invalid["stages"]["surfaces"]["outz"] = ["data/surfaces.npz"]
    with pytest.raises(Invalid, match="outz"):
        COMPILED_MULTI_STAGE_SCHEMA(invalid)
