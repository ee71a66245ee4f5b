"""Run a stage on its section of params.yaml, and say in one line what is wrong."""

import inspect
import sys
from pathlib import Path

import yaml
from pydantic import ConfigDict, ValidationError, validate_call

PARAMS = Path("params.yaml")


class ParameterError(ValueError):
    """A parameter that cannot be used; str() is the line to show."""

    def __init__(self, name, reason):
        super().__init__(f"{PARAMS}: {name}: {reason}")


def read_section(section):
    """The mapping under `section` of params.yaml; ParameterError where there is none."""
    try:
        params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError(section, f"no such file in {Path.cwd()}; run from the root") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(section, f"not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(params, dict) or not isinstance(params.get(section), dict):
        raise ParameterError(section, "missing: expected a section of parameters")
    return params[section]


def explain(error, section, known):
    """A line for each parameter that pydantic refused."""
    for problem in error.errors():
        name = ".".join([section, *(str(part) for part in problem["loc"])])
        match problem["type"]:
            case "unexpected_keyword_argument":
                reason = f"unknown parameter; {section} has {', '.join(known)}"
            case "missing_argument":
                reason = "missing"
            case _:
                message = problem["msg"].removeprefix("Input ")
                reason = f"{message}, got {problem['input']!r}"
        yield str(ParameterError(name, reason))


def run(main, section):
    """Call `main` with its section as keywords, validated against its signature.

    A wrong parameter ends the process with exit status 2, a file that cannot be read or written
    with 1, Ctrl-C with 130, each with one line on standard error. Numbers may stand as text, since
    `-S train.lr=0.00001` is stored as `1e-05`, which PyYAML reads as a string.
    """
    # NaN and infinity are refused here, once; ranges stand in the signatures.
    validated = validate_call(main, config=ConfigDict(allow_inf_nan=False))
    try:
        validated(**read_section(section))
    except ValidationError as error:
        stop(2, *explain(error, section, inspect.signature(main).parameters))
    except ParameterError as error:
        stop(2, error)
    except FileNotFoundError as error:
        stop(1, f"{error.filename}: not found; `dvc repro` makes what a stage reads")
    except OSError as error:
        stop(1, error)
    except KeyboardInterrupt:
        stop(130, "interrupted")


def stop(status, *lines):
    """End the process: the lines on standard error, and the exit status."""
    print(*lines, sep="\n", file=sys.stderr)
    sys.exit(status)
