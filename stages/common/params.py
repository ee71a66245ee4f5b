"""Run a stage on its section of params.yaml; report a user's mistake in one line."""

import inspect
import os
import re
import reprlib
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import is_dataclass
from pathlib import Path
from typing import get_args

import psutil
import yaml
from pydantic import ConfigDict, ValidationError, validate_call

PARAMS = Path("params.yaml")
LARGEST = 20_000  # bytes of params.yaml; a larger file is a mistake and slow to parse

brief = reprlib.Repr()  # of values from params.yaml, which may be long, or nested without end
brief.maxlevel, brief.maxstring = 2, 60


class ParameterError(ValueError):
    """A parameter that cannot be used; str() is the line to show."""

    def __init__(self, name, reason):
        line = f"{PARAMS}: {name}: {reason}"
        # A name may hold line feeds, and sequences that a terminal would obey.
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in line))


class Loader(yaml.SafeLoader):
    """YAML 1.2, as DVC parses it, without duplicate keys.

    PyYAML follows YAML 1.1, where 010 is 8, 1e-05 a string and off a boolean: a stage would run
    with other parameters than those in dvc.lock.
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


# The patterns of ruamel.yaml, DVC's parser.
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


def read_section(section):
    """The mapping under `section` of params.yaml; ParameterError where there is none."""
    try:
        if PARAMS.stat().st_size > LARGEST:
            raise ParameterError(section, f"the file has more than {LARGEST:,} bytes")
        params = yaml.load(PARAMS.read_text(encoding="utf-8"), Loader)  # noqa: S506
    except FileNotFoundError:
        raise ParameterError(section, f"no such file in {Path.cwd()}; run from the root") from None
    except RecursionError:
        raise ParameterError(section, "not valid YAML: nested too deeply") from None
    except ParameterError:
        raise
    except Exception as error:  # PyYAML raises others too, of dates and numbers that cannot be
        raise ParameterError(section, f"not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(params, dict) or not isinstance(params.get(section), dict):
        raise ParameterError(section, "missing: expected a section of parameters")
    return {str(name): value for name, value in params[section].items()}


def check_names(name, given, known):
    """ParameterError, in one line, unless the members of a section or group are the known ones."""
    missing = [member for member in known if member not in given]
    takes = f"{name} takes {', '.join(known)}"
    if missing:
        takes += f"; missing here: {', '.join(missing)}"
    for member in given:
        if member not in known:
            reason = f"unknown parameter, got {brief.repr(given[member])}; {takes}"
            raise ParameterError(f"{name}.{member}", reason)
    if missing:
        raise ParameterError(f"{name}.{missing[0]}", f"missing; {takes}")
    for member, value in given.items():
        annotation = getattr(known[member], "annotation", None)
        for group in filter(is_dataclass, get_args(annotation)):
            if isinstance(value, dict):
                check_names(f"{name}.{member}", value, group.__dataclass_fields__)


def explain(error, section):
    """A ParameterError for each value that pydantic refused."""
    for problem in error.errors():
        name = ".".join(map(str, (section, *problem["loc"])))
        message = problem["msg"].removeprefix("Input ")
        yield ParameterError(name, f"{message}, got {brief.repr(problem['input'])}")


@contextmanager
def exit_on_user_error(section):
    """End the process on an error that a user can fix, with one line on standard error.

    The exit status is 2 for an invalid parameter, 1 for a file that cannot be read or written and
    for a result that is not finite, 130 for Ctrl-C.
    """
    try:
        yield
    except ValidationError as error:
        stop(2, *explain(error, section))
    except ParameterError as error:
        stop(2, error)
    except FileNotFoundError as error:
        stop(1, f"{error.filename}: not found; `dvc repro` makes what a stage reads")
    except FloatingPointError as error:
        stop(1, f"{error}: try smaller numbers in {section}, of {PARAMS}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        stop(1, f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)  # at once: torch takes a second to shut down, and no file is half-written


def stop(status, *lines):
    """End the process with lines on standard error and an exit status."""
    print(*lines, sep="\n", file=sys.stderr)
    sys.exit(status)


def validate(main, section, given):
    """Call `main` with a section's parameters, after checking them against its signature."""
    check_names(section, given, inspect.signature(main).parameters)
    # strict: true is not 1, and "1" is not a number. NaN and infinity are refused everywhere.
    validate_call(main, config=ConfigDict(allow_inf_nan=False, strict=True))(**given)


def refuse_links():
    """End the process where a folder of outputs is a symbolic link, as DVC does after the run."""
    for path in (path for top in ("data", "reports") for path in (Path(top), *Path(top).glob("*"))):
        if path.is_symlink() and not path.is_file():
            reason = "a symbolic link, behind which DVC tracks nothing; to use another disk: "
            stop(1, f"{path}: {reason}dvc cache dir /its/path && dvc config cache.type symlink")


def run(main, section):
    """Call `main` with its section of params.yaml as keyword arguments."""
    refuse_links()
    with exit_on_user_error(section):
        validate(main, section, read_section(section))
    note_time()


def note_time():
    """Save the stage's run time in seconds for `make why`, if DVC runs it.

    The file is .dvc/tmp/times/STAGE, ignored by Git and DVC. DVC_ROOT is the original repository
    where `dvc exp run --temp` runs the stage in a copy.
    """
    if "DVC_ROOT" in os.environ:
        path = Path(os.environ["DVC_ROOT"], ".dvc/tmp/times", Path(sys.argv[0]).stem)
        with suppress(OSError, psutil.Error):
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{time.time() - psutil.Process().create_time():.1f}\n")
