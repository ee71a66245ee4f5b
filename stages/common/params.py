"""Read and validate the parameters of a stage: its section of params.yaml."""

import reprlib
import sys
import warnings
from functools import wraps
from pathlib import Path
from textwrap import shorten

from pydantic import ConfigDict, validate_call
from ruamel.yaml import YAML

PARAMS = Path("params.yaml")
LARGEST = 20_000  # bytes of params.yaml; a larger file is a mistake and slow to parse

brief = reprlib.Repr()  # abbreviates values, which may be long or recursive
brief.maxlevel, brief.maxstring = 2, 60
sys.set_int_max_str_digits(2 * LARGEST)  # for messages about long numbers


def printable(line):
    """Escape line feeds and terminal control sequences, which YAML keys may contain."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


class ParameterError(ValueError):
    """An invalid parameter; str() is the message for users."""

    def __init__(self, *parts):  # [name of the parameter,] reason
        super().__init__(printable(": ".join([str(PARAMS), *map(str, parts)])))


def flatten(section):
    """Yield (dotted name, value) for each leaf of nested mappings and lists."""
    members = section.items() if isinstance(section, dict) else enumerate(section)
    for name, value in members:
        if isinstance(value, dict | list) and value:
            yield from ((f"{name}.{member}", v) for member, v in flatten(value))
        else:
            yield str(name), value


def compare(before, after):
    """Yield (dotted name, old value, new value) as text for each parameter that differs."""
    before, after, absent = dict(flatten(before)), dict(flatten(after)), object()
    for name in after | before:
        old, new = before.get(name, absent), after.get(name, absent)
        if old != new:
            yield name, *("absent" if v is absent else brief.repr(v) for v in (old, new))


def parse(content):
    """The value of a YAML file, read by DVC's parser, so stages run with the values in dvc.lock.

    PyYAML follows YAML 1.1, in which 010 is 8, 1e-05 is a string and off is false.
    """
    parser = YAML(typ="safe")
    parser.max_depth = 20  # deeper nesting takes seconds
    with warnings.catch_warnings(action="ignore"):  # about anchors
        return parser.load(content)


def read_params(read=Path.read_bytes):
    """All parameters: {section: {name: value}}; ParameterError if the file is invalid."""
    try:
        content = read(PARAMS)
        if len(content) > LARGEST:
            raise ValueError(f"more than {LARGEST:,} bytes")
        params = parse(content)
    except FileNotFoundError:
        raise ParameterError(f"no such file in {Path.cwd()}; run from the root") from None
    except Exception as error:  # the parser raises errors of many types
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        reason = shorten(str(getattr(error, "problem", error)), 300)
        raise ParameterError(f"not valid YAML: {place}{reason}") from None
    return params if isinstance(params, dict) else {}


def select(params, section):
    """The parameters of a section: {name: value}; ParameterError if it is missing."""
    if not isinstance(params.get(section), dict):
        raise ParameterError(section, "missing: expected a section of parameters")
    return {str(name): value for name, value in params[section].items()}


def explain(error, section):
    """Yield a ParameterError for each parameter that pydantic rejected."""
    for problem in error.errors():
        name = ".".join(map(str, (section, *problem["loc"])))
        kind, got = problem["type"], f", got {brief.repr(problem['input'])}"
        if kind.startswith("missing"):
            yield ParameterError(name, "missing")
        elif kind == "unexpected_keyword_argument":
            yield ParameterError(name, f"unknown parameter{got}")
        else:
            yield ParameterError(name, problem["msg"].removeprefix("Input ") + got)


def validate(main, given):
    """The parameters of `main`, validated against its signature."""
    collect = wraps(main)(lambda **valid: valid)
    # strict: neither true nor "1" is accepted as 1.
    return validate_call(collect, config=ConfigDict(allow_inf_nan=False, strict=True))(**given)
