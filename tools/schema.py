"""Write params.schema.json, the JSON Schema of params.yaml, for editors and for the report.

make schema             takes types and bounds from the signatures of the stages, descriptions from
                        the comments in params.yaml, and defaults of new parameters from their
                        values; other defaults stay
make schema DEFAULTS=1  takes all defaults from the values in params.yaml

The report lists the parameters that differ from their defaults. JSON Schema cannot exclude NaN; the
stages do.
"""

import argparse
import json
import re
import sys
from importlib import import_module
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from internals.git import exit_on_user_error

from common.files import write_bytes
from common.params import read_params
from page.facts import read_defaults

ROOT = Path(__file__).resolve().parent.parent
PARAMS, SCHEMA = ROOT / "params.yaml", ROOT / "params.schema.json"


def comments(text):
    """Map (section, name) or (section, group, name) to the comment of its line in params.yaml."""
    found, path = {}, []
    for indent, name, comment in re.findall(r"^( *)(\w+):(?: .*# (.*))?", text, re.M):
        path = [*path[: len(indent) // 2], name]
        if comment:
            found[tuple(path)] = comment
    return found


def keep(defaults, values):
    """The known defaults; for new parameters, their values."""
    if isinstance(defaults, dict) and isinstance(values, dict):
        return {name: keep(defaults.get(name, value), value) for name, value in values.items()}
    return defaults


def describe(stage, title, descriptions, defaults):
    """The name and the JSON Schema of a stage's section of params.yaml."""
    script = (ROOT / f"stages/{stage}.py").read_text(encoding="utf-8")
    section = re.search(r'run\(main, section="(\w+)"\)', script)[1]
    schema = TypeAdapter(import_module(stage).main).json_schema()
    for name, rules in schema["properties"].items():
        rules |= {"description": descriptions[section, name], "default": defaults[section][name]}
        rules.pop("title", None)  # repeats the name
    for group in schema.pop("$defs", {}).values():  # inlined
        name = group["title"].lower()
        for member, rules in group["properties"].items():
            rules["description"] = descriptions[section, name, member]
            del rules["title"]
        schema["properties"][name]["anyOf"][0] = group
    return section, {"title": title} | schema


def generate(known):
    """The text of params.schema.json; `known` maps section and parameter to the default to keep."""
    text = PARAMS.read_text(encoding="utf-8")
    given = comments(text), keep(known, read_params(lambda path: text))
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    try:
        sections = dict(describe(stage, stages[stage]["desc"], *given) for stage in stages)
    except KeyError as error:
        sys.exit(f"params.yaml: {'.'.join(error.args[0])}: add a comment with unit or effect")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": sections,
        "required": [*sections],
        "additionalProperties": False,
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--defaults", action="store_true", help="take them from params.yaml")
    renew = parser.parse_args().defaults or not SCHEMA.exists()
    with exit_on_user_error():
        write_bytes(SCHEMA, generate({} if renew else read_defaults(SCHEMA)).encode())
