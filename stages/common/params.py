"""Run a stage on its section of params.yaml, and say in one line what is wrong."""

import inspect
import os
import sys
from pathlib import Path
from typing import get_args

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
    return {str(name): value for name, value in params[section].items()}


def check_names(section, given, known):
    """ParameterError, in one line, unless the names given are those known."""
    missing = [name for name in known if name not in given]
    takes = f"{section} takes {', '.join(known)}"
    if missing:
        takes += f"; missing here: {', '.join(missing)}"
    for name in given:
        if name not in known:
            reason = f"unknown parameter, got {given[name]!r}; {takes}"
            raise ParameterError(f"{section}.{name}", reason)
    if missing:
        raise ParameterError(f"{section}.{missing[0]}", f"missing; {takes}")


def check_types(section, given, known):
    """ParameterError where true or false stands for a number, as which Python would take it."""
    for name, value in given.items():
        kind = known[name].annotation
        if isinstance(value, bool) and kind is not bool and True not in get_args(kind):
            raise ParameterError(f"{section}.{name}", f"should not be true or false, got {value}")


def explain(error, section):
    """A line for each parameter that pydantic refused."""
    for problem in error.errors():
        message = problem["msg"].removeprefix("Input ")
        reason = f"{message}, got {problem['input']!r}"
        yield ParameterError(f"{section}.{problem['loc'][0]}", reason)


def run(main, section):
    """Call `main` with its section as keywords, validated against its signature.

    A wrong parameter ends the process with exit status 2, a file that cannot be read or written and
    a result that is not finite with 1, Ctrl-C with 130, each with one line on standard error.
    Numbers may stand as text, since `-S train.lr=0.00001` is stored as `1e-05`, which PyYAML reads
    as a string.
    """
    # NaN and infinity are refused here, once; ranges stand in the signatures.
    validated = validate_call(main, config=ConfigDict(allow_inf_nan=False))
    known = inspect.signature(main).parameters
    try:
        given = read_section(section)
        check_names(section, given, known)
        check_types(section, given, known)
        validated(**given)
    except ValidationError as error:
        stop(2, *explain(error, section))
    except ParameterError as error:
        stop(2, error)
    except FileNotFoundError as error:
        stop(1, f"{error.filename}: not found; `dvc repro` makes what a stage reads")
    except FloatingPointError as error:
        stop(1, f"{error}: try smaller numbers in {section}, of {PARAMS}")
    except OSError as error:
        stop(1, error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)  # at once: taking torch down takes a second, and no file is half-written


def stop(status, *lines):
    """End the process: the lines on standard error, and the exit status."""
    print(*lines, sep="\n", file=sys.stderr)
    sys.exit(status)
