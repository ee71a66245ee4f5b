"""Write params.schema.json, by which an editor completes and checks params.yaml as it is typed.

make schema   types and bounds are those of the signatures of the stages, and what a parameter does
              stands in the comments of params.yaml. A schema cannot refuse NaN; the stages do.
"""

import inspect
import json
import re
import sys
from importlib import import_module
from pathlib import Path

import yaml
from pydantic import ConfigDict, Field, create_model
from pydantic.json_schema import GenerateJsonSchema

ROOT = Path(__file__).resolve().parent.parent
PARAMS, SCHEMA = ROOT / "params.yaml", ROOT / "params.schema.json"


class Untitled(GenerateJsonSchema):
    """Without a title for each parameter, which would repeat its name."""

    def field_title_should_be_set(self, schema):
        return False


def comments(text):
    """(section, name) or (section, group, name) to the comment of each line of params.yaml."""
    found, path = {}, []
    for indent, name, comment in re.findall(r"^( *)(\w+):(?: .*# (.*))?", text, re.M):
        path = [*path[: len(indent) // 2], name]
        if comment:
            found[tuple(path)] = comment
    return found


def describe(stage, title, says):
    """A stage's section of params.yaml, and its schema; `says` has the comments."""
    script = (ROOT / f"stages/{stage}.py").read_text(encoding="utf-8")
    section = re.search(r'run\(main, section="(\w+)"\)', script)[1]
    parameters = inspect.signature(import_module(stage).main).parameters.values()
    fields = {p.name: (p.annotation, Field(description=says[section, p.name])) for p in parameters}
    model = create_model(section, __config__=ConfigDict(extra="forbid"), **fields)
    described = model.model_json_schema(schema_generator=Untitled) | {"title": title}
    for group in described.pop("$defs", {}).values():  # in place of the reference to it
        name = group["title"].lower()
        for member, properties in group["properties"].items():
            properties["description"] = says[section, name, member]
        described["properties"][name]["anyOf"][0] = group
    return section, described


def generate():
    """The text of params.schema.json."""
    says = comments(PARAMS.read_text(encoding="utf-8"))
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    try:
        sections = dict(describe(stage, stages[stage]["desc"], says) for stage in stages)
    except KeyError as error:
        sys.exit(f"params.yaml: {'.'.join(error.args[0])}: needs a comment that describes it")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": sections,
        "required": [*sections],
        "additionalProperties": False,
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "stages"))
    SCHEMA.write_text(generate(), encoding="utf-8")
