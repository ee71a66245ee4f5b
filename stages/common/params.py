"""Read and validate the parameters of a stage: its section of params.yaml."""

import inspect
import re
import reprlib
from dataclasses import is_dataclass
from pathlib import Path
from typing import get_args

import yaml
from pydantic import ConfigDict, validate_call

PARAMS = Path("params.yaml")
LARGEST = 20_000  # characters of params.yaml; a larger file is a mistake and slow to parse

brief = reprlib.Repr()  # abbreviates values, which may be long or recursive
brief.maxlevel, brief.maxstring = 2, 60


def printable(line):
    """Escape line feeds and terminal control sequences, which YAML keys may contain."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


class ParameterError(ValueError):
    """An invalid parameter; str() is the message for users."""

    def __init__(self, name, reason):
        super().__init__(printable(f"{PARAMS}: {name}: {reason}"))


class Loader(yaml.SafeLoader):
    """YAML 1.2, which DVC uses, without duplicate keys.

    PyYAML follows YAML 1.1: 010 is 8, 1e-05 is a string, off is false. A stage would run with
    parameters other than those in dvc.lock.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [pair for pair in pairs if not pair[0].endswith(("bool", "int", "float"))]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"found {key.value!r} twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_int(self, node):
        text = node.value.replace("_", "")
        return int(text, 0 if re.match("[-+]?0[box]", text) else 10)


# Patterns from ruamel.yaml, DVC's parser.
for tag, pattern, first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?(0b[01_]+|0o?[0-7_]+|[0-9_]+|0x[0-9a-fA-F_]+)", "-+0123456789"),
    (
        "float",
        r"[-+]?([0-9][0-9_]*(\.[0-9_]*([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)"
        r"|\.[0-9_]+([eE][-+][0-9]+)?|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^({pattern})$"), first)
Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_int)


def read_text(path):
    return Path(path).read_text(encoding="utf-8")


def flatten(section):
    """Yield (dotted name, value) for each leaf of nested mappings and lists."""
    members = section.items() if isinstance(section, dict) else enumerate(section)
    for name, value in members:
        if isinstance(value, dict | list) and value:
            yield from ((f"{name}.{member}", v) for member, v in flatten(value))
        else:
            yield str(name), value


def read_section(section, read=read_text):
    """Read a section of params.yaml as a dict; ParameterError if it is missing."""
    try:
        text = read(PARAMS)
        if len(text) > LARGEST:
            raise ParameterError(section, f"the file has more than {LARGEST:,} characters")
        params = yaml.load(text, Loader)  # noqa: S506
    except FileNotFoundError:
        raise ParameterError(section, f"no such file in {Path.cwd()}; run from the root") from None
    except RecursionError:
        raise ParameterError(section, "not valid YAML: nested too deeply") from None
    except ParameterError:
        raise
    except Exception as error:  # PyYAML also raises ValueError and others
        raise ParameterError(section, f"not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(params, dict) or not isinstance(params.get(section), dict):
        raise ParameterError(section, "missing: expected a section of parameters")
    return {str(name): value for name, value in params[section].items()}


def check_names(name, given, known):
    """Raise ParameterError for a missing or unknown member of a section or group."""
    missing = [member for member in known if member not in given]
    expected = f"{name} takes {', '.join(known)}"
    if missing:
        expected += f"; missing here: {', '.join(missing)}"
    for member in given:
        if member not in known:
            reason = f"unknown parameter, got {brief.repr(given[member])}; {expected}"
            raise ParameterError(f"{name}.{member}", reason)
    if missing:
        raise ParameterError(f"{name}.{missing[0]}", f"missing; {expected}")
    for member, value in given.items():
        annotation = getattr(known[member], "annotation", None)
        for group in filter(is_dataclass, get_args(annotation)):
            if isinstance(value, dict):
                check_names(f"{name}.{member}", value, group.__dataclass_fields__)


def explain(error, section):
    """Yield a ParameterError for each value that pydantic rejected."""
    for problem in error.errors():
        name = ".".join(map(str, (section, *problem["loc"])))
        message = problem["msg"].removeprefix("Input ")
        yield ParameterError(name, f"{message}, got {brief.repr(problem['input'])}")


def validate(main, section, given):
    """Validate a section's parameters against the signature of `main` and return its result."""
    check_names(section, given, inspect.signature(main).parameters)
    # strict: neither true nor "1" is accepted as 1.
    return validate_call(main, config=ConfigDict(allow_inf_nan=False, strict=True))(**given)
